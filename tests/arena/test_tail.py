"""An answer that grows: what is finished is sent once, nothing is lost or cut within a block, and many onlookers look less often."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from arena_client import Page, arrive
from browser import house
from hypothesis import given, settings
from hypothesis import strategies as st
from model_server import ModelServer, sse

from arena.views.tail import LONG_CHARACTERS, TICK_S, Screen, finished, tick_s
from serving.endpoints import register

PARAGRAPH = "Long words are written here, one after another, and they cost nothing. " * 5
FENCE = "```python\nx = 1\n\n\n# no heading\n\ny = 2\n```"
LIST = "1. one\n\n   more of one\n\n2. two\n\n- a\n\n> quoted\n\n| a | b |\n"
BLOCKS = st.lists(st.sampled_from([PARAGRAPH, FENCE, LIST, "## Heading", "short", "~~~\nopen\n\nfence", "3 apples"]), max_size=30)


class Slot:
    """Stands for a place on the page; remembers what it was last told, and what all of its places were told together."""

    def __init__(self, told: list[int]) -> None:
        self.text, self.inner, self.told = "", [], told

    def html(self, body: str) -> None:
        self.text, self.inner = body, []
        self.told.append(len(body))

    def container(self) -> "Slot":
        self.text, self.inner = "", [Slot(self.told)]
        return self.inner[0]

    def empty(self) -> "Slot":
        self.inner.append(Slot(self.told))
        return self.inner[-1]

    def shown(self) -> list[str]:
        return [self.text] if not self.inner else [text for slot in self.inner for text in slot.shown() if text]


@pytest.fixture(autouse=True, scope="module")
def as_it_is() -> Iterator[None]:
    """What a block looks like is another file's matter (tests/arena/test_display.py)."""

    class Raw:
        def html(self, text: str) -> str:
            return text

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arena.views.tail.as_html", str)
        patch.setattr("arena.views.tail.Growing", Raw)
        patch.setattr("arena.views.tail._remark", lambda text: f"*{text}*")
        yield


@settings(max_examples=50)
@given(BLOCKS, st.integers(1, 400))
def test_what_is_shown_is_the_text_so_far_in_whole_blocks(blocks: list[str], step: int):
    text = "\n\n".join(blocks)
    slot = Slot([])
    screen = Screen(slot)  # type: ignore[arg-type]
    for end in range(step, len(text) + step, step):
        screen.show(text[:end], "")
        *whole, _ = slot.shown() or [""]
        squeezed = re.sub(r"\s", "", "".join(slot.shown()))
        assert squeezed == re.sub(r"\s", "", text[:end])
        for piece in whole:
            # A fence that is open in a piece would swallow what is not in it: only one that stays open to the end may be.
            assert len(re.findall(r"^(?:```|~~~)", piece, re.MULTILINE)) % 2 == 0
    assert all(not re.match(r"\s|[-*+>|\d]", piece) for piece in slot.shown()[1:])


def test_a_long_answer_costs_its_length_and_not_its_square():
    text = "\n\n".join([PARAGRAPH] * 200)
    told: list[int] = []
    screen = Screen(Slot(told))  # type: ignore[arg-type]
    for end in range(0, len(text), 50):
        screen.show(text[:end], "")
    assert sum(told) < len(text) / 50 * (LONG_CHARACTERS + 2 * len(PARAGRAPH)) < len(text) ** 2 / 50 / 20


def test_a_text_that_turned_out_otherwise_is_drawn_anew_and_a_note_takes_the_place_of_all():
    slot = Slot([])
    screen = Screen(slot)  # type: ignore[arg-type]
    screen.show("\n\n".join([PARAGRAPH] * 10), "")
    assert len(slot.shown()) > 1
    screen.show("Another answer.", "")
    assert slot.shown() == ["Another answer."]
    screen.show("", "Gone.")
    assert slot.shown() == ["*Gone.*"]


def test_a_short_answer_stays_in_one_piece():
    text = f"{PARAGRAPH}\n\n{PARAGRAPH}"
    assert len(text) < LONG_CHARACTERS and finished(text, 0) == 0


def test_forty_onlookers_look_five_times_a_second():
    assert tick_s(1) == tick_s(20) == TICK_S and tick_s(40) == pytest.approx(0.2)


@pytest.mark.timeout(120)
def test_a_long_answer_grows_on_the_page_and_ends_whole(tmp_path: Path):
    text = "\n\n".join([PARAGRAPH.strip()] * 20)
    pieces = [text[at : at + 60] for at in range(0, len(text), 60)]
    seen: list[str] = []

    async def look(url: str) -> None:
        async with Page(await arrive(url), on_frame=lambda page, _: seen.append(page.texts()[0])) as page:
            await page.until(Page.can_ask)
            seen.clear()
            await page.ask("Tell me everything")
            # The answers are drawn after the buttons.
            await page.until(lambda page: page.votable() and page.finished == page.run)
            left, right = page.texts()
            assert _squeezed(left) == _squeezed(right) == _squeezed(text)

    def asked(_: Any) -> list[bytes]:
        return sse(*pieces)

    with ModelServer(asked, pace_s=0.04) as one, ModelServer(asked, pace_s=0.04) as two:
        for name, server in (("one", one), ("two", two)):
            register(server.endpoint(name), tmp_path / "results")
        with house("arena", results=tmp_path / "results") as url:
            asyncio.run(look(url))
    grown = [shown for shown in dict.fromkeys(seen) if shown and not shown.startswith("Thinking")]
    assert len(grown) > 5 and all(_squeezed(text).startswith(_squeezed(shown)) for shown in grown)


def _squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)
