"""What the page on the votes' health counts, without the page: `gather(store)`, `drawn(arena)`."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from arena.errors import ArenaError
from arena.ratings import Z95, Method, rate
from arena.rows import Row
from arena.store import Store
from evals.stats import wilson

if TYPE_CHECKING:
    from arena.battle import Arena

MOST = 10
_BOUNDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True)
class Health:
    """Counts of a store. `days`, `sources`, `unrated`, `busiest` are rows of the statements votes_by_day, …; `n_known` votes have a voter.

    `left` is the left side's share of the votes that decide, with Wilson's interval; `position` what the left slot is worth in points
    and the half of its 95 % interval; `top_share` the share of votes that the busiest tenth of the voters cast.
    """

    n_votes: int
    n_unrated: int
    n_flagged: int
    n_voters: int
    n_known: int
    days: list[tuple[date, int, int]]
    sources: list[Row]
    unrated: list[Row]
    sizes: list[dict[str, Any]]
    busiest: list[Row]
    top_share: float | None
    left: tuple[float, float, float] | None
    position: tuple[float, float] | None


def gather(store: Store) -> Health:
    """Everything that is counted by the databases: about a second for a million votes."""
    counts = store.counts()
    sizes = [(int(n), int(voters)) for n, voters in store.rows("voter_sizes")]
    left, position = _sides(store)
    return Health(
        n_votes=counts.n_votes, n_unrated=counts.n_unrated, n_flagged=len(store.flags()), n_voters=sum(voters for _, voters in sizes),
        n_known=sum(n * voters for n, voters in sizes), days=[row for row in store.rows("votes_by_day") if row[0] is not None],
        sources=store.rows("votes_by_source"), unrated=store.rows("votes_unrated", None, None), sizes=buckets(sizes),
        busiest=store.rows("busiest_voters", MOST), top_share=top_share(sizes), left=left, position=position,
    )  # fmt: skip


def _sides(store: Store) -> tuple[tuple[float, float, float] | None, tuple[float, float] | None]:
    ballots = store.ballots(counted=True)
    wins = [int(ballots.counts[ballots.winner == side].sum()) for side in (0, 1)]
    if not (decided := sum(wins)):
        return None, None
    share = (wins[0] / decided, *wilson(wins[0], decided))
    try:
        terms = {term.name: term for term in rate(ballots, Method(position=True)).terms}
    except ArenaError:
        terms = {}
    found = terms.get("position")
    return share, None if found is None else (found.estimate, Z95 * found.standard_error)


def buckets(sizes: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """Voters by how many votes they cast, in steps of 1, 2, 5; empty steps at the ends are left out."""
    rows = []
    for low, high in zip(_BOUNDS, [*(bound - 1 for bound in _BOUNDS[1:]), None], strict=True):
        label = f"{low:,}" if high == low else f"{low:,}–{high:,}" if high is not None else f"{low:,} or more"
        rows.append({"votes each": label, "voters": sum(voters for n, voters in sizes if n >= low and (high is None or n <= high))})
    filled = [number for number, row in enumerate(rows) if row["voters"]]
    return rows[filled[0] : filled[-1] + 1] if filled else []


def top_share(sizes: Sequence[tuple[int, int]]) -> float | None:
    """The share of the votes that the busiest tenth of the voters cast; at least one voter is a tenth."""
    total = sum(n * voters for n, voters in sizes)
    left = max(1, round(sum(voters for _, voters in sizes) / 10))
    cast = 0
    for n, voters in sorted(sizes, reverse=True):
        taken = min(left, voters)
        cast, left = cast + taken * n, left - taken
    return cast / total if total else None


def drawn(arena: "Arena") -> tuple[int, list[dict[str, Any]]]:
    """(battles drawn here, a row per model that can be drawn now): its share of them beside what the policy as it is now gives it.

    `lower` and `upper` bound the share that chance allows for n draws, 95 % over all models together (normal, Bonferroni).
    """
    from arena.decisions import standings

    counted = {model: (int(left), int(right)) for model, left, right in arena.store.rows("draws_by_model")}
    total = sum(left + right for left, right in counted.values()) // 2
    if not total:
        return 0, []
    tallies = arena.store.vote_counts() if arena.policy.counts_votes else []
    expected = {row.endpoint: row.share for row in standings(arena.store, arena.stated, arena.catalogue, tallies=tallies) if row.share > 0}
    met = {model: share for model, share in expected.items() if any(counted.get(model, ()))}
    if not met:
        return total, []
    z = -NormalDist().inv_cdf(0.025 / len(expected))
    rows = []
    for model, share in expected.items():
        left, right = counted.get(model, (0, 0))
        half = z * (share * (1 - share) / total) ** 0.5
        rows.append(
            {
                "model": model, "n": left + right, "n_left": left, "share": (left + right) / total, "expected": share,
                "lower": max(share - half, 0.0), "upper": min(share + half, 1.0),
            }
        )  # fmt: skip
    return total, sorted(rows, key=lambda row: (-row["share"], row["model"]))


def pseudonym(secret: str, voter_id: str) -> str:
    """A name that is a voter's in this arena alone, and does not lead back to the id."""
    return f"voter {hmac.new(secret.encode(), b'pseudonym ' + voter_id.encode(), hashlib.sha256).hexdigest()[:8]}"
