"""The public arena: battle, leaderboard, about. Started by `arena up`; `dashboards/app.py` mounts the same pages beside its own."""

import streamlit as st

from arena.views import about, battle, frame, leaderboard


def pages() -> list[st.Page]:
    """The arena's pages, in the order of the menu."""
    return [
        st.Page(battle.page, title="Battle", icon=":material/swords:", url_path="battle", default=True),
        st.Page(leaderboard.page, title="Leaderboard", icon=":material/leaderboard:", url_path="leaderboard"),
        st.Page(about.page, title="About", icon=":material/info:", url_path="about"),
    ]


if __name__ == "__main__":
    frame.open_page("bakeoff arena")
    st.navigation(pages(), position="top").run()
