"""Answers that try to load, run, hide or break something, in a real browser: no request leaves the page and the text reads as written."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from browser import chromium, house, needs_chromium
from loopback import LoopbackServer
from model_server import ModelServer, sse

from serving.endpoints import register

pytestmark = [needs_chromium, pytest.mark.timeout(240)]

# (what the model writes, what is read): the tracker's address stands for {tracker}.
PROSE = [
    ("![pixel]({tracker}/a.png) ![ref][r]", None),
    ("[r]: {tracker}/b.png", None),
    ('<img src="{tracker}/c.png"> <b>bold</b> <script>document.title = "owned"; fetch("{tracker}/d")</script>', None),
    ("<style>@import '{tracker}/e.css'; * {{ display: none }}</style> <iframe src='{tracker}/f'></iframe>", None),
    ('<svg onload=alert(1)> <link rel=prefetch href="{tracker}/g"> <meta http-equiv=refresh content="0; url={tracker}/h">', None),
    ("[click](javascript:document.title='owned') [data](data:text/html,<script>alert(1)</script>) [rel](/?battle=x)", None),
    ("It costs $5 and $10. And $$E = m * c * c$$", None),
    (r"The roots \(x_1 * a * b\) and \[ \frac{{a}}{{b}} \]", None),
    (":red[alarm] :blue-background[x] :green-badge[y] :material/delete: :streamlit: :smile: :+1: a -> b <- c -- d :small[z]", None),
    ("a footnote[^1] <https://links.example/auto>", "a footnote[^1] https://links.example/auto"),
    ("[^1]: the footnote", None),
    ("Tom &amp; Jerry &lt;b&gt;", "Tom & Jerry <b>"),
    ("zero\u200bwidth, \u202eoverridden\u202c, ‏שלום עולם, مرحبا", "zero\u200bwidth, overridden\u202c, ‏שלום עולם, مرحبا"),
    ("x" * 3000, None),
]
CODE = "$5 <b> ![x]({tracker}/i.png) :red[x]\n```inner\n" + "long " * 400
CLOSING = "<!-- not closed: :red["


def written(tracker: str) -> str:
    front = "---\ntitle: front matter\n---\n\n"
    table = "\n\n| name | price |\n|---|---|\n| `a` | $5 |\n\n```mermaid\ngraph TD; A-->B\n```\n\n"
    prose = "\n\n".join(text.format(tracker=tracker) for text, _ in PROSE)
    # The last fence stays open.
    return f"{front}{prose}{table}~~~~\n~~~\nnested\n~~~\n~~~~\n\n{CLOSING}\n\n````\n{CODE.format(tracker=tracker)}"


def expected(tracker: str) -> list[str]:
    return [(shown if shown is not None else text).format(tracker=tracker) for text, shown in PROSE]


class Tracker(LoopbackServer):
    """Writes down what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.hits: list[str] = []

    async def serve(self, reader: Any, writer: Any) -> None:
        self.hits.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()


@pytest.fixture
def watched() -> Any:
    """(page, url) -> a list of every request that went elsewhere, and what the page's console complained of."""

    def watch(page: Any, url: str) -> tuple[list[str], list[str]]:
        elsewhere: list[str] = []
        said: list[str] = []
        host = urlsplit(url).netloc
        page.context.on("request", lambda request: elsewhere.append(request.url) if leaves(request.url, host) else None)
        page.on("websocket", lambda socket: elsewhere.append(socket.url) if leaves(socket.url, host) else None)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        return elsewhere, said

    return watch


def leaves(address: str, host: str) -> bool:
    return urlsplit(address).scheme not in ("data", "blob") and urlsplit(address).netloc != host


def read_as_written(page: Any, tracker: str) -> None:
    for letter in "ab":
        answer = page.locator(f".st-key-side-{letter} .answer")
        answer.locator("pre").nth(2).wait_for()
        paragraphs = [text.strip("\n") for text in answer.locator("> p").all_inner_texts()]
        assert paragraphs == ["title: front matter", *expected(tracker), CLOSING]
        assert answer.locator("td").all_inner_texts() == ["a", "$5"]
        blocks = [text.rstrip("\n") for text in answer.locator("pre").all_inner_texts()]
        assert blocks == ["graph TD; A-->B", "~~~\nnested\n~~~", CODE.format(tracker=tracker).rstrip("\n")]
        assert answer.locator("img, script, style, iframe, svg, link, meta, object, [onload], [onclick]").count() == 0
        links = answer.locator("a").evaluate_all("links => links.map(a => [a.getAttribute('href'), a.rel, a.target])")
        assert [href for href, _, _ in links] == ["https://links.example/auto"]
        assert all("noreferrer" in rel and "noopener" in rel and target == "_blank" for _, rel, target in links)


def test_hostile_answers_load_nothing_and_read_as_written(tmp_path: Path, watched: Any):
    results = tmp_path / "results"
    with Tracker() as trap:
        tracker = f"http://127.0.0.1:{trap.port}"
        text = written(tracker)
        pieces = [text[at : at + 150] for at in range(0, len(text), 150)]
        with ModelServer(sse(*pieces), pace_s=0.15) as one, ModelServer(sse(*pieces), pace_s=0.16) as two:
            for name, server in (("one", one), ("two", two)):
                register(server.endpoint(name), results)
            size = {"width": 390, "height": 844}
            with house("arena", results=results) as url, chromium(tmp_path / "profile", viewport=size) as page:
                elsewhere, said = watched(page, url)
                page.goto(url)
                asked = f"My own ![prompt]({tracker}/p.png) <img src={tracker}/q.png> costs $5 and $10 :red[x] `code`\n\n* not a list"
                page.get_by_role("textbox").fill(asked)
                page.get_by_role("button", name="Start the battle").click()
                # While it streams: an image's source is there as text before the answer has ended.
                page.locator(".st-key-side-a .answer", has_text="a.png").wait_for()
                assert page.locator(".st-key-waiting-tie").count() == 1
                assert page.locator(".answer img").count() == 0
                page.locator(".st-key-live-tie button:enabled").wait_for()
                assert page.locator(".prompt div").inner_text() == asked
                read_as_written(page, tracker)
                # Nothing is wider than the screen: long words break, long code scrolls in its own box.
                assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
                wide = page.locator(".answer").evaluate_all("all => all.map(a => a.getBoundingClientRect().right)")
                assert max(wide) <= 390
                page.locator(".st-key-live-tie button").click()
                page.locator(".side-head .name").first.wait_for()
                page.locator(".st-key-live-tie").wait_for(state="detached")
                read_as_written(page, tracker)
                page.reload()
                page.locator(".side-head .name").first.wait_for()
                read_as_written(page, tracker)
                assert page.title() != "owned"
                assert elsewhere == [] and trap.hits == []
                assert not [line for line in said if "Content Security Policy" in line or "Content-Security-Policy" in line], said


@pytest.mark.slow
def test_an_answer_of_200_kb_is_shown_to_its_last_word(tmp_path: Path, watched: Any):
    results = tmp_path / "results"
    text = "\n\n".join(f"Paragraph {number}: " + "some **words** of it. " * 16 for number in range(600)) + "\n\nthe very end"
    assert len(text) > 150_000
    pieces = [text[at : at + 4000] for at in range(0, len(text), 4000)]
    with ModelServer(sse(*pieces), pace_s=0.02) as one, ModelServer(sse(" ".join(["[![`*_<$"] * 25_000))) as two:
        for name, server in (("one", one), ("two", two)):
            register(server.endpoint(name), results)
        with house("arena", results=results) as url, chromium(tmp_path / "profile") as page:
            elsewhere, _ = watched(page, url)
            page.goto(url)
            page.get_by_role("textbox").fill("Write a book")
            page.get_by_role("button", name="Start the battle").click()
            page.locator(".st-key-live-tie button:enabled").wait_for()
            page.locator(".answer p", has_text="the very end").wait_for()
            lengths = page.locator(".answer").evaluate_all("all => all.map(a => a.innerText.length)")
            assert max(lengths) >= 199_999 and min(lengths) > 150_000
            page.keyboard.press("1")
            page.locator(".side-head .name").first.wait_for()
            assert elsewhere == []


def test_the_policy_is_a_lock_of_its_own(tmp_path: Path, watched: Any):
    """What got past everything else would still load and run nothing."""
    with Tracker() as trap, house("arena", "--demo", results=tmp_path / "results") as url, chromium(tmp_path / "profile") as page:
        page.goto(url)
        page.get_by_role("button", name=re.compile("quantum")).wait_for()
        page.evaluate(
            """address => {
                window.refused = new Set();
                document.addEventListener("securitypolicyviolation", event => window.refused.add(event.effectiveDirective));
                const add = html => document.body.insertAdjacentHTML("beforeend", html);
                add(`<img src="${address}/a.png"><iframe src="${address}/b"></iframe><link rel="stylesheet" href="${address}/c.css">`);
                add(`<object data="${address}/d"></object><video src="${address}/e"></video><base href="${address}/f/">`);
                const script = document.createElement("script");
                script.textContent = "window.owned = 1";
                document.body.append(script);
                fetch(address + "/g", {mode: "no-cors"}).catch(() => {});
            }""",
            f"http://127.0.0.1:{trap.port}",
        )
        page.wait_for_function("window.refused.size >= 8")
        refused = set(page.evaluate("[...window.refused]"))
        fetched = {"img-src", "frame-src", "style-src-elem", "object-src", "media-src", "connect-src"}
        assert refused == {*fetched, "base-uri", "script-src-elem"}
        assert page.evaluate("window.owned") is None and trap.hits == []
