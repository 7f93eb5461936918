"""The end of the battle page's script: look at two answers as they grow, and bring what is new to the screen.

It comes last in the script: a widget after it would not exist while it runs, and any click ends it. The answers grow elsewhere
(arena/battle.py), so nothing is lost when it is ended.

What is shown costs the server CPU by the message, and the browser by the length of the text that it has to read again. So the more pages
look at answers, the longer a tick is; and of a long answer the paragraphs that are finished are sent once, as elements of their own. The
run that follows the end draws each answer whole, before the vote bar.
"""

import re
import threading
import time
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from arena.display import Growing, as_html
from arena.moderation import WITHHELD
from arena.pace import visible
from arena.rounds import Round, Side
from arena.settings import Pace

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

# How often an answer moves on the screen, and how often a side that shows nothing yet is looked at.
TICK_S = 0.16
LOOK_S = 0.04
# Each page that looks on adds this to everybody's tick: at forty pages the screen moves five times a second.
TICK_PER_PAGE_S = 0.005
# An answer shorter than this is sent whole at each tick.
LONG_CHARACTERS = 2_000

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
# What may continue the block above it though a blank line lies between: list items, quotes, tables, and everything indented.
_CONTINUES = re.compile(r"[ \t]|[-*+>|\d]")


class _Onlookers:
    """How many pages of this process look at growing answers."""

    def __init__(self) -> None:
        self.count, self._gate = 0, threading.Lock()

    def __enter__(self) -> None:
        with self._gate:
            self.count += 1

    def __exit__(self, *_: object) -> None:
        with self._gate:
            self.count -= 1


_onlookers = _Onlookers()


def tail(round_: Round, slots: "list[DeltaGenerator]", *, revealed: bool, pace: Pace = "natural", slow_s: float = 10.0) -> None:
    """Fill the two slots until both answers have ended, then run the script once more for what follows them.

    Not for a round that had ended when the script began and still has: the script would run forever.
    """
    screens = [Screen(slot) for slot in slots]
    next_s = 0.0
    with _onlookers:
        while not round_.ended:
            tick, now_s = tick_s(_onlookers.count), time.monotonic()
            if moves := now_s >= next_s:
                next_s = now_s + tick
            for screen, side in zip(screens, round_.sides, strict=True):
                # The first words do not wait for the tick.
                if moves or not screen.text:
                    screen.show(*body(round_, side, revealed=revealed, pace=pace, slow_s=slow_s))
            time.sleep(tick if all(screen.text for screen in screens) else LOOK_S)
    st.rerun()


def whole(round_: Round, side: Side, *, revealed: bool) -> str:
    """The HTML of a side that has ended: its answer, or why there is none."""
    text, note = body(round_, side, revealed=revealed, pace="natural", slow_s=0.0)
    return _remark(note) if note else as_html(text)


def tick_s(onlookers: int) -> float:
    """How long a page waits between two looks, with so many pages looking on."""
    return max(TICK_S, TICK_PER_PAGE_S * onlookers)


class Screen:
    """What one slot shows of an answer that grows."""

    def __init__(self, slot: "DeltaGenerator") -> None:
        self.slot, self.text, self.note = slot, "", ""
        self._finished = 0  # characters sent for good, above the element that still changes
        self._growing = Growing()
        self._column: DeltaGenerator | None = None
        self._open = slot

    def show(self, text: str, note: str) -> None:
        """Show the note, or the text, whatever of it is not on the screen yet."""
        if (text, note) == (self.text, self.note):
            return
        if note or not text.startswith(self.text[: self._finished]):
            self._column, self._open, self._finished, self._growing = None, self.slot, 0, Growing()
        self.text, self.note = text, note
        if note:
            self.slot.html(_remark(note))
            return
        if (end := finished(text, self._finished)) > self._finished:
            self._column = self._column or self.slot.container()
            if self._open is self.slot:
                self._open = self._column.empty()
            self._open.html(as_html(text[self._finished : end]))
            self._open, self._finished, self._growing = self._column.empty(), end, Growing()
        if rest := text[self._finished :]:
            self._open.html(self._growing.html(rest))


def finished(text: str, start: int) -> int:
    """Where the part of `text` from `start` ends that no later text can change; `start` while what follows is short.

    The place is the last blank line outside code fences that is followed by a new paragraph or heading, so that lists, quotes and tables
    stay in one piece.
    """
    if len(text) - start <= LONG_CHARACTERS:
        return start
    end, at, fence, blank = start, start, "", False
    for line in text[start:].splitlines(keepends=True):
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        elif mark:
            fence = mark[1]
            end = at if blank else end
        elif blank and line.strip() and not _CONTINUES.match(line):
            end = at
        blank = not line.strip() and not fence
        at += len(line)
    return end


def body(round_: Round, side: Side, *, revealed: bool, pace: Pace, slow_s: float) -> tuple[str, str]:
    """What stands in a side's slot now: (the answer's text, "") or ("", what there is to say while there is none)."""
    if side.completion is not None and not side.answered and (pace == "natural" or round_.ended):
        if side.stopped:
            return "", "Stopped before the first word."
        if side.completion.finish_reason == WITHHELD:
            return "", "This answer is not shown: it goes against the rules of this arena."
        why = f" ({side.completion.status}: {side.completion.error})" if revealed else ""
        return "", f"This model gave no answer{why}."
    if text := visible(round_, side, pace):
        return text, ""
    if pace == "hidden":
        return "", "Writing; both answers are shown when both are whole…"
    slow = time.monotonic() - side.asked_at > slow_s
    return "", "Thinking… Some models take a while; wait, or stop them." if slow else "Thinking…"


def _remark(text: str) -> str:
    return f'<div class="answer"><em>{escape(text)}</em></div>'
