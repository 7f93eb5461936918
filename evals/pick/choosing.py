"""The decision: who may be chosen, who is, how surely, who comes second, and what would settle it.

    decision = decide(scope, wishes, believe(scope.market))

An endpoint may be chosen when what was measured of it keeps every constraint and all that counts is known of it. Chosen is whoever is best
in most draws; a draw's best is the one with the highest utility of those whose *drawn* values keep the constraints, so that one excluded
by a hair still takes its share of the doubt.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from evals.errors import PickError
from evals.pick.advice import First, Measurement, first_measurements, more_measurements
from evals.pick.certainty import Beliefs, best_of, chances_of
from evals.pick.constraints import Check, Relaxation, checks, feasible_draws, relaxations
from evals.pick.evidence import Market
from evals.pick.front import in_units, on_front, utility_of
from evals.pick.scope import Scope, measures_for
from evals.pick.wishes import OBJECTIVES, Objective, Wishes
from serving.documents import Noun

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


class Valued(Noun):
    """A value in natural units with the 95 % interval of its draws, how much of what it is from, and where it was found."""

    value: float
    lower: float
    upper: float
    n: int
    unit: str
    origin: str


class Candidate(Noun):
    """One that may be chosen. `score` is its utility less that of the chosen one (units times weights), `parts` the same by objective.

    `probability_best` and `probability_feasible` are shares of draws; `on_front`: nobody who may be chosen beats it in everything that
    counts.
    """

    endpoint: str
    values: dict[str, Valued]
    score: float
    parts: dict[str, float]
    probability_best: float
    probability_feasible: float
    on_front: bool
    probability_on_front: float


class Excluded(Noun):
    """One that may not: the constraints that it breaks or that nobody knows of it, and what counts but is unknown.

    Its probabilities are None where something that they hang on is unknown.
    """

    endpoint: str
    checks: tuple[Check, ...] = ()
    unknown: tuple[str, ...] = ()
    values: dict[str, Valued] = {}
    probability_best: float | None = None
    probability_feasible: float | None = None

    @property
    def broken(self) -> bool:
        """Whether it is known not to keep something; else it is only unknown."""
        return any(check.verdict == "broken" for check in self.checks)


class Decision(Noun):
    """`probability` is that the choice is truly the best of all that truly keep the constraints. Without one `relaxations` say what to
    give.
    """

    choice: str | None
    probability: float | None = None
    probability_feasible: float | None = None
    runner_up: str | None = None
    probability_runner_up: float | None = None
    weigh: dict[str, float]
    objectives: dict[str, tuple[str, ...]]
    tasks: tuple[str, ...]
    under: str | None = None
    candidates: tuple[Candidate, ...] = ()
    excluded: tuple[Excluded, ...] = ()
    relaxations: tuple[Relaxation, ...] = ()
    measure_next: tuple[Measurement, ...] = ()
    measure_first: tuple[First, ...] = ()
    notes: tuple[str, ...] = ()


class _Drawn(NamedTuple):
    utility: "Array"
    feasible: "Array"
    best: "Array"
    chances: "Array"


def decide(scope: Scope, wishes: Wishes, beliefs: Beliefs) -> Decision:
    """Everything that `evals pick` says. Raises PickError where nothing is known of anybody."""
    market = scope.market
    if not market.measures or not market.endpoints:
        raise PickError(
            "there is nothing to choose from: run a suite ('evals run demo'), or publish ratings ('arena leaderboard --publish')"
        )
    held = {one: checks(market, wishes.require, one) for one in market.endpoints}
    asked = {name: measures_for(name, market.tasks, wishes) for name in scope.weigh.asked}
    unknown = {one: tuple(name for name, parts in asked.items() if not parts or not _known(market, parts, one)) for one in market.endpoints}
    able = [one for one in market.endpoints if not unknown[one] and all(check.verdict == "kept" for check in held[one])]
    drawn = _draw(scope, wishes, beliefs)
    ranked = sorted(able, key=lambda one: (-drawn.chances[beliefs.places[one]], -_mean(drawn, beliefs, one), one))
    unsure = {one: any(check.verdict == "unknown" for check in held[one]) for one in market.endpoints}
    held_share = drawn.feasible.mean(axis=0)
    shown = tuple(dict.fromkeys([*(part for parts in asked.values() for part in parts), *_constrained(wishes)]))
    excluded = [
        Excluded(
            endpoint=one, checks=tuple(check for check in held[one] if check.verdict != "kept"), unknown=unknown[one],
            values=_values(market, beliefs, one),
            probability_best=None if unknown[one] or unsure[one] else _of(drawn.chances, beliefs, one),
            probability_feasible=None if unsure[one] else _of(held_share, beliefs, one),
        )
        for one in market.endpoints if one not in able
    ]  # fmt: skip
    decision = Decision(
        choice=None, weigh=scope.weigh.model_dump(), objectives={str(name): parts for name, parts in asked.items()}, tasks=market.tasks,
        under=wishes.under.load, excluded=tuple(sorted(excluded, key=lambda one: (len(one.checks) + len(one.unknown), not one.broken,
        one.endpoint))), notes=scope.notes,
        measure_first=first_measurements(scope, wishes, beliefs, drawn.utility, drawn.best),
    )  # fmt: skip
    if not ranked:
        judged = [one for one in market.endpoints if not unknown[one]]
        return decision.model_copy(update={"relaxations": relaxations(market, wishes.require, judged)})
    candidates = _candidates(scope, wishes, beliefs, drawn, ranked)
    measurable = [*(part for parts in asked.values() for part in parts), *shown]
    return decision.model_copy(
        update={
            "choice": ranked[0],
            "probability": candidates[0].probability_best,
            "probability_feasible": candidates[0].probability_feasible,
            "runner_up": candidates[1].endpoint if len(candidates) > 1 else None,
            "probability_runner_up": candidates[1].probability_best if len(candidates) > 1 else None,
            "candidates": candidates,
            "measure_next": more_measurements(market, beliefs, drawn.best, measures=tuple(dict.fromkeys(measurable)), able=ranked),
        }
    )


def _draw(scope: Scope, wishes: Wishes, beliefs: Beliefs) -> _Drawn:
    import numpy as np

    feasible = feasible_draws(scope.market, wishes.require, beliefs)
    utility = utility_of(scope.weigh, beliefs.draws, scope.market.tasks, wishes)
    utility = np.full(feasible.shape, np.nan) if utility is None else utility
    best = best_of(utility, feasible)
    return _Drawn(utility, feasible, best, chances_of(best, len(beliefs.endpoints)))


def _candidates(scope: Scope, wishes: Wishes, beliefs: Beliefs, drawn: _Drawn, ranked: list[str]) -> tuple[Candidate, ...]:
    import numpy as np

    places = [beliefs.places[one] for one in ranked]
    objectives: dict[Objective, Array] = {}
    for name in OBJECTIVES:
        column = in_units(name, beliefs.draws, scope.market.tasks, wishes)
        if column is not None and not np.isnan(column[0, places]).any():
            objectives[name] = column[:, places]
    # Two hundred draws of the front are enough for a share; comparing all endpoints in four thousand is not quick.
    stacked = np.stack([objectives[name] for name in scope.weigh.asked], axis=-1)
    fronts = on_front(stacked[:: max(len(stacked) // 200, 1)]).mean(axis=0)
    point = on_front(_observed(scope, wishes, ranked))
    middle = {name: column.mean(axis=0) for name, column in objectives.items()}
    score = drawn.utility[:, places].mean(axis=0)
    return tuple(
        Candidate(
            endpoint=one, values=_values(scope.market, beliefs, one), score=float(score[row] - score[0]),
            parts={name: float(getattr(scope.weigh, name) * (middle[name][row] - middle[name][0])) for name in scope.weigh.asked},
            probability_best=float(drawn.chances[place]), probability_feasible=float(drawn.feasible[:, place].mean()),
            on_front=bool(point[row]), probability_on_front=float(fronts[row]),
        )
        for row, (one, place) in enumerate(zip(ranked, places, strict=True))
    )  # fmt: skip


def _observed(scope: Scope, wishes: Wishes, ranked: list[str]) -> "Array":
    """endpoints × objectives in units, as measured: what the chart shows is what the front is of."""
    import numpy as np

    market = scope.market
    columns = {
        name: np.array([measured.values[measured.endpoints.index(one)] if one in measured.endpoints else np.nan for one in ranked])
        for name, measured in market.measures.items()
    }
    found = [in_units(name, columns, market.tasks, wishes) for name in scope.weigh.asked]
    return np.stack([column for column in found if column is not None], axis=-1)


def _values(market: Market, beliefs: Beliefs, endpoint: str) -> dict[str, Valued]:
    place = beliefs.places[endpoint]
    found = {}
    for name, measured in market.measures.items():
        if (row := measured.rows.get(endpoint)) is None:
            continue
        low, high = (measured.natural(float(bound)) for bound in beliefs.bounds[name][:, place])
        value = measured.natural(float(measured.values[row]))
        found[name] = Valued(value=value, lower=low, upper=high, n=measured.n[row], unit=measured.unit, origin=measured.origin[row])
    return found


def _known(market: Market, measures: tuple[str, ...], endpoint: str) -> bool:
    return all(market.value(name, endpoint) is not None for name in measures)


def _constrained(wishes: Wishes) -> list[str]:
    from evals.pick.constraints import limits_of

    return [limit.measure for limit in limits_of(wishes.require)]


def _mean(drawn: _Drawn, beliefs: Beliefs, endpoint: str) -> float:
    return float(drawn.utility[:, beliefs.places[endpoint]].mean())


def _of(values: "Array", beliefs: Beliefs, endpoint: str) -> float:
    return float(values[beliefs.places[endpoint]])
