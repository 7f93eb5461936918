"""A team's own questions and answers as a task: a JSONL or CSV file and three lines of YAML.

    task: ours
    data: questions.csv            # columns `question` and `answer`; from the YAML's folder
    match: number                  # exact | number | choice | contains

Two more lines are allowed: `prompt` (a template, default "{{question}}") and `max_tokens`. In JSONL an answer may be a list: any of them is
right. A row that cannot be asked or marked is an error with its file and line, before anything is asked.
"""

import csv
import json
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from evals.errors import TaskError
from evals.tasks.choices import UNPARSED, choice_answer
from serving.documents import Noun, parse_document
from serving.errors import DocumentError, did_you_mean

Match = Literal["exact", "number", "choice", "contains"]
_NUMBER = re.compile(r"[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|[-+−]?\.\d+")


class OwnTask(Noun):
    """The YAML's keys."""

    task: str = Field(min_length=1)
    data: str
    match: Match
    prompt: str = Field(default="{{question}}", min_length=1)
    max_tokens: int | None = Field(default=None, ge=1)


def own_config(values: dict[str, Any], path: Path) -> dict[str, Any]:
    """The lm-eval configuration of such a task. Raises TaskError: a key, a missing column, an empty file, a row that cannot be marked."""
    try:
        own = parse_document(values, OwnTask, where=str(path))
    except DocumentError as error:
        raise TaskError(str(error)) from None
    rows = read_rows(path.parent / own.data, own.match)
    logging.getLogger("lm_eval.api.task").addFilter(_is_news)
    generation: dict[str, Any] = {"until": [], "temperature": 0.0}
    return {
        "task": own.task,
        "custom_dataset": lambda **ignored: {"test": _dataset(rows)},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": own.prompt,
        "doc_to_target": "{{answer[0]}}",
        "generation_kwargs": generation | ({"max_gen_toks": own.max_tokens} if own.max_tokens else {}),
        "filter_list": [
            {"name": "answer", "filter": [{"function": "custom", "filter_fn": _filter(own.match)}, {"function": "take_first"}]},
        ],
        "process_results": _scorer(own.match),
        "metric_list": [
            {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True},
            {"metric": "unparsed", "aggregation": "mean", "higher_is_better": False},
        ],
        "metadata": {"version": 1.0},
    }


def read_rows(path: Path, match: Match) -> list[dict[str, Any]]:
    """The rows of a .csv or .jsonl file, their answers as lists of texts; further columns are kept for the prompt. Raises TaskError."""
    if not path.is_file():
        raise TaskError(f"{path}: no such file; 'data:' is a path from the task's YAML")
    readers = {".csv": _csv_rows, ".jsonl": _jsonl_rows}
    if path.suffix not in readers:
        raise TaskError(f"{path}: 'data:' must end in .csv or .jsonl")
    rows = []
    try:
        for line, row in readers[path.suffix](path):
            rows.append(_checked(row, match, f"{path}:{line}"))
    except UnicodeDecodeError as error:
        raise TaskError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    if not rows:
        raise TaskError(f"{path}: holds no question; add rows with the columns question and answer")
    return rows


def read_answer(text: str, match: Match) -> str:
    """What the text answers: a letter, its last number, or all of it."""
    if match == "choice":
        return choice_answer(text)
    if match == "number":
        found = _NUMBER.findall(text)
        return found[-1] if found else UNPARSED
    return text.strip() or UNPARSED


def is_right(answer: str, accepted: Sequence[str], match: Match) -> bool:
    """Whether a read answer is one of the accepted ones: by value for numbers, as whole words anywhere in it for `contains`."""
    if answer == UNPARSED:
        return False
    if match == "number":
        return any(_value(answer) == _value(one) for one in accepted)
    if match == "contains":
        return any(re.search(rf"(?<!\w){re.escape(_plain(one))}(?!\w)", _plain(answer)) for one in accepted)
    return any(" ".join(answer.split()) == " ".join(one.split()) for one in accepted)


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    # utf-8-sig: spreadsheets write a byte order mark.
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            if header:
                _check_columns(header, f"{path}:1")
            start = reader.line_num + 1
            for cells in reader:
                if cells and len(cells) != len(header):
                    raise TaskError(f"{path}:{start}: {len(cells)} cells under {len(header)} columns; quote the cells that hold commas")
                if cells:
                    yield start, dict(zip(header, cells, strict=True))
                start = reader.line_num + 1
        except csv.Error as error:
            raise TaskError(f"{path}:{reader.line_num}: not CSV: {error}") from None


def _jsonl_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise TaskError(f"{path}:{number}: not JSON: {error}") from None
        if not isinstance(row, dict):
            raise TaskError(f'{path}:{number}: must hold an object like {{"question": …, "answer": …}}, holds {type(row).__name__}')
        _check_columns(list(row), f"{path}:{number}")
        yield number, row


def _check_columns(names: list[str], where: str) -> None:
    for wanted in ("question", "answer"):
        if wanted not in names:
            raise TaskError(f"{where}: no column '{wanted}'.{did_you_mean(wanted, names)} Columns here: {', '.join(names)}")


def _checked(row: dict[str, Any], match: Match, where: str) -> dict[str, Any]:
    accepted = [_text(one) for one in (row["answer"] if isinstance(row["answer"], list) else [row["answer"]])]
    if not _text(row["question"]):
        raise TaskError(f"{where}: the question is empty")
    if not accepted or not all(accepted):
        raise TaskError(f"{where}: the answer is empty")
    for one in accepted:
        if match == "number" and not _NUMBER.fullmatch(one):
            raise TaskError(f"{where}: answer '{one}' is no number; write digits alone, or choose match: exact or contains")
        if match == "choice" and not re.fullmatch("[A-Z]", one):
            raise TaskError(f"{where}: answer '{one}' is no letter A to Z; write the letter of the right choice alone")
    return {**row, "question": str(row["question"]), "answer": accepted}


def _is_news(record: logging.LogRecord) -> bool:
    """lm-eval advises on options of its own command whenever documents come from a function; a filter added twice counts once."""
    return "Custom kwargs can be passed" not in record.getMessage()


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _value(number: str) -> Decimal:
    return Decimal(number.replace(",", "").replace("−", "-"))


def _dataset(rows: list[dict[str, Any]]) -> Any:
    from datasets import Dataset

    return Dataset.from_list(rows)


def _filter(match: Match) -> Any:
    def answers(responses: Iterable[Sequence[str]], docs: object) -> list[list[str]]:
        return [[read_answer(text, match) for text in of_one] for of_one in responses]

    return answers


def _scorer(match: Match) -> Any:
    def score(doc: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
        return {"exact_match": float(is_right(results[0], doc["answer"], match)), "unparsed": float(results[0] == UNPARSED)}

    return score
