"""A load run's report, as a page (report.md, latency.svg beside it) and on screen: how fast at which load, what failed, who was late.

    evals load --from RUN          evals report RUN --markdown

"not enough samples" stands where a percentile cannot be told from so few requests (evals/load/figures.py has the rule).
"""

from typing import TYPE_CHECKING

from evals.load.figures import Client, Figure, Interval, Level, samples_needed
from evals.load.plot import to_svg
from evals.load.run import Summary
from evals.load.slo import Slo, limits
from evals.load.sweep import of
from evals.runs import Run

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

    from evals.load.peers import PeerTable

DASH = "–"
FEW = "not enough samples"
HEADINGS = ("load", "n", "failed", "req/s", "output tok/s", "TTFT p50", "TTFT p99", "TPOT p50", "latency p50", "latency p99")
DETAILS = {
    "ttft_from_schedule_s": "TTFT, from schedule",
    "ttft_s": "TTFT, from sending",
    "tpot_s": "TPOT",
    "itl_s": "gaps between chunks (ITL)",
    "latency_from_schedule_s": "latency, from schedule",
    "latency_s": "latency, from sending",
}


def write_report(folder: "Path", run: Run, summary: Summary) -> None:
    """report.md, and latency.svg where there are load levels to compare."""
    from serving.documents import write_text_atomically

    if plot := _plot(summary):
        write_text_atomically(folder / "latency.svg", plot)
    write_text_atomically(folder / "report.md", to_markdown(run, summary))


def to_markdown(run: Run, summary: Summary) -> str:
    """The whole report as Markdown."""
    shape, words = summary.shape, summary.words
    lines = [
        f"# Load on {summary.endpoint}: {summary.run_id}",
        "",
        f"{_asked(summary)} Prompts of {shape.input_tokens:,} tokens asked for, answers of {shape.output_tokens:,}"
        + (f", {shape.shared_prefix_tokens:,} of the prompt shared" if shape.shared_prefix_tokens else "")
        + f"; a word counted as {words.tokens_per_word:.3g} tokens ({_COUNTED[words.counted_by]}); seed {summary.seed}.",
        "",
    ]
    if _plot(summary):
        lines += ["![Latency against load](latency.svg)", ""]
    headings = headings_of(summary)
    lines += [_line(headings), _line(["---"] + ["---:"] * (len(headings) - 1))]
    lines += [_line(cells(level, summary.slo)) for level in summary.levels]
    lines += ["", *(f"- {note}" for note in notes(summary))]
    for level in summary.levels:
        lines += ["", f"## {level.load.label}", "", *_details(level)]
    needed = ", ".join(f"{samples_needed(percent / 100)} for p{percent}" for percent in (50, 90, 95, 99))
    made_with = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    lines += [
        "",
        "Times count from the moment a request was due, unless it says from sending; failed requests are in none. Requests and tokens"
        f" a second are of the window. Intervals are 95 %. {FEW.capitalize()}: fewer than {needed} (Wilks 1941).",
        "",
        f"Made with {made_with}; commit {run.git_commit or 'outside a checkout'}.",
        "",
    ]
    return "\n".join(lines)


def to_screen(summary: Summary) -> "RenderableType":
    """The table and notes for a terminal; a single level in detail."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"{summary.endpoint}: {_asked(summary)}", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for heading in headings_of(summary):
        table.add_column(heading, justify="left" if heading == "load" else "right", overflow="fold")
    for level in summary.levels:
        table.add_row(*map(escape, cells(level, summary.slo)))
    return Group(table, "", *(escape(note) for note in notes(summary)))


def peer_screen(tables: "list[tuple[str, PeerTable]]") -> "RenderableType":
    """Peers' tables for a terminal, one per load level, with the peer's own names."""
    from rich.console import Group
    from rich.table import Table

    blocks: list[RenderableType] = []
    for label, found in tables:
        table = Table(title=f"{label}, as {found.peer} defines it", title_justify="left", title_style="bold", box=None, pad_edge=False)
        for heading in ("name", "mean", "p50", "p90", "p99", "n"):
            table.add_column(heading, justify="left" if heading == "name" else "right")
        for figure in found.distributions:
            table.add_row(figure.name, *(f"{value:.3f}" for value in (figure.mean, figure.p50, figure.p90, figure.p99)), f"{figure.n:,}")
        for name, value in {"completed": float(found.completed), **found.rates}.items():
            table.add_row(name, f"{value:.3f}")
        blocks += [table, ""]
    return Group(*blocks)


def headings_of(summary: Summary) -> tuple[str, ...]:
    """The columns; those of the SLO only where there is one."""
    return (*HEADINGS, "kept the SLO", "goodput req/s") if summary.slo else HEADINGS


def cells(level: Level, slo: Slo | None) -> tuple[str, ...]:
    """One line of the table, as text."""
    found = [
        level.load.label,
        f"{level.n_measured:,}",
        f"{sum(level.failures.values()):,}",
        _number(level.requests_per_s),
        _number(level.output_tokens_per_s),
        *(_percentile(level, "ttft_from_schedule_s", name) for name in ("p50", "p99")),
        _percentile(level, "tpot_s", "p50"),
        *(_percentile(level, "latency_from_schedule_s", name) for name in ("p50", "p99")),
    ]
    if slo:
        kept = level.attainment
        sure = "" if kept is None or kept.certain else " (unsure)"
        found += [DASH if kept is None else f"{100 * kept.share:.1f} %, {'met' if kept.met else 'missed'}{sure}", _number(level.goodput)]
    return tuple(found)


def notes(summary: Summary) -> list[str]:
    """What a reader must know beside the figures: failures, a late client, the knee, the SLO, an interruption."""
    found = []
    if summary.stopped:
        found.append("Interrupted: this is what was measured until then.")
    if summary.knee is not None:
        at = summary.levels[summary.knee]
        found.append(f"Knee: {at.load.label} (the most requests a second per second of mean latency; Kleinrock 1979).")
    if summary.slo:
        asked = ", ".join(f"{name} ≤ {limit:g} s" for name, limit in limits(summary.slo).items())
        name = f" {summary.slo.name}" if summary.slo.name.startswith("mlperf:") else ""
        promise = f"SLO{name} ({asked}, for {summary.slo.percent:g} % of requests, failures included)"
        if summary.best is None:
            found.append(f"{promise}: no level kept it.")
        else:
            best = summary.levels[summary.best]
            found.append(f"{promise}: kept up to {best.load.label}, goodput {_number(best.goodput)} req/s.")
        if any(level.attainment and not level.attainment.certain for level in summary.levels):
            found.append("Unsure: the 95 % interval of the share includes the limit; more requests would decide.")
    for level in summary.levels:
        if level.failures:
            counts = ", ".join(f"{count} {status}" for status, count in level.failures.items())
            reason, failed = next(iter(level.errors)), sum(level.failures.values())
            found.append(f"{level.load.label}: {failed} of {level.n_requests} failed ({counts}); most often: {reason}.")
        if level.client and level.client.late:
            found.append(
                f"{level.load.label}: the client was late (99 % within {_seconds(level.client.send_lateness_p99_s)} sending,"
                f" {_seconds(level.client.loop_lateness_p99_s)} reading, {_processes(level.client)},"
                f" busiest {100 * level.client.cpu_share:.0f} % of a core): these figures are partly its own slowness."
            )
        if level.load.rate is not None and level.achieved_rate and level.achieved_rate.value < 0.95 * _due_rate(level):
            rate = level.achieved_rate.value
            found.append(f"{level.load.label}: {rate:.3g} requests a second were sent of {_due_rate(level):.3g} that were due.")
        if level.window == "whole" and level.n_measured > 1:
            found.append(f"{level.load.label}: too short for a steady window; rates are over the whole run, start and tail included.")
    uncounted = [level for level in summary.levels if level.output_tokens_per_s is None and "latency_s" in level.figures]
    if uncounted:
        found.append("Neither the server nor a tokenizer of the endpoint counted tokens, so there are no tokens a second and no TPOT.")
    return found


_COUNTED = {"tokenizer": "by the tokenizer", "usage": "by the server's own count", "assumed": "assumed: nobody counted"}


def _plot(summary: Summary) -> str | None:
    try:
        return to_svg(summary)
    except ValueError:
        return None


def _asked(summary: Summary) -> str:
    levels = summary.levels
    n = sum(level.n_requests for level in levels)
    if len(levels) > 1:
        low, high = min(levels, key=of), max(levels, key=of)
        return f"{len(levels)} levels of load from {low.load.label} to {high.load.label}, {n:,} requests."
    return f"{levels[0].load.label}, {n:,} requests." if levels else "nothing was measured."


def _due_rate(level: Level) -> float:
    """Requests due by second of the window: what was asked for, as far as a random schedule happened to hold it."""
    start, end = level.window_s
    return level.n_measured / level.repeats / (end - start) if end > start and level.window == "steady" else 0.0


def _details(level: Level) -> list[str]:
    lines = [_line(("", "n", "mean", "p50", "p90", "p95", "p99", "least", "most")), _line(["---"] + ["---:"] * 8)]
    for name, title in DETAILS.items():
        if name in level.figures:
            figure = level.figures[name]
            percentiles = (_interval(figure.percentiles[f"p{percent}"]) for percent in (50, 90, 95, 99))
            extremes = (_seconds(figure.least), _seconds(figure.most))
            lines.append(_line((title, f"{figure.n:,}", _interval(figure.mean), *percentiles, *extremes)))
    client = level.client
    repeats = f"{level.repeats} repeats, " if level.repeats > 1 else ""
    start, end = level.window_s
    lines += ["", f"{repeats}{level.window} window {start:.2f}–{end:.2f} s, {level.in_flight:.1f} requests in flight on average."]
    if client is not None:
        late = f"sending {_seconds(client.send_lateness_p99_s)}, reading {_seconds(client.loop_lateness_p99_s)}"
        lines[-1] += f" Client: {_processes(client)}, {client.cpu_s:.1f} s of CPU, lateness p99 {late}."
    return lines


def _percentile(level: Level, name: str, percentile: str) -> str:
    figure: Figure | None = level.figures.get(name)
    if figure is None:
        return DASH
    value = figure.percentiles[percentile]
    return FEW if value is None else _seconds(value.value)


def _interval(value: Interval | None) -> str:
    if value is None:
        return FEW
    if value.lower is None and value.upper is None:
        return _seconds(value.value)
    return f"{_seconds(value.value)} ({_seconds(value.lower)}–{_seconds(value.upper)})"


def _number(value: Interval | None) -> str:
    if value is None:
        return DASH
    text = f"{value.value:,.3g}" if value.value < 1000 else f"{value.value:,.0f}"
    if value.lower is None or value.upper is None:
        return text
    return f"{text} ± {(value.upper - value.lower) / 2:,.2g}"


def _processes(client: Client) -> str:
    return f"{client.processes} process{'es' * (client.processes != 1)}"


def _seconds(value: float | None) -> str:
    if value is None:
        return DASH
    return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"


def _line(found: "tuple[str, ...] | list[str]") -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in found) + " |"
