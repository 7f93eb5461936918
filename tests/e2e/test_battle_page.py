"""What a careful user does to a battle page in a real browser: Stop, go on, reload, another's address, a shared link; no early name."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import chromium, house, needs_chromium
from model_server import ModelServer, sse

from serving.endpoints import register

pytestmark = [needs_chromium, pytest.mark.timeout(180)]
NAMES = ("zebra-model", "okapi-model")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    results = tmp_path_factory.mktemp("arena") / "results"
    words = sse(*(f"word{number} " for number in range(40)))
    with ModelServer(words, pace_s=0.05) as one, ModelServer(words, pace_s=0.05) as two:
        for name, server in zip(NAMES, (one, two), strict=True):
            register(server.endpoint(name), results)
        with house("arena", results=results) as url:
            yield url


def begin(page: Any, url: str) -> list[str]:
    """A blind battle under way; returns the frames received since."""
    frames: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda data: frames.append(text_of(data))))
    page.goto(url)
    page.get_by_role("textbox").fill("Count the words")
    page.get_by_role("button", name="Start the battle").click()
    page.locator(".st-key-stop button").wait_for()
    return frames


def text_of(data: Any) -> str:
    return data.decode("utf-8", "replace") if isinstance(data, bytes) else str(data)


def test_a_reload_a_second_turn_and_a_double_click_end_in_one_vote_that_is_shared(address: str, tmp_path: Path):
    with chromium(tmp_path / "voter") as page:
        frames = begin(page, address)
        page.get_by_text("word3").first.wait_for()
        page.reload()
        page.locator(".st-key-live-tie button:enabled").wait_for()
        page.locator(".st-key-more textarea").fill("And again")
        page.keyboard.press("Enter")
        page.get_by_text("And again").first.wait_for()
        page.locator(".st-key-stop button").wait_for()
        page.locator(".st-key-live-model_a button:enabled").wait_for()
        assert frames and not [name for name in NAMES if name in "".join(frames)]
        battle = page.url
        page.locator(".st-key-live-model_a button").dblclick()
        page.get_by_text("You preferred A. Thank you, the vote is counted").wait_for()
        page.get_by_text("accurate").click()
        page.locator(".st-key-share button").click()
        shared = page.get_by_text("?shared=").inner_text().strip()
        page.screenshot(path=tmp_path / "voted.png", full_page=True)
    with chromium(tmp_path / "stranger", viewport={"width": 390, "height": 844}, color_scheme="dark") as page:
        page.goto(battle)
        page.get_by_role("button", name="Start the battle").wait_for()
        assert page.locator(".side-head").count() == 0
        page.goto(shared)
        page.get_by_text("The voter preferred A").wait_for()
        assert page.locator(".st-key-share, .st-key-votes").count() == 0
        page.screenshot(path=tmp_path / "shared-dark-390.png", full_page=True)


def test_escape_stops_both_and_the_vote_is_kept_unrated(address: str, tmp_path: Path):
    with chromium(tmp_path / "voter") as page:
        begin(page, address)
        page.get_by_text("word3").nth(1).wait_for()
        page.keyboard.press("Escape")
        page.locator(".st-key-live-tie button:enabled").wait_for()
        assert "word39" not in page.locator(".st-key-side-a").inner_text()
        page.keyboard.press("4")
        page.get_by_text("You found both bad. Thank you, the vote is kept, and not rated: an answer was stopped").wait_for()


def test_an_arrow_votes_and_the_reveal_has_facts(address: str, tmp_path: Path):
    with chromium(tmp_path / "voter") as page:
        begin(page, address)
        page.locator(".st-key-live-tie button:enabled").wait_for()
        page.keyboard.press("ArrowRight")
        page.get_by_text("You preferred B").wait_for()
        page.locator(".side-head .facts").get_by_text("first word").first.wait_for()


def test_two_seconds_offline_lose_nothing(address: str, tmp_path: Path):
    with chromium(tmp_path / "voter") as page:
        begin(page, address)
        page.context.set_offline(True)
        time.sleep(2)
        page.context.set_offline(False)
        page.locator(".st-key-live-tie button:enabled").wait_for()
        page.get_by_text("word39").nth(1).wait_for()
