"""The whole house: the arena's pages, and beside them the windows on what was voted and measured. Started by `dashboards up`."""

import streamlit as st

from arena import app as arena
from arena.views import frame
from dashboards import rankings, standings, tradeoffs, training, votes_health


def pages() -> list[st.Page]:
    """The arena's pages with ours between the leaderboard and the rest."""
    battle, _, *others = arena.pages()
    return [
        battle,
        st.Page(rankings.page, title="Leaderboard", icon=":material/leaderboard:", url_path="leaderboard"),
        st.Page(standings.page, title="Head to head", icon=":material/grid_on:", url_path="head-to-head"),
        st.Page(tradeoffs.page, title="Trade-offs", icon=":material/balance:", url_path="trade-offs"),
        st.Page(votes_health.page, title="Votes health", icon=":material/monitor_heart:", url_path="votes-health"),
        st.Page(training.page, title="Training", icon=":material/model_training:", url_path="training"),
        *others,
    ]


if __name__ == "__main__":
    frame.open_page("bakeoff")
    st.navigation(pages(), position="top").run()
