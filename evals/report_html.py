"""The report as one HTML file that needs nothing else: no network, no script, its style and its pictures inside; it prints.

    evals report 20261124-054512-demo 20261124-091500-load --html report.html

What is shown is rounded; each cell carries the number itself, to the digit, in `data-value` (empty: not known), under the field's name in
scores.jsonl, measures.jsonl and load.json. The pictures are drawn on this machine (vl-convert); their words take the page's colour, so that
they read in the light, in the dark and on paper.
"""

import math
import re
from collections.abc import Sequence
from html import escape
from itertools import count
from pathlib import Path
from typing import Any

from evals.lists import list_means
from evals.load.figures import Interval, Level
from evals.load.report import FEW, cells, headings_of
from evals.load.report import notes as load_notes
from evals.load.run import Summary
from evals.load.sweep import of
from evals.measures import Measure, measures
from evals.report import NOT_MEASURED, notes
from evals.runs import Run, RunFiles, Score

DASH = "–"
BLUE, ORANGE = "#3388C8", "#D55E00"  # Okabe and Ito's, the blue lighter: 3:1 on white and on the dark ground
STYLE = Path(__file__).parent / "report.css"
MOST_ROWS = 60  # of one picture: more than fit a page are left to the table


def to_html(found: Sequence[RunFiles | tuple[Run, Summary]]) -> str:
    """The whole page: an article for each run of `evals run` (RunFiles) and of `evals load` (its record and summary), in this order."""
    numbers = count()
    articles = [_quality(one, numbers) if isinstance(one, RunFiles) else _load(*one, numbers) for one in found]
    title = ", ".join(one.run.run_id if isinstance(one, RunFiles) else one[0].run_id for one in found)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE.read_text(encoding='utf-8')}</style></head>\n<body>\n"
        + "\n".join(articles)
        + "\n</body></html>\n"
    )


def _quality(files: RunFiles, numbers: "count[int]") -> str:
    run = files.run
    of_pair = {(one.endpoint, one.task): one for one in measures(files)}
    seconds = f" in {(run.finished_at - run.started_at).total_seconds():.1f} s" if run.finished_at else ""
    lead = f"{len(files.completions):,} requests to {len(run.endpoints)} endpoints{seconds}, seed {run.seed}."
    parts = [f"<h1>{escape(run.suite)}</h1>", f'<p class="lead">Run {escape(run.run_id)}, {run.started_at:%-d %B %Y %H:%M} UTC: {lead}</p>']
    tables: dict[tuple[str, str], list[Score]] = {}
    for score in [*list_means(files), *files.scores]:
        tables.setdefault((score.task, score.metric), []).append(score)
    for (task, metric), scores in tables.items():
        ranked = sorted(scores, key=lambda one: -(one.value if one.value is not None else -1e300))
        parts.append(f"<h2>{escape(task)}, {escape(metric)}</h2>")
        if metric.split(",")[0] != "unparsed" and (picture := _scores_picture(ranked)):
            parts.append(_figure(picture, f"{task}: {metric} with 95 % intervals", numbers))
        head = ("endpoint", "score", "± s.e.", "95 %", "n", "failed", "answered", "latency p50", "tokens", "$ per 1,000")
        parts.append(_table(head, [_score_row(one, of_pair.get((one.endpoint, one.task), NOT_MEASURED)) for one in ranked]))
        parts.append(f'<p class="origin">Run {escape(run.run_id)}, {run.started_at:%-d %B %Y}, n = {max(one.n for one in scores):,}.</p>')
    if told := notes(files):
        parts += ["<h2>What was not answered</h2>", "<ul>", *(f"<li>{escape(note)}</li>" for note in told), "</ul>"]
    parts.append(
        "<footer><p>Score: mean over the answered documents, ± its standard error; the 95 % interval takes what was not answered as "
        f"unknown where the run says so. Latency, output tokens and dollars are those of answers. {DASH}: not known."
        f"</p>{_made_with(run)}</footer>"
    )
    return f'<article data-run="{escape(run.run_id)}">' + "\n".join(parts) + "</article>"


def _score_row(score: Score, measure: Measure) -> str:
    share = score.value is not None and 0 <= score.value <= 1
    percent = _percent if share else _plain
    lower, upper = interval(score)
    values = [
        _cell("value", score.value, percent),
        _cell("stderr", score.stderr, percent),
        f"<td>{DASH if lower is None or upper is None else f'{percent(lower)} to {percent(upper)}'}</td>",
        _cell("n", score.n, "{:,}".format),
        _cell("n_failed", score.n_failed, "{:,}".format),
        _cell("coverage", score.coverage, _percent),
        _cell("latency_s_p50", measure.latency_s_p50, _seconds),
        _cell("output_tokens_mean", measure.output_tokens_mean, _plain),
        _cell("cost_usd_per_1000", measure.cost_usd_per_1000, lambda value: f"${_plain(value)}"),
    ]
    names = f'data-endpoint="{escape(score.endpoint)}" data-task="{escape(score.task)}" data-metric="{escape(score.metric)}"'
    return f"<tr {names}><td>{escape(score.endpoint)}</td>{''.join(values)}</tr>"


def interval(score: Score) -> tuple[float | None, float | None]:
    """95 %: the run's own where it has one, else the score ± 1.96 standard errors."""
    if score.value is None or score.stderr is None and score.lower is None:
        return None, None
    if score.lower is not None and score.upper is not None:
        return score.lower, score.upper
    half = 1.959964 * (score.stderr or 0.0)
    return score.value - half, score.value + half


def _load(run: Run, summary: Summary, numbers: "count[int]") -> str:
    n = sum(level.n_requests for level in summary.levels)
    shape = summary.shape
    lead = (
        f"Run {run.run_id}, {run.started_at:%-d %B %Y %H:%M} UTC: {n:,} requests in {len(summary.levels)} levels of load; prompts of "
        f"{shape.input_tokens:,} tokens asked for, answers of {shape.output_tokens:,}; seed {summary.seed}."
    )
    parts = [f"<h1>Load on {escape(summary.endpoint)}</h1>", f'<p class="lead">{escape(lead)}</p>']
    if picture := _latency_picture(summary):
        parts += [_figure(picture, "Seconds from schedule against load", numbers)]
    if picture := _throughput_picture(summary):
        parts += [_figure(picture, "Output tokens a second against load", numbers)]
    parts.append(_table(headings_of(summary), [_level_row(point, level, summary) for point, level in enumerate(summary.levels)]))
    parts.append(f'<p class="origin">Run {escape(run.run_id)}, {run.started_at:%-d %B %Y}, n = {n:,}.</p>')
    parts += ["<ul>", *(f"<li>{escape(note)}</li>" for note in load_notes(summary)), "</ul>"]
    told = "Times count from the moment a request was due; failed requests are in none. Requests and tokens a second are of the window."
    told += " Too few: the percentile cannot be told from so few requests (Wilks 1941)."
    parts.append(f"<footer><p>{told}</p>{_made_with(run)}</footer>")
    return f'<article data-run="{escape(run.run_id)}">' + "\n".join(parts) + "</article>"


def _level_row(point: int, level: Level, summary: Summary) -> str:
    def percentile(name: str, which: str) -> float | None:
        figure = level.figures.get(name)
        return _value(figure.percentiles[which]) if figure else None

    exact: list[tuple[str, float | None]] = [
        ("n_measured", level.n_measured),
        ("failed", sum(level.failures.values())),
        ("requests_per_s", level.requests_per_s.value),
        ("output_tokens_per_s", _value(level.output_tokens_per_s)),
        *((f"ttft_from_schedule_s.{which}", percentile("ttft_from_schedule_s", which)) for which in ("p50", "p99")),
        ("tpot_s.p50", percentile("tpot_s", "p50")),
        *((f"latency_from_schedule_s.{which}", percentile("latency_from_schedule_s", which)) for which in ("p50", "p99")),
        ("attainment.share", None if level.attainment is None else level.attainment.share),
        ("goodput", _value(level.goodput)),
    ]
    label, *shown = ("too few" if cell == FEW else cell for cell in cells(level, summary.slo))
    values = (_told(name, value, text) for (name, value), text in zip(exact, shown, strict=False))
    return f'<tr data-point="{point}"><td>{escape(label)}</td>{"".join(values)}</tr>'


def _value(found: Interval | None) -> float | None:
    return None if found is None else found.value


def _scores_picture(scores: Sequence[Score]) -> dict[str, Any] | None:
    rows = [
        {"endpoint": one.endpoint, "value": one.value, "lower": lower, "upper": upper}
        for one in scores
        if one.value is not None and (lower := interval(one)[0]) is not None and (upper := interval(one)[1]) is not None
    ][:MOST_ROWS]
    if not rows:
        return None
    share = all(0 <= (one.value or 0) <= 1 for one in scores)
    axis = {
        "title": scores[0].metric,
        "axis": {"format": "%" if share else "~g", "tickCount": 6},
        "scale": {"zero": False, "nice": True, "padding": 8},
    }
    y = {"field": "endpoint", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 220}}
    bars = {"x": {"field": "lower", "type": "quantitative", **axis}, "x2": {"field": "upper"}, "y": y}
    dots = {"x": {"field": "value", "type": "quantitative"}, "y": y}
    layers = [
        {"mark": {"type": "rule", "strokeWidth": 3, "opacity": 0.6, "color": BLUE}, "encoding": bars},
        {"mark": {"type": "circle", "size": 90, "opacity": 1, "color": BLUE}, "encoding": dots},
    ]
    return {"data": {"values": rows}, "width": 660, "height": {"step": 26}, "layer": layers}


def _latency_picture(summary: Summary) -> dict[str, Any] | None:
    rows = []
    for level in sorted(summary.levels, key=of):
        for name, what in (("latency_from_schedule_s", "latency"), ("ttft_from_schedule_s", "TTFT")):
            figure = level.figures.get(name)
            for which in ("p50", "p99") if figure else ():
                if figure and (value := figure.percentiles[which]) is not None:
                    rows.append({"at": of(level), "line": what, "percentile": which, "seconds": value.value})
    return _lines(summary, rows, "seconds", "seconds from schedule", log=True)


def _throughput_picture(summary: Summary) -> dict[str, Any] | None:
    rows = [
        {"at": of(level), "line": "output tokens/s", "percentile": "mean", "rate": level.output_tokens_per_s.value}
        for level in sorted(summary.levels, key=of)
        if level.output_tokens_per_s is not None
    ]
    return _lines(summary, rows, "rate", "output tokens a second", log=False)


def _log(rows: list[dict[str, Any]], y: str, title: str) -> dict[str, Any]:
    """A logarithmic axis with room for what is drawn and no more, ticks at 1, 2 and 5; vega would draw a line for each ninth of a power."""
    low, high = min(row[y] for row in rows) / 1.4, max(row[y] for row in rows) * 1.4
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    fine, coarse = ([float(f"{step}e{power}") for power in powers for step in steps] for steps in ((1, 2, 5), (1,)))
    fine, coarse = ([tick for tick in ticks if low <= tick <= high] for ticks in (fine, coarse))
    axis = {"format": "~g", "values": fine if len(fine) <= 7 else coarse}
    return {
        "type": "quantitative",
        "field": y,
        "title": title,
        "axis": axis,
        "scale": {"type": "log", "domain": [low, high], "nice": False},
    }


def _lines(summary: Summary, rows: list[dict[str, Any]], y: str, title: str, *, log: bool) -> dict[str, Any] | None:
    if len({row["at"] for row in rows}) < 2:
        return None
    unit = "requests a second asked for" if summary.levels[0].load.rate is not None else "requests at once"
    names = list(dict.fromkeys(row["line"] for row in rows))
    kinds = list(dict.fromkeys(row["percentile"] for row in rows))
    number: dict[str, Any] = {"type": "quantitative", "axis": {"format": "~s", "tickCount": 5}}
    places = {"format": ".3~g", "values": sorted({row["at"] for row in rows}), "labelOverlap": "greedy", "grid": False}
    colours, dashes = [BLUE, ORANGE][: len(names)], [[1, 0], [6, 4]][: len(kinds)]
    # One kind of line needs no legend for its dashes.
    told = None if len(kinds) < 2 else {"title": None, "symbolType": "stroke", "symbolStrokeColor": "currentColor"}
    encoding = {
        "x": {**number, "axis": places, "field": "at", "title": unit, "scale": {"type": "log", "nice": False}},
        "y": {**number, "field": y, "title": title, "scale": {"type": "linear"}} if not log else _log(rows, y, title),
        "color": {"field": "line", "type": "nominal", "scale": {"domain": names, "range": colours}, "legend": {"title": None}},
        "strokeDash": {"field": "percentile", "type": "nominal", "scale": {"domain": kinds, "range": dashes}, "legend": told},
    }
    drawn = {"type": "line", "point": True, "strokeWidth": 2}
    layers: list[dict[str, Any]] = [{"data": {"values": rows}, "mark": drawn, "encoding": encoding}]
    if summary.knee is not None:
        at = [{"at": of(summary.levels[summary.knee]), "mark": "knee"}]
        last = at[0]["at"] == max(row["at"] for row in rows)
        place = {"x": {"field": "at", "type": "quantitative"}}
        grey = {"color": "currentColor", "opacity": 0.6}
        layers.append({"data": {"values": at}, "mark": {"type": "rule", "strokeDash": [4, 4], **grey}, "encoding": place})
        text = {**place, "text": {"field": "mark"}, "y": {"value": 4}}
        layers.append(
            {
                "data": {"values": at},
                "mark": {"type": "text", "align": "right" if last else "left", "dx": -5 if last else 5, "baseline": "top", **grey},
                "encoding": text,
            }
        )
    return {"width": 720, "height": 260, "layer": layers}


def _figure(picture: dict[str, Any], title: str, numbers: "count[int]") -> str:
    """The picture inline, with a name for screen readers; its own ids made the page's."""
    import vl_convert

    ink = {"labelColor": "currentColor", "titleColor": "currentColor", "labelFontSize": 12, "titleFontSize": 12}
    axis = {
        **ink,
        "gridColor": "currentColor",
        "gridOpacity": 0.15,
        "domainColor": "currentColor",
        "tickColor": "currentColor",
        "titleFontWeight": 400,
    }
    config = {"background": None, "view": {"stroke": None}, "axis": axis, "legend": {**ink, "symbolStrokeWidth": 2, "orient": "top"}}
    # The reader's font may be wider than the one it was measured with.
    drawn = {**picture, "config": config, "padding": {"left": 40, "right": 30, "top": 5, "bottom": 5}}
    svg = str(vl_convert.vegalite_to_svg(drawn, allowed_base_urls=[]))
    prefix = f"figure{next(numbers)}-"
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{prefix}", svg)
    name = f'<svg role="img" aria-label="{escape(title)}" '
    return f"<figure>{svg.replace('<svg ', name, 1)}</figure>"


def _table(headings: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in headings)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n' + "\n".join(rows) + "\n</tbody></table></div>"


def _cell(field: str, value: float | None, shown: Any) -> str:
    return _told(field, value, DASH if value is None else shown(value))


def _told(field: str, value: float | None, text: str) -> str:
    return f'<td data-field="{field}" data-value="{"" if value is None else repr(value)}">{escape(text)}</td>'


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def _plain(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:#.3g}".rstrip(".")


def _seconds(value: float) -> str:
    return f"{_plain(value)} s" if value >= 1 else f"{_plain(1000 * value)} ms"


def _made_with(run: Run) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    return f"<p>Made with {escape(versions)}; commit {escape(run.git_commit or 'outside a checkout')}.</p>"
