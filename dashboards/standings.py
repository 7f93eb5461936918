"""Head to head: who beat whom, how often, of all pairs that voters have seen; a pair's figures, and its votes."""

import html
import math
from typing import Any

import streamlit as st

from arena.battle import Arena, current
from arena.ratings import HeadToHead, Rating, win_probabilities
from arena.views import frame
from dashboards.charts import matrix
from dashboards.figure import downloads, figure
from dashboards.links import link
from dashboards.pair_votes import PER_PAGE, as_rows, table, votes_of_pair
from dashboards.vote_figures import pairs_of
from evals.stats import wilson

MOST = 20


def page() -> None:
    """The matrix of the best models, and the two that a person wants to compare."""
    arena = current()
    counts = arena.store.counts()
    frame.heading("Head to head", "How often each model was preferred to each other one; a tie is half a win for both.")
    if counts.n_votes == counts.n_unrated:
        frame.empty("No pair has been voted on yet.", "Fight a battle, or bring votes along: <code>arena import FILE --format csv</code>.")
        return
    ratings, found = pairs_of(arena, counts)
    order = [rating.model for rating in ratings]
    left, right = st.columns(2)
    first = left.selectbox("Compare", order, index=0, key="first", bind="query-params")
    second = right.selectbox("with", order, index=order.index(rival(found, order)), key="second", bind="query-params")
    st.markdown(sentence(found, first, second))
    if first != second:
        st.html(cards(found, ratings, first, second))
        _votes(arena, first, second)
    st.html("<h2>Every pair</h2>")
    count = MOST
    if len(order) > MOST:
        count = st.slider("Models, best first", 5, min(len(order), 60), MOST)
    rows = cells(found, order[:count])
    origin = f"The best {min(count, len(order))} of {len(order)} models; {counts.n_votes - counts.n_unrated:,} rated votes."
    figure(matrix(rows, order[:count]), rows, name="head-to-head", origin=origin, alt=f"Share of wins, {count} models", width="content")
    link("leaderboard", "Leaderboard")


def _votes(arena: Arena, first: str, second: str) -> None:
    """The pair's votes, page by page."""
    count = int(arena.store.rows("pair_count", first, second)[0][0])
    if not count:
        return
    st.html(f"<h2>The {count:,} vote{'s' * (count != 1)} on this pair</h2>")
    pages = math.ceil(count / PER_PAGE)
    number = st.pagination(pages, key="page", bind="query-params") if pages > 1 else 1
    votes = votes_of_pair(arena.store, first, second, page=min(number, pages))
    st.html(table(votes))
    origin = "Newest first, rated or not. A prompt is public where its voter shared the battle, or where it was published before."
    downloads(as_rows(votes), name="votes-of-the-pair", origin=origin)


def rival(table: HeadToHead, order: list[str]) -> str:
    """The best model that the first of `order` has met."""
    index = {model: number for number, model in enumerate(table.models)}
    return next((model for model in order[1:] if table.n[index[order[0]], index[model]]), order[-1])


def cells(table: HeadToHead, models: list[str]) -> list[dict[str, Any]]:
    """One row per ordered pair of `models` that met."""
    index = {model: number for number, model in enumerate(table.models)}
    rows = []
    for model in models:
        for opponent in models:
            i, j = index[model], index[opponent]
            if i == j or not (n := table.n[i, j]):
                continue
            wins, ties = table.wins[i, j], table.ties[i, j]
            rows.append(
                {
                    "model": model,
                    "opponent": opponent,
                    "share": (wins + ties / 2) / n,
                    "wins": wins,
                    "ties": ties,
                    "losses": n - wins - ties,
                }
            )
    return rows


def sentence(table: HeadToHead, first: str, second: str) -> str:
    """What the votes say of two models, in words."""
    if first == second:
        return "Choose two different models."
    rows = cells(table, [first, second])
    if not rows:
        return f"**{first}** and **{second}** have never met; their ratings compare them through other models."
    row = rows[0]
    wins, ties, losses = (int(row[key]) for key in ("wins", "ties", "losses"))
    return f"**{first}** against **{second}**: {wins} won, {ties} tied, {losses} lost ({row['share']:.0%} of {wins + ties + losses})."


def pair_figures(table: HeadToHead, ratings: tuple[Rating, ...], first: str, second: str) -> dict[str, Any]:
    """Of the votes on the pair that decide: the share of the first with Wilson's 95 % interval; and what the ratings expect of it.

    `won`, `lower`, `upper` are None without such a vote, `expected` where one of them has no rating.
    """
    row = next(iter(cells(table, [first, second])), {"wins": 0, "ties": 0, "losses": 0})
    wins, losses = int(row["wins"]), int(row["losses"])
    models, chances = win_probabilities([rating for rating in ratings if rating.model in (first, second)])
    lower, upper = wilson(wins, wins + losses) if wins + losses else (None, None)
    return {
        "wins": wins, "ties": int(row["ties"]), "losses": losses,
        "won": wins / (wins + losses) if wins + losses else None, "lower": lower, "upper": upper,
        "expected": float(chances[models.index(first), models.index(second)]) if len(models) == 2 else None,
    }  # fmt: skip


def cards(table: HeadToHead, ratings: tuple[Rating, ...], first: str, second: str) -> str:
    """The pair's figures side by side."""
    found = pair_figures(table, ratings, first, second)
    said = [("Won, of the votes that decide", "–", "no vote decides")]
    if found["won"] is not None:
        decide = found["wins"] + found["losses"]
        said = [("Won, of the votes that decide", f"{found['won']:.0%}", f"{found['lower']:.0%} to {found['upper']:.0%}, n = {decide:,}")]
    chance = found["expected"]
    said.append(
        ("Expected by all ratings", "–" if chance is None else f"{chance:.0%}", "a tie counting half" if chance else "not comparable")
    )
    total = found["wins"] + found["ties"] + found["losses"]
    said.append(("Ties", f"{found['ties'] / total:.0%}" if total else "–", f"{found['ties']:,} of {total:,}"))
    return figures(said)


def figures(said: list[tuple[str, str, str]]) -> str:
    """(what, how much, under what) side by side, wrapping where it is narrow."""
    cells = "".join(
        f"<div><dt>{html.escape(what)}</dt><dd>{value}<small>{html.escape(more)}</small></dd></div>" for what, value, more in said
    )
    return f'<dl class="figures">{cells}</dl>'
