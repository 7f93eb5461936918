"""The whole house: the arena's pages, and beside them the windows on what was voted and measured. Started by `dashboards up`."""

import streamlit as st

from arena import app as arena
from arena.views import frame
from dashboards import benchmarks, costs, drift, links, load, samples, standings, tradeoffs


def pages() -> dict[str, list[st.Page]]:
    """The arena's pages and the windows, by the section of the menu; what has no section stands in the bar itself."""
    battle, leaderboard, *others = arena.pages()
    return {
        "": [battle, leaderboard],
        "Votes": [st.Page(standings.page, title="Head to head", icon=":material/grid_on:", url_path="head-to-head")],
        "Results": [
            st.Page(benchmarks.page, title="Benchmarks", icon=":material/checklist:", url_path="benchmarks"),
            st.Page(samples.page, title="Samples", icon=":material/list_alt:", url_path="samples"),
            st.Page(load.page, title="Load", icon=":material/speed:", url_path="load"),
            st.Page(costs.page, title="Cost", icon=":material/payments:", url_path="cost"),
            st.Page(tradeoffs.page, title="Trade-offs", icon=":material/balance:", url_path="trade-offs"),
            st.Page(drift.page, title="Drift", icon=":material/trending_down:", url_path="drift"),
        ],
        "More": others,
    }


if __name__ == "__main__":
    frame.open_page("bakeoff")
    shown = pages()
    links.remember(page for section in shown.values() for page in section)
    st.navigation(shown, position="top").run()
