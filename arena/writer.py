"""The one writer of the votes: a thread that commits what has queued up together, and answers each caller only after the commit.

    writer = Writer(database)
    writer.submit(Work(votes={vote.vote_id: vote_row(vote)}))     # the ids that are new, once they are on disk

What cannot be committed together is committed one by one, so that only the culprit's caller hears of it. What ratings read of votes (their
ballots, all of it found in other tables) is not written with each, which would take three times as long, but for a thousand at once; and
before anybody reads it, by `ballot_steps`.
"""

import logging
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

from arena.database import Database, Execute, statements
from arena.errors import ArenaError, StoreUnreachable, StoreUnwritable
from arena.rows import Row, battle_row, completion_row
from arena.votes import Battle
from serving.completion import Completion

log = logging.getLogger("arena")
Pair = tuple[Completion, Completion]
Step = tuple[str, list[Any]]  # a statement's name and its parameters

# A group commit stops growing here, so that nobody waits for an endless one.
_GROUP = 256
_BALLOTS = 1_000


@dataclass
class Work:
    """Rows that stand or fall together, and the caller who waits for them."""

    completions: dict[str, Row] = field(default_factory=dict)
    battles: dict[str, Row] = field(default_factory=dict)
    votes: dict[str, Row] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    done: "Future[set[str]]" = field(default_factory=Future)

    def add(self, battle: Battle, completions: Pair | None, known: dict[int, str]) -> None:
        """Add a battle with its answers; `known` remembers the ids of the completion objects added before."""
        ids: list[str] = []
        for completion in completions or ():
            if (key := known.get(id(completion))) is None:
                row = completion_row(completion)
                known[id(completion)] = key = row[0]
                self.completions[key] = row
            ids.append(key)
        self.battles[battle.battle_id] = battle_row(battle, (ids[0], ids[1]) if ids else (None, None))


class Writer:
    """The thread, its queue, and the database that it alone writes to."""

    def __init__(self, database: Database) -> None:
        self.database, self.closed = database, False
        self._behind = 0  # votes of this process without a ballot, roughly
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._gate = threading.Lock()
        self._thread = threading.Thread(target=self._write, name="arena-writer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what is queued, then end. May be called twice."""
        with self._gate:
            if self.closed:
                return
            self.closed = True
            self._queue.put(None)
        self._thread.join()

    def waiting(self) -> int:
        """How many writes wait."""
        return self._queue.qsize()

    def submit(self, work: Work) -> set[str]:
        """Write it; returns, after the commit, the ids of its battles and votes that are new. Raises UnknownBattle, ArenaError."""
        with self._gate:
            if self.closed:
                raise ArenaError(f"{self.database.name} is closed: nothing more can be written to it")
            self._queue.put(work)
        return work.done.result()

    def _write(self) -> None:
        last = False
        while not last:
            group: list[Work | None] = [self._queue.get()]
            while len(group) < _GROUP and group[-1] is not None:
                try:
                    group.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            last = group[-1] is None
            self._settle([work for work in group if work is not None])
            if self._behind >= _BALLOTS or (last and self._behind):
                self._write_ballots()

    def _settle(self, group: Sequence[Work]) -> None:
        """Commit the group; when it cannot be, each of it alone, so that only the culprit's caller hears of it."""
        if not group:
            return
        try:
            written = self._commit(_joined(group))
        except (StoreUnreachable, StoreUnwritable) as error:
            # It is nobody's fault, and would be the same for each alone.
            for work in group:
                work.done.set_exception(type(error)(str(error)))
        except Exception as error:
            if len(group) > 1:
                for work in group:
                    self._settle([work])
            else:
                group[0].done.set_exception(error)
        else:
            for work in group:
                # An id that two callers wrote belongs to the first.
                mine = written & (work.battles.keys() | work.votes.keys())
                written -= mine
                self._behind += len(mine & work.votes.keys())
                work.done.set_result(mine)

    def _commit(self, rows: Work) -> set[str]:
        try:
            return self.database.write(lambda execute: _insert(execute, rows, fresh=True))
        except (StoreUnreachable, StoreUnwritable):
            raise
        except ArenaError:
            # Something was there already, or is wrong.
            return self.database.write(lambda execute: _insert(execute, rows, fresh=False))

    def _write_ballots(self) -> None:
        try:
            self._behind = 0
            steps = ballot_steps(self.database)
            self._commit(Work(steps=steps))
        except ArenaError as error:
            # No vote waits for it, and whoever reads ballots asks again.
            log.warning("ballots are written later: %s", error)


def ballot_steps(database: Database) -> list[Step]:
    """What is to be run so that every vote has a ballot; nothing when all have."""
    last, missing = database.read(statements()["behind"])[0]
    analyze: list[Step] = [("analyze", [])] if missing > 5 * _BALLOTS else []
    return [("insert_labels", [last]), *analyze, ("insert_ballots", [last])] if missing else []


def _joined(group: Sequence[Work]) -> Work:
    """The rows of all of them; of two votes on one battle, and of two battles of one id, the first."""
    joined = Work()
    seen: set[str] = set()
    for work in group:
        joined.completions |= work.completions
        for key, row in work.battles.items():
            joined.battles.setdefault(key, row)
        for key, row in work.votes.items():
            # Of two rows with one key in one INSERT, DuckDB keeps the last; here the first vote stands.
            if key not in seen:
                seen.add(key)
                joined.votes.setdefault(row[1], row)
        joined.steps += work.steps
    return joined


def _insert(execute: Execute, rows: Work, *, fresh: bool) -> set[str]:
    """Write the rows, and the styles of answers; returns the ids of battles and votes that are new.

    `fresh` rows are believed to be new: ON CONFLICT doubles what an insert costs DuckDB. Of one that is not, the database says so.
    """
    last = execute(statements()["last_vote"])[0][0] if rows.votes else 0
    ordered = [(*row[:2], number, *row[2:]) for number, row in enumerate(rows.votes.values(), start=last + 1)]
    inserts = (("insert_completions", rows.completions.values()), ("insert_battles", rows.battles.values()), ("insert_votes", ordered))
    written: set[str] = set()
    for name, values in inserts:
        if values:
            columns = [list(column) for column in zip(*values, strict=True)]
            believed = fresh and name != "insert_completions"
            written.update(key for (key,) in execute(_fresh(name) if believed else statements()[name], columns))
            if name == "insert_completions":
                execute(statements()["insert_styles"], [columns[0], columns[3], columns[5]])
    for name, parameters in rows.steps:
        execute(statements()[name], parameters)
    return written


@cache
def _fresh(name: str) -> str:
    return statements()[name].replace("ON CONFLICT DO NOTHING\n", "")


def utc(moment: datetime) -> datetime:
    """A moment as the tables keep it: in UTC, without a zone."""
    return moment.astimezone(UTC).replace(tzinfo=None)
