"""Drift: how an endpoint's scores went over time, and whether its newest run is told apart from its first on the same items.

    /drift?watched=gpt-4o

The lines are from scores.jsonl of all its runs; the alarm is `evals drift`'s (evals/drift.py), which reads the first run, its repeats and
the last.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import streamlit as st

from arena.battle import current
from arena.views import frame
from dashboards import links
from dashboards.charts import number, over_time
from dashboards.figure import downloads, figure
from dashboards.runs_index import Listed, index, interval, scored
from dashboards.tables import DASH, board
from evals.compare_report import short
from evals.drift import Drift, find_drift, frozen_series, sides_of
from evals.drift_report import TESTS, WORDS, headline, value
from evals.runs import Run
from serving.documents import stamp
from serving.errors import BakeoffError

MOST_TASKS = 6


def page() -> None:
    """One endpoint: the alarm, its scores over time, every metric then and now."""
    frame.heading("Drift", "Whether an endpoint still answers as it did: the same items, asked again later.")
    listed, problems = index(current().results)
    for problem in problems:
        st.warning(problem)
    runs = scored(listed)
    watched = watched_of(runs)
    if not watched:
        frame.empty("No run has been scored yet.", "Run a suite, and again tomorrow: <code>evals run nightly --endpoint ID</code>.")
        return
    endpoint = st.selectbox("Endpoint", watched, key="watched", bind="query-params")
    mine = [one for one in reversed(runs) if endpoint in one.run.endpoints]
    try:
        folders, left_out = series_of(runs, endpoint)
    except BakeoffError:
        name = mine[-1].run.suite
        frame.empty(f"One run on these items, of {mine[-1].when}.", f"Ask them again: <code>evals run {name} --endpoint ID</code>.")
        return
    try:
        found = found_in(folders, endpoint, left_out)
    except BakeoffError as error:
        st.error(str(error))
        return
    (st.error if found.drifted else st.success)(_plain(headline(found)))
    _over_time(mine, endpoint, set(folders))
    _changes(found)
    newest = folders[-1].name
    links.link("samples", "The newest answers", run=newest, endpoint=endpoint)


def watched_of(runs: Sequence[Listed]) -> list[str]:
    """The endpoints of these runs, those with several first."""
    often = Counter(endpoint for one in runs for endpoint in one.run.endpoints)
    return sorted(often, key=lambda name: (-(often[name] > 1), name))


def series_of(runs: Sequence[Listed], endpoint: str) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """(the runs that asked the endpoint the same items, oldest first; what was left out and why), of runs newest first. Raises EvalsError
    where there are not two.
    """
    mine = [(one.folder, one.run) for one in reversed(runs) if endpoint in one.run.endpoints]
    series, left_out = frozen_series(mine, endpoint, where=mine[-1][0].parent)
    return tuple(folder for folder, _ in series), tuple(left_out)


def found_in(folders: tuple[Path, ...], endpoint: str, notes: tuple[str, ...]) -> Drift:
    """What changed from the first of these runs to the last; computed once, and again when one of them is scored anew."""
    return _found(tuple((folder, stamp(folder / "run.json")) for folder in folders), endpoint, notes)


@lru_cache(maxsize=64)
def _found(series: tuple[tuple[Path, tuple[int, ...]], ...], endpoint: str, notes: tuple[str, ...]) -> Drift:
    from evals.runs import read_run_record

    records: list[tuple[Path, Run]] = [(folder, read_run_record(folder)) for folder, _ in series]
    return find_drift(sides_of(records, endpoint), notes=notes, examples=2)


def history(mine: Sequence[Listed], endpoint: str, same: set[Path]) -> list[dict[str, Any]]:
    """A row per run and task: the task's first metric, with its interval, of the runs on the same items."""
    rows: dict[tuple[Path, str], dict[str, Any]] = {}
    for one in mine:
        for score in one.scores:
            key = (one.folder, score.task)
            if score.endpoint != endpoint or one.folder not in same or key in rows or score.value is None:
                continue
            lower, upper = interval(score)
            rows[key] = {
                "at": one.run.started_at.isoformat(), "task": score.task, "metric": score.metric, "value": score.value, "lower": lower,
                "upper": upper, "n": score.n, "coverage": score.coverage, "run_id": one.folder.name,
            }  # fmt: skip
    return list(rows.values())


def _over_time(mine: Sequence[Listed], endpoint: str, same: set[Path]) -> None:
    rows = history(mine, endpoint, same)
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    shown = tasks[:MOST_TASKS]
    if len(tasks) > MOST_TASKS:
        shown = st.multiselect("Tasks", tasks, shown, key="tasks") or shown
    drawn = [row for row in rows if row["task"] in shown]
    if not drawn:
        return
    days = " to ".join(dict.fromkeys((mine[0].when, mine[-1].when)))
    origin = f"From {len(same)} runs, {days}; n = {min(row['n'] for row in drawn):,} an item set; 95 % intervals."
    share = all(0 <= row["value"] <= 1 for row in drawn)
    figure(over_time(drawn, percent=share), rows, name="over-time", origin=origin, alt=f"Scores of {endpoint} over time")


def _changes(found: Drift) -> None:
    table = []
    for one in found.changes:
        limits = (
            "" if one.lower is None or one.upper is None else f" ({value(one, one.lower, sign=True)} to {value(one, one.upper, sign=True)})"
        )
        table.append(
            (one.task, WORDS.get(one.metric, one.metric) + (" ▲ drift" if one.drifted else ""), f"{one.n:,}", value(one, one.before),
             value(one, one.after), value(one, one.difference, sign=True) + limits, number(one.moved),
             DASH if one.noise is None else number(one.noise), DASH if one.q is None else number(one.q), TESTS[one.test])
        )  # fmt: skip
    st.html(board(("Task", "Metric", "n", "Then", "Now", "Difference", "Moved", "A/A", "q", "Test"), table, text=2))
    n = max((one.n for one in found.changes), default=0)
    origin = f"{found.reference} ({found.reference_at:%-d %B %Y}) against {found.now} ({found.now_at:%-d %B %Y}); n = {n:,}."
    downloads([one.model_dump(mode="json") for one in found.changes], name="changes", origin=origin)
    for note in found.notes:
        st.caption(_plain(note))
    for flip in found.flips:
        with st.expander(f"{flip.doc_id}: {flip.verdict_a} → {flip.verdict_b}"):
            for title, text in (("Asked", flip.prompt), ("Then", flip.answer_a), ("Now", flip.answer_b), ("Right", flip.target)):
                st.caption(title)
                st.text(short(text, 1200))


def _plain(text: str) -> str:
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]<>#|$~:" else letter for letter in text)
