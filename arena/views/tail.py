"""The end of the battle page's script: look at two answers as they grow, and bring what is new to the screen.

It comes last in the script: a widget after it would not exist while it runs, and any click ends it. The answers grow elsewhere
(arena/battle.py), so nothing is lost when it is ended.
"""

import time
from typing import TYPE_CHECKING

import streamlit as st

from arena.battle import Round, Side
from arena.display import for_display

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

TICK_S = 0.1


def tail(round_: Round, slots: "list[DeltaGenerator]", *, revealed: bool) -> None:
    """Fill the two slots until both answers have ended, then run the script once more for what follows them."""
    shown = [""] * 2
    while True:
        ended = round_.ended
        for index, (side, slot) in enumerate(zip(round_.sides, slots, strict=True)):
            text = body(side, revealed=revealed)
            if text != shown[index]:
                slot.markdown(text)
                shown[index] = text
        if ended:
            break
        time.sleep(TICK_S)
    if f"ended-{round_.battle_id}" not in st.session_state:
        # Once: run again, so that the vote bar is drawn live.
        st.session_state[f"ended-{round_.battle_id}"] = True
        st.rerun()


def body(side: Side, *, revealed: bool) -> str:
    """What stands in a side's slot now, as Markdown."""
    if side.completion is not None and not side.answered:
        why = f" ({side.completion.status}: {side.completion.error})" if revealed else ""
        return f"*This model gave no answer{for_display(why)}.*"
    if not side.text:
        return "*Thinking…*"
    return for_display(side.text)
