"""Votes are rows, with one writer: what the arena knows lives in one DuckDB file, results/arena.duckdb.

    with Store(Path("results/arena.duckdb")) as store:
        store.save_battle(battle, (left, right))
        store.save_vote(vote)            # True once it is on disk; False when the battle had a vote already

All writes go through one thread, which commits what has queued up together and answers each caller only after the commit: a vote that
was acknowledged survives `kill -9`. Reads run on cursors of their own, from any thread. DuckDB lets no second process open the file.
"""

import queue
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import duckdb

from arena.database import first_line, open_database, statements
from arena.errors import ArenaError, UnknownBattle
from arena.ledger import Entry
from arena.rows import Row, battle_of, battle_row, completion_row, vote_of, vote_row
from arena.votes import Battle, Outcome, Tally, Vote
from serving.completion import Completion

if TYPE_CHECKING:
    from arena.ballots import Ballots
    from arena.categories import Rule

Pair = tuple[Completion, Completion]
Step = tuple[str, list[Any]]  # a statement's name and its parameters
Cluster = Literal["none", "voter", "prompt"]

# A group commit stops growing here, so that nobody waits for an endless one.
_GROUP = 256
_RETRIES = 5


class Record(NamedTuple):
    """A vote with its battle and, where they are known, the two answers (left, right)."""

    battle: Battle
    completions: Pair | None
    vote: Vote


class Counts(NamedTuple):
    """Votes in the store: all of them, those that are not rated, and the rated ones that found both answers bad."""

    n_votes: int
    n_unrated: int
    n_both_bad: int


@dataclass
class _Work:
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


class Store:
    """The arena's tables. Opens the file at once, and creates it unless told not to.

    Raises StoreInUse when another process holds it, ArenaError when it cannot be opened.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        self._root = open_database(path, create=create)
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._gate = threading.Lock()
        self._closed = False
        self._writer = threading.Thread(target=self._write, name="arena-writer", daemon=True)
        self._writer.start()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Write what is queued, then let go of the file. May be called twice."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._writer.join()
        self._root.close()

    # Writing: every call returns after the commit.

    def save_battle(self, battle: Battle, completions: Pair | None, *steps: Step) -> bool:
        """Store a battle and, where there are some yet, its two answers (left, right); `steps` in the same transaction.

        False when the battle was there already, which then stands unchanged.
        """
        work = _Work(steps=list(steps))
        work.add(battle, completions, {})
        return battle.battle_id in self._submit(work)

    def save_vote(self, vote: Vote) -> bool:
        """Store a vote. False when its battle had one already: the first one stands. Raises UnknownBattle."""
        return vote.vote_id in self._submit(_Work(votes={vote.vote_id: vote_row(vote)}))

    def save_all(self, records: Iterable[Record]) -> int:
        """Store many votes with their battles, all or none of them; returns how many votes were new."""
        work = _Work()
        known: dict[int, str] = {}
        # Held until the commit: `known` goes by identity, which a freed object would pass on to another.
        records = list(records)
        for battle, completions, vote in records:
            work.add(battle, completions, known)
            work.votes.setdefault(vote.vote_id, vote_row(vote))
        return len(self._submit(work) & work.votes.keys()) if records else 0

    def flag(self, reasons: Mapping[str, str], when: datetime) -> None:
        """Make exactly these votes (id: reason) flagged and unrated, and rate those that earlier audits had flagged."""
        columns = [list(reasons), list(reasons.values()), [_utc(when)] * len(reasons)]
        steps: list[Step] = [("rate_flagged", []), ("unflag_votes", [])]
        self._submit(_Work(steps=[*steps, *([("flag_votes", columns), ("unrate_flagged", [])] if reasons else [])]))

    def add_to_ledger(self, entries: Sequence[Entry]) -> None:
        """Append to the ledger; nothing takes an entry away."""
        if entries:
            rows = [(number, entry.model, entry.event, _utc(entry.at), entry.detail) for number, entry in enumerate(entries, start=1)]
            self._submit(_Work(steps=[("insert_ledger", [list(column) for column in zip(*rows, strict=True)])]))

    def run(self, *steps: Step, completions: Iterable[Completion] = ()) -> None:
        """Run named statements in one transaction, after storing these answers."""
        self._submit(_Work(completions={row[0]: row for row in map(completion_row, completions)}, steps=list(steps)))

    # Reading

    def rows(self, name: str, *parameters: Any) -> list[Row]:
        """What the named statement finds."""
        return self._read(name, *parameters)

    def ledger(self) -> list[Entry]:
        """What happened to the models, in order."""
        return [Entry(model, event, at.replace(tzinfo=UTC), detail) for model, event, at, detail in self._read("ledger")]

    def ledger_counts(self) -> list[Row]:
        """Per model: battles drawn here and imported; votes, unrated and flagged ones; first and last battle."""
        return self._read("ledger_counts")

    def vote_rows(self) -> list[Row]:
        """Every vote with its battle, without texts (arena/tables.py has the columns)."""
        return self._read("vote_rows")

    def audit_rows(self) -> list[Row]:
        """What an audit looks at (arena/audit.py): vote, voter, models, winner, prompt, time, dwell, length, texts, messages."""
        return self._read("audit_rows")

    def unjudged(self, category: str) -> list[tuple[str, str]]:
        """(key, text) of the prompts that no model was asked about for this category."""
        with self._cursor() as cursor:
            return cursor.execute(statements()["unjudged"], [category]).fetchall()

    def n_judged(self, category: str) -> int:
        """How many prompts have a label for this category."""
        with self._cursor() as cursor:
            return int(cursor.execute(statements()["n_judged"], [category]).fetchall()[0][0])

    def save_judged(self, category: str, rows: Sequence[tuple[str, bool]], *, judge: str, when: datetime) -> None:
        """Keep what a judge said of prompts (key, belongs)."""
        if rows:
            columns = [
                [key for key, _ in rows],
                [category] * len(rows),
                [says for _, says in rows],
                [judge] * len(rows),
                [_utc(when)] * len(rows),
            ]
            self._submit(_Work(steps=[("insert_judged", columns)]))

    def flags(self) -> dict[str, str]:
        """The votes that an audit keeps from counting, with the reason."""
        return {vote_id: reason for vote_id, reason, _ in self._read("flags")}

    def battle(self, battle_id: str) -> Battle | None:
        """The battle of this id."""
        rows = self._read("battle", battle_id)
        return battle_of(rows[0]) if rows else None

    def battles_of(self, voter_id: str) -> list[Battle]:
        """The battles that this voter was shown, newest first."""
        return [battle_of(row) for row in self._read("battles_of", voter_id)]

    def completions_of(self, battle_id: str) -> Pair | None:
        """The two answers (left, right) of a battle; None when they were not recorded."""
        for left, right in self._read("completions_of", battle_id):
            return Completion.model_validate_json(left), Completion.model_validate_json(right)
        return None

    def vote_of(self, battle_id: str) -> Vote | None:
        """The vote that stands on this battle."""
        rows = self._read("vote_of", battle_id)
        return vote_of(rows[0]) if rows else None

    def count_votes(self) -> int:
        """How many votes the store holds, rated or not."""
        return self.counts().n_votes

    def counts(self) -> Counts:
        """How many votes there are, and how many of them no rating counts."""
        return Counts(*self._read("counts")[0])

    def vote_counts(self, cluster: Cluster = "none") -> list[Tally]:
        """The rated votes counted per ordered pair of models, and per voter or prompt if asked: all that Bradley-Terry needs."""
        return [Tally(*row) for row in self._read("tallies", cluster)]

    def outcomes(self) -> list[Outcome]:
        """The rated votes in the order they were cast: all that online Elo needs."""
        return [Outcome(*row) for row in self._read("outcomes")]

    def ballots(
        self,
        *,
        voter: str | None = None,
        columns: bool = False,
        counted: bool = False,
        by_voter: bool = False,
        where: "Rule | None" = None,
    ) -> "Ballots":
        """The rated votes as columns of numbers, in the order they were cast: all that any rating needs.

        Of one `voter`, and of the battles that a category's rule admits; `columns` brings along the pairs' probabilities and the
        measures of both answers; `counted` makes one row of equal votes, without order, voters and prompts; `by_voter` leaves out order and
        prompts, which takes a third off the time of ten million.
        """
        from arena.ballots import ballots_from_columns

        name = "ballots_counted" if counted else "ballots_with_columns" if columns else "ballots_by_voter" if by_voter else "ballots"
        sql, parameters = statements()[name], [voter]
        if where is not None:
            sql, parameters = f"{sql} AND s.vote_order IN ({where.sql})", [voter, *where.parameters]
        if counted:
            sql += " GROUP BY ALL"
        with self._cursor() as cursor:
            return ballots_from_columns(
                cursor.execute(sql, parameters).fetchnumpy(), dict(cursor.execute(statements()["labels"]).fetchall())
            )

    def voted(self) -> Iterator[Record]:
        """Every vote with its battle and answers, in the order they were cast."""
        documents: dict[str, str] = dict(self._read("voted_completions"))
        parsed = cache(lambda key: Completion.model_validate_json(documents[key]))
        for row in self._read("voted"):
            battle, vote = battle_of(row[10:]), vote_of(row[:10])
            pair = None if battle.completions is None else (parsed(battle.completions[0]), parsed(battle.completions[1]))
            yield Record(battle, pair, vote)

    def _read(self, name: str, *parameters: Any) -> list[Row]:
        with self._cursor() as cursor:
            rows: list[Row] = cursor.execute(statements()[name], parameters).fetchall()
            return rows

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        try:
            with self._root.cursor() as cursor:
                yield cursor
        except duckdb.Error as error:
            if self._closed:
                raise ArenaError(f"{self.path} is closed: open a new Store") from None
            raise _translated(self.path, error) from error

    # The writer's thread

    def _submit(self, work: _Work) -> set[str]:
        with self._gate:
            if self._closed:
                raise ArenaError(f"{self.path} is closed: nothing more can be written to it")
            self._queue.put(work)
        return work.done.result()

    def _write(self) -> None:
        cursor = self._root.cursor()
        last = False
        while not last:
            group: list[_Work | None] = [self._queue.get()]
            while len(group) < _GROUP and group[-1] is not None:
                try:
                    group.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            last = group[-1] is None
            self._settle(cursor, [work for work in group if work is not None])
        cursor.close()

    def _settle(self, cursor: duckdb.DuckDBPyConnection, group: Sequence[_Work]) -> None:
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
                group[0].done.set_exception(_translated(self.path, error) if isinstance(error, duckdb.Error) else error)
        else:
            for work in group:
                # An id that two callers wrote belongs to the first.
                mine = written & (work.battles.keys() | work.votes.keys())
                written -= mine
                work.done.set_result(mine)


def _commit(cursor: duckdb.DuckDBPyConnection, group: Sequence[_Work]) -> set[str]:
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


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


def _roll_back(cursor: duckdb.DuckDBPyConnection) -> None:
    try:
        cursor.rollback()
    except duckdb.Error:
        # A failed commit has ended the transaction by itself.
        pass


def _translated(path: Path, error: duckdb.Error) -> ArenaError:
    text = first_line(error)
    if isinstance(error, duckdb.ConstraintException) and '"battle_id:' in text and "foreign key" in text:
        unknown = text.partition('"battle_id:')[2].partition('"')[0].strip()
        return UnknownBattle(f"{path} holds no battle '{unknown}': save the battle before its vote")
    return ArenaError(f"{path}: {text}")
