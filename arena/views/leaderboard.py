"""The leaderboard page: a rating with its interval for every model, drawn in one table that also reads well without colours."""

import csv
import html
import io
from collections.abc import Sequence
from typing import Any, Literal

import streamlit as st

from arena.ballots import BOTH_BAD
from arena.battle import Arena, current
from arena.categories import own_rules, questions, rule, rules
from arena.errors import ArenaError
from arena.ratings import Board, Method, Rating, Term, rate
from arena.views import frame

METHODS = {"bt": "Bradley–Terry", "davidson": "Davidson", "elo": "Online Elo"}
EVERYTHING = "all battles"
_FLIP = "so many dropped votes, at most, put the next model above this one"


def page() -> None:
    """Show the ratings of all rated votes, or of those of one category."""
    arena = current()
    counts = arena.store.counts()
    if counts.n_votes == 0:
        frame.heading("Leaderboard", "No vote has been cast yet.")
        frame.empty("Nothing to rank.", "Fight a battle, or bring votes along: <code>arena import FILE --format csv</code>.")
        return
    method: Any = st.session_state.get("method") or "bt"
    category = st.session_state.get("category") or EVERYTHING
    board, n_votes, n_both_bad = _board(arena, f"{arena.store.name} {counts}", method, category)
    ratings = board.ratings
    rated = [rating for rating in ratings if rating.rating is not None]
    of = "" if category == EVERYTHING else f" in “{category}”"
    frame.heading("Leaderboard", f"{len(ratings):,} models from {n_votes if of else counts.n_votes:,} votes{of}")
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.segmented_control(
            "Method",
            list(METHODS),
            default="bt",
            key="method",
            format_func=METHODS.__getitem__,
            required=True,
            label_visibility="collapsed",
        )
        st.selectbox("Category", _categories(arena), key="category", label_visibility="collapsed", width=180)
        st.download_button("CSV", to_csv(ratings), "leaderboard.csv", "text/csv", icon=":material/download:", type="tertiary")
    st.html(f'<p class="note">{_explanation(method, counts.n_unrated, n_both_bad)}{_terms(board.terms)}</p>')
    if rated:
        st.html(table(rated))
    else:
        frame.empty("Nothing to rank.", "No vote of this category makes two models comparable.")
    if unrated := [rating for rating in ratings if rating.rating is None]:
        lines = "".join(f"<li><b>{html.escape(rating.model)}</b>: {html.escape(rating.note or '')}</li>" for rating in unrated)
        st.html(f"<h3>Without a rating</h3><ul>{lines}</ul>")


@st.cache_data(max_entries=64, show_spinner=False)
def _board(_arena: Arena, votes: str, method: Literal["bt", "davidson", "elo"], category: str) -> tuple[Board, int, int]:
    """The board, its votes, and those that found both bad; kept until `votes` (where they lie, and how many) changes."""
    where = None if category == EVERYTHING else rule(category, _arena.results)
    ballots = _arena.store.ballots(where=where)
    # Fragility refits the board for each pair of neighbours: half a second for sixty models.
    return rate(ballots, Method(name=method, fragility=method == "bt")), len(ballots), int((ballots.winner == BOTH_BAD).sum())


def _categories(arena: Arena) -> list[str]:
    try:
        own = [*own_rules(arena.results), *(name for name in questions(arena.results) if arena.store.n_judged(name))]
    except ArenaError as error:
        st.warning(str(error))
        own = []
    return [EVERYTHING, *rules(), *own]


def _terms(terms: Sequence[Term]) -> str:
    return "".join(f" A tie between equals has log odds of {term.estimate:+.2f}." for term in terms if term.name == "tie")


def table(rated: Sequence[Rating]) -> str:
    """The ratings as an HTML table; intervals are bars on one common scale, best model first."""
    bounds = [value for row in rated for value in (row.rating_lower, row.rating_upper, row.rating) if value is not None]
    low, high = (min(bounds), max(bounds)) if bounds else (0.0, 1.0)
    span = max(high - low, 1e-9)
    bad, fragile = any(row.n_both_bad for row in rated), any(row.n_to_flip is not None for row in rated)
    body = "".join(_row(row, low, span, bad=bad, fragile=fragile) for row in rated)
    interval = f'<th class="bar">95 % interval <span>{low:.0f} – {high:.0f}</span></th>' if any(row.rating_lower for row in rated) else ""
    more = '<th class="num">Both bad</th>' * bad + f'<th class="num flip" title="{_FLIP}">To flip</th>' * fragile
    head = f'<tr><th class="num">Rank</th><th>Model</th><th class="num">Rating</th>{interval}<th class="num">Votes</th>{more}</tr>'
    return f'<table class="board"><thead>{head}</thead><tbody>{body}</tbody></table>'


def to_csv(ratings: Sequence[Rating]) -> str:
    """Every field of every rating, full precision."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Rating.model_fields))
    writer.writeheader()
    writer.writerows(rating.model_dump() for rating in ratings)
    return text.getvalue()


def _row(row: Rating, low: float, span: float, *, bad: bool, fragile: bool) -> str:
    assert row.rating is not None
    places = f"{row.rank_lower}–{row.rank_upper}" if row.rank_lower != row.rank_upper else ""
    cells = f'<td class="num"><b>{row.rank}</b> <small>{places}</small></td><td class="model">{html.escape(row.model)}</td>'
    cells += f'<td class="num">{row.rating:.0f}</td>'
    if row.rating_lower is not None and row.rating_upper is not None:
        left, width, dot = (
            (value / span) * 100 for value in (row.rating_lower - low, row.rating_upper - row.rating_lower, row.rating - low)
        )
        label = f"{row.rating_lower:.0f} to {row.rating_upper:.0f}"
        bar = f'<i style="left:{left:.2f}%;width:{width:.2f}%"></i><b style="left:{dot:.2f}%"></b>'
        cells += f'<td class="bar" title="{label}"><div role="img" aria-label="{label}">{bar}</div></td>'
    more = f'<td class="num">{row.both_bad_share or 0:.0%}</td>' * bad
    more += f'<td class="num flip" title="{_FLIP}">{"" if row.n_to_flip is None else f"{row.n_to_flip:,}"}</td>' * fragile
    return f'<tr>{cells}<td class="num">{row.n_battles:,}</td>{more}</tr>'


def _explanation(method: str, n_unrated: int, n_both_bad: int) -> str:
    if method == "elo":
        text = "Each vote in the order it was cast, K = 4: later votes weigh more, and there is no interval. Compare with Bradley–Terry."
    elif method == "davidson":
        text = "Ties have a parameter of their own: 400 points are odds of ten to one among the votes that decide."
    else:
        text = (
            "Models share a rank when their intervals overlap; the small figures are the best and worst rank the votes allow. "
            '<span class="flip">To flip: so many votes, dropped, would put the next model above.</span>'
        )
    left_out = [f"{count:,} {what}" for count, what in ((n_both_bad, "“both bad”"), (n_unrated, "unrated")) if count]
    return text + (f" Left out: {' and '.join(left_out)}." if left_out else "")
