"""The leaderboard page: a rating with its interval for every model, drawn in one table that also reads well without colours."""

import csv
import html
import io
from collections.abc import Sequence
from typing import Any

import streamlit as st

from arena.battle import Arena, current
from arena.categories import own_rules, questions, rules
from arena.errors import ArenaError
from arena.ratings import Z95, Board, Method, Rating
from arena.style import STYLE
from arena.views import frame
from arena.views.boards import EVERYTHING, board_of

METHODS = {"bt": "Bradley–Terry", "davidson": "Davidson", "elo": "Online Elo"}
_STYLE_HELP = "What the ratings are when answers are equally long and equally decorated with headings, lists and bold text."
_CLUSTER_HELP = "Votes of one person resemble each other: intervals that allow for it are wider."
_FLIP = "so many dropped votes, at most, put the next model above this one"


def page() -> None:
    """Show the ratings of all rated votes, or of those of one category."""
    arena = current()
    counts = arena.store.counts()
    if counts.n_votes == 0:
        frame.heading("Leaderboard", "No vote has been cast yet.")
        frame.empty("Nothing to rank.", "Fight a battle, or bring votes along: <code>arena import FILE --format csv</code>.")
        return
    # What is chosen stands in the address, so the heading, which depends on it, is filled in afterwards.
    head = st.container()
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        asked = _asked()
        category = st.selectbox(
            "Category", _categories(arena), key="category", label_visibility="collapsed", width=180, bind="query-params"
        )
        files = st.container(width="content")
    board, n_votes, n_both_bad = None, counts.n_votes, 0
    try:
        board, n_votes, n_both_bad = board_of(arena, counts, asked, category)
    except ArenaError as error:
        st.warning(str(error))
    ratings = board.ratings if board else ()
    rated = [rating for rating in ratings if rating.rating is not None]
    of = "" if category == EVERYTHING else f" in “{category}”"
    with head:
        frame.heading("Leaderboard", f"{len(ratings):,} models from {n_votes if of else counts.n_votes:,} votes{of}")
    files.download_button("CSV", to_csv(ratings), "leaderboard.csv", "text/csv", icon=":material/download:", type="tertiary")
    st.html(f'<p class="note">{_explanation(asked, counts.n_unrated, n_both_bad)}{_terms(board) if board else ""}</p>')
    if rated:
        st.html(_first(rated) + table(rated))
    else:
        frame.empty("Nothing to rank.", "No vote of this category makes two models comparable.")
    if unrated := [rating for rating in ratings if rating.rating is None]:
        lines = "".join(f"<li><b>{html.escape(rating.model)}</b>: {html.escape(rating.note or '')}</li>" for rating in unrated)
        st.html(f"<h3>Without a rating</h3><ul>{lines}</ul>")


def _asked() -> Method:
    """The method that the controls say."""
    name: Any = st.segmented_control(
        "Method", list(METHODS), default="bt", key="method", format_func=METHODS.__getitem__, required=True,
        label_visibility="collapsed", bind="query-params",
    )  # fmt: skip
    fitted = name != "elo"
    style = st.toggle("Style held equal", key="style", help=_STYLE_HELP, disabled=not fitted, bind="query-params") and fitted
    voter = st.toggle("Clustered by voter", key="cluster", help=_CLUSTER_HELP, disabled=not fitted, bind="query-params") and fitted
    return Method(
        name=name, style=STYLE if style else (), cluster="voter" if voter else "none", fragility=name == "bt" and not style
    )  # fmt: skip


def _categories(arena: Arena) -> list[str]:
    try:
        own = [*own_rules(arena.results), *(name for name in questions(arena.results) if arena.store.n_judged(name))]
    except ArenaError as error:
        st.warning(str(error))
        own = []
    return [EVERYTHING, *rules(), *own]


def _terms(board: Board) -> str:
    told = "".join(f" A tie between equals has log odds of {term.estimate:+.2f}." for term in board.terms if term.name == "tie")
    style = [f"{term.name} {term.estimate:+.2f} ± {Z95 * term.standard_error:.2f}" for term in board.terms if term.name in STYLE]
    if style:
        told += f" What a standard deviation more is worth in log odds: {', '.join(style)}."
    if board.n_without_columns:
        told += f" {board.n_without_columns:,} votes came without texts and are left out."
    return told


def _first(rated: Sequence[Rating]) -> str:
    """How firmly the first place is held, in a sentence."""
    if len(rated) < 2 or rated[0].n_to_flip is None:
        return ""
    first, second = (html.escape(row.model) for row in rated[:2])
    votes = f"{rated[0].n_to_flip:,} dropped vote{'s' * (rated[0].n_to_flip != 1)}"
    return f'<p class="firm"><b>{first}</b> is first; {votes}, at most, would put <b>{second}</b> above it.</p>'


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


def _explanation(method: Method, n_unrated: int, n_both_bad: int) -> str:
    if method.name == "elo":
        text = "Each vote in the order it was cast, K = 4: later votes weigh more, and there is no interval. Compare with Bradley–Terry."
    elif method.name == "davidson":
        text = "Ties have a parameter of their own: 400 points are odds of ten to one among the votes that decide."
    else:
        text = "Models share a rank when their intervals overlap; the small figures are the best and worst rank the votes allow."
    if method.fragility:
        text += ' <span class="flip">To flip: so many votes, dropped, would put the next model above.</span>'
    if method.cluster == "voter":
        text += " Intervals allow for the votes of one voter resembling each other."
    left_out = [f"{count:,} {what}" for count, what in ((n_both_bad, "“both bad”"), (n_unrated, "unrated")) if count]
    return text + (f" Left out: {' and '.join(left_out)}." if left_out else "")
