"""The statistics behind a decision: how far two models are apart on the same items, how surely, and how many items it would take.

    difference = paired_difference(baseline, other, clusters=passages)
    p = mcnemar_exact(lost=476, gained=147)

Pure functions over arrays; they know neither runs nor models. Differences are always "other minus baseline". What was not answered never
enters an array: `missing_bounds` says what it leaves open. The formulas are in docs/measuring.md. numpy and scipy are imported where used;
of scipy its special functions, since to import scipy.stats takes more than a second.
"""

from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Values = Sequence[float] | Array

LEVEL = 0.95
POWER = 0.8
ROUNDS = 4000  # of a bootstrap: a p-value of .05 then has a standard error of .0034
PERMUTATIONS = 10_000
ENOUGH = 30  # exchanges as extreme as what was seen, after which a test needs no more of them
SEED = 20261124
AT_ONCE = 4_000_000  # numbers of a resampled matrix in memory at a time (32 MB)


class Difference(NamedTuple):
    """Mean of other − baseline over `n` items in `n_clusters`, its standard error, interval and two-sided p-value."""

    value: float
    stderr: float
    lower: float
    upper: float
    p: float
    n: int
    n_clusters: int


def paired_difference(a: "Values", b: "Values", *, clusters: Sequence[Any] | None = None, level: float = LEVEL) -> Difference:
    """b − a, item by item, with a cluster-robust standard error and Student's t on (clusters − 1) degrees of freedom.

    The variance of the mean is G/(G−1) · Σ_g (Σ_{i∈g} (d_i − d̄))² / n² (Liang and Zeger 1986; Miller 2024, "Adding error bars to evals");
    without `clusters` each item is its own. Where a and b are 0 or 1 and items are independent, the interval is Bonett and Price's (2012):
    one more discordant item on either side, which holds its level where hardly any item differs. Fewer than two clusters: nan.
    """
    import numpy as np
    from scipy.special import stdtr, stdtrit

    before, after = _pair(a, b)
    d = after - before
    sums, sizes = _by_cluster(d, clusters)
    n, groups = d.size, sums.size
    mean = float(d.mean())
    if groups < 2:
        return Difference(mean, np.nan, np.nan, np.nan, np.nan, n, groups)
    stderr = float(np.sqrt(groups / (groups - 1) * ((sums - mean * sizes) ** 2).sum())) / n
    half = float(stdtrit(groups - 1, 0.5 + level / 2)) * stderr
    lower, upper = mean - half, mean + half
    if is_binary(before, after) and (groups == n or not stderr):
        lower, upper = _bonett_price(int((d < 0).sum()), int((d > 0).sum()), n, level)
    p = float(2 * stdtr(groups - 1, -abs(mean) / stderr)) if stderr else 1.0 if not mean else 0.0
    return Difference(mean, stderr, lower, upper, p, n, groups)


def paired_bootstrap(
    a: "Values", b: "Values", *, clusters: Sequence[Any] | None = None, level: float = LEVEL, rounds: int = ROUNDS, seed: int = SEED
) -> Difference:
    """b − a, item by item, resampling whole clusters; the symmetric bootstrap-t interval and its p-value (Hall 1988).

    Each round's difference is divided by its own standard error, so that skewed lengths, seconds and dollars keep the level on few items
    where percentiles do not. The smallest possible p is 1/(rounds + 1).
    """
    import numpy as np

    plain = paired_difference(a, b, clusters=clusters, level=level)
    before, after = _pair(a, b)
    sums, sizes = _by_cluster(after - before, clusters)
    groups = sums.size
    if groups < 2 or not plain.stderr:
        return plain
    draw = np.random.default_rng(seed)
    moments = np.stack([sizes, sums, sums**2, sums * sizes, sizes**2], axis=1)
    chunks, left = [], rounds
    while left:
        now = min(left, max(1, AT_ONCE // groups))
        drawn = draw.integers(0, groups, size=(now, groups)) + groups * np.arange(now)[:, None]
        times = np.bincount(drawn.ravel(), minlength=now * groups).reshape(now, groups).astype(float)
        n, total, square, cross, weight = (times @ moments).T
        means = total / n
        squares = square - 2 * means * cross + means**2 * weight
        stderrs = np.sqrt(np.maximum(groups / (groups - 1) * squares, 0)) / n
        off = np.abs(means - plain.value)
        chunks.append(np.divide(off, stderrs, out=np.where(off > 1e-12, np.inf, 0.0), where=stderrs > 1e-12 * abs(plain.value)))
        left -= now
    sizes_of_t = np.concatenate(chunks)
    half = float(np.quantile(sizes_of_t, level, method="higher")) * plain.stderr
    p = (1 + int((sizes_of_t >= abs(plain.value) / plain.stderr).sum())) / (rounds + 1)
    if not np.isfinite(half):
        half = plain.upper - plain.value
    return plain._replace(lower=plain.value - half, upper=plain.value + half, p=float(p))


def mcnemar_exact(lost: int, gained: int) -> float:
    """Two-sided exact p of `lost` (baseline right, other wrong) against `gained` (the reverse): a fair coin for each item that flipped.

    McNemar 1947; exact by the binomial. Items on which both agree say nothing about who is better. 1.0 where nothing flipped.
    """
    from scipy.special import bdtr

    flipped = lost + gained
    return min(1.0, 2 * float(bdtr(min(lost, gained), flipped, 0.5))) if flipped else 1.0


def benjamini_hochberg(p_values: "Values") -> list[float]:
    """The smallest false discovery rate at which each would be called a discovery (Benjamini and Hochberg 1995), in the order given."""
    import numpy as np

    p = np.asarray(p_values, dtype=float)
    if not p.size:
        return []
    order = np.argsort(p)
    scaled = p[order] * p.size / np.arange(1, p.size + 1)
    adjusted = np.empty(p.size)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return [float(value) for value in adjusted]


def minimum_detectable_effect(stderr: float, *, level: float = LEVEL, power: float = POWER) -> float:
    """The true difference that a two-sided test at 1 − level finds with this power: (z_{1−α/2} + z_power) · stderr."""
    return (_z(0.5 + level / 2) + _z(power)) * stderr


def items_needed(effect: float, stderr: float, n: int, *, level: float = LEVEL, power: float = POWER) -> int | None:
    """Items in all to find a true difference of `effect` with this power, where n items gave `stderr` (clusters of the same size).

    None for an effect of zero, which no number of items finds, and where nothing varied.
    """
    import math

    if not effect or not stderr:
        return None
    return math.ceil(n * (minimum_detectable_effect(stderr, level=level, power=power) / abs(effect)) ** 2)


def paired_ks(a: "Values", b: "Values", *, permutations: int = PERMUTATIONS, seed: int = SEED) -> tuple[float, float]:
    """(D, p): Kolmogorov and Smirnov's largest distance between the two distributions, p by exchanging a and b within items.

    Kolmogorov's own p takes the samples as independent; answers to the same item are not, and it would see little. Where nothing has
    changed, which of an item's two values came first is a coin toss, so that exchanging them at random gives the exact null. It stops early
    where p is plainly large (Besag and Clifford 1991); the smallest possible p is 1/(permutations + 1).
    """
    import numpy as np

    before, after = _pair(a, b)
    n = before.size
    pooled = np.concatenate([before, after])
    order = np.argsort(pooled, kind="stable")
    # Equal values are one step of both distributions: distances are read at the last of each run.
    ends = np.append(np.flatnonzero(np.diff(pooled[order]) > 0), 2 * n - 1)
    item, side = order % n, np.where(order < n, 1, -1).astype(np.int8)
    observed = float(np.abs(np.cumsum(side, dtype=np.int32)[ends]).max()) / n
    draw = np.random.default_rng(seed)
    extreme, done = 0, 0
    while done < permutations:
        now = min(permutations - done, max(1, AT_ONCE // (2 * n)))
        coins = draw.integers(0, 2, size=(now, n), dtype=np.int8) * np.int8(2) - np.int8(1)
        distances = np.abs(np.cumsum(coins[:, item] * side, axis=1, dtype=np.int32)[:, ends]).max(axis=1) / n
        hits = np.flatnonzero(distances >= observed - 1e-12)
        if extreme + hits.size >= ENOUGH:
            return observed, ENOUGH / (done + int(hits[ENOUGH - extreme - 1]) + 1)
        extreme, done = extreme + hits.size, done + now
    return observed, (1 + extreme) / (permutations + 1)


def is_binary(*arrays: "Array") -> bool:
    """Whether every value is 0 or 1."""
    import numpy as np

    return all(bool(np.isin(values, (0, 1)).all()) for values in arrays)


def difference_bounds(a: Sequence[float | None], b: Sequence[float | None], *, low: float = 0.0, high: float = 1.0) -> tuple[float, float]:
    """Interval for the mean of b − a over all items, None being a value that is not known: anything from `low` to `high`."""
    pairs = list(zip(a, b, strict=True))
    worst = [(low if y is None else y) - (high if x is None else x) for x, y in pairs]
    best = [(high if y is None else y) - (low if x is None else x) for x, y in pairs]
    span = high - low
    return mean_interval(worst, low=-span, high=span)[0], mean_interval(best, low=-span, high=span)[1]


def missing_bounds(values: "Values", n_failed: int, *, low: float = 0.0, high: float = 1.0, level: float = LEVEL) -> tuple[float, float]:
    """Interval for the mean over all items when `n_failed` of them are unknown: each may have been anything from `low` to `high`.

    The lower end is that of the confidence interval when every missing item is `low`, the upper end when every one is `high` (Manski 1989;
    sampling error on either side as in `mean_interval`, so that all that may have been is covered at `level`). Without failures it is the
    usual interval; without answers it is (low, high). Raises ValueError for a value outside [low, high].
    """
    import numpy as np

    known = np.asarray(values, dtype=float)
    if known.size and not (low <= known.min() and known.max() <= high):
        raise ValueError(f"values from {known.min():g} to {known.max():g} do not lie between low={low:g} and high={high:g}")
    if not known.size:
        return low, high
    worst, best = (np.concatenate([known, np.full(n_failed, fill)]) for fill in (low, high))
    return mean_interval(worst, low=low, high=high, level=level)[0], mean_interval(best, low=low, high=high, level=level)[1]


def mean_interval(values: "Values", *, low: float = 0.0, high: float = 1.0, level: float = LEVEL) -> tuple[float, float]:
    """Interval of a mean of values within [low, high]: Wilson's where every value is one of the two, else Student's t, cut to the range.

    One value alone that is neither says nothing about the spread: (low, high).
    """
    import numpy as np
    from scipy.special import stdtrit

    known = np.asarray(values, dtype=float)
    n = known.size
    if np.isin(known, (low, high)).all():
        bottom, top = wilson(int((known == high).sum()), n, level=level)
        return low + bottom * (high - low), low + top * (high - low)
    if n < 2:
        return low, high
    half = float(stdtrit(n - 1, 0.5 + level / 2)) * float(known.std(ddof=1)) / n**0.5
    mean = float(known.mean())
    return max(low, mean - half), min(high, mean + half)


def wilson(successes: int, n: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Score interval of a share (Wilson 1927); (0, 1) for n = 0."""
    if not n:
        return 0.0, 1.0
    z = _z(0.5 + level / 2)
    share, scale = successes / n, 1 + z * z / n
    middle = (share + z * z / (2 * n)) / scale
    half = z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5 / scale
    # At 0 and n the bound is exactly 0 or 1; rounding must not say otherwise.
    return (0.0 if not successes else middle - half), (1.0 if successes == n else middle + half)


def _z(quantile: float) -> float:
    return NormalDist().inv_cdf(quantile)


def _bonett_price(lost: int, gained: int, n: int, level: float) -> tuple[float, float]:
    down, up = (lost + 1) / (n + 2), (gained + 1) / (n + 2)
    half = _z(0.5 + level / 2) * ((up + down - (up - down) ** 2) / (n + 2)) ** 0.5
    return max(-1.0, up - down - half), min(1.0, up - down + half)


def _pair(a: "Values", b: "Values") -> "tuple[Array, Array]":
    import numpy as np

    before, after = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if before.shape != after.shape or before.ndim != 1 or not before.size:
        raise ValueError(f"pairs need one value of each side for every item, at least one: {before.shape} and {after.shape}")
    return before, after


def _by_cluster(d: "Array", clusters: Sequence[Any] | None) -> "tuple[Array, Array]":
    """(sum of the differences, number of items) of each cluster."""
    import numpy as np

    if clusters is None:
        return d, np.ones(d.size)
    if len(clusters) != d.size:
        raise ValueError(f"{len(clusters)} clusters for {d.size} items; each item needs one")
    numbers: dict[Any, int] = {}
    inverse = np.array([numbers.setdefault(cluster, len(numbers)) for cluster in clusters])
    return np.bincount(inverse, weights=d), np.bincount(inverse).astype(float)
