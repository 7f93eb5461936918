"""Ratings over time: the board as it would have stood at some moments of the past, each an exact fit of the votes until then.

    for moment in history(store.ballots(times=True)):
        moment.at, moment.n_votes, moment.ratings

Only votes that count today are looked at: what an audit has flagged since is gone from the past as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from arena.ballots import BOTH_BAD, Array, Ballots, Ints
from arena.ratings import Rating, rate
from arena.votes import WINNERS

POINTS_IN_TIME = 12
_DAY_S = 86_400.0


@dataclass(frozen=True)
class Moment:
    """The board after the first `n_votes` rated votes; `at` is None where the votes do not say when they were cast."""

    at: datetime | None
    n_votes: int
    ratings: tuple[Rating, ...]


def history(ballots: Ballots, points: int = POINTS_IN_TIME) -> list[Moment]:
    """The board at up to `points` moments, the last one now: evenly in time where more than half of the votes have one, else in votes.

    A vote without a time counts from the beginning on. A model has no rating before it is comparable.
    """
    if not len(ballots):
        return []
    period, ends = _periods(ballots, points)
    size = len(ballots.models)
    key = ((period * size + ballots.a) * size + ballots.b) * len(WINNERS) + ballots.winner
    cells = np.bincount(key, ballots.count, minlength=len(ends) * size * size * len(WINNERS))
    until: Array = cells.reshape(len(ends), size, size, len(WINNERS)).cumsum(axis=0)
    moments: list[Moment] = []
    for end, counted in zip(ends, until, strict=True):
        n_votes = int(counted.sum())
        # A period without a vote repeats the one before.
        if counted[..., :BOTH_BAD].any() and not (moments and moments[-1].n_votes == n_votes):
            moments.append(Moment(end, n_votes, board_of(ballots.models, counted)))
    return moments


def until(ballots: Ballots, moment: datetime) -> tuple[Rating, ...]:
    """The board of the votes cast before `moment`; a vote without a time counts."""
    known = ballots.time_s if ballots.time_s is not None else np.full(len(ballots), np.nan)
    kept = ballots.where(~(known >= moment.timestamp()))
    return rate(replace(kept, time_s=None)).ratings if len(kept) else ()


def board_of(models: Sequence[str], cells: Array) -> tuple[Rating, ...]:
    """The board of counted votes (K × K × 4); models that nobody voted on are left out."""
    met = np.flatnonzero((cells.sum(axis=(1, 2)) + cells.sum(axis=(0, 2))) > 0)
    a, b, winner = np.nonzero(cells)
    ballots = Ballots(tuple(models), a, b, winner, count=cells[a, b, winner])
    return rate(ballots.among(met)).ratings


def _periods(ballots: Ballots, points: int) -> tuple[Ints, list[datetime | None]]:
    """Of each row the period it falls into, and of each period its end."""
    times = ballots.time_s
    if times is not None and np.isfinite(times).mean() > 0.5:
        first, last = float(np.nanmin(times)), float(np.nanmax(times))
        count = max(1, min(points, int((last - first) / _DAY_S) + 1))
        width = max((last - first) / count, 1e-9)
        place = np.clip((np.nan_to_num(times, nan=first) - first) // width, 0, count - 1).astype(np.int64)
        return place, [datetime.fromtimestamp(first + width * (number + 1), UTC) for number in range(count)]
    order = np.cumsum(ballots.counts) if ballots.count is not None else np.arange(1, len(ballots) + 1)
    count = max(1, min(points, len(ballots) // 50))
    place = np.clip(np.ceil(order / order[-1] * count).astype(np.int64) - 1, 0, count - 1)
    return place, [None] * count
