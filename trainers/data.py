"""Rows to train on: a folder with train.jsonl and, better, test.jsonl, as `arena export` writes it or in TRL's other formats.

    preference          prompt, chosen, rejected      for dpo, reward, kto (one row each), sft (the chosen answer)
    unpaired            prompt, completion, label     for kto (label: is it a good answer)
    prompt-completion   prompt, completion            for sft
    language modelling  messages                      for sft
    services            input, preferred_output, …    as preference
    prompt only         prompt                        for grpo, rloo, self-train, which take the prompts of all others too

Every value is a list of messages (`role`, `content`); files of other kinds and the hub are read by trainers/sources.py. A row that
does not fit is told by file and line; none is passed over.
"""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.errors import DataError
from trainers.recipe import SPLITS, Method, Recipe
from trainers.sources import in_messages, is_elsewhere, read_elsewhere

Row = dict[str, Any]
_PREFERENCE = ("prompt", "chosen", "rejected")
_ANSWERED: tuple[tuple[str, ...], ...] = (("prompt", "chosen"), ("prompt", "completion"), ("messages",))
_PROMPTS = (*_ANSWERED, ("prompt",))
_COLUMNS: dict[Method, tuple[tuple[str, ...], ...]] = {
    "sft": _ANSWERED,
    "dpo": (_PREFERENCE,),
    "kto": (("prompt", "completion", "label"), _PREFERENCE),
    "reward": (_PREFERENCE,),
    "grpo": _PROMPTS,
    "rloo": _PROMPTS,
    "self-train": _PROMPTS,
}


@dataclass(frozen=True)
class Rows:
    """The rows of a dataset folder and the SHA-256 of train.jsonl followed by test.jsonl."""

    folder: Path
    train: list[Row]
    test: list[Row]
    dataset_hash: str


def load_rows(folder: Path, method: Method, own: Mapping[str, str] | None = None) -> Rows:
    """Read and check a dataset folder; `own` are the recipe's keys that name splits.

    Raises DataError, also when the rows are not those that its audit.json accounts for.
    """
    if is_elsewhere(folder):
        return _from_elsewhere(folder, method, own or {})
    if named := next((key for key in SPLITS if key in (own or {})), None):
        raise DataError(f"{folder}: {named}: this folder holds train.jsonl and test.jsonl; remove the key from the recipe")
    train_path, test_path = folder / "train.jsonl", folder / "test.jsonl"
    if not train_path.is_file():
        what = "no such folder" if not folder.exists() else "holds no train.jsonl"
        raise DataError(f"{folder}: {what}; make one with 'arena export --format dpo --out DIR'")
    hashed = dataset_hash(folder)
    if (audited := _audited_hash(folder / "audit.json")) not in (None, hashed):
        raise DataError(
            f"{folder / 'audit.json'}: dataset_hash: accounts for other rows ({audited:.12}… not {hashed:.12}…); export the dataset again"
        )
    train, test = _read(train_path, method), _read(test_path, method) if test_path.is_file() else []
    if not train:
        raise DataError(f"{train_path}: holds no row")
    if test and set(for_sft(test[:1])[0]) != set(for_sft(train[:1])[0]):
        raise DataError(f"{test_path}: its rows have other columns than those of train.jsonl; both files need the same format")
    return Rows(folder, train, test, hashed)


def _from_elsewhere(dataset: Path, method: Method, own: Mapping[str, str]) -> Rows:
    names = {"train": own.get("dataset_train_split", "train"), "test": own.get("dataset_test_split", "test")}
    *splits, hashed = read_elsewhere(dataset, **names, config=own.get("dataset_config"))
    train, test = ([_fitting(row, dataset, number, method) for number, row in enumerate(rows, start=1)] for rows in splits)
    if not train:
        raise DataError(f"{dataset}: holds no row")
    return Rows(dataset, train, test, hashed)


def dataset_hash(folder: Path) -> str:
    """SHA-256 of train.jsonl followed by test.jsonl, as audit.json has it."""
    digest = hashlib.sha256()
    for name in ("train.jsonl", "test.jsonl"):
        if (folder / name).is_file():
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def check_lengths(recipe: Recipe, rows: Sequence[Row], tokenizer: Any, *, name: str = "train.jsonl") -> int:
    """How many rows of the file `name` will be cut at max_length. Raises DataError when a row would lose its whole answer (TRL drops it
    without an error), unless the recipe allows it."""
    limit = getattr(recipe.training, "max_length", None)
    if limit is None:
        return 0
    cut, lost = 0, []
    for number, row in enumerate(rows, start=1):
        prompt, answers = parts(row)
        start = len(tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)) if prompt else 0
        longest = max((len(tokenizer.apply_chat_template(prompt + answer, return_dict=False)) for answer in answers), default=start)
        if start >= limit:
            lost.append(number)
        elif longest > limit:
            cut += 1
    if lost and not recipe.allow_truncated_rows:
        raise DataError(
            f"{recipe.dataset / name}: row {lost[0]}: the prompt alone fills max_length ({limit} tokens), as in {len(lost)} of {len(rows)} "
            "rows; raise max_length, or set allow_truncated_rows: true to train without them"
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


def for_kto(rows: Sequence[Row], *, seed: int = 0) -> list[Row]:
    """Rows as KTOTrainer takes them, a preference as two, in an order shuffled by `seed`.

    TRL keeps the order and compares each row with its neighbour's answer: the two answers to one prompt must not stand side by side.
    """
    unpaired = []
    for row in rows:
        pairs = [(row["chosen"], True), (row["rejected"], False)] if "chosen" in row else [(row["completion"], row["label"])]
        unpaired += [{"prompt": row["prompt"], "completion": completion, "label": label} for completion, label in pairs]
    random.Random(seed).shuffle(unpaired)
    return unpaired


def for_prompts(rows: Sequence[Row]) -> list[Row]:
    """Each question once: `prompt`, and in `answer` the text that the row holds as the right one (empty where there is none)."""
    asked: dict[str, Row] = {}
    for row in rows:
        prompt, answers = parts(row)
        answer = answers[0][-1]["content"] if answers and row.get("label", True) else ""
        asked.setdefault(json.dumps(prompt, sort_keys=True), {"prompt": prompt, "answer": answer})
    return list(asked.values())


def parts(row: Row) -> tuple[list[Any], list[list[Any]]]:
    """(prompt, the answers to it) of a row of any format; of a conversation, all but the last turn is the prompt."""
    if "messages" in row:
        return row["messages"][:-1], [row["messages"][-1:]]
    return row["prompt"], [row[key] for key in ("chosen", "rejected", "completion") if key in row]


def _audited_hash(audit: Path) -> str | None:
    if not audit.is_file():
        return None
    try:
        stated = json.loads(audit.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{audit}: not JSON: {error}; export the dataset again") from None
    found = stated.get("dataset_hash") if isinstance(stated, dict) else None
    return None if found is None else str(found)


def _read(path: Path, method: Method) -> list[Row]:
    rows = []
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start})") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}:{number}: not JSON: {error}") from None
        rows.append(_fitting(in_messages(row) if isinstance(row, dict) else row, path, number, method))
    return rows


def _fitting(row: Any, path: Path, number: int, method: Method) -> Row:
    formats = " or ".join(" + ".join(columns) for columns in _COLUMNS[method])
    if not isinstance(row, dict):
        raise DataError(f"{path}:{number}: not an object with {formats}")
    row = _of_services(row)
    columns = next((columns for columns in _COLUMNS[method] if all(column in row for column in columns)), None)
    if columns is None:
        raise DataError(f"{path}:{number}: {method} needs {formats}; this row has {', '.join(row) or 'nothing'}")
    # TRL would read this; nothing here hands it on, so it must not be lost in silence.
    if row.get("tools"):
        raise DataError(f"{path}:{number}: tools: rows with tools are not read yet; remove the column")
    if "label" in columns and not isinstance(row["label"], bool):
        raise DataError(f"{path}:{number}: label: must be true (a good answer) or false (got {row['label']!r:.40})")
    texts = [column for column in columns if column != "label"]
    for column in texts:
        turns = row[column]
        whole = isinstance(turns, list) and turns and all(isinstance(turn, dict) and {"role", "content"} <= set(turn) for turn in turns)
        if not whole:
            raise DataError(f"{path}:{number}: {column}: must be a list of messages with role and content")
        if wrong := next((turn for turn in turns if not all(isinstance(turn[key], str) for key in ("role", "content"))), None):
            raise DataError(f"{path}:{number}: {column}: role and content must be texts (got {wrong!r:.80})")
        if not turns[-1]["content"].strip():
            raise DataError(f"{path}:{number}: {column}: ends with an empty message, from which there is nothing to learn; remove the row")
    if "rejected" in columns and row["chosen"] == row["rejected"]:
        raise DataError(f"{path}:{number}: chosen and rejected are the same, so nothing is preferred; remove the row")
    # Round trips through Parquet add empty keys to messages, which chat templates may take for content.
    kept: Row = {column: [{"role": turn["role"], "content": turn["content"]} for turn in row[column]] for column in texts}
    return kept | ({"label": row["label"]} if "label" in columns else {})


def _of_services(row: Row) -> Row:
    """A row of fine-tuning services (input.messages, preferred_output, non_preferred_output) as a preference."""
    given = row.get("input")
    if not isinstance(given, dict) or "preferred_output" not in row:
        return row
    told = {"prompt": given.get("messages"), "chosen": row["preferred_output"], "rejected": row.get("non_preferred_output")}
    return {**{key: value for key, value in told.items() if value is not None}, **({"tools": given["tools"]} if given.get("tools") else {})}
