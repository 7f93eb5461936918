"""The whole house: the arena's pages, and beside them the windows on what was voted and measured. Started by `dashboards up`."""

import streamlit as st

from arena import app as arena
from arena.views import frame
from dashboards import (
    benchmarks,
    beside,
    costs,
    drift,
    links,
    load,
    picking,
    rankings,
    samples,
    standings,
    tradeoffs,
    training,
    votes_health,
)

ELEMENTS = (*arena.ELEMENTS, "ArrowVegaLiteChart", "Multiselect", "NumberInput", "Pagination", "Slider", "Spinner")


def pages() -> dict[str, list[st.Page]]:
    """The arena's pages and the windows, by the section of the menu; what has no section stands in the bar itself."""
    battle, _, *others = arena.pages()
    return {
        "": [
            battle,
            st.Page(rankings.page, title="Leaderboard", icon=":material/leaderboard:", url_path="leaderboard"),
            st.Page(picking.page, title="Pick", icon=":material/task_alt:", url_path="pick"),
        ],
        "Votes": [
            st.Page(standings.page, title="Head to head", icon=":material/grid_on:", url_path="head-to-head"),
            st.Page(votes_health.page, title="Votes health", icon=":material/monitor_heart:", url_path="votes-health"),
            st.Page(training.page, title="Training", icon=":material/model_training:", url_path="training"),
        ],
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
    shown = beside.windows(pages())
    links.remember(page for section in shown.values() for page in section)
    st.navigation(shown, position="top").run()
    beside.note()
