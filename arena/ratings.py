"""Ratings: who is better, by how much, and how sure that is. A pure function of votes, never stored.

    ratings = bradley_terry(store.vote_counts())          # exact, with intervals
    ratings = online_elo(store.outcomes())                # in the order of the votes

Bradley-Terry is fitted exactly, by Newton's method on the votes counted per pair: a million votes cost no more than a hundred. A tie is
half a win for each side; "both bad" says nothing about which is better, so it is left out. Scale: 1000 + 400/ln 10 · θ, mean 1000, so
that 400 points are odds of ten to one. Models that votes do not connect in both directions have no rating rather than a made-up one.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arena.votes import WINNERS, Outcome, Tally
from serving.documents import Noun

Array = NDArray[np.float64]

START = 1000.0
POINTS = 400 / math.log(10)
ELO_K = 4.0
Z95 = 1.959963984540054


class Rating(Noun):
    """One line of a leaderboard. Without comparable votes the numbers are None and `note` says why.

    `rank` is 1 + the number of models whose whole interval lies above this one's, so models that votes cannot tell apart share a rank;
    `rank_lower` and `rank_upper` are the best and the worst place that the intervals allow. `n_battles` excludes "both bad".
    """

    model: str
    rating: float | None
    rating_lower: float | None = None
    rating_upper: float | None = None
    rank: int | None = None
    rank_lower: int | None = None
    rank_upper: int | None = None
    n_battles: int
    note: str | None = None


@dataclass(frozen=True)
class HeadToHead:
    """Who beat whom: `wins[i, j]` times did models[i] beat models[j], on whichever side; `ties` and `n` (all of them) are symmetric."""

    models: tuple[str, ...]
    wins: Array
    ties: Array
    n: Array


def head_to_head(tallies: Iterable[Tally]) -> HeadToHead:
    """The matrix of a set of counted votes; models in alphabetical order, "both bad" left out."""
    tallies = list(tallies)
    models = tuple(sorted({tally.model_a for tally in tallies} | {tally.model_b for tally in tallies}))
    index = {model: number for number, model in enumerate(models)}
    wins, ties = np.zeros((len(models), len(models))), np.zeros((len(models), len(models)))
    for tally in tallies:
        a, b = index[tally.model_a], index[tally.model_b]
        wins[a, b] += tally.wins_a
        wins[b, a] += tally.wins_b
        ties[a, b] += tally.ties
        ties[b, a] += tally.ties
    return HeadToHead(models, wins, ties, wins + wins.T + ties)


def tally(outcomes: Iterable[Outcome], clusters: Iterable[str | None] | None = None) -> list[Tally]:
    """Votes counted per ordered pair: what the store's GROUP BY gives, for votes that are in no store.

    `clusters` names each vote's voter or prompt, to be counted apart; a vote whose cluster is None is a cluster of its own.
    """
    counts: dict[tuple[str, str, str | None], dict[str, int]] = {}
    outcomes = list(outcomes)
    for outcome, cluster in zip(outcomes, [None] * len(outcomes) if clusters is None else clusters, strict=True):
        row = counts.setdefault((outcome.model_a, outcome.model_b, cluster), dict.fromkeys(WINNERS, 0))
        row[outcome.winner] += 1
    return [
        Tally(model_a, model_b, row["model_a"], row["model_b"], row["tie"], row["both_bad"], cluster)
        for (model_a, model_b, cluster), row in counts.items()
    ]


def bradley_terry(tallies: Iterable[Tally]) -> list[Rating]:
    """Ratings with 95 % intervals, best first, then the models that are not comparable.

    A maximum exists only among models that beat (or tie) each other in both directions, however indirectly (Ford 1957): the largest such
    group is rated on the votes within it. Intervals are the sandwich of the fit (White 1982), of a model against the mean of all;
    tallies counted per cluster (voter, prompt) give intervals that allow for votes of one cluster resembling each other.
    """
    tallies = list(tallies)
    table = head_to_head(tallies)
    battles: list[int] = table.n.sum(axis=1).astype(int).tolist()
    chosen = _largest_group(table)
    notes = _notes(table, chosen)
    unrated = [Rating(model=table.models[i], rating=None, n_battles=battles[i], note=note) for i, note in notes.items()]
    if not len(chosen):
        return unrated
    score = (table.wins + table.ties / 2)[np.ix_(chosen, chosen)]
    theta = fit(score)
    names = [table.models[i] for i in chosen]
    rating = START + POINTS * theta
    half = Z95 * POINTS * np.sqrt(_variance(theta, score, names, tallies))
    lower, upper = rating - half, rating + half
    best: list[int] = (1 + (lower[None, :] > upper[:, None]).sum(axis=1)).tolist()
    worst: list[int] = (len(names) - (upper[None, :] < lower[:, None]).sum(axis=1)).tolist()
    rated = [
        Rating(
            model=names[i], rating=rating[i], rating_lower=lower[i], rating_upper=upper[i],
            rank=best[i], rank_lower=best[i], rank_upper=worst[i], n_battles=battles[chosen[i]],
        )
        for i in _order(rating, names)
    ]  # fmt: skip
    return rated + unrated


def fit(score: Array) -> Array:
    """Log-strengths θ (mean zero) that maximise the Bradley-Terry likelihood of `score` (K × K: wins, a tie as half a win each).

    Newton's method with step halving; the Hessian is singular along (1, …, 1), which adding 1/K to each entry of it mends without moving
    the solution. The maximum must exist: every model reaches every other through wins.
    """
    size = len(score)
    played = score + score.T
    theta = np.zeros(size)
    value = _log_likelihood(theta, score)
    for _ in range(200):
        expected = _win_probability(theta)
        gradient = (score - played * expected).sum(axis=1)
        step = np.linalg.solve(_information(played, expected) + 1 / size, gradient)
        step -= step.mean()
        scale = 1.0
        while (after := _log_likelihood(theta + scale * step, score)) < value - 1e-9 * (1 + abs(value)) and scale > 1e-6:
            scale /= 2
        theta, value = theta + scale * step, after
        if np.abs(step).max() < 1e-12 * (1 + np.abs(theta).max()):
            break
    centred: Array = theta - theta.mean()
    return centred


def online_elo(outcomes: Iterable[Outcome]) -> list[Rating]:
    """Elo after every vote in turn (K = 4, base 10, scale 400, start 1000), best first; no intervals. "Both bad" moves nothing."""
    rating: dict[str, float] = {}
    battles: dict[str, int] = {}
    for model_a, model_b, winner in outcomes:
        a, b = rating.setdefault(model_a, START), rating.setdefault(model_b, START)
        won = _WON.get(winner)
        if won is None:
            continue
        for model in (model_a, model_b):
            battles[model] = battles.get(model, 0) + 1
        expected = 1 / (1 + 10 ** ((b - a) / 400))
        rating[model_a] = a + ELO_K * (won - expected)
        rating[model_b] = b + ELO_K * (expected - won)
    ranked = [model for model in rating if model in battles]
    values = np.array([rating[model] for model in ranked])
    rated = [
        Rating(model=ranked[i], rating=values[i], rank=1 + int((values > values[i]).sum()), n_battles=battles[ranked[i]])
        for i in _order(values, ranked)
    ]
    none = [Rating(model=model, rating=None, n_battles=0, note=_NO_BATTLE) for model in sorted(rating) if model not in battles]
    return rated + none


_WON = {"model_a": 1.0, "model_b": 0.0, "tie": 0.5}
_NO_BATTLE = "not comparable: no vote but 'both bad'"


def _order(rating: Array, names: Sequence[str]) -> list[int]:
    return sorted(range(len(names)), key=lambda i: (-rating[i], names[i]))


def _win_probability(theta: Array) -> Array:
    # Written with exp of a negative number only: exp(800) would overflow.
    gap = theta[:, None] - theta[None, :]
    small = np.exp(-np.abs(gap))
    return np.where(gap >= 0, 1 / (1 + small), small / (1 + small))


def _log_likelihood(theta: Array, score: Array) -> float:
    gap = theta[:, None] - theta[None, :]
    return -float((score * np.logaddexp(0, -gap)).sum())


def _information(played: Array, expected: Array) -> Array:
    weight = played * expected * expected.T
    return np.diag(weight.sum(axis=1)) - weight


def _variance(theta: Array, score: Array, names: Sequence[str], tallies: Iterable[Tally]) -> Array:
    """Variance of each θ around their mean: the diagonal of H⁺ M H⁺, H the information, M the sum over clusters of their scores' outer
    products. Where M says nothing (only ties; a single cluster) it is the diagonal of H⁺: an interval of no width would be a lie."""
    size = len(names)
    index = {name: number for number, name in enumerate(names)}
    expected = _win_probability(theta)
    inside = [row for row in tallies if row.model_a in index and row.model_b in index]
    a = np.array([index[row.model_a] for row in inside], dtype=int)
    b = np.array([index[row.model_b] for row in inside], dtype=int)
    counts = np.array([(row.wins_a, row.ties, row.wins_b) for row in inside], dtype=float).reshape(len(inside), 3)
    residual = np.array([1.0, 0.5, 0.0]) - expected[a, b][:, None]
    alone = np.array([row.cluster is None for row in inside], dtype=bool)
    meat = np.zeros((size, size))
    squares = (counts * residual**2).sum(axis=1)[alone]
    for (i, j), sign in (((a, a), 1), ((b, b), 1), ((a, b), -1), ((b, a), -1)):
        np.add.at(meat, (i[alone], j[alone]), sign * squares)
    clusters: dict[Any, int] = {}
    member = np.array([clusters.setdefault(row.cluster, len(clusters)) for row in inside if row.cluster is not None], dtype=int)
    gradient = np.zeros((len(clusters), size))
    sums = (counts * residual).sum(axis=1)[~alone]
    np.add.at(gradient, (member, a[~alone]), sums)
    np.add.at(gradient, (member, b[~alone]), -sums)
    bread = np.linalg.inv(_information(score + score.T, expected) + 1 / size) - 1 / size
    sandwich = np.diag(bread @ (meat + gradient.T @ gradient) @ bread)
    model_based = np.diag(bread)
    return np.where(sandwich > 1e-9 * model_based, sandwich, model_based)


def _largest_group(table: HeadToHead) -> NDArray[np.int_]:
    """Indices of the largest group of models in which each reaches each through wins and ties; empty when every group is a single model."""
    reach = _reachable(table.wins + table.ties > 0)
    mutual = reach & reach.T
    sizes, votes = mutual.sum(axis=1), mutual @ table.n.sum(axis=1)
    best = max(range(len(table.models)), key=lambda i: (sizes[i], votes[i], -i), default=None)
    return np.flatnonzero(mutual[best]) if best is not None and sizes[best] > 1 else np.zeros(0, dtype=int)


def _notes(table: HeadToHead, chosen: NDArray[np.int_]) -> dict[int, str]:
    """Why each model outside the chosen group has no rating."""
    connected = _reachable(table.n > 0)
    scored = table.wins + table.ties
    notes = {}
    for i in sorted(set(range(len(table.models))) - set(chosen.tolist())):
        if not table.n[i].any():
            notes[i] = _NO_BATTLE
        elif len(chosen) and not connected[i, chosen[0]]:
            notes[i] = "not comparable: no vote connects it with the rated models"
        elif not scored[:, i].any():
            notes[i] = "not comparable: it won every battle, so no finite rating fits"
        elif not scored[i].any():
            notes[i] = "not comparable: it lost every battle, so no finite rating fits"
        else:
            notes[i] = "not comparable: its group has only won, or only lost, against the others"
    return notes


def _reachable(edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which node reaches which (itself included): the transitive closure, by squaring."""
    reach = edges | np.eye(len(edges), dtype=bool)
    while True:
        # float32 because a product of booleans does not go through the fast matrix product.
        further = (reach.astype(np.float32) @ reach.astype(np.float32)) > 0
        if (further == reach).all():
            return reach
        reach = further
