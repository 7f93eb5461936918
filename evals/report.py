"""A run's report, as a page (report.md) and on screen: right how often and how surely, how fast, how long, at what cost, what failed.

    evals report 20261123-054512-demo

A dash is "not known". Percentages are of the answered documents; where some were not answered, the range that they leave open is told.
"""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evals.lists import list_means
from evals.measures import Measure, measures
from evals.runs import RunFiles, Score

if TYPE_CHECKING:
    from rich.console import RenderableType

DASH = "–"
HEADINGS = ("endpoint", "score", "n", "failed", "unparsed", "latency p50", "tokens", "$ per 1,000")


NOT_MEASURED = Measure(endpoint="", task="", n_requests=0, statuses={})


@dataclass(frozen=True)
class Row:
    """One line of the table, as text: an endpoint's score on one task and metric."""

    task: str
    metric: str
    cells: tuple[str, ...]


def rows(files: RunFiles) -> list[Row]:
    """The means of lists of tasks, then one row per score in the order of the run. The metric `unparsed` is a column of its own."""
    of_pair = {(measure.endpoint, measure.task): measure for measure in measures(files)}
    plain = _zero_or_one(files)
    shares = {metric for _, metric in plain}
    means = [
        Row(f"{mean.task}, mean of its tasks", mean.metric, _cells(mean, NOT_MEASURED, mean.metric in shares))
        for mean in list_means(files)
        if mean.metric.split(",")[0] != "unparsed"
    ]
    return means + [
        Row(score.task, score.metric, _cells(score, of_pair[score.endpoint, score.task], (score.task, score.metric) in plain))
        for score in files.scores
        if score.metric.split(",")[0] != "unparsed"
    ]


def to_markdown(files: RunFiles) -> str:
    """The whole report as Markdown."""
    run = files.run
    seconds = f" in {(run.finished_at - run.started_at).total_seconds():.1f} s" if run.finished_at else ""
    lines = [
        f"# {run.suite}: {run.run_id}",
        "",
        f"{len(files.completions):,} requests to {len(run.endpoints)} endpoints{seconds}, seed {run.seed}.",
    ]
    for title, table in _tables(files).items():
        lines += ["", f"## {title}", "", _line(HEADINGS), _line(["---"] + ["---:"] * (len(HEADINGS) - 1))]
        lines += [_line(row.cells) for row in table]
    lines += [
        "",
        f"Score: mean ± standard error over the answered documents; latency, output tokens and dollars are theirs too. {DASH}: not known.",
    ]
    if ways := per_question(files):
        head = ("endpoint", "task", "score", "requests", "seconds", "$ per 1,000")
        lines += ["", "## Per question, by the way of asking", "", _line(head), _line(["---"] * 2 + ["---:"] * 4)]
        lines += [_line(way) for way in ways]
    if found := notes(files):
        lines += ["", "## What was not answered", "", *(f"- {note}" for note in found)]
    commit = run.git_commit or "outside a checkout"
    lines += ["", f"Made with {', '.join(f'{name} {version}' for name, version in run.versions.items())}; commit {commit}.", ""]
    return "\n".join(lines)


def to_screen(files: RunFiles) -> "RenderableType":
    """The tables and notes for a terminal."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    blocks: list[RenderableType] = []
    for title, found in _tables(files).items():
        table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
        for heading in HEADINGS:
            table.add_column(heading, justify="left" if heading == "endpoint" else "right", no_wrap=heading != "endpoint", overflow="fold")
        for row in found:
            table.add_row(*map(escape, row.cells))
        blocks += [table, ""]
    if ways := per_question(files):
        table = Table(title="per question, by the way of asking", title_justify="left", title_style="bold", box=None, pad_edge=False)
        for heading in ("endpoint", "task", "score", "requests", "seconds", "$ per 1,000"):
            table.add_column(heading, justify="left" if heading in ("endpoint", "task") else "right")
        for way in ways:
            table.add_row(*map(escape, way))
        blocks += [table, ""]
    return Group(*blocks, *(escape(note) for note in notes(files)))


def per_question(files: RunFiles) -> list[tuple[str, ...]]:
    """Accuracy against what a question takes: requests, seconds of the model, dollars. A line for each task asked in several ways."""
    of_pair = {(measure.endpoint, measure.task): measure for measure in measures(files)}
    plain, found = _zero_or_one(files), {}
    for score in files.scores:
        measure = of_pair[score.endpoint, score.task]
        if "@" in score.task and (score.endpoint, score.task) not in found and measure.n_questions:
            seconds, dollars = measure.seconds_per_question, measure.cost_usd_per_1000_questions
            found[score.endpoint, score.task] = (
                score.endpoint,
                score.task,
                _score(score, (score.task, score.metric) in plain),
                f"{measure.n_requests / measure.n_questions:.1f}",
                DASH if seconds is None else f"{seconds:.2f} s",
                DASH if dollars is None else _dollars(dollars),
            )
    return list(found.values())


def notes(files: RunFiles) -> list[str]:
    """One line for each endpoint and task with requests that failed: how many, why, and what the score could have been."""
    plain = _zero_or_one(files)
    main: dict[tuple[str, str], Score] = {}
    for score in files.scores:
        main.setdefault((score.endpoint, score.task), score)
    found = []
    for (endpoint, task), score in main.items():
        if not score.n_failed:
            continue
        asked = (sample for sample in files.samples if (sample.endpoint, sample.task) == (endpoint, task))
        failed = {sample.doc_id: sample for sample in asked if not sample.answered}.values()
        reasons = Counter(f"{sample.status}: {sample.error}" if sample.error else sample.status for sample in failed)
        reason, times = reasons.most_common(1)[0]
        note = f"{endpoint} on {task}: {score.n_failed} of {score.n + score.n_failed} requests failed; most often ({times}) {reason}."
        if score.value is not None and (task, score.metric) in plain:
            low = score.value * score.coverage
            note += f" Had they been answered, the score would lie between {_percent(low)} and {_percent(low + 1 - score.coverage)}."
        found.append(note)
    return found


def _tables(files: RunFiles) -> dict[str, list[Row]]:
    tables: dict[str, list[Row]] = {}
    for row in rows(files):
        tables.setdefault(f"{row.task}, {row.metric}", []).append(row)
    return tables


def _zero_or_one(files: RunFiles) -> set[tuple[str, str]]:
    """(task, metric) whose values are all 0 or 1: shares, shown in percent."""
    filters: dict[str, set[str]] = {}
    for sample in files.samples:
        filters.setdefault(sample.task, set()).add(sample.filter)
    every, other = set(), set()
    for sample in files.samples:
        for name, value in sample.metrics.items():
            metric = (sample.task, name if len(filters[sample.task]) == 1 else f"{name},{sample.filter}")
            every.add(metric)
            if value not in (0, 1):
                other.add(metric)
    return every - other


def _cells(score: Score, measure: Measure, percent: bool) -> tuple[str, ...]:
    return (
        score.endpoint,
        _score(score, percent),
        f"{score.n:,}",
        f"{score.n_failed:,}" if score.n_failed else "0",
        DASH if measure.unparsed is None else f"{measure.unparsed:,}",
        DASH if measure.latency_s_p50 is None else f"{measure.latency_s_p50:.2f} s",
        DASH if measure.output_tokens_mean is None else f"{measure.output_tokens_mean:,.1f}",
        DASH if measure.cost_usd_per_1000 is None else _dollars(measure.cost_usd_per_1000),
    )


def _score(score: Score, percent: bool) -> str:
    if score.value is None:
        return DASH
    if percent:
        return _percent(score.value) if score.stderr is None else f"{100 * score.value:.2f} ± {_percent(score.stderr)}"
    return f"{score.value:.4g}" if score.stderr is None else f"{score.value:.4g} ± {score.stderr:.2g}"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _dollars(amount: float) -> str:
    return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${amount:.3g}"


def _line(cells: "tuple[str, ...] | list[str]") -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
