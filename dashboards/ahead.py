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


def prepare(arena: "Arena") -> None:
    """Import what charts need, then compute what the pages on votes show at first; ends quietly when the house closes meanwhile."""
    import altair
    import pandas

    log.debug("charts by altair %s on pandas %s", altair.__version__, pandas.__version__)
    from arena.views import leaderboard
    from dashboards import rankings, votes_health

    try:
        counts = arena.store.counts()
        if not counts.n_votes:
            return
        leaderboard.board_of(arena, counts)
        rankings.past(arena, counts, quiet=True)
        votes_health.health_of(arena, counts)
        if counts.n_votes <= votes_health.AUDITED:
            votes_health.audited(arena, counts, quiet=True)
    except BakeoffError as error:
        # The page that needs it says so to whoever looks.
        log.debug("not prepared: %s", error)
