"""The board of a leaderboard page, computed once for all who look at it; without a page, so that it can be computed before one is open."""

from arena.ballots import BOTH_BAD
from arena.battle import Arena
from arena.categories import rule
from arena.ratings import Board, Method, rate
from arena.store import Counts
from arena.views.kept import Kept

EVERYTHING = "all battles"
# What the page shows when nobody has chosen otherwise.
USUAL = Method(fragility=True)
_BOARDS: Kept[tuple[Board, int, int]] = Kept(64)


def board_of(arena: Arena, counts: Counts, method: Method = USUAL, category: str = EVERYTHING) -> tuple[Board, int, int]:
    """The board, its votes, and those that found both bad; kept until `counts` changes."""

    def make() -> tuple[Board, int, int]:
        where = None if category == EVERYTHING else rule(category, arena.results)
        ballots = arena.store.ballots(where=where, columns=bool(method.style), counted=method.counted, by_voter=method.by_voter)
        # Fragility refits the board for each pair of neighbours: half a second for sixty models.
        n_both_bad = int(ballots.counts[ballots.winner == BOTH_BAD].sum())
        return rate(ballots, method), int(ballots.counts.sum()), n_both_bad

    return _BOARDS.get((arena.store.name, counts, method, category), make)
