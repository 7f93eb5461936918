"""The about page: how a vote becomes a rating, where the demo's data is from, what is kept."""

import streamlit as st

from arena.battle import current
from arena.deletion import forget_here
from arena.errors import ArenaError, UnknownVoter
from arena.views import frame

TEXT = """
**How it works.** You give a prompt, two models drawn at random answer it, and you do not know which is which. You say which answer is
better; only then are the names shown. One battle takes one vote.

**How votes become ratings.** The leaderboard fits a Bradley–Terry model to all rated votes, a tie counting half a win for each side, on
the scale 1000 + 400/ln 10 · θ. The bars are 95 % intervals; two models whose intervals overlap are not told apart yet. Online Elo (K = 4)
is shown for comparison: it depends on the order of the votes. "Both are bad" is kept as an answer of its own and is not a tie.

**What is kept.** The prompt, both answers with their times, your vote and how long you took, under a random id in a cookie. No name, no
address.
"""
KEPT = "your votes stay, without anything that leads to you"
DEMO = """
**The demo's data** are real: 59 models answered the prompts of *LLMFAO: Large Language Model Feedback Analysis and Optimization* and 124
people cast 8,931 votes on them in 2023 (Dmitry Ustalov, [github.com/dustalov/llmfao](https://github.com/dustalov/llmfao), CC BY 4.0). The
answers are replayed as they were recorded, four times as fast.
"""


def page() -> None:
    """Explain the arena."""
    frame.heading("About this arena", "Blind votes, honest intervals, and answers that are never invented.")
    st.markdown(TEXT)
    if current().demo:
        st.markdown(DEMO)
    _offer_deletion()


def _offer_deletion() -> None:
    """A voter's own data, removed after a second click."""
    arena, voter = current(), frame.voter_id()
    st.markdown(f"**Your data.** You are known here as `{voter}`. Deleting removes your prompts, their answers and this id; {KEPT}.")
    with st.popover("Delete my data"):
        st.write("This cannot be undone.")
        if st.button("Yes, delete it", type="primary"):
            try:
                done = forget_here(arena.store, voter, results=arena.results, rounds=arena.rounds)
            except ArenaError as error:
                st.info("There is nothing of yours here." if isinstance(error, UnknownVoter) else str(error))
            else:
                st.success(f"Deleted: prompts and answers of {done.n_battles:,} battles. {done.n_votes:,} votes stay, anonymous.")
