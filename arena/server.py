"""Run a Streamlit script and the arena behind it in one process: `arena up` and `dashboards up` both come through here.

The process owns the vote store and one loop in which answers are generated; scripts only look at them. The port and the database are
claimed before anything is served, so that whoever comes second is told so in one line.
"""

import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from arena.battle import Arena

    Ahead = Callable[[Arena, threading.Event], None]

# Read when numpy is first imported, which is after this: a fit of 200 models is too small to be shared out, and threads that wait for each
# other while answers stream made it seven times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
HERE = Path(__file__).parent
APP = HERE / "app.py"
DEMO_SPEED = 4.0

# Warm paper and crust in the light, embers in the dark; the fonts are those that Streamlit ships, so that nothing is fetched.
LIGHT = {
    "primaryColor": "#a8471b", "backgroundColor": "#fbf8f3", "secondaryBackgroundColor": "#f1ebe1", "textColor": "#2b2520",
    "borderColor": "#ddd3c4", "linkColor": "#8f3a12", "codeBackgroundColor": "#f4eee5", "codeTextColor": "#5b3a1e",
}  # fmt: skip
DARK = {
    "primaryColor": "#bb5722", "backgroundColor": "#191613", "secondaryBackgroundColor": "#26211d", "textColor": "#efe7dc",
    "borderColor": "#40382f", "linkColor": "#f0a070", "codeBackgroundColor": "#211d19", "codeTextColor": "#f0c9a0",
}  # fmt: skip
OPTIONS: dict[str, Any] = {
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "server.headless": True,
    "server.fileWatcherType": "none",
    "server.maxMessageSize": 50,
    "theme.font": "sans-serif",
    "theme.headingFont": "serif",
    "theme.codeFont": "monospace",
    "theme.baseRadius": "0.6rem",
    "theme.headingFontWeights": [600, 600, 600, 600, 600, 600],
    "theme.showWidgetBorder": True,
    **{f"theme.light.{key}": value for key, value in LIGHT.items()},
    **{f"theme.dark.{key}": value for key, value in DARK.items()},
}


def _leave(number: int, frame: object) -> None:
    raise SystemExit(0)


def local_address(listener: socket.socket) -> str:
    """Where this machine's own commands reach the listener; one that listens everywhere is reached over loopback."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    script: Path = APP,
    *,
    host: str = "127.0.0.1",
    port: int = 8501,
    database: Path | str,
    results: Path,
    demo: bool = False,
    speed: float | None = None,
    announce: Sequence[str] = (),
    ahead: "Ahead | None" = None,
) -> None:
    """Serve `script` until Ctrl-C or SIGTERM; pending votes are committed before it returns.

    `demo` adds the shipped recordings as endpoints and, to an empty store, the votes that were cast on them. `speed` is the pace of
    recorded answers; `ahead` as in `run`. Raises ServingError when the port is taken, ArenaError when another process holds the database,
    DocumentError for a catalogue that does not fit.
    """
    from arena.battle import Arena, open_arena
    from arena.deletion import routes as deletion_routes
    from arena.deletion import tidied
    from arena.health import Health
    from arena.importers import seed_demo
    from arena.snapshots import Snapshots, announced, routes, tokens
    from arena.store import Store
    from arena.terms import terms_of
    from serving.command import say
    from serving.listening import claim_port

    with claim_port(host, port) as listener, Store(database, threads=1) as store:
        # One thread: a vote is too small to be shared out, and a second one that stood by took two fifths of the CPU.
        if demo and (seeded := seed_demo(store)):
            say(f"seeded {store.name} with {seeded:,} votes (LLMFAO, CC BY 4.0)")
        own = secrets.token_urlsafe(32)
        accepted = tokens(results, own)
        secret = store.secret()
        arena = Arena(store, results=results, demo=demo, speed=speed or (DEMO_SPEED if demo else 1.0), secret=secret)
        terms_of(arena.settings, results)
        snapshots = Snapshots(store)
        with open_arena(arena), tidied(store, snapshots, results=results, rounds=arena.rounds):
            own_routes = [
                *Health(arena).routes(),
                *routes(snapshots, accepted),
                *deletion_routes(store, snapshots, accepted, results=results, rounds=arena.rounds),
            ]
            with announced(database, local_address(listener), own):
                run(script, listener, arena, routes=own_routes, announce=announce, ahead=ahead)


def run(
    script: Path,
    listener: socket.socket,
    arena: "Arena",
    *,
    routes: "Sequence[BaseRoute]" = (),
    announce: Sequence[str] = (),
    ahead: "Ahead | None" = None,
) -> None:
    """Serve `script`, an app.py of a room, and these routes at the listener until Ctrl-C or SIGTERM; `ahead` is work done meanwhile, in a
    thread of its own: it is told when the pages are imported.
    """
    imported = threading.Event()
    with _beside(ahead, arena, imported):
        _run(script, listener, arena, routes, announce, imported)


def _run(
    script: Path, listener: socket.socket, arena: "Arena", routes: "Sequence[BaseRoute]", announce: Sequence[str], imported: threading.Event
) -> None:
    import streamlit
    import uvicorn
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from streamlit import config

    from arena.frames import LARGEST_FRAME_BYTES, OnlyWhatPagesSend
    from arena.garbage import collect_sparingly
    from arena.headers import SafeHeaders
    from arena.login import streamlit_secrets
    from arena.prefetch import Prefetching, route
    from arena.views.trouble import tell
    from arena.voters import VoterCookie
    from serving.command import say

    for key, value in OPTIONS.items():
        config.set_option(key, value)
    config.set_option("server.port", listener.getsockname()[1])
    # What the pages import, now: else the first visitor waits for it.
    pages = import_module(f"{script.parent.name}.{script.stem}")
    imported.set()
    middleware = [
        Middleware(SafeHeaders),
        Middleware(Prefetching),
        Middleware(VoterCookie, secret=arena.secret),
        Middleware(OnlyWhatPagesSend),
    ]
    if hosts := arena.settings.allowed_hosts:
        # Streamlit opens a websocket to whoever's Origin is the Host that was asked for: a name that somebody points at this machine, too.
        # This machine's own commands come by address.
        known = [*hosts, "localhost", listener.getsockname()[0], "127.0.0.1"]
        middleware.insert(0, Middleware(TrustedHostMiddleware, allowed_hosts=known, www_redirect=False))
    collect_sparingly()
    login = streamlit_secrets(arena.settings, arena.secret)
    application = streamlit.App(script, routes=[*routes, route(pages.ELEMENTS)], middleware=middleware, on_script_error=tell, secrets=login)
    host, port = listener.getsockname()[:2]
    say(f"bakeoff is at http://{'localhost' if host == '127.0.0.1' else host}:{port}")
    for line in announce:
        say(line)
    # uvicorn raises the signal again once it has shut down: as an exception it still lets the votes that wait be committed.
    signal.signal(signal.SIGTERM, _leave)
    proxies = list(arena.settings.trusted_proxies)
    options: dict[str, Any] = {
        "ws": "websockets-sansio", "ws_max_size": LARGEST_FRAME_BYTES, "log_level": "warning",
        "proxy_headers": bool(proxies), "forwarded_allow_ips": proxies,
    }  # fmt: skip
    uvicorn.Server(uvicorn.Config(application, **options)).run(sockets=[listener])


@contextmanager
def _beside(work: "Ahead | None", arena: "Arena", imported: threading.Event) -> Iterator[None]:
    """Do `work` in a thread while the `with` lasts; the database is not closed under it."""
    if work is None:
        yield
        return
    thread = threading.Thread(target=work, args=(arena, imported), name="ahead", daemon=True)
    thread.start()
    try:
        yield
    finally:
        imported.set()
        thread.join(10)
