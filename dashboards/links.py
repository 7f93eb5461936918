"""Ways from one window to another that take along what was chosen: from a score to the run's samples, from a run to its load.

    links.remember(pages)                                        # once, by whoever puts the pages together
    links.link("samples", "See each answer", run="20261124-054512-demo", task="gsm8k")

The names are the other page's keys in its address (`?run=…`): its widgets are bound to them, so that any view can be sent to a colleague.
"""

from collections.abc import Iterable

import streamlit as st

_KEY = "windows"


def remember(pages: Iterable[st.Page]) -> None:
    """Keep the pages by their address for `link`."""
    st.session_state[_KEY] = {page.url_path: page for page in pages}


def link(to: str, label: str, *, icon: str = ":material/arrow_forward:", **chosen: str) -> None:
    """A link to the page at address `to`; nothing where the app has no such page."""
    page = st.session_state.get(_KEY, {}).get(to)
    if page is not None:
        st.page_link(page, label=label, icon=icon, query_params=chosen, width="content")
