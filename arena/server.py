"""Run a Streamlit script and the arena behind it in one process: `arena up` and `dashboards up` both come through here.

The process owns the vote store and one loop in which answers are generated; scripts only look at them. The port and the database are
claimed before anything is served, so that whoever comes second is told so in one line.
"""

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HERE = Path(__file__).parent
APP = HERE / "app.py"
DEMO_SPEED = 4.0

# Warm paper and crust in the light, embers in the dark; the fonts are those that Streamlit ships, so that nothing is fetched.
LIGHT = {
    "primaryColor": "#a8471b", "backgroundColor": "#fbf8f3", "secondaryBackgroundColor": "#f1ebe1", "textColor": "#2b2520",
    "borderColor": "#ddd3c4", "linkColor": "#8f3a12", "codeBackgroundColor": "#f4eee5", "codeTextColor": "#5b3a1e",
}  # fmt: skip
DARK = {
    "primaryColor": "#c9652f", "backgroundColor": "#191613", "secondaryBackgroundColor": "#26211d", "textColor": "#efe7dc",
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


class SafeHeaders:
    """ASGI middleware: no image from elsewhere (a hostile answer could count its readers), no framing, no sniffing, no referrer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = "img-src 'self' data: blob:; frame-ancestors 'self'"
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
            await send(message)

        await self.app(scope, receive, send_safely if scope["type"] == "http" else send)


def _leave(number: int, frame: object) -> None:
    raise SystemExit(0)


def serve(
    script: Path = APP,
    *,
    host: str = "127.0.0.1",
    port: int = 8501,
    database: Path,
    results: Path,
    demo: bool = False,
    speed: float | None = None,
    announce: Sequence[str] = (),
) -> None:
    """Serve `script` until Ctrl-C or SIGTERM; pending votes are committed before it returns.

    `demo` adds the shipped recordings as endpoints and, to an empty store, the votes that were cast on them. `speed` is the pace of
    recorded answers. Raises ServingError when the port is taken, ArenaError when another process holds the database, DocumentError for a
    catalogue that does not fit.
    """
    import uvicorn
    from starlette.middleware import Middleware

    from arena.battle import Arena, open_arena
    from arena.frames import LARGEST_FRAME_BYTES, OnlyWhatPagesSend
    from arena.garbage import collect_sparingly
    from arena.importers import seed_demo
    from arena.store import Store
    from arena.voters import VoterCookie, load_secret
    from serving.command import say
    from serving.listening import claim_port

    with claim_port(host, port) as listener, Store(database) as store:
        if demo and (seeded := seed_demo(store)):
            say(f"seeded {database} with {seeded:,} votes (LLMFAO, CC BY 4.0)")
        secret = load_secret(database.with_suffix(".secret"))
        with open_arena(Arena(store, results=results, demo=demo, speed=speed or (DEMO_SPEED if demo else 1.0), secret=secret)):
            import streamlit
            from streamlit import config

            for key, value in OPTIONS.items():
                config.set_option(key, value)
            config.set_option("server.port", listener.getsockname()[1])
            middleware = [Middleware(SafeHeaders), Middleware(VoterCookie, secret=secret), Middleware(OnlyWhatPagesSend)]
            collect_sparingly()
            application = streamlit.App(script, middleware=middleware)
            say(f"bakeoff is at http://{'localhost' if host == '127.0.0.1' else host}:{listener.getsockname()[1]}")
            for line in announce:
                say(line)
            # uvicorn raises the signal again once it has shut down: as an exception it still lets the votes that wait be committed.
            signal.signal(signal.SIGTERM, _leave)
            options: dict[str, Any] = {"ws": "websockets-sansio", "ws_max_size": LARGEST_FRAME_BYTES, "log_level": "warning"}
            uvicorn.Server(uvicorn.Config(application, **options)).run(sockets=[listener])
