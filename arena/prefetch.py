"""Load, while the first page is read, the scripts that the other pages will need: else each is asked for when its first element comes.

    streamlit.App(script, routes=[route(elements)], middleware=[Middleware(Prefetching)])

Streamlit brings an element's script when the element first appears, with all that it imports one after another: of a page with a chart some
fifty files. A script at the end of every page's head loads them once the first page stands and the browser has nothing better to do.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATH = "prefetch.js"
_TAG = f'<script src="./{PATH}" async></script></head>'.encode()
_IMPORTED = re.compile(r'(?:from|import)\s*"\./([\w.-]+\.js)"')
_SCRIPT = """\
const scripts = NAMES;
const idle = window.requestIdleCallback || (then => setTimeout(then, 50));
function load() {
  const name = scripts.shift();
  if (!name) return;
  const link = document.createElement("link");
  link.rel = "modulepreload";
  link.href = "./static/js/" + name;
  link.onload = link.onerror = () => idle(load);
  document.head.append(link);
}
function wait() {
  const app = document.querySelector('[data-testid="stApp"]');
  if (app && app.dataset.testScriptState === "notRunning") idle(load);
  else setTimeout(wait, 200);
}
wait();
"""


def scripts(elements: Sequence[str]) -> list[str]:
    """The files for elements by the names of Streamlit's scripts for them, what they import first; without what its index.html loads. A
    name that the installed Streamlit does not know is passed over.
    """
    import streamlit

    static = Path(streamlit.__file__).parent / "static"
    folder = static / "static" / "js"
    known = _with_imports(folder, re.findall(r"static/js/([\w.-]+\.js)", (static / "index.html").read_text(encoding="utf-8")))
    wanted = _with_imports(folder, [path.name for name in elements for path in sorted(folder.glob(f"{name}.*.js"))])
    return [name for name in wanted if name not in known]


def _with_imports(folder: Path, names: Sequence[str]) -> dict[str, None]:
    """These files after all that they import."""
    found: dict[str, None] = {}
    entered: set[str] = set()

    def enter(name: str) -> None:
        if name not in entered and (folder / name).is_file():
            entered.add(name)
            for other in _IMPORTED.findall((folder / name).read_text(encoding="utf-8")):
                enter(other)
            found[name] = None

    for name in names:
        enter(name)
    return found


def route(elements: Sequence[str]) -> Route:
    """Where the script is had."""
    text = _SCRIPT.replace("NAMES", json.dumps(scripts(elements)))

    async def answer(request: Request) -> Response:
        return Response(text, media_type="text/javascript", headers={"Cache-Control": "no-cache"})

    return Route(f"/{PATH}", answer)


class Prefetching:
    """ASGI middleware: the script's tag at the end of every page's head."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started: Message | None = None
        body = b""

        async def send_with_tag(message: Message) -> None:
            nonlocal started, body
            if message["type"] == "http.response.start":
                headers = Headers(raw=message["headers"])
                is_page = message["status"] == 200 and headers.get("content-type", "").startswith("text/html")
                if is_page and "content-encoding" not in headers:
                    started = message
                    return
            elif started is not None and message["type"] == "http.response.body":
                body += message.get("body", b"")
                if message.get("more_body"):
                    return
                message = {"type": "http.response.body", "body": body.replace(b"</head>", _TAG, 1)}
                if "content-length" in (headers_of := MutableHeaders(scope=started)):
                    headers_of["content-length"] = str(len(message["body"]))
                first, started = started, None
                await send(first)
            await send(message)

        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        if "text/html" in Headers(scope=scope).get("accept", ""):
            # A page comes as it is rather than packed, where the tag could not be put in.
            scope = {**scope, "headers": [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]}
        await self.app(scope, receive, send_with_tag)
