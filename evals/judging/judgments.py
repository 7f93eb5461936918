"""What a judge decided, as the battles and votes of the arena, marked as a machine's: results/judgments/<id>.jsonl.

<id>.json                who judged what and how, written at the start; the figures at the end
<id>.completions.jsonl   every answer of the judge, appended and flushed as it arrives: what was paid for is never asked again
<id>.jsonl               one battle a line: the columns of a human vote, with both answers; `voter_id` is the judge

The last is a pure function of the second: a better reader of verdicts costs nothing.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from evals.errors import JudgeError
from evals.judging.answers import Sources
from evals.judging.prompts import MAX_TOKENS
from evals.runs import now
from serving.completion import Completion, Message
from serving.documents import Noun, parse_document, write_text_atomically
from serving.errors import did_you_mean

Winner = Literal["model_a", "model_b", "tie"]
Outcome = Literal["agreed", "flipped", "graded", "unparsed", "failed"]
Mode = Literal["pairwise", "single"]


class Judgment(Noun):
    """One battle as a judge saw it. `winner` is None where there is no vote: `outcome` says why.

    agreed: both orders say the same; flipped: they do not, so it is a tie; graded: the higher grade wins, equal grades tie;
    unparsed: a text holds no verdict; failed: the judge did not answer. `verdicts` are those of the order shown (a, b) and of (b, a), the
    latter already turned back, or the two grades.
    """

    vote_id: str
    battle_id: str
    voter_id: str
    model_a: str
    model_b: str
    winner: Winner | None
    prompt_id: str
    voted_at: datetime | None
    outcome: Outcome
    verdicts: tuple[str | float | None, str | float | None]
    source: str
    pairing_policy: Literal["judged"] = "judged"
    mode: Literal["judged"] = "judged"
    messages: tuple[Message, ...]
    answer_a: Completion
    answer_b: Completion
    request_hashes: tuple[str, str]


class Record(Noun):
    """<id>.json. `endpoint` is the judge in full (a key's variable, never the key); `figures` are those of evals/judging/figures.py."""

    judgments_id: str
    judge: str
    mode: Mode
    sources: Sources
    max_tokens: int | None = MAX_TOKENS
    temperature: float | None = 0.0
    concurrency: int = 16
    started_at: datetime
    finished_at: datetime | None = None
    git_commit: str | None = None
    versions: dict[str, str]
    endpoint: dict[str, Any]
    figures: dict[str, Any] | None = None


class Files(NamedTuple):
    """The three files of one id."""

    record: Path
    completions: Path
    judgments: Path


def files_of(judgments_id: str, results: Path) -> Files:
    """Where the files of this id are, whether or not they exist."""
    folder = results / "judgments"
    return Files(*(folder / f"{judgments_id}{ending}" for ending in (".json", ".completions.jsonl", ".jsonl")))


def new_id(judge: str, results: Path) -> str:
    """An id that sorts by time and names the judge: 20261124-101500-gpt-4o; its files do not exist."""
    stem = f"{now():%Y%m%d-%H%M%S}-{re.sub(r'[^A-Za-z0-9._-]+', '-', judge).strip('-.') or 'judge'}"
    number, judgments_id = 1, stem
    while any(path.exists() for path in files_of(judgments_id, results)):
        number += 1
        judgments_id = f"{stem}-{number}"
    return judgments_id


@contextmanager
def held(log: Path) -> Iterator[None]:
    """Nobody else judges into this log meanwhile, and cuts off what he takes for a line that a crash cut. The lock goes with the process.

    Raises JudgeError where another has it. A log that was made for nothing goes again.
    """
    import fcntl

    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JudgeError(f"{log} is being written by another process: wait for that judge, or stop it") from None
        try:
            yield
        finally:
            if log.exists() and not log.stat().st_size:
                log.unlink()


def write_record(record: Record, results: Path) -> None:
    """<id>.json, whole or not at all."""
    write_text_atomically(files_of(record.judgments_id, results).record, record.model_dump_json(indent=2) + "\n")


def read_record(judgments_id: str, results: Path) -> Record:
    """Raises JudgeError for an id that is not there, DocumentError for a file that does not fit."""
    path = files_of(judgments_id, results).record
    try:
        return parse_document(json.loads(path.read_text(encoding="utf-8")), Record, where=str(path))
    except FileNotFoundError:
        known = sorted(found.stem for found in path.parent.glob("*.json"))
        raise JudgeError(f"no judgments '{judgments_id}' in {path.parent}.{did_you_mean(judgments_id, known)}") from None
    except json.JSONDecodeError as error:
        raise JudgeError(f"{path}: not JSON: {error}") from None


def write_judgments(judgments: list[Judgment], path: Path) -> None:
    """A line each, whole or not at all."""
    lines = []
    for judgment in judgments:
        values = judgment.model_dump(mode="json", exclude={"answer_a", "answer_b"})
        # Answers as in completions.jsonl: what was left at its default is not written.
        values |= {side: json.loads(getattr(judgment, side).to_line()) for side in ("answer_a", "answer_b")}
        lines.append(json.dumps(values, ensure_ascii=False) + "\n")
    write_text_atomically(path, "".join(lines))


def read_judgments(path: Path) -> list[Judgment]:
    """The lines of <id>.jsonl. Raises JudgeError or DocumentError with file and line."""
    found = []
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise JudgeError(f"{path}: cannot be read as judgments: {error}") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if not line:
            continue
        try:
            values = json.loads(line)
        except ValueError as error:
            raise JudgeError(f"{path}:{number}: not JSON: {error}") from None
        found.append(parse_document(values, Judgment, where=f"{path}:{number}"))
    return found
