"""Rows to train on: a folder with train.jsonl and, better, test.jsonl, as `arena export` writes it or in TRL's other formats.

    preference          prompt, chosen, rejected      for sft (the chosen answer) and dpo
    prompt-completion   prompt, completion            for sft
    language modelling  messages                      for sft

Every value is a list of messages (`role`, `content`). A row that does not fit is told by file and line; none is passed over.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.errors import DataError
from trainers.recipe import Method, Recipe

Row = dict[str, Any]
_COLUMNS: dict[Method, tuple[tuple[str, ...], ...]] = {
    "sft": (("prompt", "chosen"), ("prompt", "completion"), ("messages",)),
    "dpo": (("prompt", "chosen", "rejected"),),
}


@dataclass(frozen=True)
class Rows:
    """The rows of a dataset folder and the SHA-256 of train.jsonl followed by test.jsonl."""

    folder: Path
    train: list[Row]
    test: list[Row]
    dataset_hash: str


def load_rows(folder: Path, method: Method) -> Rows:
    """Read and check a dataset folder. Raises DataError, also when the rows are not those that its audit.json accounts for."""
    train_path, test_path = folder / "train.jsonl", folder / "test.jsonl"
    if not train_path.is_file():
        what = "no such folder" if not folder.exists() else "holds no train.jsonl"
        raise DataError(f"{folder}: {what}; make one with 'arena export --format dpo --out DIR'")
    train, test = _read(train_path, method), _read(test_path, method) if test_path.is_file() else []
    if not train:
        raise DataError(f"{train_path}: holds no row")
    content = train_path.read_bytes() + (test_path.read_bytes() if test_path.is_file() else b"")
    dataset_hash = hashlib.sha256(content).hexdigest()
    audit = folder / "audit.json"
    if audit.is_file() and (stated := json.loads(audit.read_text(encoding="utf-8")).get("dataset_hash")) not in (None, dataset_hash):
        raise DataError(
            f"{audit}: dataset_hash: accounts for other rows ({stated[:12]}… not {dataset_hash[:12]}…); export the dataset again"
        )
    return Rows(folder, train, test, dataset_hash)


def check_lengths(recipe: Recipe, rows: Sequence[Row], tokenizer: Any) -> int:
    """How many rows will be cut at max_length. Raises DataError when a row would lose its whole answer (TRL drops it without an error),
    unless the recipe allows it."""
    limit = recipe.training.max_length
    if limit is None:
        return 0
    cut, lost = 0, []
    for number, row in enumerate(rows, start=1):
        prompt, answers = _parts(row)
        start = len(tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)) if prompt else 0
        longest = max(len(tokenizer.apply_chat_template(prompt + answer, return_dict=False)) for answer in answers)
        if start >= limit:
            lost.append(number)
        elif longest > limit:
            cut += 1
    if lost and not recipe.allow_truncated_rows:
        where = f"{recipe.dataset / 'train.jsonl'}:{lost[0]}"
        raise DataError(
            f"{where}: the prompt alone fills max_length ({limit} tokens), as in {len(lost)} of {len(rows)} rows; "
            "raise max_length, or set allow_truncated_rows: true to train without them"
        )
    return cut


def for_sft(rows: Sequence[Row]) -> list[Row]:
    """Rows as SFTTrainer takes them: of a preference, the chosen answer."""
    return [
        {"messages": row["messages"]}
        if "messages" in row
        else {"prompt": row["prompt"], "completion": row.get("chosen", row.get("completion"))}
        for row in rows
    ]


def for_dpo(rows: Sequence[Row]) -> list[Row]:
    """Rows as DPOTrainer takes them."""
    return [{key: row[key] for key in ("prompt", "chosen", "rejected")} for row in rows]


def _parts(row: Row) -> tuple[list[Any], list[list[Any]]]:
    """(prompt, the answers to it) of a row of any format; of a conversation, all but the last turn is the prompt."""
    if "messages" in row:
        return row["messages"][:-1], [row["messages"][-1:]]
    return row["prompt"], [row[key] for key in ("chosen", "rejected", "completion") if key in row]


def _read(path: Path, method: Method) -> list[Row]:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}:{number}: not JSON: {error}") from None
        rows.append(_fitting(row, path, number, method))
    return rows


def _fitting(row: Any, path: Path, number: int, method: Method) -> Row:
    formats = " or ".join(" + ".join(columns) for columns in _COLUMNS[method])
    if not isinstance(row, dict):
        raise DataError(f"{path}:{number}: not an object with {formats}")
    columns = next((columns for columns in _COLUMNS[method] if all(column in row for column in columns)), None)
    if columns is None:
        raise DataError(f"{path}:{number}: {method} needs {formats}; this row has {', '.join(row) or 'nothing'}")
    for column in columns:
        turns = row[column]
        whole = isinstance(turns, list) and turns and all(isinstance(turn, dict) and {"role", "content"} <= set(turn) for turn in turns)
        if not whole:
            raise DataError(f"{path}:{number}: {column}: must be a list of messages with role and content")
    return row
