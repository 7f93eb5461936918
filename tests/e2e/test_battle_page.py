"""What a careful user does to a battle page in a real browser: Stop, go on, reload, close the tab, another's address, a shared link.

No frame holds a name before the vote.
"""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from browser import chromium, house, needs_chromium
from model_server import ModelServer, sse

from arena.prompts import shipped_examples
from serving.endpoints import register

pytestmark = [needs_chromium, pytest.mark.timeout(180)]
NAMES = ("zebra-model", "okapi-model")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    results = tmp_path_factory.mktemp("arena") / "results"
    words = sse(*(f"word{number} " for number in range(40)))
    with ModelServer(words, pace_s=0.12) as one, ModelServer(words, pace_s=0.12) as two:
        for name, server in zip(NAMES, (one, two), strict=True):
            register(server.endpoint(name), results)
        with house("arena", results=results) as url:
            yield url


def begin(page: Any, url: str) -> list[str]:
    """A blind battle under way; returns the frames received since."""
    frames: list[str] = []
    watch(page, frames)
    page.goto(url)
    ask(page, "Count the words")
    return frames


def watch(page: Any, frames: list[str]) -> None:
    """Add every frame that this tab receives to `frames`."""
    page.on("websocket", lambda socket: socket.on("framereceived", lambda data: frames.append(text_of(data))))


def another_tab(page: Any, url: str, frames: list[str]) -> Any:
    """A tab of the same browser."""
    tab = page.context.new_page()
    tab.set_default_timeout(30_000)
    watch(tab, frames)
    tab.goto(url)
    return tab


def ask(page: Any, prompt: str) -> None:
    """Type a prompt and see the battle begin."""
    page.get_by_role("textbox").fill(prompt)
    page.get_by_role("button", name="Start the battle").click()
    page.locator(".st-key-stop button").wait_for()


def vote(page: Any, key: str, words: str, frames: list[str]) -> None:
    """Vote by key once both have answered; until then no frame held a name."""
    page.locator(".st-key-live-tie button:enabled").wait_for()
    assert frames and not [name for name in NAMES if name in "".join(frames)]
    page.keyboard.press(key)
    page.get_by_text(f"{words}. Thank you, the vote is counted").wait_for()
    # The names may come before the last of the vote bar has gone.
    page.locator(".st-key-votes").wait_for(state="detached")
    assert sorted(page.locator(".side-head .name").all_inner_texts()) == sorted(NAMES)


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


@pytest.mark.slow
def test_an_arrow_votes_and_the_reveal_has_facts(address: str, tmp_path: Path):
    with chromium(tmp_path / "voter") as page:
        begin(page, address)
        page.locator(".st-key-live-tie button:enabled").wait_for()
        page.keyboard.press("ArrowRight")
        page.get_by_text("You preferred B").wait_for()
        page.locator(".side-head .facts").get_by_text("first word").first.wait_for()


@pytest.mark.slow
def test_two_seconds_offline_lose_nothing(address: str, tmp_path: Path):
    with chromium(tmp_path / "voter") as page:
        begin(page, address)
        page.context.set_offline(True)
        time.sleep(2)
        page.context.set_offline(False)
        page.locator(".st-key-live-tie button:enabled").wait_for()
        page.get_by_text("word39").nth(1).wait_for()


@pytest.mark.slow
def test_a_tab_that_is_closed_and_opened_again_in_mid_battle_finds_the_answers_further_on(address: str, tmp_path: Path):
    with chromium(tmp_path / "voter") as page:
        frames = begin(page, address)
        page.get_by_text("word3").nth(1).wait_for()
        battle = page.url
        keeps_the_browser_open = page.context.new_page()
        page.close()
        tab = another_tab(keeps_the_browser_open, battle, frames)
        # Not from the start: the words are told once, and no answer is asked for again.
        tab.get_by_text("word10").nth(1).wait_for()
        assert tab.get_by_text("The arena was started anew").count() == 0
        tab.get_by_text("word39").nth(1).wait_for()
        assert all(text.count("word3 ") == 1 for text in tab.locator(".st-key-side-a, .st-key-side-b").all_inner_texts())
        vote(tab, "1", "You preferred A", frames)


@pytest.mark.slow
def test_a_new_prompt_in_mid_stream_leaves_the_first_battle_to_be_voted_on_later(address: str, tmp_path: Path):
    with chromium(tmp_path / "voter") as page:
        frames = begin(page, address)
        page.get_by_text("word3").nth(1).wait_for()
        first = page.url
        page.locator(".st-key-new button").click()
        page.get_by_role("button", name="Start the battle").wait_for()
        page.locator(".side-head").first.wait_for(state="detached")
        ask(page, "Count them once more")
        assert page.url != first and page.get_by_text("Count the words").count() == 0
        vote(page, "2", "You preferred B", frames)
        frames.clear()
        # Names of the second battle are known by now: only what came for the first one is looked at.
        page.goto(first)
        page.get_by_text("Count the words").wait_for()
        vote(page, "3", "You called it a tie", frames)


def test_two_tabs_of_one_voter_watch_one_battle_and_hold_one_vote(address: str, tmp_path: Path):
    with chromium(tmp_path / "voter") as page:
        frames = begin(page, address)
        page.get_by_text("word3").nth(1).wait_for()
        tab = another_tab(page, page.url, frames)
        for one in (page, tab):
            one.get_by_text("word39").nth(1).wait_for()
            one.locator(".st-key-live-tie button:enabled").wait_for()
        vote(page, "1", "You preferred A", frames)
        # The other tab still shows live buttons; whoever presses one there learns what was voted.
        tab.locator(".st-key-live-model_b button").click()
        tab.get_by_text("You preferred A. Thank you, the vote is counted").wait_for()
        assert tab.get_by_text("You preferred B").count() == 0


@pytest.mark.slow
def test_whoever_has_no_question_takes_one_of_a_category_or_of_chance(address: str, tmp_path: Path):
    code = shipped_examples()["code"]
    with chromium(tmp_path / "voter") as page:
        page.goto(address)
        assert page.locator(".st-key-prompts").count() == 0
        page.get_by_role("radio", name="Code").click()
        page.locator(".st-key-prompts .stButton").nth(len(code) - 1).wait_for()
        assert page.locator(".st-key-prompts .stButton").count() == len(code)
        page.locator(".st-key-prompts .stButton button").first.click()
        page.locator(".prompt").get_by_text(code[0]).wait_for()
        page.locator(".st-key-stop button").wait_for()
        page.goto(address)
        page.locator(".st-key-surprise button").click()
        page.locator(".st-key-stop button").wait_for()
        assert page.locator(".prompt div").inner_text() in [text for texts in shipped_examples().values() for text in texts]


@pytest.mark.slow
def test_a_forged_battle_id_is_the_page_that_asks(address: str, tmp_path: Path):
    with chromium(tmp_path / "voter") as page:
        frames: list[str] = []
        dialogs: list[str] = []
        watch(page, frames)
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        for battle in ("0123456789abcdef0123456789abcdef", "../../etc/passwd", "<script>alert(1)</script>"):
            page.goto(f"{address}/?{urlencode({'battle': battle})}")
            page.get_by_role("button", name="Start the battle").wait_for()
            assert page.locator(".side-head, .stAlert, .stException").count() == 0 and not dialogs
        # And it is left behind by asking.
        ask(page, "Count the words")
        page.wait_for_url(re.compile("battle=[0-9a-f-]+$"))
        vote(page, "4", "You found both bad", frames)
