"""What was trained from what: results/trainings/<id>/training.json, and the chain from a training back to its votes and its first base."""

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serving.documents import Noun, parse_document, write_text_atomically
from serving.errors import did_you_mean
from trainers.errors import TrainersError, UnknownTraining

DISTRIBUTIONS = ("bakeoff", "torch", "transformers", "trl", "peft", "datasets", "accelerate")


class Training(Noun):
    """One training. `base` is what it started from, `parent` the training that made that base; paths are relative to the training's folder.

    `base_hash` is the SHA-256 over the base's weight files (None where there are none); `recipe` is the resolved one; `metrics` holds what
    was measured before and after, under TRL's own names.
    """

    training_id: str
    method: str
    base: str
    base_hash: str | None
    parent: str | None
    dataset: str
    dataset_hash: str
    n_train: int
    n_test: int
    recipe: dict[str, Any]
    versions: dict[str, str]
    seed: int
    metrics: dict[str, Any]
    gate: dict[str, Any] | None = None
    adapter: str | None
    merged: str | None
    started_at: datetime
    finished_at: datetime


def new_training(method: str, base: str, results: Path) -> tuple[str, Path]:
    """(id, folder), made and empty; the id sorts by time: 20261123-061500-dpo-tiny."""
    name = re.sub(r"[^A-Za-z0-9.]+", "-", _short_name(base)).strip("-.")[:40]
    stem = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{method}-{name}"
    number = 1
    while True:
        training_id = stem if number == 1 else f"{stem}-{number}"
        folder = results / "trainings" / training_id
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return training_id, folder


def write_training(training: Training, folder: Path) -> None:
    """training.json, whole or not at all, and the model card that says the same to people."""
    from trainers.modelcard import write_card

    write_text_atomically(folder / "training.json", training.model_dump_json(indent=2) + "\n")
    write_card(training, folder)


def find_training(training_id: str, results: Path) -> tuple[Training, Path]:
    """(record, folder) of a finished training. Raises UnknownTraining."""
    folder = results / "trainings" / training_id
    if not (folder / "training.json").is_file():
        known = [path.name for path in training_folders(results)]
        raise UnknownTraining(
            f"no finished training '{training_id}' in {results / 'trainings'}.{did_you_mean(training_id, known)} "
            f"'trainers ls' lists the {len(known)} known ones"
        )
    return read_training(folder), folder


def read_training(folder: Path) -> Training:
    """The record in a training's folder. Raises UnknownTraining or DocumentError when it is not one."""
    path = folder / "training.json"
    try:
        return parse_document(json.loads(path.read_text(encoding="utf-8")), Training, where=str(path))
    except ValueError as error:
        raise UnknownTraining(f"{path}: not JSON: {error}") from None


def training_folders(results: Path) -> list[Path]:
    """The finished trainings, oldest first."""
    return sorted(path.parent for path in (results / "trainings").glob("*/training.json"))


def resolve_base(name: str, results: Path) -> tuple[str, str | None]:
    """(folder or hub id to load, id of the training that made it or None) for a recipe's model_name_or_path.

    Raises TrainersError for a training without whole weights and for a path that holds no model.
    """
    own = results / "trainings" / name
    if (own / "training.json").is_file():
        if not (own / "merged" / "config.json").is_file():
            raise TrainersError(f"model_name_or_path: training '{name}' has no merged weights yet; make them with 'trainers merge {name}'")
        return str(own / "merged"), name
    folder = Path(name)
    if folder.is_dir() and not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise TrainersError(f"model_name_or_path: the folder {name} holds no config.json; name one with a model's weights and tokenizer")
    # On the hub a model is called name or owner/name; whatever else was meant as a path.
    if not folder.is_dir() and not re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", name):
        raise TrainersError(f"model_name_or_path: {name}: no such folder, no training of that id, and no name that the hub could know")
    parent = folder.resolve().parent
    if folder.resolve().name in ("merged", "adapter") and (parent / "training.json").is_file():
        return name, read_training(parent).training_id
    return name, None


def lineage(training_id: str, results: Path) -> Iterator[Training]:
    """The training, the one it started from, and so on back to the first. Raises UnknownTraining for a link that is missing."""
    seen: set[str] = set()
    following: str | None = training_id
    while following is not None and following not in seen:
        seen.add(following)
        training, _ = find_training(following, results)
        yield training
        following = training.parent


def weights_hash(folder: Path) -> str | None:
    """SHA-256 over the weight files of a model folder, in name order; None where there are none."""
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    if not files:
        return None
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """The versions that a training depends on."""
    import platform
    from importlib.metadata import version

    return {"python": platform.python_version(), **{name: version(name) for name in DISTRIBUTIONS}}


def _short_name(base: str) -> str:
    """The last telling part of a base: of a training's id, what it was called before."""
    path = Path(base)
    name = path.parent.name if path.name == "merged" else path.name
    return re.sub(r"^\d{8}-\d{6}-[a-z]+-", "", name)
