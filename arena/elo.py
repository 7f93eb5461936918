"""Online Elo: a rating after each vote, in the order of the votes; and its mean over random orders, which no order has the last word in.

    ratings = online_elo(store.outcomes())

K = 4, base 10, scale 400, start 1000. Later votes weigh more, and there is no interval: see arena/bradley_terry.py for both.
"""

import math

import numpy as np

from arena.ballots import BOTH_BAD, SHARE_A, Array, Ballots

START = 1000.0
POINTS = 400 / math.log(10)
ELO_K = 4.0
_CHUNK = 1 << 14


def elo(ballots: Ballots, k: float = ELO_K) -> Array:
    """The rating of each model after the last vote; "both bad" is skipped. The rows' counts must be one: Elo has an order."""
    rated = ballots.winner != BOTH_BAD
    a, b, share = ballots.a, ballots.b, SHARE_A[ballots.winner]
    if not rated.all():
        a, b, share = a[rated], b[rated], share[rated]
    # Plain floats in units of ln odds: lists loop faster than arrays, exp beats 10**x, short lists stay in the cache.
    strength = [0.0] * len(ballots.models)
    exp, gain = math.exp, k / POINTS
    won = gain * share
    for start in range(0, len(a), _CHUNK):
        rows = slice(start, start + _CHUNK)
        for i, j, change in zip(a[rows].tolist(), b[rows].tolist(), won[rows].tolist(), strict=True):
            left, right = strength[i], strength[j]
            change -= gain / (1.0 + exp(right - left))
            strength[i] = left + change
            strength[j] = right - change
    return START + POINTS * np.array(strength)


def mean_elo(ballots: Ballots, orders: int = 100, *, k: float = ELO_K, seed: int = 0) -> tuple[Array, Array]:
    """Mean and standard deviation of each model's rating over random orders of the votes; all orders advance together."""
    rng = np.random.default_rng(seed)
    kept = ballots.where(ballots.winner != BOTH_BAD)
    share = SHARE_A[kept.winner]
    order = np.stack([rng.permutation(len(kept)) for _ in range(orders)]) if len(kept) else np.zeros((orders, 0), dtype=int)
    strength = np.zeros(orders * len(kept.models))
    offset = np.arange(orders) * len(kept.models)
    gain = k / POINTS
    for vote in order.T:
        i, j = offset + kept.a[vote], offset + kept.b[vote]
        change = gain * (share[vote] - 1 / (1 + np.exp(strength[j] - strength[i])))
        strength[i] += change
        strength[j] -= change
    ratings = START + POINTS * strength.reshape(orders, len(kept.models))
    return ratings.mean(axis=0), ratings.std(axis=0)
