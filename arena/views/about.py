"""The about page: how a vote becomes a rating, where the demo's data is from, what is kept."""

import streamlit as st

from arena.admission import counted
from arena.battle import current
from arena.deletion import forget_here
from arena.errors import ArenaError, UnknownVoter
from arena.settings import Settings
from arena.views import frame

TEXT = """
**How it works.** You give a prompt, two models drawn at random answer it, and you do not know which is which. You say which answer is
better; only then are the names shown. One battle takes one vote.

**How votes become ratings.** The leaderboard fits a Bradley–Terry model to all rated votes, a tie counting half a win for each side, on
the scale 1000 + 400/ln 10 · θ. The bars are 95 % intervals; two models whose intervals overlap are not told apart yet. Online Elo (K = 4)
is shown for comparison: it depends on the order of the votes. "Both are bad" is kept as an answer of its own and is not a tie.
"""
KEPT = "your votes stay, without anything that leads to you"
DEMO = """
**The demo's data** are real: 59 models answered the prompts of *LLMFAO: Large Language Model Feedback Analysis and Optimization* and 124
people cast 8,931 votes on them in 2023 (Dmitry Ustalov, [github.com/dustalov/llmfao](https://github.com/dustalov/llmfao), CC BY 4.0). The
answers are replayed as they were recorded, four times as fast.
"""


def what_is_kept(settings: Settings) -> str:
    """What the arena keeps of a voter under these settings, and who else sees it, as Markdown."""
    login, limits, budgets, retention = settings.login, settings.limits, settings.budgets, settings.retention
    known = "a random id in a cookie"
    if login is not None:
        account = "a keyed hash of your account"
        known = account if login.required else f"{known} or, when you are signed in, {account}"
    lines = [
        f"**What is kept.** Your prompts, the answers with their times, your vote, your reasons and how long you took, under {known}. "
        "No name and no address."
    ]
    if settings.terms is not None:
        lines.append("Also which version of the terms you accepted, and when.")
    by_address = any(limits.rates("address")) or budgets.address_usd_per_day is not None
    if counted(settings):
        whose = "of your id and of your address" if by_address else "of your id"
        lines.append(f"For two days, keyed hashes {whose}, so that nobody takes more than a fair share.")
    if retention.retention_days is not None:
        lines.append(f"Texts are removed after {retention.retention_days:g} days.")
    if retention.abandoned_after_h is not None:
        lines.append(f"A battle that nobody votes on is removed after {retention.abandoned_after_h:g} hours.")
    lines.append("Prompts are sent to the models that answer.")
    if (moderation := settings.moderation) is not None:
        what = "and".join([" prompts "] * moderation.prompts + [" answers "] * moderation.answers).strip()
        if what:
            lines.append(f"A moderator looks at {what}; of a prompt that it refuses nothing is kept.")
    return " ".join(lines)


def page() -> None:
    """Explain the arena."""
    frame.heading("About this arena", "Blind votes, honest intervals, and answers that are never invented.")
    st.markdown(TEXT)
    st.markdown(what_is_kept(current().settings))
    if current().demo:
        st.markdown(DEMO)
    _offer_deletion()
    if (login := current().settings.login) is not None:
        if frame.signed_in():
            st.button("Sign out", on_click=st.logout, key="sign-out")
        else:
            st.button(f"Sign in with {login.provider}", on_click=st.login, key="sign-in")


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
