"""The public arena: battle, leaderboard, about. Started by `arena up`; `dashboards/app.py` mounts the same pages beside its own."""

import streamlit as st

from arena.views import about, admin, battle, entrance, frame, leaderboard

# What the pages after the first are made of, by the names of Streamlit's scripts: fetched while the first is read.
ELEMENTS = ("ButtonGroup", "Checkbox", "DownloadButton", "PageLink", "Selectbox")


def pages() -> list[st.Page]:
    """The arena's pages, in the order of the menu."""
    terms = [st.Page(entrance.page, title="Terms", icon=":material/gavel:", url_path="terms")] if entrance.offered() else []
    hidden = [st.Page(admin.page, title="Administration", url_path="admin", visibility="hidden")] if admin.offered() else []
    return [
        st.Page(battle.page, title="Battle", icon=":material/swords:", url_path="battle", default=True),
        st.Page(leaderboard.page, title="Leaderboard", icon=":material/leaderboard:", url_path="leaderboard"),
        st.Page(about.page, title="About", icon=":material/info:", url_path="about"),
        *terms,
        *hidden,
    ]


if __name__ == "__main__":
    frame.open_page("bakeoff arena")
    st.navigation(pages(), position="top").run()
