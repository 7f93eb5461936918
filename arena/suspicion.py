"""How far a voter departs from everybody else, beyond chance and beyond how people differ: the statistics behind `arena audit`.

    votes = as_votes(ballots)
    judged = judge(votes, tested, aside)     # per test: p-values of the tested voters, and a sentence for each

Each test is a direction in which a vote counts: with w the direction, d = w[left] − w[right] and p the chance that the left model wins by
the votes of all others, a voter's score is u = Σ d (y − p) and his information i = Σ d² p (1 − p).
His effect u/i has the variance 1/i + τ².
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from arena.pairing import posterior

Array = NDArray[np.float64]
Ints = NDArray[np.int_]
Flags = NDArray[np.bool_]
Test = tuple[Array, Callable[[int], str]]

_CHI2_MEDIAN = 0.45493642311957283  # of one degree of freedom
_CHUNK = 256
_AT_ONCE = 1_000_000  # terms of a sum
_LITTLE = 0.02


class Cast(Protocol):
    """What of a vote is asked here."""

    @property
    def voter_id(self) -> str | None: ...
    @property
    def model_a(self) -> str: ...
    @property
    def model_b(self) -> str: ...
    @property
    def winner(self) -> str: ...


@dataclass
class Votes:
    """Decisive votes and ties, one array element each: y is 1, .5 or 0 for the left model; voter −1 is not known."""

    models: list[str]
    voters: list[str]
    a: Ints
    b: Ints
    voter: Ints
    y: Array


def as_votes(ballots: Iterable[Cast]) -> Votes:
    """The votes as arrays; "both bad" is left out."""
    kept = [ballot for ballot in ballots if ballot.winner != "both_bad"]
    models = sorted({ballot.model_a for ballot in kept} | {ballot.model_b for ballot in kept})
    voters = sorted({ballot.voter_id for ballot in kept if ballot.voter_id is not None})
    index, number = {model: i for i, model in enumerate(models)}, {voter: i for i, voter in enumerate(voters)}
    won = {"model_a": 1.0, "model_b": 0.0, "tie": 0.5}
    return Votes(
        models,
        voters,
        np.array([index[ballot.model_a] for ballot in kept], dtype=int),
        np.array([index[ballot.model_b] for ballot in kept], dtype=int),
        np.array([number[ballot.voter_id] if ballot.voter_id is not None else -1 for ballot in kept], dtype=int),
        np.array([won[ballot.winner] for ballot in kept]),
    )


@dataclass
class Judged:
    """Per test the p-values of the tested voters, `together` with q-values in place of them, and the taste τ behind each test."""

    tests: dict[str, Test]
    together: Test
    taste: dict[str, float]


def judge(votes: Votes, tested: Ints, aside: Flags) -> Judged:
    """Test the `tested` voters (numbers) against the votes of everybody who is not `aside`."""
    kept = (votes.voter < 0) | ~aside[votes.voter]
    theta, information, side = _consensus(votes, kept)
    place = np.full(len(votes.voters) + 1, -1)
    place[tested] = np.arange(len(tested))
    mine = place[votes.voter] >= 0
    own = Votes(votes.models, votes.voters, votes.a[mine], votes.b[mine], place[votes.voter[mine]], votes.y[mine])
    counted = ~aside[tested]
    others = _without_each(theta, information, own, len(tested), counted)
    gap = others[own.voter, own.a] - others[own.voter, own.b]
    expected = 1 / (1 + np.exp(-np.clip(gap + side, -30, 30)))
    residual, weight = own.y - expected, expected * (1 - expected)

    def along(d: Array) -> tuple[Array, Array]:
        sums = [np.bincount(own.voter, values, len(tested)).astype(np.float64) for values in (d * residual, d * d * weight)]
        return sums[0], sums[1]

    def along_all(direction: Array) -> tuple[Array, Array]:
        columns = [along(w[own.a] - w[own.b]) for w in direction]
        return np.stack([u for u, _ in columns], axis=1), np.stack([i for _, i in columns], axis=1)

    agree, agree_taste = _effects(*along(gap), counted=counted, centred=True)
    size = len(votes.models)
    favour, favour_taste = _effects(*along_all(np.eye(size)), counted=counted)
    # What lifts a model past those above it: its own wins, and their losses to anybody.
    lift, lift_taste = _effects(*along_all(np.eye(size) - (theta[None, :] > theta[:, None])), counted=counted)
    sided, side_taste = _effects(*along(np.ones_like(gap)), counted=counted)
    met, often = _concentration(votes, kept, own, favour > 1, counted)
    tests = {
        "disagrees": _disagrees(agree),
        "favours": _favours(favour, often, met, votes.models),
        "lifts": _lifts(lift, votes.models),
        "side": _side(sided),
    }
    return Judged(
        tests, _together(lift, votes.models), {"disagrees": agree_taste, "favours": favour_taste, "lifts": lift_taste, "side": side_taste}
    )


def step_up(p: Array) -> Array:
    """Benjamini and Hochberg's adjusted p-values: flagging those below f keeps the expected share of false flags under f."""
    order = np.argsort(p)
    ratio = p[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty_like(p)
    q[order] = np.minimum(1.0, np.minimum.accumulate(ratio[::-1])[::-1])
    return q


def _consensus(votes: Votes, kept: Flags) -> tuple[Array, Array, float]:
    """θ of the models, its information, and the log-odds that the left slot gives (one Newton step from none: it is small)."""
    size = len(votes.models)
    score = np.zeros((size, size))
    np.add.at(score, (votes.a[kept], votes.b[kept]), votes.y[kept])
    np.add.at(score, (votes.b[kept], votes.a[kept]), 1 - votes.y[kept])
    # A prior worth one tie per model keeps it finite where votes separate.
    theta, covariance = posterior(score)
    expected = 1 / (1 + np.exp(theta[votes.b[kept]] - theta[votes.a[kept]]))
    information = float((expected * (1 - expected)).sum())
    return theta, np.linalg.inv(covariance).astype(np.float64), float((votes.y[kept] - expected).sum()) / max(information, 1e-9)


def _without_each(theta: Array, information: Array, own: Votes, n_tested: int, counted: Flags) -> Array:
    """θ as it would be without each tested voter (tested × models): one Newton step from the fit of all; the fit itself for those aside."""
    size = len(theta)
    expected = 1 / (1 + np.exp(np.clip(theta[None, :] - theta[:, None], -30, 30)))
    covariance = np.linalg.inv(information)
    others = np.repeat(theta[None, :], n_tested, axis=0)
    for start in range(0, n_tested, _CHUNK):
        inside = (own.voter >= start) & (own.voter < start + _CHUNK)
        rows, a, b = own.voter[inside] - start, own.a[inside], own.b[inside]
        count = min(_CHUNK, n_tested - start)
        p = expected[a, b]
        gradient, weight = np.zeros((count, size)), np.zeros((count, size, size))
        np.add.at(gradient, (rows, a), own.y[inside] - p)
        np.add.at(gradient, (rows, b), p - own.y[inside])
        np.add.at(weight, (rows, a, b), p * (1 - p))
        np.add.at(weight, (rows, b, a), p * (1 - p))
        # Who holds little of every model's information hardly changes it: there the information of all does for the step.
        step = gradient @ covariance
        heavy = (weight.sum(axis=2) / np.diag(information)).max(axis=1) > _LITTLE
        without = information[None] - _laplacian(weight[heavy]) + 1e-6 * np.eye(size)
        step[heavy] = np.linalg.solve(without, gradient[heavy][..., None])[..., 0]
        # A voter who holds most of a model's votes leaves almost nothing without him: the step stops at three e-folds of odds.
        others[start : start + count] -= np.clip(step, -3, 3) * counted[start : start + count, None]
    return others


def _laplacian(weight: Array) -> Array:
    diagonal = weight.sum(axis=2)
    result: Array = np.eye(weight.shape[1]) * diagonal[:, None, :] - weight
    return result


def _effects(u: Array, i: Array, *, counted: Flags, centred: bool = False) -> tuple[Array, float]:
    """z of each effect under chance and taste, and the taste τ of the `counted` voters: with it half of all z² lie below χ²'s median."""
    known = i > 0.5
    usual = (known.T & counted).T
    if not usual.any():
        return np.zeros_like(u), 0.0
    effect = np.divide(u, i, out=np.zeros_like(u), where=known)
    middle = float(np.median(effect[usual])) if centred else 0.0
    variance = np.divide(1.0, i, out=np.ones_like(i), where=known)
    square = (effect - middle) ** 2
    low, high = 0.0, 10.0
    for _ in range(60):
        tau2 = (low + high) / 2
        low, high = (tau2, high) if np.median(square[usual] / (variance[usual] + tau2)) > _CHI2_MEDIAN else (low, tau2)
    z = np.where(known, (effect - middle) / np.sqrt(variance + high), 0.0)
    return z, math.sqrt(high)


def _concentration(votes: Votes, kept: Flags, own: Votes, asked: Flags, counted: Flags) -> tuple[Array, Array]:
    """How many battles of each tested voter had each model, and the chance of so many or more (tested × models; 1 where not `asked`).

    The draw alone would be binomial in the share that a model has of everybody else's battles; how people come to their battles spreads
    it, which the correlation ρ of a beta-binomial takes up.
    """
    from scipy.special import bdtrc

    n_tested, size = asked.shape
    met = np.zeros((n_tested, size))
    np.add.at(met, (own.voter, own.a), 1)
    np.add.at(met, (own.voter, own.b), 1)
    n = np.bincount(own.voter, minlength=n_tested)[:, None].astype(float)
    total = np.bincount(votes.a[kept], minlength=size) + np.bincount(votes.b[kept], minlength=size)
    out = counted[:, None].astype(float)
    share = np.clip((total[None, :] - met * out) / np.maximum(kept.sum() - n * out, 1), 1e-4, 1 - 1e-4)
    square, variance = (met - n * share) ** 2, n * share * (1 - share)
    usual = n * share >= 1
    low, high = 0.0, 0.9
    for _ in range(40 if usual.any() else 0):
        rho = (low + high) / 2
        spread = variance[usual] * (1 + (np.broadcast_to(n, met.shape)[usual] - 1) * rho)
        low, high = (rho, high) if np.median(square[usual] / spread) > _CHI2_MEDIAN else (low, rho)
    chance = np.ones_like(met)
    found, shares, battles = met[asked] - 1, share[asked], np.broadcast_to(n, met.shape)[asked]
    if high < 1e-4 or not usual.any():
        chance[asked] = bdtrc(found, battles.astype(int), shares)
    else:
        strength = (1 - high) / high
        chance[asked] = beta_binomial_tail(found, battles, shares * strength, (1 - shares) * strength)
    return met, np.maximum(chance, 1e-300)


def beta_binomial_tail(k: Array, n: Array, a: Array, b: Array) -> Array:
    """P(X > k), X beta-binomial of n draws with Beta(a, b), for each of four equally long arrays.

    The upper terms themselves are added up: 1 − P(X ≤ k), as scipy.stats has it (1.17), knows nothing below 1e-13, where a voter who met
    one model alone stands out.
    """
    from scipy.special import betaln

    tail = np.empty(len(k))
    above = (n - k).astype(int)
    ends = np.cumsum(above)
    first = 0
    while first < len(k):
        before = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + _AT_ONCE, side="right")))
        part, count = slice(first, last), above[first:last]
        row = np.repeat(np.arange(len(count)), count)
        size, alpha, beta, least = n[part][row], a[part][row], b[part][row], k[part][row] + 1
        j = least + np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        log_p = betaln(j + alpha, size - j + beta) - betaln(alpha, beta) - betaln(size - j + 1, j + 1) - np.log(size + 1)
        tail[part] = np.bincount(row, np.exp(log_p), minlength=len(count))
        first = last
    return np.minimum(tail, 1.0)


def _disagrees(z: Array) -> Test:
    from scipy.special import ndtr

    return ndtr(z), lambda i: f"votes against the ratings that all others give, z = {z[i]:.1f}"


def _favours(z: Array, often: Array, met: Array, models: list[str]) -> Test:
    from scipy.special import chdtrc, log_ndtr

    # Fisher's way to join two pieces of evidence; the best of all models, so as many times the chance.
    both = chdtrc(4, -2 * (log_ndtr(-z) + np.log(often)))
    target = both.argmin(axis=1)
    rows = np.arange(len(z))
    p = np.minimum(1.0, both[rows, target] * len(models))
    return p, lambda i: f"favours {models[target[i]]} (z = {z[i, target[i]]:.1f}), met in {met[i, target[i]]:.0f} battles"


def _lifts(z: Array, models: list[str]) -> Test:
    from scipy.special import ndtr

    target = z.argmax(axis=1)
    best = z[np.arange(len(z)), target]
    return np.minimum(1.0, ndtr(-best) * len(models)), lambda i: f"lifts {models[target[i]]} past those above it, z = {best[i]:.1f}"


def _together(z: Array, models: list[str]) -> Test:
    """q-values of the voters within the model that most of them lift at once; 1 for all where no model has more such voters than chance.

    A group is looked for first (more voters with p < .01 than chance gives, over all models), then told apart from the rest within it:
    many identities with few votes each are found that no test of one voter would find.
    """
    from scipy.special import bdtrc, ndtr

    p = ndtr(-z)
    crowd = (p < 0.01).sum(axis=0)
    target = int(crowd.argmax())
    if bdtrc(crowd[target] - 1, len(z), 0.01) * len(models) > 0.001:
        return np.ones(len(z)), lambda i: ""
    q = step_up(p[:, target])
    return q, lambda i: f"lifts {models[target]} past those above it, as {crowd[target] - 1} others do (z = {z[i, target]:.1f})"


def _side(z: Array) -> Test:
    from scipy.special import ndtr

    return 2 * ndtr(-np.abs(z)), lambda i: f"chooses the {'left' if z[i] > 0 else 'right'} side, z = {z[i]:.1f}"
