"""The state of the arena over a week: what was voted, what moved, who joined, what it cost. A pure function of the store.

    report = gather(store, since=…, until=…)

Ratings are Bradley-Terry of all rated votes until then; a model moved where its rating has left the 95 % interval that it had at the
beginning. Figures of a voter are counts; ids and prompts are nowhere in it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import combinations
from typing import TYPE_CHECKING

from arena.audit import audit, audit_votes_of
from arena.history import until as board_until
from arena.ledger import Entry
from arena.ratings import Rating
from arena.rows import to_utc

if TYPE_CHECKING:
    from arena.store import Store

# An audit of more votes takes minutes; `arena audit` is then a step of its own.
AUDITED = 200_000


@dataclass(frozen=True)
class Standing:
    """A rated model now, and what it was at the beginning (None: it had no rating then)."""

    now: Rating
    then: Rating | None

    @property
    def change(self) -> float | None:
        """Rating points since the beginning."""
        if self.then is None or self.then.rating is None or self.now.rating is None:
            return None
        return self.now.rating - self.then.rating

    @property
    def moved(self) -> bool:
        """Whether the rating lies outside the interval that it had."""
        then = self.then
        if then is None or then.rating_lower is None or then.rating_upper is None or self.now.rating is None:
            return False
        return not then.rating_lower <= self.now.rating <= then.rating_upper


@dataclass(frozen=True)
class Finding:
    """A reason of the audit: voters flagged for how they vote, the votes that it touches, and those of them that were cast in the week."""

    reason: str
    n_voters: int
    n_votes: int
    n_in_week: int


@dataclass(frozen=True)
class Spent:
    """What an endpoint was asked for and what that cost; `n_unpriced` of its answers have no price."""

    endpoint: str
    n_answers: int
    n_failed: int
    cost_usd: float
    n_unpriced: int


@dataclass(frozen=True)
class Report:
    """From `since` and before `until`, but for `n_total` (all votes), `n_audited` (None: too many to audit here) and the ratings.

    `n_pairs` of the `n_pairs_possible` pairs of models that take part met; `n_unvoted` of the `n_battles` have no vote.
    """

    since: datetime
    until: datetime
    n_total: int
    n_votes: int
    n_rated: int
    n_both_bad: int
    n_voters: int
    n_new_voters: int
    days: tuple[tuple[date, int], ...]
    standings: tuple[Standing, ...]
    unrated: tuple[tuple[str, int], ...]
    ledger: tuple[Entry, ...]
    n_audited: int | None
    findings: tuple[Finding, ...]
    n_battles: int
    n_unvoted: int
    n_pairs: int
    n_pairs_possible: int
    never_met: tuple[tuple[str, str], ...] = field(default=())
    spent: tuple[Spent, ...] = ()

    @property
    def moved(self) -> list[Standing]:
        """The models that moved beyond their interval, the largest change first."""
        return sorted((row for row in self.standings if row.moved), key=lambda row: -abs(row.change or 0))


def gather(store: "Store", *, since: datetime, until: datetime) -> Report:
    """Everything the report says. Raises ArenaError."""
    period = (to_utc(since), to_utc(until))
    n_votes, n_rated, n_both_bad, n_voters, n_new = store.rows("votes_between", *period)[0]
    ballots = store.ballots(times=True)
    then = {row.model: row for row in board_until(ballots, since) if row.rating is not None}
    now = [row for row in board_until(ballots, until) if row.rating is not None]
    entries = store.ledger()
    pairs = [(str(a), str(b), int(n), int(voted)) for a, b, n, voted in store.rows("pairs_between", *period)]
    possible = set(combinations(sorted(_active(entries, until)), 2))
    met = {(a, b) for a, b, _, _ in pairs}
    n_audited, findings = _findings(store, since, until)
    return Report(
        since=since, until=until, n_total=store.counts().n_votes, n_votes=n_votes, n_rated=n_rated, n_both_bad=n_both_bad,
        n_voters=n_voters, n_new_voters=n_new, days=_days(store, since, until),
        standings=tuple(Standing(row, then.get(row.model)) for row in now),
        unrated=tuple((str(why), int(n)) for why, n in store.rows("votes_unrated", *period)),
        ledger=tuple(entry for entry in entries if since <= _aware(entry.at) < until),
        n_audited=n_audited, findings=findings,
        n_battles=sum(n for _, _, n, _ in pairs), n_unvoted=sum(n - voted for _, _, n, voted in pairs),
        n_pairs=len(possible & met), n_pairs_possible=len(possible), never_met=tuple(sorted(possible - met)),
        spent=tuple(Spent(*row) for row in store.rows("spent_between", *period)),
    )  # fmt: skip


def _days(store: "Store", since: datetime, until: datetime) -> tuple[tuple[date, int], ...]:
    first, last = since.astimezone(UTC).date(), (until - timedelta(microseconds=1)).astimezone(UTC).date()
    return tuple((day, int(n)) for day, n, _ in store.rows("votes_by_day") if day is not None and first <= day <= last)


def _active(entries: Sequence[Entry], until: datetime) -> set[str]:
    """The models that take part, by the last word of the ledger before `until`."""
    last = {entry.model: entry.event for entry in entries if _aware(entry.at) < until}
    return {model for model, event in last.items() if event != "withdrawn"}


def _findings(store: "Store", since: datetime, until: datetime) -> tuple[int | None, tuple[Finding, ...]]:
    if store.counts().n_votes > AUDITED:
        return None, ()
    votes = audit_votes_of(store)
    begin, end = since.timestamp(), until.timestamp()
    fresh = {vote.vote_id for vote in votes if vote.voted_at_s is not None and begin <= vote.voted_at_s < end}
    found = audit(votes)
    voters, touched, in_week = Counter[str](), Counter[str](), Counter[str]()
    for flag in found.flags:
        voters[flag.reason] += flag.voter_id is not None
        touched[flag.reason] += len(flag.vote_ids)
        in_week[flag.reason] += len(fresh.intersection(flag.vote_ids))
    return len(votes), tuple(Finding(reason, voters[reason], touched[reason], in_week[reason]) for reason, _ in touched.most_common())


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
