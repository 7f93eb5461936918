"""Benchmarks: every endpoint on every task with its coverage, one task with its intervals, and two endpoints item by item.

    /benchmarks?task=gsm8k_chat&first=gpt-4-0314&second=gpt-4-0613

The table is drawn from scores.jsonl alone. Two endpoints are compared as `evals compare` does it (evals/compare.py): on the items that both
answered, paired.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import streamlit as st

from arena.battle import current
from arena.views import frame
from dashboards import links
from dashboards.charts import differences, intervals, number
from dashboards.figure import downloads, figure
from dashboards.runs_index import Latest, index, latest, row_of
from dashboards.tables import DASH, board, percent
from evals.compare import Comparison, adjusted, compare
from evals.compare_report import TITLES, amount, says, short
from evals.items import Side
from evals.runs import read_run
from serving.documents import stamp
from serving.errors import BakeoffError

Pairs = Mapping[tuple[str, str], Latest]


def page() -> None:
    """The table, a task, two endpoints."""
    frame.heading("Benchmarks", "Who is right how often, on which task, and how much of it was answered.")
    listed, problems = index(current().results)
    for problem in problems:
        st.warning(problem)
    found = latest(listed)
    if not found:
        frame.empty("No run has been scored yet.", "Run a suite: <code>evals run demo</code>.")
        return
    tasks = sorted({task for _, task in found}, key=lambda name: (-sum(task == name for _, task in found), name))
    rows = [row_of(one, None) for one in found.values()]
    table, titles = matrix(found, tasks)
    st.html(board(("Endpoint", *tasks), table, titles=titles))
    runs = {one.listed.folder.name: one.listed for one in found.values()}
    downloads(rows, name="scores", origin=_origin([found[pair] for pair in found], f"{len(found)} scores"))
    task = st.selectbox("Task", tasks, key="task", bind="query-params")
    mine = sorted((one for (_, name), one in found.items() if name == task), key=lambda one: -(one.score.value or 0))
    _one_task(task, mine)
    for name in list(runs)[:3]:
        if any(one.listed.folder.name == name for one in mine):
            links.link("samples", f"Each answer of {name}", run=name, task=task)
    _two(found, task)


def matrix(found: Pairs, tasks: Sequence[str]) -> tuple[list[tuple[str, ...]], list[str]]:
    """(rows, what each says when pointed at): a line per endpoint, best mean first; coverage stands beside a score that lacks some."""
    endpoints = list(dict.fromkeys(endpoint for endpoint, _ in found))

    def order(endpoint: str) -> tuple[float, str]:
        values = [one.score.value for (name, _), one in found.items() if name == endpoint and one.score.value is not None]
        return (-sum(values) / len(values) if values else 0.0, endpoint)

    rows, titles = [], []
    for endpoint in sorted(endpoints, key=order):
        rows.append((endpoint, *(cell(found.get((endpoint, task))) for task in tasks)))
        mine = [f"{task}: {one.listed.origin}, n = {one.score.n:,}" for task in tasks if (one := found.get((endpoint, task)))]
        titles.append("; ".join(mine))
    return rows, titles


def cell(one: Latest | None) -> str:
    """`84.0 %`, or with what was answered where that is not all: `84.0 % (of 97 %)`; a dash for what was not asked."""
    if one is None:
        return DASH
    score = one.score
    value = percent(score.value) if score.value is None or 0 <= score.value <= 1 else number(score.value)
    return value if score.coverage >= 1 else f"{value} (of {100 * score.coverage:.0f} %)"


def _one_task(task: str, mine: Sequence[Latest]) -> None:
    rows = [row_of(one, None) for one in mine if one.score.value is not None]
    if not rows:
        frame.empty("Nothing of this task was answered.", "The run's report says why: <code>evals report RUN</code>.")
        return
    share = all(0 <= row["value"] <= 1 for row in rows)
    chart = intervals(rows, y="endpoint", x="value", x_title=f"{task}, {rows[0]['metric']}", percent=share)
    origin = _origin(mine, "95 % intervals")
    figure(chart, rows, name=f"benchmark-{task}", origin=origin, alt=f"{task}: {len(rows)} endpoints with 95 % intervals")


def _two(found: Pairs, task: str) -> None:
    st.html("<h2>Two, item by item</h2>")
    endpoints = sorted({endpoint for endpoint, _ in found})
    if len(endpoints) < 2:
        frame.empty("There is one endpoint yet.", "Ask another: <code>evals run SUITE --endpoint ID</code>.")
        return
    left, right = st.columns(2)
    options: dict[str, Any] = {"index": None, "placeholder": "Choose an endpoint", "bind": "query-params"}
    first = left.selectbox("Baseline", endpoints, key="first", **options)
    second = right.selectbox("Compared with it", endpoints, key="second", **options)
    if first is None or second is None or first == second:
        st.caption("Choose two endpoints; what both answered is compared, paired by item.")
        return
    common = [name for name in sorted({name for _, name in found}) if (first, name) in found and (second, name) in found]
    if not common:
        frame.empty("They were asked no task in common.", "Ask both: <code>evals run SUITE --endpoint A --endpoint B</code>.")
        return
    wanted = [task] if task in common else common[:1]
    if len(common) > 1 and st.checkbox(f"Every task in common ({len(common)})", key="every", bind="query-params"):
        wanted = common
    compared, refused = compare_on(found, first, second, wanted)
    for reason in refused:
        st.warning(reason)
    if compared:
        _shown(compared)


def compare_on(found: Pairs, first: str, second: str, tasks: Sequence[str]) -> tuple[list[Comparison], list[str]]:
    """(comparisons, refusals) of the two on these tasks, each in the newest run that has it."""
    kept, refused = [], []
    for task in tasks:
        folders = [found[name, task].listed.folder for name in (first, second)]
        try:
            kept.append(_compared(folders[0], folders[1], first, second, task, *(stamp(folder / "run.json") for folder in folders)))
        except BakeoffError as error:
            refused.append(str(error))
    return adjusted(kept), refused


@lru_cache(maxsize=256)
def _compared(a: Path, b: Path, first: str, second: str, task: str, *stamps: tuple[int, ...]) -> Comparison:
    sides = []
    for folder, endpoint in ((a, first), (b, second)):
        files = read_run(folder, endpoint=endpoint)
        sides.append(Side(replace(files, samples=tuple(sample for sample in files.samples if sample.task == task)), endpoint))
    return compare([(sides[0], sides[1])], examples=2)[0]


def _shown(compared: Sequence[Comparison]) -> None:
    for one in compared:
        st.markdown(f"**{_plain(one.task)}.** {_plain(says(one))}")
        for note in one.notes:
            st.caption(_plain(note))
    shares = [one for one in compared if one.lost is not None and one.lower is not None]
    rows = [one.model_dump(mode="json", exclude={"flips", "shifts", "notes"}) for one in compared]
    origin = f"{compared[0].a} against {compared[0].b}, n = {', '.join(f'{one.n:,}' for one in compared)}; paired, 95 % intervals."
    if shares:
        drawn = [row for row in rows if row["lost"] is not None and row["lower"] is not None]
        figure(differences(drawn), rows, name="paired-differences", origin=origin, alt="Paired differences by task with 95 % intervals")
    else:
        downloads(rows, name="paired-differences", origin=origin)
    moved = [
        (one.task, TITLES[shift.quantity], f"{shift.n:,}", *(amount(shift.quantity, value) for value in (shift.mean_a, shift.mean_b)),
         amount(shift.quantity, shift.difference, sign=True), DASH if shift.q is None else number(shift.q))
        for one in compared for shift in one.shifts
    ]  # fmt: skip
    st.html(board(("Task", "What else moved", "n", "Baseline", "Other", "Difference", "q"), moved, text=2))
    for one in compared:
        for flip in one.flips:
            with st.expander(f"{one.task} {flip.doc_id}: {flip.verdict_a} → {flip.verdict_b}"):
                told = (("Asked", flip.prompt), ("Baseline", flip.answer_a), ("Other", flip.answer_b), ("Right", flip.target))
                for title, text in told:
                    st.caption(title)
                    st.text(short(text, 1200))


def _origin(mine: Sequence[Latest], more: str) -> str:
    runs = {one.listed.folder.name: one.listed for one in mine}
    listed = list(runs.values())
    shown = "; ".join(one.origin for one in listed[:2]) + (f" and {len(listed) - 2} other runs" if len(listed) > 2 else "")
    n = {one.score.n for one in mine}
    many = f"n = {min(n):,}" if len(n) == 1 else f"n = {min(n):,} to {max(n):,}"
    return f"From {shown}; {many}; {more}."


def _plain(text: str) -> str:
    """Names from files are no markup."""
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]<>()#+!|$~:" else letter for letter in text)
