"""The end of the battle page's script: look at two answers as they grow, and bring what is new to the screen.

It comes last in the script: a widget after it would not exist while it runs, and any click ends it. The answers grow elsewhere
(arena/battle.py), so nothing is lost when it is ended.
"""

import time
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from arena.battle import Round, Side
from arena.display import Growing, as_html

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

TICK_S = 0.1


def tail(round_: Round, slots: "list[DeltaGenerator]", *, revealed: bool) -> None:
    """Fill the two slots until both answers have ended, then run the script once more for what follows them."""
    shown = [""] * 2
    growing = [Growing(), Growing()]
    while True:
        ended = round_.ended
        for index, (side, slot) in enumerate(zip(round_.sides, slots, strict=True)):
            text = body(side, growing[index], revealed=revealed)
            if text != shown[index]:
                slot.html(text)
                shown[index] = text
        if ended:
            break
        time.sleep(TICK_S)
    if f"ended-{round_.battle_id}" not in st.session_state:
        # Once: run again, so that the vote bar is drawn live.
        st.session_state[f"ended-{round_.battle_id}"] = True
        st.rerun()


def body(side: Side, growing: Growing, *, revealed: bool) -> str:
    """What stands in a side's slot now, as HTML."""
    if side.completion is not None and not side.answered:
        why = f" ({side.completion.status}: {side.completion.error})" if revealed else ""
        return f'<div class="answer"><em>This model gave no answer{escape(why)}.</em></div>'
    if side.completion is not None:
        return as_html(side.text)
    return growing.html(side.text) if side.text else as_html("*Thinking…*")
