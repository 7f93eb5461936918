"""A vote with its question and both answers, read one after the other however many there are: what `arena export` walks through.

    with answers_of(store, folder) as answers:
        for cast in casts_of(store, answers): ...

The database gives the answers in any order and the votes in theirs, so the answers' texts are first put into a file beside the dataset
that is being written: a million votes with their texts need disk, not memory.
"""

import json
import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from serving.completion import ANSWERED, Completion

if TYPE_CHECKING:
    from arena.store import Record, Store

Turn = dict[str, str]


class Answer(NamedTuple):
    """What a model answered; `status` as of a Completion."""

    key: str
    status: str
    text: str

    @property
    def answered(self) -> bool:
        """Whether there is an answer to learn from or against."""
        return self.status in ANSWERED and bool(self.text.strip())


class Cast(NamedTuple):
    """One vote. `flag` is why an audit keeps it from counting; `left` and `right` are None where it came without texts."""

    vote_id: str
    battle_id: str
    voter_id: str | None
    winner: str
    dwell_s: float | None
    rated: bool
    flag: str | None
    source: str
    messages: list[Turn]
    model_a: str
    model_b: str
    left: Answer | None
    right: Answer | None

    @property
    def voter(self) -> str | None:
        """Whose taste this vote is: of a person who is known. A judge is one for all and no voter."""
        return None if self.source.startswith("judge:") else self.voter_id


class Answers:
    """Texts on disk by the id of their completion."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._places: dict[str, int] = {}
        self._starts, self._lengths = array("Q"), array("L")
        self._status: list[str] = []
        self._end = 0
        self.of = lru_cache(maxsize=2048)(self._of)

    def add(self, key: str, status: str, text: str) -> None:
        """Keep one answer."""
        written = text.encode("utf-8", "surrogatepass")
        self._file.write(written)
        self._places[key] = len(self._status)
        self._starts.append(self._end)
        self._lengths.append(len(written))
        self._status.append(status)
        self._end += len(written)

    def flush(self) -> None:
        """Make what was added readable."""
        self._file.flush()

    def _of(self, key: str | None) -> Answer | None:
        place = None if key is None else self._places.get(key)
        if place is None or key is None:
            return None
        text = os.pread(self._file.fileno(), self._lengths[place], self._starts[place]).decode("utf-8", "surrogatepass")
        return Answer(key, self._status[place], text)


@contextmanager
def answers_of(store: "Store", folder: Path) -> Iterator[Answers]:
    """Every stored answer, put into an unnamed file in `folder` (which exists)."""
    with tempfile.TemporaryFile(dir=folder) as file:
        answers = Answers(file)
        for key, status, text in store.stream("exported_answers"):
            answers.add(key, status, text or "")
        answers.flush()
        yield answers


def casts_of(store: "Store", answers: Answers) -> Iterator[Cast]:
    """Every vote in the order they were cast."""
    for *vote, messages, model_a, model_b, left, right in store.stream("exported_votes"):
        yield Cast._make((*vote, json.loads(messages), model_a, model_b, answers.of(left), answers.of(right)))


def casts_from(records: Iterable["Record"]) -> Iterator[Cast]:
    """The same of records in memory (judgments)."""
    for battle, pair, vote in records:
        left, right = (None, None) if pair is None else (_answer(vote.vote_id, side) for side in pair)
        yield Cast(
            vote.vote_id, vote.battle_id, vote.voter_id, vote.winner, vote.dwell_s, vote.rated, None, vote.source,
            [message.model_dump() for message in battle.messages], battle.model_a, battle.model_b, left, right,
        )  # fmt: skip


def _answer(vote_id: str, completion: Completion) -> Answer:
    return Answer(f"{vote_id} {completion.endpoint}", completion.status, completion.text)
