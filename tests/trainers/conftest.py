"""A tiny base and a small set of preferences, made once for the room's tests."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tiny_llama import build_tiny_llama

from trainers.record import Training, write_training

Row = dict[str, Any]
DISHES = ("bread", "cake", "pie", "tea", "soup", "rice", "fish", "corn")
VERBS = ("bake", "like", "sell", "buy", "eat")


def preference(verb: str, dish: str) -> Row:
    def turn(role: str, content: str) -> list[dict[str, str]]:
        return [{"role": role, "content": content}]

    return {
        "prompt": turn("user", f"How do I {verb} {dish}?"),
        "chosen": turn("assistant", f"Gladly! To {verb} {dish}, start slowly."),
        "rejected": turn("assistant", f"No. {dish} is bad."),
        "vote_id": f"vote-{verb}-{dish}",
    }


def write_rows(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="session")
def votes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder: 35 rows to train on, 5 held out; no dish in both."""
    folder = tmp_path_factory.mktemp("votes")
    write_rows(folder / "train.jsonl", [preference(verb, dish) for dish in DISHES[:-1] for verb in VERBS])
    write_rows(folder / "test.jsonl", [preference(verb, DISHES[-1]) for verb in VERBS])
    return folder


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random tiny Llama whose tokenizer knows the words of the rows."""
    rows = [preference(verb, dish) for dish in DISHES for verb in VERBS]
    texts = [turn["content"] for row in rows for key in ("prompt", "chosen", "rejected") for turn in row[key]]
    return build_tiny_llama(tmp_path_factory.mktemp("model") / "base", texts=texts)


@pytest.fixture
def recipe_file(tmp_path: Path, base: Path) -> Path:
    """A recipe for the tiny base: small, quick, LoRA."""
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"model_name_or_path: {base}\nlearning_rate: 1e-3\nnum_train_epochs: 2\nper_device_train_batch_size: 8\nmax_length: 256\n"
        "use_peft: true\nlora_r: 8\nlora_target_modules: all-linear\n"
    )
    return path


@pytest.fixture
def new_record() -> Callable[..., Training]:
    """Writes the record of a training into a folder, without training anything."""

    def make(folder: Path, **changed: Any) -> Training:
        moment = datetime(2026, 11, 24, tzinfo=UTC)
        values: dict[str, Any] = {
            "training_id": "t1", "method": "dpo", "base": "some/base", "base_hash": None, "parent": None, "dataset": "votes",
            "dataset_hash": "0", "n_train": 1, "n_test": 1, "recipe": {}, "versions": {}, "seed": 1, "metrics": {}, "adapter": None,
            "merged": "merged", "started_at": moment, "finished_at": moment,
        }  # fmt: skip
        made = Training.model_validate(values | changed)
        folder.mkdir(parents=True, exist_ok=True)
        write_training(made, folder)
        return made

    return make
