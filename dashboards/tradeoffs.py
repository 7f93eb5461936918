"""Trade-offs: quality against latency and against cost, from the latest finished run of each endpoint on each task in results/runs."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from arena.battle import current
from arena.views import frame
from dashboards.charts import number, points_with_intervals
from dashboards.figure import figure
from dashboards.runs_index import Latest, index, latest, measures_of, row_of
from serving.errors import BakeoffError


def page() -> None:
    """One task at a time: two charts and the figures behind them."""
    results = current().results
    frame.heading("Trade-offs", "What the quality costs, in seconds and in dollars.")
    listed, problems = index(results)
    rows, unread = rows_of(latest(listed))
    for problem in [*problems, *unread]:
        st.warning(problem)
    if not rows:
        if (results / "runs" / "demo.log").exists() and not any((results / "runs").glob("*/scores.jsonl")):
            frame.empty("The demo suite is being scored.", "It takes about ten seconds the first time; this page looks again by itself.")
            _look_again(results)
            return
        frame.empty("No run has been scored yet.", "Run a suite: <code>evals run demo</code>.")
        return
    # A task whose seconds and dollars are known has something to trade off, so it comes first.
    known = {row["task"] for row in rows if row["latency_s"] or row["cost_usd_per_1000"]}
    tasks = sorted({row["task"] for row in rows}, key=lambda name: (name not in known, name))
    task = tasks[0]
    if len(tasks) > 1:
        options: dict[str, Any] = {"label_visibility": "collapsed", "required": True, "key": "task", "bind": "query-params"}
        task = st.segmented_control("Task", tasks, default=tasks[0], **options)
    chosen = sorted((row for row in rows if row["task"] == task), key=lambda row: -(row["value"] or 0))
    if task in known:
        left, right = st.columns(2, gap="medium")
        with left:
            _chart(chosen, x="latency_s", title="Latency, median (s)", format="~g", what="latency")
        with right:
            _chart(chosen, x="cost_usd_per_1000", title="Cost of 1,000 requests ($)", format="$~g", what="cost")
    else:
        st.caption("Neither seconds nor dollars are known for this task: the answers were recorded without them.")
    st.html(table(chosen))


def rows_of(found: Mapping[tuple[str, str], Latest]) -> tuple[list[dict[str, Any]], list[str]]:
    """(rows, problems): a row per endpoint and task with its score and measures; a run that cannot be read is a problem, not a crash."""
    rows, problems = [], {}
    for pair, one in found.items():
        try:
            measured = measures_of(one.listed.folder)
        except BakeoffError as error:
            problems[one.listed.folder] = str(error)
            continue
        if pair in measured:
            rows.append(row_of(one, measured[pair]))
    return rows, list(problems.values())


def _chart(rows: Sequence[dict[str, Any]], *, x: str, title: str, format: str, what: str) -> None:
    drawn = [row for row in rows if row[x] and row["value"] is not None]
    if drawn:
        origin = f"From {', '.join(sorted({row['run_id'] for row in drawn}))}. Bars are 95 % intervals."
        chart = points_with_intervals(drawn, x=x, x_title=title, x_format=format)
        figure(chart, drawn, name=f"quality-and-{what}", origin=origin, alt=f"Quality against {what} of {len(drawn)} endpoints")
    else:
        frame.empty(f"No {what} is known.", "The answers were recorded without it; it is left open, not called zero.")
    if drawn and (missing := [row["endpoint"] for row in rows if row not in drawn]):
        st.caption(f"No {what} known: {', '.join(missing)}.")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The figures behind the charts; a dash is what nobody knows."""
    names = ("Quality", "± s.e.", "Answered", "Failed", "Latency, median", "Output tokens", "$ per 1,000")
    head = "<th>Endpoint</th>" + "".join(f'<th class="num">{name}</th>' for name in names)
    body = "".join(f'<tr title="run {html.escape(row["run_id"])}">{_cells(row)}</tr>' for row in rows)
    origin = ", ".join(sorted({row["run_id"] for row in rows}))
    table = f'<div class="scroll" tabindex="0"><table class="board"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    return f'{table}<p class="note">From {html.escape(origin)}. Bars are 95 % intervals.</p>'


def _cells(row: dict[str, Any]) -> str:
    percent = {key: "–" if row[key] is None else f"{100 * row[key]:.{digits}f} %" for key, digits in (("value", 1), ("stderr", 2))}
    values = (
        percent["value"],
        percent["stderr"],
        f"{row['n']:,}",
        f"{row['n_failed']:,}",
        number(row["latency_s"], " s"),
        number(row["output_tokens"]),
        number(row["cost_usd_per_1000"]),
    )
    return f'<td class="model">{html.escape(row["endpoint"])}</td>' + "".join(f'<td class="num">{value}</td>' for value in values)


@st.fragment(run_every=2.0)
def _look_again(results: Path) -> None:
    if any((results / "runs").glob("*/scores.jsonl")):
        st.rerun()
