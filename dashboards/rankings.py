"""The leaderboard in the whole house: the arena's public page, and below it how the ratings came about, to look at and to take away."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import streamlit as st

from arena.battle import current
from arena.history import Moment
from arena.views import frame, leaderboard
from dashboards.figure import figure
from dashboards.links import link
from dashboards.vote_charts import over_time, ratings_with_intervals
from dashboards.vote_figures import past_is_there, past_of

SHOWN, DRAWN = 6, 25


def page() -> None:
    """The arena's leaderboard, then time and picture."""
    leaderboard.page()
    arena = current()
    counts = arena.store.counts()
    with nullcontext() if not counts.n_votes or past_is_there(arena, counts) else st.spinner("Fitting the past …"):
        moments = past_of(arena, counts) if counts.n_votes else []
    board = [row for row in moments[-1].ratings if row.rating is not None] if moments else []
    if not board:
        return
    names = [row.model for row in board]
    origin = f"{moments[-1].n_votes:,} rated votes"
    with st.container(horizontal=True):
        link("head-to-head", f"{names[0]} against {names[1]}", first=names[0], second=names[1])
        link("votes-health", "Whose votes these are")
    st.html("<h2>Ratings over time</h2>")
    chosen = st.multiselect("Models", names, default=names[:SHOWN], key="lines", max_selections=SHOWN, placeholder="Up to six models")
    if rows := lines(moments, chosen):
        told = f"{len(moments)} exact fits, each of the votes until then; bands are 95 % intervals. {origin}"
        timed = moments[-1].at is not None
        told += "." if timed else "; when they were cast is not recorded, so they stand in their order."
        figure(over_time(rows, timed=timed), rows, name="ratings-over-time", origin=told, alt=f"Ratings over time of {', '.join(chosen)}")
    else:
        frame.empty("No line to draw.", "Choose a model above.")
    st.html("<h2>The board as a picture</h2>")
    best = [row.model_dump() for row in board[:DRAWN]]
    which = f"The best {DRAWN} of {len(board)}. " if len(board) > DRAWN else ""
    told = f"{which}Bradley–Terry, all battles; bars are 95 % intervals. {origin}."
    figure(ratings_with_intervals(best), best, name="ratings", origin=told, alt=f"Ratings of {len(best)} models with their intervals")


def lines(moments: Sequence[Moment], models: Sequence[str]) -> list[dict[str, Any]]:
    """A row per moment and chosen model that had a rating then."""
    return [
        {
            "at": moment.at, "n_votes": moment.n_votes, "model": row.model, "rating": row.rating, "rating_lower": row.rating_lower,
            "rating_upper": row.rating_upper, "n_battles": row.n_battles,
        }
        for moment in moments
        for row in moment.ratings
        if row.model in models and row.rating is not None
    ]  # fmt: skip
