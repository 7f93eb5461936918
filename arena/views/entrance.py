"""What stands before the first battle: signing in and accepting the terms, where results/arena.yaml asks for them."""

import streamlit as st

from arena.battle import Arena, current
from arena.display import as_html
from arena.errors import ArenaError
from arena.terms import Terms, accept, accepted, terms_of
from arena.views import frame


def passed(arena: Arena, voter: str) -> bool:
    """Whether this voter may begin; if not, what is missing is on the page."""
    login = arena.settings.login
    if login is not None and login.required and not frame.signed_in():
        frame.empty("Sign in to vote.", "This arena knows you by a keyed hash of your account, and keeps neither name nor address.")
        with st.container(horizontal=True, horizontal_alignment="center"):
            st.button(f"Sign in with {login.provider}", type="primary", on_click=st.login, key="sign-in")
        return False
    terms = terms_of(arena.settings, arena.results)
    if terms is None or accepted(arena.store, voter, terms):
        return True
    _ask(arena, voter, terms)
    return False


def offered() -> bool:
    """Whether there are terms to show in the menu."""
    try:
        return current().settings.terms is not None
    except ArenaError:
        return False


def page() -> None:
    """The terms, for anybody to read again."""
    arena = current()
    frame.heading("Terms", "What you agree to when you vote here.")
    if (terms := terms_of(arena.settings, arena.results)) is not None:
        st.html(as_html(terms.text, breaks=False))
        if accepted(arena.store, frame.voter_id(), terms):
            st.html('<p class="note">You have accepted these terms.</p>')


def _ask(arena: Arena, voter: str, terms: Terms) -> None:
    with st.container(border=True, key="terms"):
        st.html(f"<h2>Before your first battle</h2>{as_html(terms.text, breaks=False)}")
        if st.button("I accept", type="primary", key="accept-terms"):
            accept(arena.store, voter, terms)
            st.rerun()
