"""A voter without a browser: speaks Streamlit's websocket as its page does, to forge what no honest page sends, or to load hundreds.

    browser = await arrive("http://127.0.0.1:8501")                    # the cookies of a first page load
    async with Page(browser) as page:
        await page.until(Page.can_ask)
        await page.ask("Why is the sky blue?")
        await page.until(Page.votable)
        await page.press("tie")                                        # a button by the end of its key
        await page.until(Page.thanked)

One protobuf message a frame: BackMsg to the server, ForwardMsg back. The page keeps the tree of elements that the deltas build (by their
path) and takes away what a finished run no longer drew, as the page script does. It is light: hundreds of pages run in one loop.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import unescape
from typing import Any, Self
from urllib.parse import urlsplit

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

VOTER, XSRF = "bakeoff_voter", "_streamlit_xsrf"
THANKS = "Thank you"
VOID = "does not count"
VOTES = ("model_a", "model_b", "tie", "both_bad")
Path = tuple[int, ...]


class Gone(Exception):
    """The server closed the connection, or was killed."""


@dataclass
class Browser:
    """The cookies of one browser. Pages opened from it are the same voter."""

    url: str
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def voter_cookie(self) -> str | None:
        return self.cookies.get(VOTER)

    async def load(self, path: str = "/") -> bytes:
        """GET a path, keep the cookies it sets, return the body. Raises Gone when nobody answers."""
        parts = urlsplit(self.url)
        try:
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            head = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n" + (f"Cookie: {cookie}\r\n" if cookie else "")
            writer.write(f"{head}\r\n".encode())
            answer = await reader.read()
        except OSError as error:
            raise Gone(str(error)) from None
        writer.close()
        head_bytes, found, body = answer.partition(b"\r\n\r\n")
        if not found:
            raise Gone("the connection ended before an answer")
        for line in head_bytes.decode("latin-1").split("\r\n"):
            name, _, value = line.partition(":")
            if name.lower() == "set-cookie":
                key, _, rest = value.strip().partition("=")
                self.cookies[key] = rest.split(";")[0]
        return body


async def arrive(url: str, **cookies: str) -> Browser:
    """A browser that has loaded the page and what the page script loads before it connects. Raises Gone."""
    browser = Browser(url, dict(cookies))
    await browser.load("/")
    await browser.load("/_stcore/health")
    return browser


@dataclass
class Shown:
    """One element on screen (`element` is None for a block), and the script run that last drew it."""

    run: int
    element: Any = None
    block_id: str = ""


class Page:
    """One tab: a websocket and what the page shows; `name` is the page's in the address, as "leaderboard".

    `frames` holds every frame received, as bytes, where `keep_frames` is set.
    """

    def __init__(
        self,
        browser: Browser,
        query: str = "",
        *,
        name: str = "",
        origin: str | None = None,
        keep_frames: bool = False,
        compression: str | None = "deflate",
        on_frame: Callable[["Page", ForwardMsg], None] | None = None,
    ) -> None:
        self.browser, self.query, self.name, self.origin = browser, query, name, origin or browser.url
        self.keep_frames, self.compression, self.on_frame = keep_frames, compression, on_frame
        self.frames: list[bytes] = []
        self.sent: list[bytes] = []
        self.tree: dict[Path, Shown] = {}
        self.session_id = ""
        self.run, self.finished, self.n_frames, self.n_bytes = 0, 0, 0, 0
        self.gone: str | None = None
        self._script_hash = ""
        self._values: dict[str, str] = {}
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.connect()
        await self.rerun()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def connect(self, session_id: str = "") -> None:
        """Open the websocket, with `session_id` as a page does that lost it. Raises Gone when it is refused."""
        browser = self.browser
        protocols = ["streamlit", browser.cookies.get(XSRF, "PLACEHOLDER_AUTH_TOKEN"), *([session_id] if session_id else [])]
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        try:
            self._link: ClientConnection = await connect(
                browser.url.replace("http", "ws", 1) + "/_stcore/stream",
                origin=self.origin,  # type: ignore[arg-type]
                subprotocols=protocols,  # type: ignore[arg-type]
                additional_headers={"Cookie": cookie} if cookie else {},
                compression=self.compression,
                max_size=None,
                ping_interval=None,
                close_timeout=2,
                open_timeout=60,
                proxy=None,
            )
        except Exception as error:
            raise Gone(f"{type(error).__name__}: {error}") from None
        self.gone = None
        self._reading = asyncio.create_task(self._read())

    async def close(self) -> None:
        """Close the tab."""
        await self._link.close()
        await self._reading

    async def drop(self) -> None:
        """Lose the connection without a farewell, as a phone in a tunnel does."""
        self._link.transport.abort()
        await self._reading

    # What the page sends

    async def send(self, frame: bytes) -> None:
        """Send a frame as it is. Raises Gone."""
        self.sent.append(frame)
        try:
            await self._link.send(frame)
        except ConnectionClosed as error:
            raise Gone(str(error)) from None

    async def rerun(self, *triggers: str) -> None:
        """Ask for a script run; `triggers` are the ids of buttons pressed."""
        await self.send(self.message(*triggers))

    def message(self, *triggers: str) -> bytes:
        """The frame with which the page would say that these buttons (by their ids) were pressed."""
        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.page_script_hash = self.query, self._script_hash
        state.page_name = "" if self._script_hash else self.name
        state.context_info.timezone, state.context_info.locale = "Etc/UTC", "en-GB"
        state.context_info.url = f"{self.browser.url}/{'?' if self.query else ''}{self.query}"
        for widget_id, value in self._values.items():
            state.widget_states.widgets.add(id=widget_id, string_value=value)
        for widget_id in triggers:
            state.widget_states.widgets.add(id=widget_id, trigger_value=True)
        frame: bytes = message.SerializeToString()
        return frame

    async def press(self, key: str) -> None:
        """Press the button whose key ends thus. Raises LookupError when there is none or it is disabled."""
        button = self.button(key)
        if button is None or button.disabled:
            raise LookupError(f"no live button '{key}' among {[other.id.split('-', 2)[-1] for other in self.buttons()]}")
        await self.rerun(button.id)

    async def ask(self, prompt: str) -> None:
        """Type a prompt into the form and send it off."""
        field_ = next(self._of("text_area"))
        self._values[field_.id] = prompt
        submit = next(button for button in self.buttons() if button.is_form_submitter and button.form_id == field_.form_id)
        await self.rerun(submit.id)
        self._values.clear()

    async def go(self, query: str) -> None:
        """Another address in the same tab."""
        self.query = query
        await self.rerun()

    # What the page shows

    def buttons(self) -> list[Any]:
        """Every button on the page, in order."""
        return list(self._of("button"))

    def button(self, key: str) -> Any | None:
        """The button whose key (the part of its id after the hash) ends thus."""
        return next((button for button in self._of("button") if button.id.endswith(key)), None)

    def texts(self) -> tuple[str, str]:
        """What both sides show, without its tags, piece by piece joined: (left, right)."""
        sides = {"side-a": "", "side-b": ""}
        homes = {path: name for path, shown in self.tree.items() for name in sides if f"-{name}" in shown.block_id}
        for path, element in self._elements():
            if element.WhichOneof("type") == "html" and 'class="answer"' in element.html.body:
                for home, name in homes.items():
                    if path[: len(home)] == home:
                        sides[name] += unescape(re.sub(r"<[^>]*>", "", element.html.body))
        return sides["side-a"], sides["side-b"]

    def says(self, text: str) -> bool:
        """Whether any text, note or piece of HTML on the page holds this."""
        return any(text in body for body in self.bodies())

    def bodies(self) -> Iterator[str]:
        """The texts of the page in order: HTML, Markdown, alerts and headings."""
        for _, element in self._elements():
            kind = element.WhichOneof("type")
            if kind in ("html", "markdown", "alert", "heading"):
                yield getattr(element, kind).body

    def can_ask(self) -> bool:
        """Whether there is a field for a prompt, and the run that drew it is over."""
        return any(self._of("text_area")) and self.finished == self.run

    def votable(self) -> bool:
        """Whether the vote buttons are live (which battles that failed never are: see `void`)."""
        buttons = [self.button(key) for key in VOTES]
        return all(button is not None and not button.disabled for button in buttons)

    def void(self) -> bool:
        """Whether the page says that this battle does not count."""
        return self.says(VOID)

    def thanked(self) -> bool:
        """Whether the page says that a vote is counted."""
        return self.says(THANKS)

    async def until(self, condition: Callable[["Page"], bool], *, patience_s: float = 30.0) -> float:
        """Wait until the page shows what `condition` asks; seconds it took. Raises TimeoutError, or Gone when the connection ends."""
        began = time.perf_counter()
        while not condition(self):
            if self.gone is not None:
                raise Gone(self.gone)
            left = patience_s - (time.perf_counter() - began)
            try:
                await asyncio.wait_for(self._changed.wait(), max(left, 0.001))
            except TimeoutError:
                shown = " | ".join(self.bodies())[:600]
                raise TimeoutError(f"not within {patience_s:g} s: {getattr(condition, '__name__', condition)}; the page: {shown}") from None
            self._changed.clear()
        return time.perf_counter() - began

    @staticmethod
    def kind_of(frame: bytes) -> str | None:
        """What a frame of the server is: delta, new_session, script_finished, ..."""
        kind: str | None = ForwardMsg.FromString(frame).WhichOneof("type")
        return kind

    # The protocol

    def _elements(self) -> list[tuple[Path, Any]]:
        return sorted(((path, shown.element) for path, shown in self.tree.items() if shown.element is not None), key=lambda pair: pair[0])

    def _of(self, kind: str) -> Iterator[Any]:
        return (getattr(element, kind) for _, element in self._elements() if element.WhichOneof("type") == kind)

    async def _read(self) -> None:
        try:
            async for frame in self._link:
                if isinstance(frame, str):
                    raise TypeError("the server sent a text frame")
                if self.keep_frames:
                    self.frames.append(frame)
                self.n_frames += 1
                self.n_bytes += len(frame)
                self._take(message := ForwardMsg.FromString(frame))
                if self.on_frame is not None:
                    self.on_frame(self, message)
                self._changed.set()
        except ConnectionClosed:
            pass
        finally:
            self.gone = f"closed with {self._link.close_code} {self._link.close_reason or ''}".strip()
            self._changed.set()

    def _take(self, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        if kind == "delta":
            self._draw(tuple(message.metadata.delta_path), message.delta)
        elif kind == "new_session":
            self.run += 1
            self.session_id = message.new_session.initialize.session_id
            self._script_hash = self._script_hash or message.new_session.page_script_hash
        elif kind == "navigation":
            self._script_hash = message.navigation.page_script_hash
        elif kind == "page_info_changed":
            self.query = message.page_info_changed.query_string
        elif kind == "script_finished":
            if message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                self.finished = self.run
            if message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
                self.tree = {path: shown for path, shown in self.tree.items() if shown.run == self.run}

    def _draw(self, path: Path, delta: Any) -> None:
        kind = delta.WhichOneof("type")
        if kind == "add_block":
            self.tree[path] = Shown(self.run, block_id=delta.add_block.id)
        elif kind == "new_element":
            old = self.tree.get(path)
            if old is not None and old.element is None:
                # An element takes the place of a block and of all that was in it.
                for inner in [other for other in self.tree if other[: len(path)] == path]:
                    del self.tree[inner]
            self.tree[path] = Shown(self.run, element=delta.new_element)
