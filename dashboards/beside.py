"""The windows beside an arena that runs: the arena holds the votes' file, so they are read through its snapshot route, at intervals.

    arena up                              # holds results/arena.duckdb
    dashboards up --port 8502             # leaderboard, head to head, …; no battle page: battles are fought over there

An arena that stops leaves its last snapshot on the screen; one that starts again on the same file is found again.
"""

import html
import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena.errors import ArenaError, StoreInUse
from arena.votes import now

if TYPE_CHECKING:
    from arena.battle import Arena
    from arena.database import Location
    from arena.reading import Running

log = logging.getLogger("dashboards")
# Pages of the arena that need the arena itself, by their paths; the first one is the battle page.
_ARENAS_OWN = frozenset({"", "battle", "about", "terms", "admin"})


class Looking:
    """What is shown: votes of the arena at `url` as of `as_of`.

    A snapshot that was replaced stays until the next one: pages may be reading it.
    """

    def __init__(self, database: "Location", results: Path) -> None:
        self.database, self.results = database, results
        self.url, self.as_of = "", now()
        self._snapshots: list[ExitStack] = []
        self._lost = False

    def look(self) -> Any:
        """A store on a fresh snapshot. Raises ArenaError."""
        from arena.reading import snapshot_of

        running = _found(self.database, self.results)
        if running is None:
            raise ArenaError(f"no arena runs on {self.database} any more")
        with ExitStack() as opened:
            store, moment = opened.enter_context(snapshot_of(running)), now()
            self._snapshots.append(opened.pop_all())
        self.url, self.as_of = running.url, moment
        for old in self._snapshots[:-2]:
            old.close()
        del self._snapshots[:-2]
        return store

    def look_again(self, arena: "Arena") -> None:
        """Show what is there now, or, when it cannot be had, what was there."""
        try:
            arena.store, self._lost = self.look(), False
        except ArenaError as error:
            if not self._lost:
                log.warning("%s; the votes shown are those of %s", error, _time(self.as_of))
            self._lost = True

    def close(self) -> None:
        """Remove the snapshots."""
        while self._snapshots:
            self._snapshots.pop().close()


_looking: Looking | None = None


def held(database: "Location", results: Path) -> bool:
    """Whether an arena holds this database, or the database is an arena's address."""
    from arena.reading import remote
    from arena.store import Store

    if remote(database, results) is not None:
        return True
    if not isinstance(database, Path) or _found(database, results) is None:
        return False
    try:
        # Of an arena that was killed the notice is still there, and its process number may be another's by now.
        Store(database, create=False).close()
    except StoreInUse:
        return True
    return False


def serve(script: Path, *, host: str, port: int, database: "Location", results: Path, every_s: float) -> None:
    """Serve the windows on the votes of the arena that holds `database`. Raises ArenaError, or ServingError when the port is taken."""
    from arena.battle import Arena, open_arena
    from arena.server import run
    from dashboards.ahead import prepare
    from serving.listening import claim_port

    global _looking
    with claim_port(host, port) as listener, ExitStack() as ends:
        looking = Looking(database, results)
        ends.callback(looking.close)
        store = looking.look()
        arena = Arena(store, results=results, demo=False, speed=1.0, secret=store.secret())
        said = f"votes are those of the arena at {looking.url}, read again every {every_s:g} s; battles are fought there"
        with open_arena(arena), _looked_again(looking, arena, every_s):
            _looking = looking
            try:
                run(script, listener, arena, announce=[said], ahead=prepare)
            finally:
                _looking = None


def windows(pages: "dict[str, list[Any]]") -> "dict[str, list[Any]]":
    """The pages to show by their sections: all of them, or beside a running arena those that do without it."""
    if _looking is None:
        return pages
    kept = {name: [page for page in section if page.url_path not in _ARENAS_OWN] for name, section in pages.items()}
    return {name: section for name, section in kept.items() if section}


def note() -> None:
    """Say below a page whose votes it shows, and of when."""
    import streamlit as st

    if _looking is not None:
        st.html(f'<p class="note">Votes of the arena at {html.escape(_looking.url)}, as of {_time(_looking.as_of)}.</p>')


def _found(database: "Location", results: Path) -> "Running | None":
    from arena.reading import remote, running_arena

    return remote(database, results) or running_arena(database)


@contextmanager
def _looked_again(looking: Looking, arena: "Arena", every_s: float) -> Iterator[None]:
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(every_s):
            looking.look_again(arena)

    thread = threading.Thread(target=work, name="dashboards-looking", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
