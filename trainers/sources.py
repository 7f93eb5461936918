"""Rows from elsewhere: a JSONL, JSON, Parquet or CSV file, a folder of such, or a dataset on the hub, in any of TRL's formats.

    trainers dpo recipe.yaml --data pairs.parquet
    trainers sft recipe.yaml --data HuggingFaceH4/ultrafeedback_binarized --set dataset_train_split=train_sft

Splits are those named train and test, or what the recipe's `dataset_train_split` and `dataset_test_split` (TRL's own keys) say. What TRL
takes in several shapes is made one: texts become messages of user and assistant, and of a preference whose answers repeat the conversation
the common beginning is the prompt.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainers.errors import DataError

Row = dict[str, Any]
_READERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_elsewhere(dataset: Path) -> bool:
    """Whether `dataset` is read here: a file, a folder without train.jsonl but with another train file, or a name on the hub."""
    if dataset.is_dir():
        return not (dataset / "train.jsonl").is_file() and (bool(_files(dataset)) or _saved(dataset) or _sharded(dataset))
    return dataset.is_file() or (not dataset.exists() and _HUB.fullmatch(str(dataset)) is not None)


def read_elsewhere(
    dataset: Path, *, train: str = "train", test: str = "test", config: str | None = None
) -> tuple[list[Row], list[Row], str]:
    """(train rows, test rows, SHA-256) in messages. The hash is of the files' bytes, of a hub's dataset of its rows. Raises DataError.

    `train` and `test` name the splits of a hub's dataset or of a folder that `datasets` wrote, `config` which of its parts.
    """
    from datasets import disable_progress_bars, load_dataset, load_from_disk

    disable_progress_bars()
    files = {"train": dataset} if dataset.is_file() else _files(dataset) if dataset.is_dir() else {}
    try:
        if files:
            if dataset.is_file() and dataset.suffix not in _READERS:
                raise DataError(f"{dataset}: rows are read from {', '.join(_READERS)}; this is '{dataset.suffix}'")
            read = {}
            for split, path in files.items():
                read[split] = load_dataset(_READERS[path.suffix], data_files=str(path), split="train")
        else:
            read = dict(load_from_disk(str(dataset)) if _saved(dataset) else load_dataset(str(dataset), config))
    except DataError:
        raise
    except Exception as error:
        # The library raises whatever its readers do, and the hub a family of its own.
        why = " ".join(str(error).split())[:160]
        remedy = "check the file" if files else "no such folder here, and the hub cannot give it (offline?): give a local folder or file"
        raise DataError(f"{dataset}: cannot be read: {why}; {remedy}") from None
    if train not in read:
        remedy = "name the one to train on: dataset_train_split (and dataset_test_split) in the recipe"
        raise DataError(f"{dataset}: has no split '{train}' (it has {', '.join(read)}); {remedy}")
    trained, tested = ([in_messages(dict(row)) for row in read[split]] if split in read else [] for split in (train, test))
    return trained, tested, _hash(files, trained, tested)


def hash_elsewhere(dataset: Path) -> str | None:
    """The SHA-256 of local files now; None where they are gone, or on the hub."""
    files = {"train": dataset} if dataset.is_file() else _files(dataset) if dataset.is_dir() else {}
    return _hash(files, [], []) if files else None


def in_messages(row: Row) -> Row:
    """A row in any of TRL's shapes as lists of messages. What is not known is left as it is, for the check to name."""
    row = {key: value for key, value in row.items() if value is not None}
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if isinstance(chosen, list) and isinstance(rejected, list) and chosen and rejected and chosen[0].get("role") != "assistant":
        n = next(
            (n for n, pair in enumerate(zip(chosen, rejected, strict=False)) if pair[0] != pair[1]), min(len(chosen), len(rejected)) - 1
        )
        row |= {"prompt": chosen[:n], "chosen": chosen[n:], "rejected": rejected[n:]}
    roles = {"prompt": "user", "chosen": "assistant", "rejected": "assistant", "completion": "assistant"}
    said = {key: [{"role": role, "content": row[key]}] for key, role in roles.items() if isinstance(row.get(key), str)}
    return {**row, **said}


def _files(folder: Path) -> dict[str, Path]:
    def named(split: str) -> Iterator[Path]:
        return (folder / f"{split}{suffix}" for suffix in _READERS if (folder / f"{split}{suffix}").is_file())

    found = {split: next(named(split), None) for split in ("train", "test")}
    return {split: path for split, path in found.items() if path is not None} if found["train"] else {}


def _saved(folder: Path) -> bool:
    """Whether `save_to_disk` of the datasets library wrote this folder."""
    return (folder / "dataset_dict.json").is_file()


def _sharded(folder: Path) -> bool:
    """Whether the folder is laid out as on the hub: train-00000-of-00003.parquet, here or under data/."""
    return any(folder.glob("train-*-of-*.*")) or any(folder.glob("data/train-*-of-*.*"))


def _hash(files: dict[str, Path], train: list[Row], test: list[Row]) -> str:
    digest = hashlib.sha256()
    for path in files.values():
        digest.update(path.read_bytes())
    for row in () if files else (*train, *test):
        digest.update((json.dumps(row, ensure_ascii=False, sort_keys=True, default=str) + "\n").encode())
    return digest.hexdigest()
