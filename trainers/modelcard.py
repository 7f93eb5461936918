"""README.md of a training's folder: the model card, in the hub's format, written again whenever its record changes."""

from pathlib import Path
from typing import Any

from serving.documents import write_text_atomically
from trainers.record import Training


def write_card(training: Training, folder: Path) -> None:
    """Base, method, data, settings, metrics, verdict and licence, as the record has them."""
    write_text_atomically(folder / "README.md", card(training))


def card(training: Training) -> str:
    """The page. The licence is the base's where its own card states one; else it says that nobody stated it."""
    import yaml

    license = _license(training.base)
    head: dict[str, Any] = {"base_model": training.base, "library_name": "peft" if training.adapter else "transformers"}
    head |= {"tags": [training.method, "trl"]} | ({"license": license} if license else {})
    settings = "\n".join(f"| `{key}` | `{value}` |" for key, value in training.recipe.items() if key not in ("path", "dataset"))
    metrics = "\n".join(f"| `{key}` | {value:.6g} |" for key, value in training.metrics.items() if isinstance(value, int | float))
    versions = ", ".join(f"{name} {version}" for name, version in training.versions.items())
    return (
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n# {training.training_id}\n\n"
        f"`{training.method}` from `{training.base}`{f' (SHA-256 `{training.base_hash}`)' if training.base_hash else ''}"
        f"{f', itself training `{training.parent}`' if training.parent else ''}.\n\n"
        f"**Data**: `{training.dataset}`, SHA-256 `{training.dataset_hash}`, "
        f"{training.n_train:,} train and {training.n_test:,} test rows.\n\n"
        f"**Licence**: {license or 'not stated by the base; the terms of base and data apply'}.\n\n"
        f"**Gate**: {_verdict(training)}\n\n## Settings\n\n| key | value |\n|---|---|\n{settings}\n\n"
        f"## Metrics\n\n| metric | value |\n|---|---|\n{metrics}\n\nSeed {training.seed}; {versions}.\n"
    )


def _verdict(training: Training) -> str:
    if training.gate is None:
        return "not asked."
    lines = [f"- {name}: {check['told']}" for name, check in training.gate.get("checks", {}).items()]
    return "\n".join([f"{training.gate['verdict']} ({training.gate.get('n_prompts', 'no')} held-out prompts)", "", *lines])


def _license(base: str) -> str | None:
    """What the card beside a base's weights states, if they lie here."""
    import yaml

    path = Path(base) / "README.md"
    if not path.is_file():
        path = Path(base).parent / "README.md"
    if not path.is_file() or not Path(base).is_dir():
        return None
    _, _, rest = path.read_text(encoding="utf-8").partition("---\n")
    try:
        head = yaml.safe_load(rest.partition("\n---")[0])
    except yaml.YAMLError:
        return None
    return str(head["license"]) if isinstance(head, dict) and head.get("license") else None
