"""From votes, items, repeats and bills to a value for each endpoint *with the error it has*, whole covariances where errors go together.

    quality = of_items("quality:gsm8k", {"our-llama": {(sha, 0): (1.0, None), …}, …})
    seconds = of_levels("ttft_p95", {"our-llama": Quantile(1.2, 1.0, 1.5, repeats=3, n=900), …})

Pure functions over numbers; the reading of files is in evals/pick/evidence.py. Shares and rating points stay as they are, seconds and
dollars become natural logarithms: their errors are proportions. numpy and scipy are imported where used.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from evals.load.figures import samples_needed

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Z95 = 1.959963984540054
LEAST_USD = 0.01  # dollars per 1,000 requests or a month below which nobody counts; a logarithm has no zero
LEAST_S = 0.001

# (value or None where the request failed, cluster or None) of each item.
Answers = Mapping[Hashable, tuple[float | None, str | None]]


@dataclass(frozen=True)
class Measured:
    """One measure of several endpoints: `values` and their error covariance, both on the working scale (`log`: natural logarithms).

    `n` counts what was measured, in `unit` (votes, items, repeats, requests); 0 where nothing was sampled (a price). `origin` says where
    it is from.
    """

    name: str
    endpoints: tuple[str, ...]
    values: "Array"
    covariance: "Array"
    n: tuple[int, ...]
    unit: str
    origin: tuple[str, ...]
    log: bool = False

    @cached_property
    def rows(self) -> dict[str, int]:
        """Where each endpoint stands in `values`."""
        return {endpoint: row for row, endpoint in enumerate(self.endpoints)}

    def natural(self, value: float) -> float:
        """A value of the working scale in seconds, dollars, shares or points."""
        return math.exp(value) if self.log else value

    def working(self, value: float) -> float:
        """The reverse; what is below the least that counts is the least."""
        return math.log(max(value, _least(self.name))) if self.log else value

    def value(self, endpoint: str) -> float | None:
        """The endpoint's value in natural units; None where it was not measured."""
        row = self.rows.get(endpoint)
        return None if row is None else self.natural(float(self.values[row]))


class Quantile(NamedTuple):
    """A percentile in seconds, its 95 % interval (a bound may be None), over how many repeats and requests."""

    value: float
    lower: float | None
    upper: float | None
    repeats: int
    n: int
    origin: str = ""


class Bill(NamedTuple):
    """Dollars with their 95 % interval, None where they are certain, and how many requests they are the mean of."""

    value: float
    lower: float | None = None
    upper: float | None = None
    n: int = 0
    origin: str = ""


def of_ratings(
    models: Sequence[str], ratings: Sequence[float], covariance: "Array", *, n: Sequence[int], groups: int, origin: str = ""
) -> Measured:
    """Ratings in points with the covariance in points² that the votes of so many voters (`groups`; or single votes) give them."""
    import numpy as np

    steady = steadied(np.asarray(covariance, float), groups)
    return Measured("rating", tuple(models), np.asarray(ratings, float), steady, tuple(n), "votes", (origin,) * len(models))


def steadied(covariance: "Array", groups: int) -> "Array":
    """The covariance with its correlations drawn towards zero by λ = Σ var(r_ij) / Σ r_ij², var(r) = (1 − r²)² / (groups − 1), at most 1.

    Schäfer and Strimmer 2005. Fifty-eight voters cannot tell the 1,711 correlations of 59 ratings: some mixture of models would seem to be
    known exactly, and the prior would bend all others to fit it. Variances stay.
    """
    import numpy as np

    scale = np.sqrt(np.diag(covariance))
    size = len(scale)
    if size < 2 or not scale.all():
        return covariance
    r = covariance / np.outer(scale, scale)
    off = np.logical_not(np.eye(size, dtype=bool))
    noise = float((np.maximum(1 - r[off] ** 2, 0.0) ** 2).sum()) / max(groups - 1, 1)
    total = float((r[off] ** 2).sum())
    kept = 1 - min(noise / total, 1.0) if total else 0.0
    steady: Array = np.where(off, kept * covariance, covariance)
    return steady


def of_items(name: str, answers: Mapping[str, Answers], origin: Mapping[str, str] | None = None) -> Measured:
    """Mean over the answered items, errors going together where the same items (or clusters) were asked.

    cov(i, j) = G/(G−1) · Σ_g r_ig r_jg / (n_i n_j), with r_ig the sum of endpoint i's residuals in cluster g (Liang and Zeger 1986): what
    items drawn anew would do to both. A share of 0 or 1 has the variance of Agresti and Coull's (1998) instead of none. What was not
    answered is unknown: the share f of failed items adds f² · E(u − mean)², u uniform from 0 to 1. Endpoints with fewer than two answers
    are left out.
    """
    import numpy as np

    known = {one: {item: pair for item, pair in items.items() if pair[0] is not None} for one, items in answers.items()}
    endpoints = tuple(one for one, items in known.items() if len(items) > 1)
    clusters: dict[Hashable, int] = {}
    for one in endpoints:
        for item, (_, cluster) in known[one].items():
            clusters.setdefault(item if cluster is None else ("cluster", cluster), len(clusters))
    residuals = np.zeros((len(endpoints), max(len(clusters), 1)))
    means, n = np.zeros(len(endpoints)), np.array([len(known[one]) for one in endpoints], float)
    extra, busy = np.zeros(len(endpoints)), np.zeros(max(len(clusters), 1))
    for row, one in enumerate(endpoints):
        values = np.array([value for value, _ in known[one].values()], float)
        where = [clusters[item if cluster is None else ("cluster", cluster)] for item, (_, cluster) in known[one].items()]
        means[row] = values.mean()
        np.add.at(residuals[row], where, values - means[row])
        np.add.at(busy, where, 1.0)
        groups = len(set(where))
        residuals[row] *= math.sqrt(groups / (groups - 1)) if groups > 1 else 1.0
        if values.min() == values.max():
            share = (values.sum() + 2) / (len(values) + 4)
            extra[row] = share * (1 - share) / (len(values) + 4)
        failed = 1 - len(values) / len(answers[one])
        extra[row] += failed**2 * (1 / 12 + (means[row] - 0.5) ** 2)
    equal = int(busy.sum() ** 2 / max((busy**2).sum(), 1.0))
    covariance = steadied(residuals @ residuals.T / np.outer(n, n), equal) + np.diag(extra)
    where_from = tuple((origin or {}).get(one, "") for one in endpoints)
    return Measured(name, endpoints, means, covariance, tuple(int(count) for count in n), "items", where_from)


def of_levels(name: str, found: Mapping[str, Quantile]) -> Measured:
    """Percentiles under load, as logarithms. Repeats are few, so their variances borrow from each other (Smyth 2004, limma).

    With d degrees of freedom an endpoint's s² becomes (d₀ s₀² + d s²)/(d₀ + d), d₀ and s₀² from the moments of log s² over all endpoints
    that were repeated; Student's t is met by widening the variance of the mean by (t₀.₉₇₅/z₀.₉₇₅)². One run alone has the interval of its
    order statistics, or s₀² where that is more, for requests that queue behind each other are not independent.
    """
    import numpy as np
    from scipy.special import stdtrit

    spreads = {one: _between(quantile) for one, quantile in found.items() if quantile.repeats > 1}
    prior_df, prior = _moderate([(spread, found[one].repeats - 1) for one, spread in spreads.items()])
    variances = []
    for one, quantile in found.items():
        if one in spreads:
            df = quantile.repeats - 1
            if math.isinf(prior_df):
                variance, whole = prior, math.inf
            else:
                variance, whole = (prior_df * prior + df * spreads[one]) / (prior_df + df), prior_df + df
            widening = 1.0 if math.isinf(whole) else (float(stdtrit(whole, 0.975)) / Z95) ** 2
            variances.append(widening * variance / quantile.repeats)
        else:
            variances.append(max(_from_interval(quantile) or 0.0, prior if spreads else 0.0))
    return Measured(
        name, tuple(found), np.log([max(quantile.value, LEAST_S) for quantile in found.values()]),
        np.diag(variances),
        tuple(max(quantile.repeats, 1) for quantile in found.values()), "repeats",
        tuple(quantile.origin for quantile in found.values()), log=True,
    )  # fmt: skip


def of_requests(name: str, seconds: Mapping[str, Sequence[float]], percent: int, origin: Mapping[str, str] | None = None) -> Measured:
    """A percentile of single requests (nearest rank), as logarithms; endpoints with too few of them to carry it are left out (Wilks 1941).

    The variance is that of a bootstrap of infinitely many rounds: the k-th smallest of n drawn anew is x_i with probability
    I_{i/n}(k, n−k+1) − I_{(i−1)/n}(k, n−k+1) (Maritz and Jarrett 1978).
    """
    import numpy as np
    from scipy.special import betainc

    q = percent / 100
    endpoints = tuple(one for one, values in seconds.items() if len(values) >= samples_needed(q))
    values, variances = [], []
    for one in endpoints:
        ordered = np.log(np.maximum(np.sort(np.asarray(seconds[one], float)), LEAST_S))
        n = len(ordered)
        k = max(math.ceil(q * n), 1)
        chance = np.diff(betainc(k, n - k + 1, np.arange(n + 1) / n))
        mean = float(chance @ ordered)
        values.append(float(ordered[k - 1]))
        variances.append(float(chance @ (ordered - mean) ** 2))
    where_from = tuple((origin or {}).get(one, "") for one in endpoints)
    n_requests = tuple(len(seconds[one]) for one in endpoints)
    return Measured(name, endpoints, np.array(values), np.diag(variances), n_requests, "requests", where_from, log=True)


def of_bills(name: str, bills: Mapping[str, Bill]) -> Measured:
    """Dollars, as logarithms; a price without an interval is certain."""
    import numpy as np

    values = np.log([max(bill.value, LEAST_USD) for bill in bills.values()])
    variances = [_from_interval(bill) or 0.0 for bill in bills.values()]
    return Measured(
        name, tuple(bills), values, np.diag(variances), tuple(bill.n for bill in bills.values()), "requests",
        tuple(bill.origin for bill in bills.values()), log=True,
    )  # fmt: skip


def mean_bill(costs: Sequence[float], origin: str = "") -> Bill:
    """1,000 times the mean of the requests' dollars, with its normal 95 % interval."""
    n = len(costs)
    mean = sum(costs) / n
    if n < 2:
        return Bill(1000 * mean, n=n, origin=origin)
    half = Z95 * math.sqrt(sum((cost - mean) ** 2 for cost in costs) / (n - 1) / n)
    return Bill(1000 * mean, max(1000 * (mean - half), 0.0), 1000 * (mean + half), n, origin)


def _between(quantile: Quantile) -> float:
    """The variance of the logarithm from repeat to repeat, out of Student's interval of the mean."""
    from scipy.special import stdtrit

    if quantile.upper is None or quantile.lower is None:
        return 0.0
    half = (quantile.upper - quantile.lower) / 2
    deviation = half * math.sqrt(quantile.repeats) / float(stdtrit(quantile.repeats - 1, 0.975))
    return (deviation / quantile.value) ** 2


def _from_interval(found: "Quantile | Bill") -> float | None:
    """The variance of the logarithm that a 95 % interval stands for; from one side where only one bound is known. None without bounds."""
    value = max(found.value, 1e-12)
    low = None if found.lower is None else math.log(value / max(found.lower, value / 1000))
    high = None if found.upper is None else math.log(max(found.upper, value) / value)
    sides = [side for side in (low, high) if side is not None]
    return (sum(sides) / len(sides) / Z95) ** 2 if sides else None


def _moderate(spreads: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """(d₀, s₀²) of Smyth's prior for variances; d₀ is 0 where fewer than two endpoints were repeated, infinite where they do not differ."""
    import numpy as np
    from scipy.optimize import brentq
    from scipy.special import digamma, polygamma

    known = [(spread, df) for spread, df in spreads if spread > 0]
    if len(known) < 2:
        return 0.0, known[0][0] if known else 0.0
    half_df = np.array([df for _, df in known]) / 2
    e = np.log([spread for spread, _ in known]) - digamma(half_df) + np.log(half_df)
    excess = float(e.var(ddof=1) - polygamma(1, half_df).mean())
    if excess <= 1e-6:
        return math.inf, float(np.exp(e.mean()))
    half = float(brentq(lambda x: float(polygamma(1, x)) - excess, 1e-6, 1e7)) if float(polygamma(1, 1e7)) < excess else math.inf
    if math.isinf(half):
        return math.inf, float(np.exp(e.mean()))
    return 2 * half, float(np.exp(e.mean() + digamma(half) - math.log(half)))


def _least(name: str) -> float:
    return LEAST_USD if name.startswith("usd") else LEAST_S
