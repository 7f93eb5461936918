"""The end of the battle page's script: look at two answers as they grow, and bring what is new to the screen.

It comes last in the script: a widget after it would not exist while it runs, and any click ends it. The answers grow elsewhere
(arena/battle.py), so nothing is lost when it is ended.
"""

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

TICK_S = 0.1


def tail(round_: Round, slots: "list[DeltaGenerator]", *, revealed: bool, pace: Pace = "natural", slow_s: float = 10.0) -> None:
    """Fill the two slots until both answers have ended, then run the script once more for what follows them."""
    shown = [""] * 2
    growing = [Growing(), Growing()]
    while True:
        ended = round_.ended
        for index, (side, slot) in enumerate(zip(round_.sides, slots, strict=True)):
            text = body(round_, side, growing[index], revealed=revealed, pace=pace, slow_s=slow_s)
            if text != shown[index]:
                slot.html(text)
                shown[index] = text
        if ended:
            break
        time.sleep(TICK_S)
    if f"ended-{round_.stage}" not in st.session_state:
        # Once: run again, so that the vote bar is drawn live.
        st.session_state[f"ended-{round_.stage}"] = True
        st.rerun()


def body(round_: Round, side: Side, growing: Growing, *, revealed: bool, pace: Pace, slow_s: float) -> str:
    """What stands in a side's slot now, as HTML."""
    if side.completion is not None and not side.answered and (pace == "natural" or round_.ended):
        if side.stopped:
            return _remark("Stopped before the first word.")
        if side.completion.finish_reason == WITHHELD:
            return _remark("This answer is not shown: it goes against the rules of this arena.")
        why = f" ({side.completion.status}: {side.completion.error})" if revealed else ""
        return _remark(f"This model gave no answer{why}.")
    if text := visible(round_, side, pace):
        return as_html(text) if round_.ended else growing.html(text)
    if pace == "hidden":
        return _remark("Writing; both answers are shown when both are whole…")
    slow = time.monotonic() - side.asked_at > slow_s
    return _remark("Thinking… Some models take a while; wait, or stop them." if slow else "Thinking…")


def _remark(text: str) -> str:
    return f'<div class="answer"><em>{escape(text)}</em></div>'
