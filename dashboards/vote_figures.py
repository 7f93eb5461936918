"""What the pages on votes show, computed once for all who look at it; without a page, so that it can be computed before one is open.

Nobody may change what comes from here: it is shared (arena/views/kept.py).
"""

from typing import Any

from arena.battle import Arena
from arena.history import Moment, history
from arena.leaderboard_command import published
from arena.ratings import HeadToHead, Method, Rating, head_to_head_of, rate
from arena.store import Counts
from arena.views.kept import Kept
from dashboards.health_figures import Health, gather

_PASTS: Kept[list[Moment]] = Kept(2)
_PAIRS: Kept[tuple[tuple[Rating, ...], HeadToHead]] = Kept(4)
_HEALTH: Kept[Health] = Kept(4)
_RATED: Kept[dict[str, Any] | None] = Kept(2)


def past_of(arena: Arena, counts: Counts) -> list[Moment]:
    """The board's history; kept until there are a thousandth more votes, or others unrated."""
    return _PASTS.get(_past(arena, counts), lambda: history(arena.store.ballots(times=True)))


def past_is_there(arena: Arena, counts: Counts) -> bool:
    """Whether nobody has to wait for it."""
    return _PASTS.has(_past(arena, counts))


def recent(n_votes: int) -> int:
    """The number of votes to four digits: until it changes, the past is not fitted anew."""
    return n_votes // int("1" + "0" * max(0, len(str(n_votes)) - 4))


def pairs_of(arena: Arena, counts: Counts) -> tuple[tuple[Rating, ...], HeadToHead]:
    """The board and the matrix of who beat whom; kept until `counts` changes."""

    def make() -> tuple[tuple[Rating, ...], HeadToHead]:
        ballots = arena.store.ballots(counted=True)
        return rate(ballots).ratings, head_to_head_of(ballots)

    return _PAIRS.get((arena.store.name, counts), make)


def health_of(arena: Arena, counts: Counts) -> Health:
    """What is counted of the votes; kept until `counts` changes."""
    return _HEALTH.get((arena.store.name, counts), lambda: gather(arena.store))


def rated_of(arena: Arena, counts: Counts) -> dict[str, Any] | None:
    """The board as `arena leaderboard --publish` writes it, clustered by voter; None without a rated vote. Kept until `counts` changes."""

    def make() -> dict[str, Any] | None:
        ballots = arena.store.ballots(by_voter=True)
        if not len(ballots):
            return None
        method = Method(cluster="voter", covariance=True)
        board = rate(ballots, method)
        return {"n_battles": board.n_used, "published_at": "now", **published(board, method, ballots)}

    return _RATED.get((arena.store.name, counts), make)


def _past(arena: Arena, counts: Counts) -> tuple[object, ...]:
    return arena.store.name, recent(counts.n_votes), counts.n_unrated
