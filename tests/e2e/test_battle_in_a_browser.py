"""What a voter sees, in a real browser: two blind answers that grow together, one vote, the names, and a vote that outlives a restart."""

import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from browser import chromium, house, needs_chromium
from model_server import ModelServer, sse

from serving.endpoints import register

pytestmark = [needs_chromium, pytest.mark.timeout(180)]
PROMPT = "Explain in a short paragraph quantum field theory"


def test_a_blind_battle_is_fought_voted_and_survives_a_restart(tmp_path: Path):
    results = tmp_path / "results"
    frames: list[str] = []
    with house("dashboards", "--demo", results=results) as url, chromium(tmp_path / "profile") as page:
        page.on("websocket", lambda socket: socket.on("framereceived", lambda data: frames.append(_text(data))))
        address, names = _fight(page, url, frames)
        assert len(set(names)) == 2
        page.goto(f"{url}/leaderboard")
        page.get_by_text("59 models from 8,932 votes").wait_for()
        page.locator("table.board tbody tr").nth(58).wait_for()
        assert page.locator("table.board tbody tr").count() == 59
    with house("arena", results=results) as url, chromium(tmp_path / "profile") as page:
        page.goto(f"{url}/leaderboard")
        page.get_by_text("59 models from 8,932 votes").wait_for()
        # The same browser, hence the same voter, finds its battle again, already voted on.
        page.goto(f"{url}/?{address}")
        page.get_by_text("You preferred A").wait_for()
        assert page.locator(".side-head .name").all_inner_texts() == names


def test_two_typed_answers_grow_side_by_side_and_a_key_votes(tmp_path: Path):
    results = tmp_path / "results"
    answer = [f"word{number} " for number in range(60)]
    with ModelServer(sse(*answer), pace_s=0.1) as one, ModelServer(sse(*answer), pace_s=0.1) as two:
        for name, server in (("one", one), ("two", two)):
            register(server.endpoint(name), results)
        with house("arena", results=results) as url, chromium(tmp_path / "profile") as page:
            page.goto(url)
            page.get_by_role("textbox").fill("Count the words")
            page.get_by_role("button", name="Start the battle").click()
            page.locator(".st-key-waiting-tie").wait_for()
            seen = []
            while page.locator(".st-key-waiting-tie").count():
                seen.append([len(text) for text in page.locator(".st-key-side-a, .st-key-side-b").all_inner_texts()])
                time.sleep(0.1)
            page.locator(".st-key-live-tie button:enabled").wait_for()
            both = [lengths for lengths in seen if len(lengths) == 2]
            assert len({first for first, _ in both}) > 4 and len({second for _, second in both}) > 4, seen
            page.keyboard.press("3")
            page.get_by_text("You called it a tie").wait_for()
            assert sorted(page.locator(".side-head .name").all_inner_texts()) == ["one", "two"]


def _fight(page: Any, url: str, frames: list[str]) -> tuple[str, list[str]]:
    """Fight battles until both sides have answered: some recordings are empty, some take long. The query of its address, and both names."""
    from playwright.sync_api import TimeoutError as TakesLong

    for _ in range(20):
        frames.clear()
        page.goto(url)
        page.get_by_role("button", name=re.compile(PROMPT)).click()
        page.locator(".side-head").nth(1).wait_for()
        # What can be stopped is still being written.
        with suppress(TakesLong):
            page.locator(".st-key-stop").wait_for(state="detached", timeout=5_000)
        if page.locator(".st-key-live-tie").count():
            break
    known = "".join(frames)
    page.locator(".st-key-live-model_a button").click()
    page.locator(".side-head .name").nth(1).wait_for()
    names = page.locator(".side-head .name").all_inner_texts()
    # Blind means blind: the names were in nothing that the server sent before the vote.
    assert known and not [name for name in names if name in known]
    # Streamlit takes away what a run no longer draws only when that run has ended: the names may come first.
    page.locator(".st-key-live-model_a").wait_for(state="detached")
    return page.url.partition("?")[2], names


def _text(data: Any) -> str:
    return data.decode("utf-8", "replace") if isinstance(data, bytes) else str(data)
