"""What to measure next: the repetition that is expected to make the choice surest, and what nobody has measured yet.

    for one in more_measurements(market, beliefs, best, measures=("rating", "latency_p95"), able=["our-llama", …]): ...

The value of a measurement is how much the probability of choosing right is expected to rise (the expected value of sample information
under a loss of 0 or 1; Raiffa and Schlaifer 1961): each outcome that it may have reweighs the draws by its likelihood, the best choice
after it is taken, and the mean over outcomes, themselves drawn from the beliefs, is what one may expect. Nothing is simulated twice: the
draws are those of the choice.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evals.pick.certainty import Beliefs, chances_of
from evals.pick.constraints import TERMS, checks, limits_of, within
from evals.pick.front import utility_of
from evals.pick.wishes import Wishes
from serving.documents import Noun

if TYPE_CHECKING:
    import numpy as np

    from evals.pick.evidence import Market
    from evals.pick.scope import Scope

    Array = np.ndarray[Any, Any]

OUTCOMES = 60
_THINNED = 2000
_WORTH_ASKING = 0.01  # of being best; of others no measurement moves much
_MOST_ENDPOINTS = 6
_LEAST_GAIN = 0.002  # below it, the draws' own noise


class Measurement(Noun):
    """Measure `measure` of `endpoint` by `n_more` more `unit`: the probability of a right choice is expected to go from `now` to `then`.

    `most` is what knowing it exactly would give, so what no number of further measurements exceeds.
    """

    endpoint: str
    measure: str
    n_more: int
    unit: str
    now: float
    then: float
    most: float


class First(Noun):
    """What keeps no constraint broken but is unknown in `missing`: were it as those here are, it would be chosen so probably."""

    endpoint: str
    missing: tuple[str, ...]
    probability_best: float


def more_measurements(
    market: "Market", beliefs: Beliefs, best: "Array", *, measures: Sequence[str], able: Sequence[str], most: int = 5
) -> tuple[Measurement, ...]:
    """The repetitions worth most, first the one with the largest gain from measuring as much again as there is; none where nothing
    helps.
    """
    import numpy as np

    size = len(beliefs.endpoints)
    chances = chances_of(best, size)
    now = float(max(chances[beliefs.endpoints.index(one)] for one in able))
    step = max(len(best) // _THINNED, 1)
    winners = np.zeros((len(best[::step]), size + 1))
    winners[np.arange(len(winners)), best[::step]] = 1.0
    places = [place for place in np.argsort(-chances)[:_MOST_ENDPOINTS] if chances[place] >= _WORTH_ASKING]
    base = float(winners[:, :size].mean(axis=0).max())
    found = []
    for place in places:
        endpoint = beliefs.endpoints[place]
        for name in measures:
            measured = market.measures.get(name)
            if measured is None or endpoint not in measured.endpoints:
                continue
            row = measured.endpoints.index(endpoint)
            variance = float(measured.covariance[row, row])
            if variance <= 0 or not measured.n[row]:
                continue
            values = beliefs.draws[name][::step, place]
            gain = _expected(values, winners, variance) - base
            exact = _expected(values, winners, variance / 100) - base
            if gain > _LEAST_GAIN:
                found.append((gain, max(gain, exact), endpoint, name, measured.n[row], measured.unit))
    found.sort(key=lambda one: -one[0])
    return tuple(
        Measurement(endpoint=endpoint, measure=name, n_more=n, unit=unit, now=now, then=min(now + gain, 1.0), most=min(now + exact, 1.0))
        for gain, exact, endpoint, name, n, unit in found[:most]
    )


def _expected(values: "Array", winners: "Array", variance: float) -> float:
    """The mean over outcomes of the probability of the best choice after each; an outcome is a drawn value and the error of measuring
    it.
    """
    import numpy as np

    draw = np.random.default_rng(7)
    # Evenly spaced values, so that few outcomes stand for all.
    chosen = np.sort(values)[((np.arange(OUTCOMES) + 0.5) / OUTCOMES * len(values)).astype(int)]
    seen = chosen + draw.permutation(_normal_scores(OUTCOMES)) * variance**0.5
    log_weight = -((seen[:, None] - values[None, :]) ** 2) / (2 * variance)
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    after = (weight @ winners[:, :-1]) / weight.sum(axis=1, keepdims=True)
    return float(after.max(axis=1).mean())


def _normal_scores(n: int) -> "Array":
    import numpy as np
    from scipy.special import ndtri

    scores: Array = ndtri((np.arange(n) + 0.5) / n)
    return scores


def first_measurements(
    scope: "Scope", wishes: Wishes, beliefs: Beliefs, utility: "Array", best: "Array", most: int = 5
) -> tuple[First, ...]:
    """Endpoints that break nothing but lack some of the measures that count, likeliest to be chosen first, by what their peers' values
    suggest.
    """
    import numpy as np

    from evals.pick.scope import measures_for

    market = scope.market
    wanted = {part for name in scope.weigh.asked for part in measures_for(name, market.tasks, wishes)}
    wanted |= {limit.measure for limit in limits_of(wishes.require)}
    rows = np.arange(len(best))
    best_now = np.where(best >= 0, utility[rows, np.maximum(best, 0)], -np.inf)
    found = []
    for place, endpoint in enumerate(beliefs.endpoints):
        held = checks(market, wishes.require, endpoint)
        missing = sorted(name for name in wanted if market.value(name, endpoint) is None)
        closed = any(check.verdict == "broken" for check in held) or any(
            check.verdict != "kept" for check in held if check.constraint in TERMS
        )
        if not missing or len(missing) == len(wanted) or closed or any(name not in beliefs.draws for name in missing):
            continue
        columns = {name: beliefs.unseen[name] if name in missing else beliefs.draws[name][:, place] for name in wanted}
        own = utility_of(scope.weigh, columns, market.tasks, wishes)
        if own is None:
            continue
        holds = np.ones(len(best), dtype=bool)
        for limit in limits_of(wishes.require):
            holds &= within(market, limit, columns[limit.measure])
        found.append(First(endpoint=endpoint, missing=tuple(missing), probability_best=float((holds & (own > best_now)).mean())))
    return tuple(sorted(found, key=lambda one: (len(one.missing), -one.probability_best, one.endpoint))[:most])
