"""Samples: a run request by request: what was asked and answered, the verdict, when each part arrived, what it cost.

    /samples?run=20261124-054512-demo&endpoint=gpt-4-0314&verdict=wrong&page=3

Only the ten answers of the page are read (dashboards/answers.py).
"""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import streamlit as st

from arena.battle import current
from arena.display import as_label, as_written
from arena.views import frame
from dashboards import links
from dashboards.answers import VERDICTS, Wanted, select
from dashboards.charts import waterfall
from dashboards.figure import downloads, figure
from dashboards.runs_index import Listed, index, scored
from dashboards.tables import dollars, seconds
from serving.errors import BakeoffError

COUNT = 10
WORDS = {"correct": "right", "wrong": "wrong", "unparsed": "no verdict found", "failed": "failed"}
STATUSES = ("ok", "truncated", "refused", "filtered", "api_error", "timeout", "malformed")


def page() -> None:
    """Which run and which of its answers, the timing of those on the page, and each of them."""
    frame.heading("Samples", "A run, request by request: the prompt, the answer, the verdict, the seconds and the bill.")
    listed, problems = index(current().results)
    for problem in problems:
        st.warning(problem)
    runs = {one.folder.name: one for one in scored(listed)}
    if not runs:
        frame.empty("No run has been scored yet.", "Run a suite: <code>evals run demo</code>.")
        return
    run = runs[st.selectbox("Run", list(runs), key="run", bind="query-params")]
    wanted = _wanted(run)
    try:
        found = _page_of(run, wanted)
    except BakeoffError as error:
        st.error(str(error))
        return
    if found is None:
        frame.empty("No answer is of this kind.", "Choose fewer conditions.")
        return
    shown, n, first = found
    _timing(run, shown, n, first)
    for row in shown:
        _sample(row)


def _wanted(run: Listed) -> Wanted:
    endpoints = list(dict.fromkeys(score.endpoint for score in run.scores)) or list(run.run.endpoints)
    tasks = list(dict.fromkeys(score.task for score in run.scores))
    columns = st.columns(4)
    options: dict[str, Any] = {"index": None, "placeholder": "All", "bind": "query-params"}
    return Wanted(
        endpoint=columns[0].selectbox("Endpoint", endpoints, key="endpoint", **options),
        task=columns[1].selectbox("Task", tasks, key="task", **options),
        verdict=columns[2].selectbox("Verdict", VERDICTS, key="verdict", format_func=str, **options),
        status=columns[3].selectbox("Status", STATUSES, key="status", **options),
    )


def _page_of(run: Listed, wanted: Wanted) -> tuple[tuple[dict[str, Any], ...], int, int] | None:
    """(rows of the page, how many there are, the number of the first of them); None where nothing matches. Raises UnknownRun."""
    number_ = max(int(st.session_state.get("page", 1) or 1), 1) if "page" in st.session_state else _stated_page()
    found = select(run.folder, wanted, offset=(number_ - 1) * COUNT, count=COUNT)
    if not found.n:
        return None
    pages = math.ceil(found.n / COUNT)
    if number_ > pages:
        # Other conditions left fewer pages than the one that was looked at.
        number_ = pages
        found = select(run.folder, wanted, offset=(number_ - 1) * COUNT, count=COUNT)
        st.session_state["page"] = number_
    if pages > 1:
        st.number_input(f"Page of {pages:,}", min_value=1, max_value=pages, key="page", bind="query-params", width=180)
    return found.rows, found.n, (number_ - 1) * COUNT + 1


def _stated_page() -> int:
    try:
        return max(int(st.query_params.get("page", "1")), 1)
    except ValueError:
        return 1


def _timing(run: Listed, shown: Sequence[dict[str, Any]], n: int, first: int) -> None:
    origin = f"From {run.origin}; {first:,} to {first + len(shown) - 1:,} of n = {n:,}."
    table = [flat(row) for row in shown]
    timed = [row for row in table if row["latency_s"] is not None]
    if timed:
        chunks = [
            {"sample": name_of(row), "endpoint": row["endpoint"], "at_s": moment}
            for row in shown
            for moment in ((row["answer"] or {}).get("chunk_times_s") or ())[:400]
        ]
        figure(waterfall(timed, chunks), table, name="samples", origin=origin, alt=f"When each part of {len(timed)} answers arrived")
    else:
        st.caption("No seconds are known of these answers: they were recorded without them.")
        downloads(table, name="samples", origin=origin)


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """A sample as a line of a table: its verdict, seconds, tokens and dollars."""
    answer = row["answer"] or {}
    usage = answer.get("usage") or {}
    return {
        "sample": name_of(row), "endpoint": row["endpoint"], "task": row["task"], "doc_id": row["doc_id"], "status": row["status"],
        "verdict": row["verdict"], "target": row["target"], "extracted": row["extracted"], "ttft_s": answer.get("ttft_s"),
        "latency_s": answer.get("latency_s"), "input_tokens": usage.get("input_tokens"), "output_tokens": usage.get("output_tokens"),
        "cost_usd": answer.get("cost_usd"), "request_hash": row["request_hash"], "error": row["error"],
    }  # fmt: skip


def name_of(row: dict[str, Any]) -> str:
    """What a sample is called on its page."""
    return f"{row['endpoint']} · {row['task']} {row['doc_id']}" + ("" if row["filter"] in (None, "none") else f" · {row['filter']}")


def _sample(row: dict[str, Any]) -> None:
    verdict = WORDS.get(row["verdict"] or "", row["status"] if row["error"] or row["status"] != "ok" else "")
    with st.expander(f"{as_label(name_of(row))}: {verdict}".rstrip(": ")):
        # All of it as one element: ten samples of five code blocks, with the script that colours code, took half a second to draw.
        st.html(as_page(row))
        links.link("benchmarks", "All endpoints on this task", task=row["task"])


def as_page(row: dict[str, Any]) -> str:
    """What was asked and answered, and how it was read, sign by sign, as HTML."""
    answer = row["answer"] or {}
    texts = [*_asked(answer.get("request") or {}), ("Answer", answer.get("text") or "(nothing came)")]
    texts += [(title, str(row[key])[:4000]) for title, key in (("Right is", "target"), ("Read as", "extracted")) if row[key] is not None]
    texts += [("Error", row["error"])] if row["error"] else []
    written = "".join(f'<p class="note">{escape(title)}</p>{as_written(text)}' for title, text in texts)
    return f'<p class="note">{escape(" · ".join(facts(row)))}</p>{written}'


def facts(row: dict[str, Any]) -> list[str]:
    """Status, seconds, tokens, dollars of an answer, as far as they are known."""
    answer = row["answer"] or {}
    usage = answer.get("usage") or {}
    tokens = [f"{usage[key]:,} tokens {way}" for key, way in (("input_tokens", "in"), ("output_tokens", "out")) if usage.get(key)]
    times = [
        f"{seconds(answer[key])} {what}" for key, what in (("ttft_s", "to the first token"), ("latency_s", "in all")) if answer.get(key)
    ]
    cost = [dollars(answer["cost_usd"])] if answer.get("cost_usd") is not None else []
    again = [f"{answer['retries']} retries"] if answer.get("retries") else []
    metrics = [f"{name} {value:g}" for name, value in (row["metrics"] or {}).items() if isinstance(value, int | float)]
    return [str(row["status"]), *times, *tokens, *cost, *again, *metrics]


def _asked(request: dict[str, Any]) -> list[tuple[str, str]]:
    turns = [(message["role"].capitalize(), message["content"]) for message in request.get("messages") or ()]
    turns += [("Prompt", request["prompt"])] if request.get("prompt") else []
    return turns + ([("Continuation to score", request["continuation"])] if request.get("continuation") else [])
