"""Votes are rows, with one writer: what the arena knows lives in one DuckDB file, results/arena.duckdb, or in a PostgreSQL database.

    with Store(Path("results/arena.duckdb")) as store:
        store.save_battle(battle, (left, right))
        store.save_vote(vote)            # True once it is on disk; False when the battle had a vote already

All writes go through one thread (arena/writer.py) and return after the commit: a vote that was acknowledged survives `kill -9`. Reads
run beside it, from any thread. DuckDB lets no second process open the file; a PostgreSQL database is shared (arena/database.py).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from arena.database import Location, open_database, statements
from arena.errors import StoreUnwritable
from arena.ledger import Entry
from arena.rows import Row, battle_of, completion_row, vote_of, vote_row
from arena.votes import Battle, Outcome, Tally, Vote
from arena.writer import Pair, Step, Work, Writer, ballot_steps, log, utc
from serving.completion import Completion

if TYPE_CHECKING:
    from arena.ballots import Ballots
    from arena.categories import Rule

Cluster = Literal["none", "voter", "prompt"]


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


class Store:
    """The arena's tables. Opens the database at once, and creates what it lacks unless told not to. `name` is it in words,
    without a password; `file` the DuckDB file, None for PostgreSQL.

    Raises StoreInUse when another process holds the file, StoreUnreachable when the server is away, ArenaError when it cannot be opened.
    """

    def __init__(self, location: Location, *, create: bool = True, threads: int | None = None) -> None:
        self._database = open_database(location, create=create, threads=threads)
        self.name = self._database.name
        self.file = location if isinstance(location, Path) else None
        self._writer = Writer(self._database)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Write what is queued, then let go of the database. May be called twice."""
        self._writer.close()
        self._database.close()

    # Writing: every call returns after the commit.

    def save_battle(self, battle: Battle, completions: Pair | None, *steps: Step) -> bool:
        """Store a battle and, where there are some yet, its two answers (left, right); `steps` in the same transaction.

        False when the battle was there already, which then stands unchanged.
        """
        work = Work(steps=list(steps))
        work.add(battle, completions, {})
        return battle.battle_id in self._writer.submit(work)

    def save_vote(self, vote: Vote) -> bool:
        """Store a vote. False when its battle had one already: the first one stands. Raises UnknownBattle."""
        return vote.vote_id in self._writer.submit(Work(votes={vote.vote_id: vote_row(vote)}))

    def save_all(self, records: Iterable[Record]) -> int:
        """Store many votes with their battles, all or none of them; returns how many votes were new."""
        work = Work()
        known: dict[int, str] = {}
        # Held until the commit: `known` goes by identity, which a freed object would pass on to another.
        records = list(records)
        for battle, completions, vote in records:
            work.add(battle, completions, known)
            work.votes.setdefault(vote.vote_id, vote_row(vote))
        return len(self._writer.submit(work) & work.votes.keys()) if records else 0

    def flag(self, reasons: Mapping[str, str], when: datetime) -> None:
        """Make exactly these votes (id: reason) flagged and unrated, and rate those that earlier audits had flagged."""
        columns = [list(reasons), list(reasons.values()), [utc(when)] * len(reasons)]
        steps: list[Step] = [("rate_flagged", []), ("unflag_votes", [])]
        self._writer.submit(Work(steps=[*steps, *([("flag_votes", columns), ("unrate_flagged", [])] if reasons else [])]))

    def add_to_ledger(self, entries: Sequence[Entry]) -> None:
        """Append to the ledger; nothing takes an entry away."""
        if entries:
            rows = [(number, entry.model, entry.event, utc(entry.at), entry.detail) for number, entry in enumerate(entries, start=1)]
            self._writer.submit(Work(steps=[("insert_ledger", [list(column) for column in zip(*rows, strict=True)])]))

    def run(self, *steps: Step, completions: Iterable[Completion] = ()) -> None:
        """Run named statements in one transaction, after storing these answers."""
        self._writer.submit(Work(completions={row[0]: row for row in map(completion_row, completions)}, steps=list(steps)))

    # Reading

    def rows(self, name: str, *parameters: Any) -> list[Row]:
        """What the named statement finds."""
        return self._read(name, *parameters)

    def queue_length(self) -> int:
        """How many writes wait for the writer."""
        return self._writer.waiting()

    def memory(self) -> dict[str, int]:
        """Bytes that the database holds in this process, by what for."""
        return self._database.memory()

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
        return [(key, text) for key, text in self._database.read_texts(statements()["unjudged"], {"1": category})]

    def prompt_keys(self, battle_ids: Sequence[str]) -> list[str]:
        """The keys under which labels of these battles' prompts are kept."""
        return [key for (key,) in self._database.read_texts(statements()["prompt_keys"], {"1": list(battle_ids)}, battles=battle_ids)]

    def n_judged(self, category: str) -> int:
        """How many prompts have a label for this category."""
        return int(self._read("n_judged", category)[0][0])

    def save_judged(self, category: str, rows: Sequence[tuple[str, bool]], *, judge: str, when: datetime) -> None:
        """Keep what a judge said of prompts (key, belongs)."""
        if rows:
            columns = [
                [key for key, _ in rows],
                [category] * len(rows),
                [says for _, says in rows],
                [judge] * len(rows),
                [utc(when)] * len(rows),
            ]
            self._writer.submit(Work(steps=[("insert_judged", columns)]))

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
        times: bool = False,
        where: "Rule | None" = None,
    ) -> "Ballots":
        """The rated votes as columns of numbers, in the order they were cast: all that any rating needs.

        Of one `voter`, and of the battles that a category's rule admits; `columns` brings along the pairs' probabilities and the
        measures of both answers; `counted` makes one row of equal votes, without order, voters and prompts; `by_voter` leaves out order and
        prompts, which takes a third off the time of ten million; `times` says when each was cast, and neither its voter nor its prompt.
        """
        from arena.ballots import ballots_from_columns

        self.write_ballots()
        asked = {"counted": counted, "with_columns": columns, "by_voter": by_voter, "in_time": times}
        name = next((f"ballots_{kind}" for kind, wanted in asked.items() if wanted), "ballots")
        sql, parameters = statements()[name], [voter]
        if where is not None:
            condition, values = self._database.among(where)
            sql, parameters = f"{sql} AND {condition}", [voter, *values]
        if counted:
            sql += " GROUP BY s.model_a, s.model_b, s.winner"
        return ballots_from_columns(self._database.columns(sql, parameters), dict(self._read("labels")))

    def voted(self) -> Iterator[Record]:
        """Every vote with its battle and answers, in the order they were cast."""
        documents: dict[str, str] = dict(self._read("voted_completions"))
        parsed = cache(lambda key: Completion.model_validate_json(documents[key]))
        for row in self._read("voted"):
            battle, vote = battle_of(row[10:]), vote_of(row[:10])
            pair = None if battle.completions is None else (parsed(battle.completions[0]), parsed(battle.completions[1]))
            yield Record(battle, pair, vote)

    def stream(self, name: str, *parameters: Any) -> Iterator[Row]:
        """The rows of a statement, some thousands at a time: for what does not fit into memory."""
        return self._database.stream(statements()[name], parameters)

    def write_ballots(self) -> None:
        """Write the ballots of votes that have none yet (arena/writer.py says why some have not)."""
        if steps := ballot_steps(self._database):
            try:
                self.run(*steps)
            except StoreUnwritable as error:
                log.warning("the newest votes are not counted: %s", error)

    def write_tables(self, folder: Path) -> list[str]:
        """Every table as a Parquet file in `folder`, all as of one moment; returns their names."""
        self.write_ballots()
        return self._database.write_tables(folder)

    def secret(self) -> str:
        """What voters' cookies are signed with; the same for every process on this database."""
        return self._database.secret()

    def _read(self, name: str, *parameters: Any) -> list[Row]:
        return self._database.read(statements()[name], parameters)
