"""Work done before anybody asks: what a visitor would have to wait for is read, computed and imported while the house opens.

    run(script, listener, arena, ahead=prepare)      # in a thread of its own

With a million votes that is the board with its votes to flip, its history (twelve fits), who beat whom, and what Votes health counts: the
database does most of it, beside Python, which imports the pages meanwhile. Once those are imported: what charts and intervals are made
with, the list of runs, the evidence that Pick weighs, the first endpoint's drift. All of it is kept (arena/views/kept.py), and a visitor
who comes meanwhile waits for the same computation rather than starting another.
"""

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from arena.views.boards import board_of
from dashboards import pick_records
from dashboards.runs_index import index, scored
from dashboards.vote_figures import health_of, pairs_of, past_of, rated_of
from serving.errors import BakeoffError

if TYPE_CHECKING:
    from arena.battle import Arena

log = logging.getLogger("dashboards")
WORTH = 50_000
# Two seconds of importing that no first chart should wait for.
_LIBRARIES = ("pandas", "altair", "scipy.special", "scipy.sparse", "scipy.optimize")
_TURN_S = 0.0005
# So often no page was being made, twentieths of a second apart; after so many seconds it is done anyhow.
_QUIET, _PATIENCE_S = 5, 10.0


def prepare(arena: "Arena", imported: threading.Event, at_least: int = WORTH) -> None:
    """Compute what the pages on votes show first, of `at_least` so many votes: fewer are quick. Then, once the pages are `imported`, the
    rest. Ends quietly when the house closes meanwhile.
    """
    with _in_short_turns():
        try:
            counts = arena.store.counts()
            if counts.n_votes >= at_least:
                board_of(arena, counts)
                past_of(arena, counts)
                pairs_of(arena, counts)
                health_of(arena, counts)
                rated_of(arena, counts)
            imported.wait()
            for name in _LIBRARIES:
                if name not in sys.modules:
                    _visitors_first()
                    import_module(name)
            _visitors_first()
            pick_records.prepare(arena)
            _visitors_first()
            _drift(arena)
        except BakeoffError as error:
            # The page that needs it says so to whoever looks.
            log.debug("not prepared: %s", error)


def _drift(arena: "Arena") -> None:
    """Of the endpoint that its page shows first."""
    from dashboards.drift import found_in, series_of, watched_of

    runs = scored(index(arena.results)[0])
    for endpoint in watched_of(runs)[:1]:
        folders, notes = series_of(runs, endpoint)
        found_in(folders, endpoint, notes)


def _visitors_first() -> None:
    """Wait while pages are being made: they would take twice as long beside this."""
    limit = time.monotonic() + _PATIENCE_S
    quiet = 0
    while quiet < _QUIET and time.monotonic() < limit:
        quiet = 0 if any("ScriptRunner" in thread.name for thread in threading.enumerate()) else quiet + 1
        time.sleep(0.05)


@contextmanager
def _in_short_turns() -> Iterator[None]:
    """Hand the interpreter over ten times as often as Python does by itself: the first page comes in some hundred small answers, and each
    would wait its turn behind this.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(_TURN_S)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)
