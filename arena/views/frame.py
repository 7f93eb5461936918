"""What every page of the house shares: page settings, the stylesheet, the voter, and how an error is shown."""

from pathlib import Path

import streamlit as st

from arena import battle
from arena.garbage import set_modules_aside
from arena.login import voter_of_claims
from arena.voters import COOKIE, voter_of

MARK = Path(__file__).parent / "mark.svg"
STYLE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")


def open_page(title: str) -> None:
    """Title, width and stylesheet; the first call of every app script."""
    st.set_page_config(page_title=title, page_icon=str(MARK), layout="wide", initial_sidebar_state="collapsed")
    st.logo(str(MARK), size="large")
    st.html(f"<style>{STYLE}</style>")
    set_modules_aside()


def signed_in() -> str | None:
    """The voter id of the person who is signed in; None for nobody, and where the arena knows no login."""
    arena = battle.current()
    return voter_of_claims(st.user.to_dict(), arena.secret) if arena.settings.login is not None else None


def voter_id() -> str:
    """The voter: the person who is signed in, else this browser's id in its signed cookie, or one for this session without cookies."""
    if (person := signed_in()) is not None:
        return person
    known = voter_of(st.context.cookies.get(COOKIE), battle.current().secret)
    if known is not None:
        return known
    if "voter_id" not in st.session_state:
        import secrets

        st.session_state.voter_id = f"session-{secrets.token_urlsafe(9)}"
    return str(st.session_state.voter_id)


def heading(title: str, lead: str) -> None:
    """A page's title and the one sentence under it."""
    st.html(f'<header class="page-head"><h1>{title}</h1><p>{lead}</p></header>')


def empty(title: str, what_to_do: str) -> None:
    """An empty state that says what to run or press."""
    st.html(f'<div class="empty"><strong>{title}</strong><p>{what_to_do}</p></div>')
