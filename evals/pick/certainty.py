"""How sure: what each endpoint's true values may be, drawn again and again, so that "best" is a share of draws and not a point.

    beliefs = believe(market)                      # draws of every measure, once for all wishes
    chances = chances_of(best_of(utility, feasible))

The observed values are resampled (votes by the covariance of their ratings, items by their cluster covariance, repeats by Student's t),
and the *winner's curse* is taken off: of twelve measured values the largest is likely also the luckiest. The endpoints' true values are
taken as drawn from one normal population whose mean and spread are unknown too (Gelman et al., Bayesian Data Analysis, 3rd ed., 5.4; Efron
and Morris 1975):

    y ~ N(θ, Σ),  θ_i ~ N(μ, τ²),  p(μ, τ) flat          each draw: τ from its posterior on a grid, μ given τ, θ given both
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from evals.pick.measured import Measured

if TYPE_CHECKING:
    import numpy as np

    from evals.pick.evidence import Market

    Array = np.ndarray[Any, Any]

DRAWS = 4000  # a share of draws then has a standard error of at most .8 points
SEED = 20261124
_GRID = 80


@dataclass(frozen=True)
class Beliefs:
    """Draws of each measure: `draws[name]` is draws × endpoints (nan: unknown), `unseen[name]` what an endpoint never measured may be."""

    endpoints: tuple[str, ...]
    draws: Mapping[str, "Array"]
    unseen: Mapping[str, "Array"]

    @cached_property
    def places(self) -> dict[str, int]:
        """Which column an endpoint's draws are."""
        return {endpoint: place for place, endpoint in enumerate(self.endpoints)}

    @cached_property
    def bounds(self) -> dict[str, "Array"]:
        """The 95 % interval of each measure's draws, 2 × endpoints (nan: unknown), on the working scale."""
        import numpy as np

        found = {}
        for name, draws in self.draws.items():
            known = ~np.isnan(draws[0])
            found[name] = np.full((2, draws.shape[1]), np.nan)
            found[name][:, known] = np.quantile(draws[:, known], [0.025, 0.975], axis=0)
        return found


def believe(market: "Market", n_draws: int = DRAWS) -> Beliefs:
    """Draws of every measure of the market, on the measures' working scales. The same market gives the same draws."""
    import numpy as np

    endpoints = tuple(market.endpoints)
    draws, unseen = {}, {}
    for name, measured in market.measures.items():
        known, new = posterior(measured, n_draws)
        whole = np.full((n_draws, len(endpoints)), np.nan)
        for place, endpoint in enumerate(endpoints):
            if (row := measured.rows.get(endpoint)) is not None:
                whole[:, place] = known[:, row]
        draws[name], unseen[name] = whole, new
    return Beliefs(endpoints, draws, unseen)


def posterior(measured: Measured, n_draws: int = DRAWS) -> "tuple[Array, Array]":
    """(draws × endpoints of the true values, draws of one more endpoint's). Fewer than three endpoints tell no population: no shrinkage.

    Σ = QΛQ' once, so that each τ costs as many operations as there are endpoints. An exact value (Λ = 0) stays what it is.
    """
    import numpy as np

    draw = np.random.default_rng([SEED, zlib.crc32(measured.name.encode())])
    y = measured.values
    size = len(y)
    values, vectors = np.linalg.eigh(measured.covariance)
    noise = np.maximum(values, 0.0)
    normal = draw.standard_normal((n_draws, size))
    if size < 3:
        spread = float(y.std()) or abs(float(y.mean())) or 1.0
        return y + (normal * np.sqrt(noise)) @ vectors.T, draw.normal(float(y.mean()), 2 * spread, n_draws)
    seen, ones = vectors.T @ y, vectors.T @ np.ones(size)
    widest = 4 * float(y.std(ddof=1)) + 1e-9
    taus = np.linspace(widest / 400, widest, _GRID)
    total = noise[None, :] + taus[:, None] ** 2
    precision = (ones**2 / total).sum(axis=1)
    centre = (ones * seen / total).sum(axis=1) / precision
    residual = seen[None, :] - centre[:, None] * ones[None, :]
    log_p = -0.5 * (np.log(precision) + np.log(total).sum(axis=1) + (residual**2 / total).sum(axis=1))
    weight = np.exp(log_p - log_p.max())
    which = draw.choice(_GRID, n_draws, p=weight / weight.sum())
    tau2 = taus[which, None] ** 2
    mu = draw.normal(centre[which], 1 / np.sqrt(precision[which]))
    part = noise[None, :] / (noise[None, :] + tau2)
    mean = (1 - part) * seen[None, :] + part * mu[:, None] * ones[None, :]
    known = (mean + normal * np.sqrt(part * tau2)) @ vectors.T
    return known, draw.normal(mu, taus[which])


def best_of(utility: "Array", feasible: "Array") -> "Array":
    """Per draw the place of the feasible endpoint with the highest utility, −1 where none is feasible. Both are draws × endpoints."""
    import numpy as np

    masked = np.where(feasible & ~np.isnan(utility), utility, -np.inf)
    best = masked.argmax(axis=1)
    return np.where(np.isneginf(masked.max(axis=1)), -1, best)


def chances_of(best: "Array", n_endpoints: int) -> "Array":
    """How often each endpoint was the best."""
    import numpy as np

    chances: Array = np.bincount(best[best >= 0], minlength=n_endpoints) / len(best)
    return chances
