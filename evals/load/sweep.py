"""How much load an endpoint bears: levels rising twofold to the knee, then bisection for the highest one that keeps the SLO.

    levels = sweep(measure, Load(rate=1, duration_s=30), slo=parse_slo("mlperf:llama3.1-8b"))

The knee is the level of greatest *power*, requests a second over mean latency (Kleinrock, "Power and deterministic rules of thumb", ICC
1979): below it throughput is left lying, above it latency buys little. Rising stops when the endpoint is saturated: power below half of
the best so far, fewer than 90 % of what was due answered in the window, or more than 10 % failed; or when an SLO is given and missed.
"""

import math
from collections.abc import Callable, Iterator, Sequence

from evals.load.figures import Level
from evals.load.plan import Load
from evals.load.slo import Slo

Measure = Callable[[Load, int], Level]
# Between the last level that keeps the SLO and the first that misses it.
PRECISION = 1.05
MOST_LEVELS = 16


def sweep(measure: Measure, first: Load, slo: Slo | None = None, *, most_levels: int = MOST_LEVELS) -> Iterator[Level]:
    """Each level as it is measured, at most `most_levels`. `measure` makes the load of that number and gives its figures.

    Levels are of `rate` where `first` has one, else of `concurrency`.
    """
    levels: list[Level] = []

    def at(value: float) -> Level:
        levels.append(measure(with_value(first, value), len(levels)))
        return levels[-1]

    value = value_of(first)
    while len(levels) < most_levels:
        level = at(value)
        yield level
        if slo is not None and not kept(level):
            break
        if slo is None and saturated(level, levels):
            break
        value *= 2
    if slo is None:
        return
    # The first level may already be too much: go down before bisecting.
    smallest = 1.0 if first.rate is None else 0.0
    while len(levels) < most_levels and not any(map(kept, levels)) and min(map(of, levels)) > smallest:
        level = at(max(min(map(of, levels)) / 2, smallest))
        yield level
    while len(levels) < most_levels and (middle := between(levels)) is not None:
        yield at(middle)


def between(levels: Sequence[Level]) -> float | None:
    """The value to try next between the highest kept and the lowest missed above it; None when they are near enough or one is missing."""
    best = highest_kept(levels)
    if best is None:
        return None
    above = [of(level) for level in levels if of(level) > of(best) and not kept(level)]
    if not above:
        return None
    middle = math.sqrt(of(best) * min(above))
    if best.load.rate is None:
        middle = float(round(middle))
        return middle if of(best) < middle < min(above) else None
    return middle if min(above) / of(best) > PRECISION else None


def highest_kept(levels: Sequence[Level]) -> Level | None:
    """The highest level that kept the SLO, below every lower one that missed it: a lucky level above a missed one does not count."""
    missed = [of(level) for level in levels if not kept(level)]
    candidates = [level for level in levels if kept(level) and of(level) < min(missed, default=math.inf)]
    return max(candidates, key=of, default=None)


def knee(levels: Sequence[Level]) -> Level | None:
    """The level of greatest power; None where nothing was answered."""
    return max((level for level in levels if power(level) > 0), key=power, default=None)


def power(level: Level) -> float:
    """Requests a second over mean latency from the schedule (Kleinrock 1979); 0 where nothing was answered."""
    latency = level.figures.get("latency_from_schedule_s")
    return 0.0 if latency is None or latency.mean.value <= 0 else level.requests_per_s.value / latency.mean.value


def saturated(level: Level, levels: Sequence[Level]) -> bool:
    """Whether more load would only make more waiting (the rule is above)."""
    failed = sum(level.failures.values())
    if failed > 0.1 * level.n_requests or power(level) < 0.5 * max(map(power, levels)):
        return True
    start, end = level.window_s
    due = level.n_measured / level.repeats / (end - start) if end > start else 0.0
    return level.load.open_loop and level.window == "steady" and level.requests_per_s.value < 0.9 * due


def kept(level: Level) -> bool:
    """Whether the level kept the SLO it was measured under."""
    return level.attainment is not None and level.attainment.met


def value_of(load: Load) -> float:
    """The level's position on the axis of the sweep: its rate, else its concurrency."""
    return load.rate if load.rate is not None else float(load.concurrency or 1)


def of(level: Level) -> float:
    """`value_of` a measured level."""
    return value_of(level.load)


def with_value(load: Load, value: float) -> Load:
    """The same load at another rate or concurrency."""
    return load.model_copy(update={"rate": value} if load.rate is not None else {"concurrency": round(value)})
