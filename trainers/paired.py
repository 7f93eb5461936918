"""Whether the tuned model differs from its base on the same prompts, and how surely: paired 95 % intervals.

    interval = mean_interval(tuned - base for each row)
    interval = share_interval(n_gained=14, n_lost=2, n=40)

Always "tuned minus base". The formulas are in docs/measuring.md.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Interval(NamedTuple):
    """A difference over `n` prompts with its 95 % interval; the ends are nan where fewer than two prompts were compared."""

    value: float
    lower: float
    upper: float
    n: int


def mean_interval(differences: Sequence[float]) -> Interval:
    """Mean of paired differences; Student's t on n − 1 degrees of freedom."""
    from scipy.special import stdtrit

    n = len(differences)
    if n < 2:
        return Interval(differences[0] if differences else math.nan, math.nan, math.nan, n)
    mean = sum(differences) / n
    stderr = math.sqrt(sum((one - mean) ** 2 for one in differences) / (n - 1) / n)
    half = float(stdtrit(n - 1, 0.975)) * stderr
    return Interval(mean, mean - half, mean + half, n)


def share_interval(*, n_gained: int, n_lost: int, n: int) -> Interval:
    """(gained − lost) / n for prompts on which the two differ (Bonett and Price 2012): one more of either kind, two more prompts.

    It holds its level where hardly any prompt differs, and where all differ the same way.
    """
    if n < 2:
        return Interval((n_gained - n_lost) / n if n else math.nan, math.nan, math.nan, n)
    gained, lost = (n_gained + 1) / (n + 2), (n_lost + 1) / (n + 2)
    half = 1.959964 * math.sqrt((gained + lost - (gained - lost) ** 2) / (n + 2))
    return Interval((n_gained - n_lost) / n, max(gained - lost - half, -1.0), min(gained - lost + half, 1.0), n)


def compare(base: Sequence[float], tuned: Sequence[float]) -> Interval:
    """`share_interval` where all values are 0 or 1, else `mean_interval`."""
    if all(value in (0, 1) for value in (*base, *tuned)):
        gained, lost = (sum(b > a for a, b in pairs) for pairs in (zip(base, tuned, strict=True), zip(tuned, base, strict=True)))
        return share_interval(n_gained=gained, n_lost=lost, n=len(base))
    return mean_interval([b - a for a, b in zip(base, tuned, strict=True)])
