"""Head to head: who beat whom, how often, of all pairs that voters have seen."""

from typing import Any

import streamlit as st

from arena.battle import current
from arena.ratings import HeadToHead, bradley_terry, head_to_head
from arena.views import frame
from dashboards.charts import matrix

MOST = 20


def page() -> None:
    """The matrix of the best models, and the two that a person wants to compare."""
    tallies = current().store.vote_counts()
    frame.heading("Head to head", "How often each model was preferred to each other one; a tie is half a win for both.")
    if not tallies:
        frame.empty("No pair has been voted on yet.", "Fight a battle, or bring votes along: <code>arena import FILE --format csv</code>.")
        return
    order = [rating.model for rating in bradley_terry(tallies)]
    table = head_to_head(tallies)
    count = MOST
    if len(order) > MOST:
        count = st.slider("Models, best first", 5, len(order), MOST)
    st.altair_chart(matrix(cells(table, order[:count]), order[:count]), width="content")
    left, right = st.columns(2)
    first = left.selectbox("Compare", order, index=0)
    second = right.selectbox("with", order, index=min(1, len(order) - 1))
    st.markdown(sentence(table, first, second))


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
