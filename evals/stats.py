"""The statistics behind a decision: how far two models are apart on the same items, how surely, and how many items it would take.

    difference = paired_difference(baseline, other, clusters=passages)
    p = mcnemar_exact(lost=476, gained=147)

Pure functions over arrays; they know neither runs nor models. Differences are always "other minus baseline". What was not answered never
enters an array: `missing_bounds` says what it leaves open. The formulas are in docs/measuring.md. numpy and scipy are imported where used.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Values = Sequence[float] | Array

LEVEL = 0.95
POWER = 0.8


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
    from scipy.special import ndtri

    return float(ndtri(quantile))
