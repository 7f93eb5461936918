"""Work done before anybody asks: while the house waits for its first visitor, what he would have to wait for is imported and computed.

    run(script, listener, arena, ahead=prepare)      # in a thread of its own

With a million votes that is the board with its votes to flip, its history (twelve fits), and what Votes health counts: they are kept
(arena/views/kept.py), and a visitor who comes meanwhile waits for the same computation rather than starting another.
"""

import logging
from typing import TYPE_CHECKING

from serving.errors import BakeoffError

if TYPE_CHECKING:
    from arena.battle import Arena

log = logging.getLogger("dashboards")
WORTH = 50_000


def prepare(arena: "Arena", at_least: int = WORTH) -> None:
    """Import what charts need, compute what the pages on votes show first, of `at_least` so many votes: fewer are quick, and a start that
    shares the interpreter with this is slower. Ends quietly when the house closes meanwhile.
    """
    try:
        counts = arena.store.counts()
        if counts.n_votes < at_least:
            return
        import altair
        import pandas

        from arena.views import leaderboard
        from dashboards import rankings, votes_health

        log.debug("charts by altair %s on pandas %s", altair.__version__, pandas.__version__)
        leaderboard.board_of(arena, counts)
        rankings.past(arena, counts, quiet=True)
        votes_health.health_of(arena, counts)
    except BakeoffError as error:
        # The page that needs it says so to whoever looks.
        log.debug("not prepared: %s", error)
