"""The leaderboard page: a rating with its interval for every model, drawn in one table that also reads well without colours."""

import csv
import html
import io
from collections.abc import Sequence

import streamlit as st

from arena.battle import current
from arena.ratings import Rating, bradley_terry, online_elo
from arena.views import frame

METHODS = {"bt": "Bradley–Terry", "elo": "Online Elo"}


def page() -> None:
    """Show the ratings of all rated votes."""
    arena = current()
    counts = arena.store.counts()
    if counts.n_votes == 0:
        frame.heading("Leaderboard", "No vote has been cast yet.")
        frame.empty("Nothing to rank.", "Fight a battle, or bring votes along: <code>arena import FILE --format csv</code>.")
        return
    method = st.session_state.get("method") or "bt"
    ratings = online_elo(arena.store.outcomes()) if method == "elo" else bradley_terry(arena.store.vote_counts())
    rated = [rating for rating in ratings if rating.rating is not None]
    frame.heading("Leaderboard", f"{len(ratings):,} models from {counts.n_votes:,} votes")
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
        st.download_button("CSV", to_csv(ratings), "leaderboard.csv", "text/csv", icon=":material/download:", type="tertiary")
    st.html(f'<p class="note">{_explanation(method, counts.n_unrated, counts.n_both_bad)}</p>')
    st.html(table(rated))
    if unrated := [rating for rating in ratings if rating.rating is None]:
        lines = "".join(f"<li><b>{html.escape(rating.model)}</b>: {html.escape(rating.note or '')}</li>" for rating in unrated)
        st.html(f"<h3>Without a rating</h3><ul>{lines}</ul>")


def table(rated: Sequence[Rating]) -> str:
    """The ratings as an HTML table; intervals are bars on one common scale, best model first."""
    bounds = [value for row in rated for value in (row.rating_lower, row.rating_upper, row.rating) if value is not None]
    low, high = (min(bounds), max(bounds)) if bounds else (0.0, 1.0)
    span = max(high - low, 1e-9)
    body = "".join(_row(row, low, span) for row in rated)
    interval = f'<th class="bar">95 % interval <span>{low:.0f} – {high:.0f}</span></th>' if any(row.rating_lower for row in rated) else ""
    head = f'<tr><th class="num">Rank</th><th>Model</th><th class="num">Rating</th>{interval}<th class="num">Votes</th></tr>'
    return f'<table class="board"><thead>{head}</thead><tbody>{body}</tbody></table>'


def to_csv(ratings: Sequence[Rating]) -> str:
    """Every field of every rating, full precision."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Rating.model_fields))
    writer.writeheader()
    writer.writerows(rating.model_dump() for rating in ratings)
    return text.getvalue()


def _row(row: Rating, low: float, span: float) -> str:
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
    return f'<tr>{cells}<td class="num">{row.n_battles:,}</td></tr>'


def _explanation(method: str, n_unrated: int, n_both_bad: int) -> str:
    if method == "elo":
        text = "Each vote in the order it was cast, K = 4: later votes weigh more, and there is no interval. Compare with Bradley–Terry."
    else:
        text = "Models share a rank when their intervals overlap; the small figures are the best and worst rank the votes allow."
    left_out = [f"{count:,} {what}" for count, what in ((n_both_bad, "“both bad”"), (n_unrated, "unrated")) if count]
    return text + (f" Left out: {' and '.join(left_out)}." if left_out else "")
