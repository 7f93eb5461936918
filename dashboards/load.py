"""Load: how fast an endpoint answers at each load, how much it answers at all, where the knee is, what keeps the promise.

    /load?load=20261124-091500-load

Drawn from load.json; the words are those of `evals report` (evals/load/report.py).
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import streamlit as st

from arena.battle import current
from arena.views import frame
from dashboards import links
from dashboards.figure import downloads, figure
from dashboards.load_charts import against_load, percentiles
from dashboards.runs_index import Listed, index, loads
from dashboards.tables import board, seconds
from evals.load.report import FEW, cells, headings_of, notes
from evals.load.run import Summary, read_summary
from evals.load.slo import limits
from evals.load.sweep import of
from serving.documents import stamp
from serving.errors import BakeoffError

SERIES = (("latency_from_schedule_s", "latency"), ("ttft_from_schedule_s", "TTFT"))


def page() -> None:
    """One load test: latency and throughput against load, the figures, what a reader must know."""
    frame.heading("Load", "Seconds and throughput against the load that was sent; times count from when a request was due.")
    listed, problems = index(current().results)
    for problem in problems:
        st.warning(problem)
    runs = {one.folder.name: one for one in loads(listed)}
    if not runs:
        frame.empty("No load has been measured yet.", "Measure: <code>evals load --endpoint ID --sweep --duration 30</code>.")
        return
    run = runs[st.selectbox("Load test", list(runs), key="load", bind="query-params")]
    try:
        summary = _summary(run.folder, stamp(run.folder / "load.json"))
    except BakeoffError as error:
        st.error(str(error))
        return
    st.markdown(f"**{summary.endpoint}** ({_model(summary.model)}), {_asked(summary)}")
    rows = points(summary)
    if not rows:
        frame.empty("Nothing was answered.", f"Its report says why: <code>evals report {run.folder.name}</code>.")
        return
    _charts(run, summary, rows)
    headings = headings_of(summary)
    table = [tuple("too few" if cell == FEW else cell for cell in cells(level, summary.slo)) for level in summary.levels]
    st.html(board([name if name == "n" else name[:1].upper() + name[1:] for name in headings], table))
    origin = _origin(run, summary)
    downloads([level.model_dump(mode="json") for level in summary.levels], name="levels", origin=origin)
    for note in notes(summary):
        st.caption(note.replace("~", "\\~").replace("$", "\\$").replace("*", "\\*"))
    links.link("cost", "What this costs", source=run.folder.name)


@lru_cache(maxsize=256)
def _summary(folder: Path, file: tuple[int, ...]) -> Summary:
    return read_summary(folder)


def points(summary: Summary) -> list[dict[str, Any]]:
    """A row per level, quantity and percentile, with its interval; `at` is the level's place on the axis."""
    rows = []
    for level in sorted(summary.levels, key=of):
        for key, what in SERIES:
            found = level.figures.get(key)
            for percentile in ("p50", "p90", "p95", "p99") if found else ():
                value = found.percentiles[percentile] if found else None
                if found and value is not None:
                    rows.append(
                        {"load": level.load.label, "at": of(level), "quantity": what, "percentile": percentile,
                         "line": f"{what} {percentile}", "seconds": value.value, "lower": value.lower,
                         "upper": value.upper, "n": found.n, "repeats": level.repeats}
                    )  # fmt: skip
    return rows


def rates(summary: Summary) -> list[dict[str, Any]]:
    """A row per level and rate: requests, output tokens, and requests that kept the promise, by second."""
    rows = []
    for level in sorted(summary.levels, key=of):
        found = {"requests/s": level.requests_per_s, "output tokens/s": level.output_tokens_per_s, "goodput, requests/s": level.goodput}
        for what, value in found.items():
            if value is not None:
                rows.append(
                    {"load": level.load.label, "at": of(level), "rate": what, "value": value.value, "lower": value.lower,
                     "upper": value.upper, "n": level.n_measured, "repeats": level.repeats}
                )  # fmt: skip
    return rows


def marks(summary: Summary) -> list[dict[str, Any]]:
    """Where the knee is, and the highest level that kept the promise."""
    names: dict[float, str] = {}
    for place, name in ((summary.knee, "knee"), (summary.best, "keeps the SLO")):
        if place is not None and len(summary.levels) > 1:
            at = of(summary.levels[place])
            names[at] = f"{names[at]}, {name}" if at in names else name
    far = max(map(of, summary.levels), default=0.0)
    # A name at the right edge is written to the left of its line.
    return [{"at": at, "mark": name, "left": at == far} for at, name in names.items()]


def _charts(run: Listed, summary: Summary, rows: Sequence[dict[str, Any]]) -> None:
    origin = _origin(run, summary)
    if len({row["at"] for row in rows}) < 2:
        figure(percentiles(rows), rows, name="latency", origin=origin, alt="Percentiles of latency and TTFT with 95 % intervals")
        st.caption("One level of load has no curve: `evals load --sweep` measures several and finds the knee.")
        return
    unit = "requests a second asked for" if summary.levels[0].load.rate is not None else "requests at once"
    drawn = [row for row in rows if row["percentile"] in ("p50", "p99")]
    asked = limits(summary.slo) if summary.slo else {}
    promises = [{"limit": limit, "name": f"{name} limit, {seconds(limit)}"} for name, limit in asked.items() if name != "tpot"]
    options: dict[str, Any] = {"x_title": unit, "marks": marks(summary)}
    chart = against_load(drawn, y="seconds", line="line", y_title="seconds from schedule", log=True, limits=promises, **options)
    figure(chart, rows, name="latency-against-load", origin=origin, alt="Latency and TTFT against load, with the knee")
    through = rates(summary)
    left, right = st.columns(2, gap="medium")
    for column, kinds, name, title in (
        (left, ("requests/s", "goodput, requests/s"), "requests-against-load", "requests a second"),
        (right, ("output tokens/s",), "tokens-against-load", "output tokens a second"),
    ):
        mine = [row for row in through if row["rate"] in kinds]
        if mine:
            with column:
                figure(against_load(mine, y="value", line="rate", y_title=title, **options), mine, name=name, origin=origin, alt=title)


def _model(name: str) -> str:
    """A model's name; of a folder on this machine its end, which tells it apart."""
    return name if not name.startswith("/") else f"…/{'/'.join(Path(name).parts[-2:])}"


def _asked(summary: Summary) -> str:
    shape = summary.shape
    n = sum(level.n_requests for level in summary.levels)
    tokens = f"prompts of {shape.input_tokens:,} tokens, answers of {shape.output_tokens:,}"
    return f"{len(summary.levels)} load level{'s' if len(summary.levels) > 1 else ''}, {n:,} requests; {tokens} asked for."


def _origin(run: Listed, summary: Summary) -> str:
    n = sum(level.n_measured for level in summary.levels)
    return f"From {run.origin}; n = {n:,} requests in {len(summary.levels)} levels; 95 % intervals."
