"""How many votes must be dropped before two neighbours of a leaderboard change places: what an interval does not say.

    n_to_flip = fragility(ballots)        # LLMFAO: 13 of 8,931 votes decide who is first, one vote who is second

Dropping votes is a worst case, not a chance: the most telling votes go first, by their influence on the gap (Broderick, Giordano & Meager
2020), and a refit shows that the two have changed places. The number is therefore an upper bound that somebody could act upon.
"""

import numpy as np

from arena.ballots import Array, Ballots, Ints
from arena.bradley_terry import fit, information, win_probability
from arena.comparable import reachable

# Above this many models the refits take minutes: influence alone is given.
REFIT_MODELS = 100
_ATTEMPTS = 40
_FEW = 512
# What a vote of each kind gives (i, j) in the win matrix.
_SHARES = ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5))


def fragility(ballots: Ballots, *, refit: bool | None = None) -> list[int | None]:
    """Per place from the top, how many dropped votes put the next model above it; the last place has None.

    All models must be comparable. Each number is shown by a refit on up to REFIT_MODELS models (or as `refit` says), else predicted by
    influence. None where the votes would have to cut a model off before that.
    """
    cells = ballots.cells()
    score = cells[..., 0] + cells[..., 1].T + (cells[..., 2] + cells[..., 2].T) / 2
    low, high = np.triu_indices(len(score), 1)
    wins, ties = cells[..., 0] + cells[..., 1].T, cells[..., 2] + cells[..., 2].T
    votes = np.stack([wins[low, high], wins[high, low], ties[low, high]])
    theta = fit(score)
    order = np.argsort(-theta, kind="stable")
    by_refit = len(order) <= REFIT_MODELS if refit is None else refit
    board = _Board(score, low, high)
    return [board.flip(int(i), int(j), votes, theta, by_refit) for i, j in zip(order, order[1:], strict=False)] + [None]


class _Board:
    """The win matrix and how votes leave it."""

    def __init__(self, score: Array, low: Ints, high: Ints) -> None:
        self.score, self.low, self.high = score, low, high
        self.fitted: tuple[Array, Array, Array] | None = None

    def flip(self, upper: int, lower: int, votes: Array, theta: Array, by_refit: bool) -> int | None:
        """Votes to drop until `lower` is above `upper`; more are chosen after each refit that does not show it."""
        dropped: list[int] = []
        left = votes.copy()
        for _ in range(_ATTEMPTS):
            more = self._most_telling(upper, lower, left, theta)
            if more is None:
                return None
            dropped += more
            if not by_refit:
                return len(dropped)
            np.subtract.at(left.reshape(-1), more, 1)
            found = self._without(dropped)
            if found is None:
                return None
            if found[upper] < found[lower]:
                return self._fewest(upper, lower, dropped)
            theta = found
        return None

    def _most_telling(self, upper: int, lower: int, left: Array, theta: Array) -> list[int] | None:
        """The fewest votes (numbers of their cells, repeated) whose influence closes the gap."""
        expected, bread = self._at(theta)
        pull = (bread[upper] - bread[lower])[self.low] - (bread[upper] - bread[lower])[self.high]
        chance = expected[self.low, self.high]
        influence = np.stack([pull * (share - chance) for share, _ in ((1.0, 0), (0.0, 0), (0.5, 0))]).reshape(-1)
        counts = left.reshape(-1)
        gap = max(float(theta[upper] - theta[lower]), 0.0)
        useful = np.flatnonzero((counts > 0) & (influence > 0))
        # A few of the most telling cells are nearly always enough: sorting all of them would take most of the time.
        for few in (_FEW, len(useful)):
            most = useful if few >= len(useful) else useful[np.argpartition(-influence[useful], few)[:few]]
            order = most[np.lexsort((most, -influence[most]))]
            reached = np.cumsum(influence[order] * counts[order])
            last = int(np.searchsorted(reached, gap, side="right"))
            if last < len(order):
                break
        else:
            return None
        before = float(reached[last - 1]) if last else 0.0
        some = min(int(counts[order[last]]), int((gap - before) / influence[order[last]]) + 1)
        taken = [int(cell) for cell in order[:last] for _ in range(int(counts[cell]))]
        return taken + [int(order[last])] * some

    def _at(self, theta: Array) -> tuple[Array, Array]:
        """Expected shares and inverse information at θ; every pair of neighbours begins at the same one."""
        if self.fitted is None or self.fitted[0] is not theta:
            expected = win_probability(theta)
            bread: Array = np.linalg.inv(information(self.score + self.score.T, expected) + 1 / len(theta)).astype(np.float64)
            self.fitted = (theta, expected, bread)
        return self.fitted[1], self.fitted[2]

    def _without(self, dropped: list[int]) -> Array | None:
        """θ without the dropped votes; None when some model is then not comparable."""
        score = self.score.copy()
        n_pairs = len(self.low)
        for cell in dropped:
            kind, pair = divmod(cell, n_pairs)
            i, j = self.low[pair], self.high[pair]
            score[i, j] -= _SHARES[kind][0]
            score[j, i] -= _SHARES[kind][1]
        return fit(score) if reachable(score > 0).all() else None

    def _fewest(self, upper: int, lower: int, dropped: list[int]) -> int:
        """The shortest beginning of the dropped votes that is enough, by bisection with a refit each."""
        few, enough = 0, len(dropped)
        while enough - few > 1:
            middle = (few + enough) // 2
            found = self._without(dropped[:middle])
            if found is not None and found[upper] < found[lower]:
                enough = middle
            else:
                few = middle
        return enough
