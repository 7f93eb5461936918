"""What models judged (results/judgments/<id>.jsonl of `evals judge`), read as battles and votes and never taken for people's.

    arena leaderboard --votes results/judgments/20261124-101500-gpt-4o.jsonl
    arena export --votes results/judgments/20261124-101500-gpt-4o.jsonl --out results/datasets/rlaif

`voter_id` is the judge and `source` is judge:<id>. Imported into an arena they are kept but not rated: people's leaderboard is people's.
A battle without a verdict (unparsed, failed) is no vote.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena.errors import VotesFileError
from arena.votes import Battle, Vote
from serving.completion import Completion, Message
from serving.documents import parse_document

if TYPE_CHECKING:
    from arena.store import Record

_BATTLE = ("battle_id", "model_a", "model_b", "voter_id", "prompt_id", "pairing_policy", "mode")
_VOTE = ("vote_id", "battle_id", "voter_id", "winner", "voted_at", "source")
_REQUIRED = (*_VOTE, "model_a", "model_b", "prompt_id", "messages", "answer_a", "answer_b")


def read_judgments(path: Path, *, rated: bool = False) -> list["Record"]:
    """The votes of a file of judgments with their battles and both answers, `rated` only where they are asked for by name.

    Raises VotesFileError or DocumentError with file, line and key.
    """
    from arena.store import Record

    return [Record(*record) for record in _records(path, rated)]


def judges_of(path: Path) -> list[str]:
    """Who judged, sorted: their endpoints' terms hold for what is trained on their verdicts."""
    return sorted({str(values["voter_id"]) for _, values in _lines(path)})


def _records(path: Path, rated: bool) -> Iterator[tuple[Battle, tuple[Completion, Completion] | None, Vote]]:
    for where, values in _lines(path):
        if values["winner"] is None:
            continue
        messages = tuple(parse_document(message, Message, where=f"{where}: messages") for message in values["messages"])
        left, right = (parse_document(values[side], Completion, where=f"{where}: {side}") for side in ("answer_a", "answer_b"))
        battle = parse_document(
            {"created_at": None, "messages": messages, **{key: values[key] for key in _BATTLE if key in values}}, Battle, where=where
        )
        vote = parse_document(
            {"rated": rated, "unrated_reason": None if rated else "judged by a model", **{key: values[key] for key in _VOTE}},
            Vote,
            where=where,
        )
        # In a conversation each answered after its own first answer: these two texts do not continue the same messages.
        alike = left.request.messages == right.request.messages
        yield battle, (left, right) if alike else None, vote


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise VotesFileError(f"{path}: no such file; 'evals judge' writes results/judgments/<id>.jsonl") from None
    except (OSError, UnicodeDecodeError) as error:
        raise VotesFileError(f"{path}: cannot be read as judgments: {error}") from None
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        where = f"{path}:{number}"
        try:
            values = json.loads(line)
        except ValueError as error:
            raise VotesFileError(f"{where}: not JSON: {error}; judgments are one JSON object a line") from None
        missing = [key for key in _REQUIRED if key not in values] if isinstance(values, dict) else ["vote_id"]
        if missing:
            raise VotesFileError(f"{where}: {missing[0]}: missing; is this a file of judgments, as 'evals judge' writes it?")
        yield where, values
