"""From one window to another, with what is looked at in the address: the same links that somebody can send to somebody else."""

import streamlit as st

ICONS = {
    "leaderboard": ":material/leaderboard:",
    "head-to-head": ":material/grid_on:",
    "votes-health": ":material/monitor_heart:",
    "training": ":material/model_training:",
}


def link(path: str, label: str, **query: str) -> None:
    """A link to the page at `path`, whose controls then stand as the query says."""
    st.page_link(st.Page(_nothing, title=label, url_path=path), label=label, icon=ICONS.get(path), query_params=query or None)


def _nothing() -> None:
    """A page is known by its address; what it draws is said where the app is put together."""
