"""The likelihoods of paired comparisons, maximised exactly by Newton's method.

    theta = fit(score)                          # Bradley-Terry on a win matrix: a million votes cost no more than a hundred
    fitted = maximise(design)                   # the same with style columns, a position term, ties as a parameter (Davidson 1970)

With η = θ_a − θ_b + x·β, the left side wins, the right side wins or they tie with odds e^{η/2} : e^{−η/2} : ν. Bradley-Terry has ν = 0 and
counts a tie as half a win of each side. Both are exponential families in (η, log ν), so gradient and information are moments.
"""

from dataclasses import dataclass

import numpy as np

from arena.ballots import Array, Ints
from arena.errors import NothingToRate

_ROUNDS = 200


def fit(score: Array) -> Array:
    """Log-strengths θ (mean zero) that maximise the Bradley-Terry likelihood of `score` (K × K: wins, a tie as half a win each).

    Newton's method with step halving; the Hessian is singular along (1, …, 1), which adding 1/K to each entry of it mends without moving
    the solution. The maximum must exist: every model reaches every other through wins.
    """
    size = len(score)
    played = score + score.T
    theta = np.zeros(size)
    value = _log_likelihood(theta, score)
    for _ in range(_ROUNDS):
        expected = win_probability(theta)
        gradient = (score - played * expected).sum(axis=1)
        step = np.linalg.solve(information(played, expected) + 1 / size, gradient)
        step -= step.mean()
        scale = 1.0
        while (after := _log_likelihood(theta + scale * step, score)) < value - 1e-9 * (1 + abs(value)) and scale > 1e-6:
            scale /= 2
        theta, value = theta + scale * step, after
        if np.abs(step).max() < 1e-12 * (1 + np.abs(theta).max()):
            break
    return theta


def win_probability(theta: Array) -> Array:
    """How likely i beats j, K × K, by Bradley-Terry."""
    # Written with exp of a negative number only: exp(800) would overflow.
    gap = theta[:, None] - theta[None, :]
    small = np.exp(-np.abs(gap))
    return np.where(gap >= 0, 1 / (1 + small), small / (1 + small))


def information(played: Array, expected: Array) -> Array:
    """Fisher's information of θ from how often each pair played and how likely each wins."""
    weight = played * expected * expected.T
    return np.diag(weight.sum(axis=1)) - weight


@dataclass(frozen=True)
class Design:
    """Rows to fit: `total` votes of a left model against a right one, of which the left one's share is `won` (a tie is half), `tied` ties.

    `features` is n × f. `ties_apart` gives ties their own parameter (Davidson) instead of only half a win each.
    """

    size: int
    a: Ints
    b: Ints
    total: Array
    won: Array
    tied: Array
    features: Array
    ties_apart: bool


@dataclass(frozen=True)
class Fit:
    """What maximises the likelihood: θ (mean zero), β, log ν (−inf without ties), and the bread H⁺ of all of them in this order."""

    theta: Array
    beta: Array
    log_nu: float
    bread: Array

    def expected(self, a: Ints, b: Ints, features: Array) -> tuple[Array, Array]:
        """Per row, the left side's expected share of a vote and the probability of a tie."""
        if not features.shape[1] and len(a) > len(self.theta) ** 2:
            # Fewer pairs than rows: look the pairs up.
            win, tie, _ = _moments((self.theta[:, None] - self.theta[None, :]).reshape(-1), self.log_nu)
            pair = a * len(self.theta) + b
            return (win + tie / 2)[pair], tie[pair]
        win, tie, _ = _moments(self.theta[a] - self.theta[b] + features @ self.beta, self.log_nu)
        return win + tie / 2, tie


def maximise(design: Design) -> Fit:
    """The maximum-likelihood fit. It must exist among the models; raises NothingToRate where it does not for a further column."""
    n_features = design.features.shape[1]
    apart = design.ties_apart and bool(design.tied.any())
    if design.ties_apart and not (design.total - design.tied).any():
        raise NothingToRate("every vote is a tie, so Davidson's model has no maximum: use --method bt")
    size = design.size
    parameters = np.zeros(size + n_features + apart)
    if apart:
        parameters[-1] = np.log(2 * design.tied.sum() / (design.total - design.tied).sum())
    centre = np.zeros(len(parameters))
    centre[:size] = 1
    pin = np.outer(centre, centre) / size
    value = _value(design, parameters, apart)
    for _ in range(_ROUNDS):
        gradient, hessian = _derivatives(design, parameters, apart)
        try:
            step = np.linalg.solve(hessian + pin, gradient)
        except np.linalg.LinAlgError:
            raise NothingToRate(_NO_MAXIMUM) from None
        step[:size] -= step[:size].mean()
        scale = 1.0
        while (after := _value(design, parameters + scale * step, apart)) < value - 1e-9 * (1 + abs(value)) and scale > 1e-6:
            scale /= 2
        parameters, value = parameters + scale * step, after
        if np.abs(step).max() < 1e-11 * (1 + np.abs(parameters).max()):
            break
    else:
        raise NothingToRate(_NO_MAXIMUM)
    if np.linalg.cond(hessian + pin) > 1e14:
        raise NothingToRate(_NO_MAXIMUM)
    bread = np.linalg.inv(hessian + pin) - pin
    log_nu = float(parameters[-1]) if apart else -np.inf
    return Fit(parameters[:size], parameters[size : size + n_features], log_nu, bread)


_NO_MAXIMUM = "the votes do not determine the further terms (a column that says who won, or follows from the models): leave a column out"


def _moments(eta: Array, log_nu: float) -> tuple[Array, Array, Array]:
    """Probability of a left win, probability of a tie, log of the sum of the odds; stable for any η."""
    size = np.abs(eta)
    top = size / 2 + np.log1p(np.exp(-size))
    top = np.logaddexp(top, log_nu) if np.isfinite(log_nu) else top
    win: Array = np.exp(eta / 2 - top)
    tie: Array = np.exp(log_nu - top)
    return win, tie, top


def _eta(design: Design, parameters: Array, apart: bool) -> tuple[Array, float]:
    theta, beta = parameters[: design.size], parameters[design.size : design.size + design.features.shape[1]]
    return theta[design.a] - theta[design.b] + design.features @ beta, float(parameters[-1]) if apart else -np.inf


def _value(design: Design, parameters: Array, apart: bool) -> float:
    eta, log_nu = _eta(design, parameters, apart)
    top = _moments(eta, log_nu)[2]
    return float((design.won - design.total / 2) @ eta - design.total @ top + (design.tied.sum() * log_nu if apart else 0.0))


def _derivatives(design: Design, parameters: Array, apart: bool) -> tuple[Array, Array]:
    """Gradient and information of (θ, β, log ν)."""
    eta, log_nu = _eta(design, parameters, apart)
    win, tie, _ = _moments(eta, log_nu)
    share = win + tie / 2
    spread = design.total * (win + tie / 4 - share**2)
    residual = design.won - design.total * share
    extra = design.features
    gradient, hessian = _assemble(design, residual, spread, extra)
    if not apart:
        return gradient, hessian
    both = design.total * (tie / 2 - share * tie)
    column = np.concatenate([_net(design, both), extra.T @ both])
    corner = (design.total * tie * (1 - tie)).sum()
    hessian = np.block([[hessian, column[:, None]], [column[None, :], np.array([[corner]])]])
    return np.append(gradient, (design.tied - design.total * tie).sum()), hessian


def _assemble(design: Design, residual: Array, spread: Array, extra: Array) -> tuple[Array, Array]:
    size = design.size
    pairs = np.bincount(design.a * size + design.b, spread, minlength=size * size).reshape(size, size)
    pairs = pairs + pairs.T
    theta: Array = np.diag(pairs.sum(axis=1)) - pairs
    gradient = np.concatenate([_net(design, residual), extra.T @ residual])
    if not extra.shape[1]:
        return gradient, theta
    cross = np.column_stack([_net(design, spread * column) for column in extra.T])
    return gradient, np.block([[theta, cross], [cross.T, (extra * spread[:, None]).T @ extra]])


def _net(design: Design, values: Array) -> Array:
    """Per model, the sum over its rows on the left less that over its rows on the right."""
    left = np.bincount(design.a, values, minlength=design.size)
    net: Array = left.astype(float) - np.bincount(design.b, values, minlength=design.size)
    return net


def _log_likelihood(theta: Array, score: Array) -> float:
    gap = theta[:, None] - theta[None, :]
    return -float((score * np.logaddexp(0, -gap)).sum())
