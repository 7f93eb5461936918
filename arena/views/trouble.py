"""What a person sees when a page breaks: a sentence in the house's words, never a red box; the traceback is for the log."""

import logging

import streamlit as st

from arena.errors import ArenaError
from arena.views import frame

log = logging.getLogger("arena")


def tell(error: Exception) -> bool:
    """Handed to Streamlit for whatever a script raises; True: nothing more is to be shown."""
    log.error("a page broke", exc_info=error)
    if isinstance(error, ArenaError):
        frame.empty("The arena cannot read or keep votes at the moment.", "Votes that were thanked for are safe. Try again in a minute.")
    else:
        frame.empty("This page broke.", "It was written down for the operators. Load it again, or go on with another page.")
    st.button("Try again", key="try-again")
    return True
