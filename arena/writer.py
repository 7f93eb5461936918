"""The one writer of the votes: a thread that commits what has queued up together, and answers each caller only after the commit.

    writer = Writer(connection, path)
    writer.submit(Work(votes={vote.vote_id: vote_row(vote)}))     # the ids that are new, once they are on disk

What cannot be committed together is committed one by one, so that only the culprit's caller hears of it.
"""

import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from arena.database import first_line, statements
from arena.errors import ArenaError, UnknownBattle
from arena.rows import Row, battle_row, completion_row
from arena.votes import Battle
from serving.completion import Completion

Pair = tuple[Completion, Completion]
Step = tuple[str, list[Any]]  # a statement's name and its parameters

# A group commit stops growing here, so that nobody waits for an endless one.
_GROUP = 256
_RETRIES = 5


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
    """The thread, its queue, and the file's cursor that it writes with."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        self.path, self.closed = path, False
        self._root = connection
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
                raise ArenaError(f"{self.path} is closed: nothing more can be written to it")
            self._queue.put(work)
        return work.done.result()

    def _write(self) -> None:
        cursor = self._root.cursor()
        last = False
        while not last:
            group: list[Work | None] = [self._queue.get()]
            while len(group) < _GROUP and group[-1] is not None:
                try:
                    group.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            last = group[-1] is None
            self._settle(cursor, [work for work in group if work is not None])
        cursor.close()

    def _settle(self, cursor: duckdb.DuckDBPyConnection, group: Sequence[Work]) -> None:
        """Commit the group; when it cannot be, each of it alone, so that only the culprit's caller hears of it."""
        if not group:
            return
        try:
            written = _commit(cursor, group)
        except Exception as error:
            if len(group) > 1:
                for work in group:
                    self._settle(cursor, [work])
            else:
                group[0].done.set_exception(translated(self.path, error) if isinstance(error, duckdb.Error) else error)
        else:
            for work in group:
                # An id that two callers wrote belongs to the first.
                mine = written & (work.battles.keys() | work.votes.keys())
                written -= mine
                work.done.set_result(mine)


def _commit(cursor: duckdb.DuckDBPyConnection, group: Sequence[Work]) -> set[str]:
    """One transaction; returns the ids of battles and votes that are new."""
    completions: dict[str, Row] = {}
    battles: dict[str, Row] = {}
    votes: dict[str, Row] = {}
    seen: set[str] = set()
    for work in group:
        completions |= work.completions
        for key, row in work.battles.items():
            battles.setdefault(key, row)
        for key, row in work.votes.items():
            # Of two rows with one key in one INSERT, DuckDB keeps the last; here the first vote stands.
            if key not in seen:
                seen.add(key)
                votes.setdefault(row[1], row)
    ordered = [(*row[:2], number, *row[2:]) for number, row in enumerate(votes.values(), start=1)]
    inserts = (("insert_completions", completions.values()), ("insert_battles", battles.values()), ("insert_votes", ordered))
    for attempt in range(_RETRIES):
        written: set[str] = set()
        cursor.begin()
        try:
            for name, rows in inserts:
                if rows:
                    columns = [list(column) for column in zip(*rows, strict=True)]
                    written.update(key for (key,) in cursor.execute(statements()[name], columns).fetchall())
                    if name == "insert_completions":
                        cursor.execute(statements()["insert_styles"], [columns[0], columns[3], columns[5]])
            if votes and (new := sorted(written & {row[0] for row in ordered})):
                cursor.execute(statements()["insert_labels"], [new])
                cursor.execute(statements()["insert_ballots"], [new])
            for name, parameters in (step for work in group for step in work.steps):
                cursor.execute(statements()[name], parameters)
            cursor.commit()
        except duckdb.TransactionException:
            # The same key in another open transaction fails at the commit, whatever ON CONFLICT says: ask again.
            _roll_back(cursor)
            if attempt == _RETRIES - 1:
                raise
            time.sleep(0.01 * 2**attempt)
        except BaseException:
            _roll_back(cursor)
            raise
        else:
            return written
    raise AssertionError("unreachable")


def utc(moment: datetime) -> datetime:
    """A moment as the tables keep it: in UTC, without a zone."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def _roll_back(cursor: duckdb.DuckDBPyConnection) -> None:
    try:
        cursor.rollback()
    except duckdb.Error:
        # A failed commit has ended the transaction by itself.
        pass


def translated(path: Path, error: duckdb.Error) -> ArenaError:
    """What the database says, in one line of ours."""
    text = first_line(error)
    if isinstance(error, duckdb.ConstraintException) and '"battle_id:' in text and "foreign key" in text:
        unknown = text.partition('"battle_id:')[2].partition('"')[0].strip()
        return UnknownBattle(f"{path} holds no battle '{unknown}': save the battle before its vote")
    return ArenaError(f"{path}: {text}")
