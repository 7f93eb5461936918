"""A small market of made-up endpoints, as evidence objects: enough to ask `evals pick` anything."""

from collections.abc import Mapping
from typing import Any

from evals.load.figures import summarise
from evals.load.plan import Load, Sample
from evals.pick.certainty import believe
from evals.pick.choosing import Decision, decide
from evals.pick.evidence import Asked, Loaded, Records
from evals.pick.scope import scope_of
from evals.pick.wishes import Wishes
from serving.endpoints import Endpoint


def endpoint(name: str, **terms: Any) -> Endpoint:
    return Endpoint(id=name, wire="openai", model=name, base_url="http://127.0.0.1:9", **terms)


def asked(right: int, n: int = 200, usd: float | None = 0.001, seconds: float | None = 1.0, run: str = "run") -> Asked:
    """`right` of n items, interleaved so that items are shared; each request costs and takes the same."""
    items = {("file", item): (float((item * 7919) % n < right), None) for item in range(n)}
    costs = () if usd is None else (usd,) * n
    times = () if seconds is None else tuple(seconds * (0.9 + 0.2 * item / n) for item in range(n))
    return Asked(
        run, "exact_match", items, "file", latency_s=times, ttft_s=times, cost_usd=costs, tokens=((100.0, 50.0, 0.0),) * n, n_answered=n
    )


def level(seconds: float, *, rate: float = 4, repeats: int = 3, failed: int = 0, n: int = 100) -> Any:
    """A load level whose requests take about `seconds`, a few percent apart from repeat to repeat."""
    samples = []
    for repeat in range(repeats):
        for number in range(n):
            took = seconds * (1 + 0.02 * repeat) * (0.5 + number / n)
            good = number >= failed
            times = {"ttft_s": took / 2, "latency_s": took, "latency_from_schedule_s": took, "ended_s": number + took} if good else {}
            status = "ok" if good else "api_error"
            samples.append(Sample(repeat=repeat, request=number, phase="steady", scheduled_s=number, sent_s=number, status=status, **times))
    return summarise(samples, Load(rate=rate, duration_s=n / rate))


def records(
    quality: Mapping[str, int] | None = None, *, endpoints: Mapping[str, Endpoint] | None = None, rated: Mapping[str, Any] | None = None,
    loads: Mapping[str, Any] | None = None, **more: Any,
) -> Records:  # fmt: skip
    """Endpoints that got so many of 200 items of `sums` right."""
    answers = {(name, "sums"): asked(right, **more) for name, right in (quality or {}).items()}
    names = dict.fromkeys([*(quality or {}), *(loads or {})])
    loaded = {name: Loaded((("load", found),)) for name, found in (loads or {}).items()}
    return Records(endpoints or {name: endpoint(name) for name in names}, answers, loaded, rated)


def board(*rows: tuple[str, float, float]) -> dict[str, Any]:
    """A leaderboard document of (model, rating, standard error), errors independent."""
    ratings = [
        {"model": name, "rating": rating, "rating_lower": rating - 2 * error, "rating_upper": rating + 2 * error, "n_battles": 100}
        for name, rating, error in rows
    ]
    covariance = [[error**2 if i == j else 0.0 for j in range(len(rows))] for i, (_, _, error) in enumerate(rows)]
    return {"ratings": ratings, "n_battles": 1000, "n_clusters": 1000, "covariance": covariance}


def choose(found: Records, **wished: Any) -> Decision:
    """What `evals pick` would say."""
    wishes = Wishes.model_validate(wished)
    scope = scope_of(found, wishes)
    return decide(scope, wishes, believe(scope.market))
