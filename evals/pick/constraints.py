"""What an endpoint must keep, held against what is known of it: kept, broken, or unknown; and what would have to give where nobody keeps
it all.

for check in checks(market, wishes.require, "our-llama"): check.verdict        # "kept", "broken", "unknown"
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from evals.pick.certainty import Beliefs
from evals.pick.wishes import Require
from serving.documents import Noun

if TYPE_CHECKING:
    import numpy as np

    from evals.pick.evidence import Market

    Array = np.ndarray[Any, Any]

TERMS = ("open_weights", "data_stays", "licenses")


class Limit(NamedTuple):
    """A bound on a measure: at most (`most`) or at least so much; `unit` is how much counts as one step of relaxing it (a factor: None)."""

    constraint: str
    measure: str
    limit: float
    most: bool
    unit: float | None = None


class Check(Noun):
    """One constraint on one endpoint: the `limit`, the `value` (None: unknown, or a failure), and in words why where it is not kept."""

    constraint: str
    verdict: Literal["kept", "broken", "unknown"]
    limit: float | str | bool | None = None
    value: float | str | bool | None = None
    why: str | None = None


class Change(Noun):
    """A constraint to relax: from `limit` to `to`; None: to leave out."""

    constraint: str
    limit: float | str | bool
    to: float | None = None
    by: float | None = None


class Relaxation(Noun):
    """What would let `endpoint` in. `size` adds up the steps: a doubling of seconds or dollars, 10 points of quality, 100 of rating."""

    endpoint: str
    changes: tuple[Change, ...]
    size: float


def limits_of(require: Require) -> tuple[Limit, ...]:
    """The constraints that are numbers."""
    found = [
        Limit("max_ttft_p95_s", "ttft_p95", require.max_ttft_p95_s, True) if require.max_ttft_p95_s is not None else None,
        Limit("max_latency_p95_s", "latency_p95", require.max_latency_p95_s, True) if require.max_latency_p95_s is not None else None,
        Limit("max_usd_per_1000", "usd_per_1000", require.max_usd_per_1000, True) if require.max_usd_per_1000 is not None else None,
        Limit("max_usd_per_month", "usd_per_month", require.max_usd_per_month, True) if require.max_usd_per_month is not None else None,
        *(Limit(f"min_quality:{task}", f"quality:{task}", share, False, 0.1) for task, share in require.min_quality.items()),
        Limit("min_rating", "rating", require.min_rating, False, 100.0) if require.min_rating is not None else None,
    ]
    return tuple(limit for limit in found if limit is not None)


def checks(market: "Market", require: Require, endpoint: str) -> tuple[Check, ...]:
    """Every constraint that was stated, in the order in which they are documented. What is not known is unknown, never kept."""
    return (*_terms(market, require, endpoint), *(_measured(market, limit, endpoint) for limit in limits_of(require)))


def _terms(market: "Market", require: Require, name: str) -> list[Check]:
    endpoint = market.endpoints[name]
    found = []
    if require.open_weights:
        value = endpoint.open_weights if endpoint else None
        found.append(_term("open_weights", True, value, None if value is None else value, "its weights are closed"))
    if require.data_stays:
        leaves = endpoint.data_leaves if endpoint else None
        found.append(
            _term("data_stays", True, None if leaves is None else not leaves, None if leaves is None else not leaves, "data leave")
        )
    if require.licenses:
        licence = endpoint.license if endpoint else None
        allowed = {one.lower() for one in require.licenses}
        kept = None if licence is None else licence.lower() in allowed
        found.append(_term("licenses", ", ".join(require.licenses), licence, kept, f"its licence is {licence}"))
    return found


def _term(constraint: str, limit: bool | str, value: bool | str | None, kept: bool | None, why: str) -> Check:
    if kept is None:
        return Check(constraint=constraint, verdict="unknown", limit=limit, why="nobody has written it down")
    return Check(constraint=constraint, verdict="kept" if kept else "broken", limit=limit, value=value, why=None if kept else why)


def _measured(market: "Market", limit: Limit, name: str) -> Check:
    if (why := market.broken.get((limit.measure, name))) is not None:
        return Check(constraint=limit.constraint, verdict="broken", limit=limit.limit, why=why)
    value = market.value(limit.measure, name)
    if value is None:
        return Check(constraint=limit.constraint, verdict="unknown", limit=limit.limit, why="not measured")
    kept = value <= limit.limit if limit.most else value >= limit.limit
    return Check(constraint=limit.constraint, verdict="kept" if kept else "broken", limit=limit.limit, value=value)


def feasible_draws(market: "Market", require: Require, beliefs: Beliefs) -> "Array":
    """draws × endpoints: whether every constraint holds of the drawn values. Never where one is unknown, or a term is broken."""
    import numpy as np

    n_draws = len(next(iter(beliefs.draws.values()))) if beliefs.draws else 0
    holds = np.ones((n_draws, len(beliefs.endpoints)), dtype=bool)
    for place, name in enumerate(beliefs.endpoints):
        if any(check.verdict != "kept" for check in _terms(market, require, name)):
            holds[:, place] = False
    for limit in limits_of(require):
        holds &= within(market, limit, beliefs.draws[limit.measure]) if limit.measure in beliefs.draws else False
    return holds


def within(market: "Market", limit: Limit, drawn: "Array") -> "Array":
    """Whether drawn values (working scale) keep the limit; an unknown one (nan) does not."""
    bound = market.measures[limit.measure].working(limit.limit)
    # A price at the limit keeps it: logarithms must not round it out.
    kept: Array = drawn <= bound + 1e-12 if limit.most else drawn >= bound - 1e-12
    return kept


def relaxations(market: "Market", require: Require, candidates: Sequence[str], most: int = 5) -> tuple[Relaxation, ...]:
    """What would have to give so that one endpoint is feasible: the fewest constraints first, then terms last, then the smallest step.

    One for each set of constraints, the cheapest endpoint's. Endpoints of which anything is unknown, or that failed under load, are left
    out.
    """
    found = []
    for name in candidates:
        held = checks(market, require, name)
        broken = [check for check in held if check.verdict == "broken"]
        if not broken or any(check.verdict == "unknown" for check in held) or any(check.value is None for check in broken):
            continue
        of_limit = {limit.constraint: limit for limit in limits_of(require)}
        changes = [_change(check, of_limit.get(check.constraint)) for check in broken]
        size = sum(_steps(check, of_limit.get(check.constraint)) for check in broken)
        found.append(Relaxation(endpoint=name, changes=tuple(changes), size=size))
    found.sort(key=lambda one: (len(one.changes), sum(change.to is None for change in one.changes), one.size, one.endpoint))
    kept: dict[tuple[str, ...], Relaxation] = {}
    for one in found:
        kept.setdefault(tuple(change.constraint for change in one.changes), one)
    return tuple(kept.values())[:most]


def _change(check: Check, limit: Limit | None) -> Change:
    assert check.limit is not None
    if limit is None:
        return Change(constraint=check.constraint, limit=check.limit)
    assert isinstance(check.value, float)
    to = _rounded(check.value, up=limit.most)
    return Change(constraint=check.constraint, limit=limit.limit, to=to, by=to - limit.limit)


def _steps(check: Check, limit: Limit | None) -> float:
    import math

    if limit is None:
        return 1.0
    assert isinstance(check.value, float)
    if limit.unit is not None:
        return (limit.limit - check.value) / limit.unit
    return math.log2(check.value / max(limit.limit, 1e-9))


def _rounded(value: float, *, up: bool) -> float:
    """To four significant digits, to the side that lets the value in."""
    import math

    if value == 0:
        return 0.0
    digits = 3 - math.floor(math.log10(abs(value)))
    scaled = value * 10.0**digits
    near = round(scaled)
    # What is a hair beside a round number is that number, as long as it still lets the value in.
    whole = near if (near >= scaled if up else near <= scaled) else math.ceil(scaled) if up else math.floor(scaled)
    return float(f"{whole / 10.0**digits:.{max(digits, 0)}f}")
