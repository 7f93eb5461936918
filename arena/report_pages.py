"""The report as pages: one list of sections, written as HTML that needs nothing from elsewhere, and as Markdown.

    html_of(report), markdown_of(report)

Pictures are drawn by vl-convert into the page. Names and reasons come from outside: nothing of them becomes markup.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from arena.audit import REASONS
from arena.report import Report, Standing

DRAWN = 25
_BLUE, _ORANGE = "#3388C8", "#D55E00"
_STYLE = """
:root { color-scheme: light dark; }
:root { --ink: light-dark(#2b2520, #efe7dc); --paper: light-dark(#fbf8f3, #191613); --line: light-dark(#ddd3c4, #40382f); }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
body { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font: 600 2.2rem/1.15 Georgia, serif; margin: 0 0 .3rem; } h2 { font-size: 1.35rem; margin: 2rem 0 .5rem; } p { margin: .4rem 0; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th { font-size: .85rem; overflow-wrap: normal; } .num { text-align: right; white-space: nowrap; }
td:not(.num) { min-width: 8rem; }
figure { margin: .8rem 0; padding: .8rem; background: #fff; border: 1px solid var(--line); border-radius: .6rem; }
figure svg { display: block; max-width: 100%; height: auto; margin: 0 auto; }
footer { margin-top: 3rem; font-size: .85rem; opacity: .8; }
@media print {
  :root { color-scheme: light; }
  body { max-width: none; padding: 0; background: #fff; color: #000; font-size: 11pt; }
  h2, h2 + p { break-after: avoid; } figure, tr { break-inside: avoid; } thead { display: table-header-group; }
  .scroll { overflow: visible; } table, th { font-size: 9pt; } th, td { padding: .15rem .4rem; } footer { break-before: avoid; }
  @page { margin: 16mm 14mm; }
}
"""


@dataclass(frozen=True)
class Section:
    """A heading, sentences, perhaps a table (columns whose name begins with # hold numbers) and a picture (SVG) with its words."""

    title: str
    text: Sequence[str]
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    picture: str | None = None
    alt: str = ""


def title_of(report: Report) -> str:
    """What the page is called."""
    return f"State of the arena, {report.since:%d %b} to {report.until:%d %b %Y}"


def sections(report: Report) -> list[Section]:
    """The report in order."""
    return [
        _votes(report),
        _moved(report),
        _ratings(report),
        _newcomers(report),
        _audit(report),
        _pairing(report),
        _unrated(report),
        _cost(report),
    ]


def html_of(report: Report) -> str:
    """A page of its own: style and pictures inside, no script, nothing to fetch."""
    title = html.escape(title_of(report))
    body = "".join(_section_html(section) for section in sections(report))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><main><h1>{title}</h1>{body}</main>"
        f"<footer>{html.escape(_footer(report))}</footer></body></html>\n"
    )


def markdown_of(report: Report) -> str:
    """The same without pictures."""
    parts = [f"# {title_of(report)}"]
    for section in sections(report):
        parts.append(f"## {section.title}")
        parts += [_plain(sentence) for sentence in section.text]
        if section.rows:
            head = f"| {' | '.join(name.removeprefix('#') for name in section.columns)} |"
            rule = f"|{'|'.join('---:' if name.startswith('#') else '---' for name in section.columns)}|"
            parts.append("\n".join([head, rule, *(f"| {' | '.join(map(_plain, row))} |" for row in section.rows)]))
    return "\n\n".join([*parts, _footer(report)]) + "\n"


def _votes(report: Report) -> Section:
    if not report.n_votes:
        return Section("Votes", [f"No vote was cast in this time; there are {report.n_total:,} in all."])
    text = (
        f"{report.n_votes:,} votes were cast, {report.n_rated:,} of them rated and {report.n_both_bad:,} “both bad”, by "
        f"{report.n_voters:,} voters, {report.n_new_voters:,} of them for the first time. There are {report.n_total:,} in all."
    )
    days = [{"day": f"{day:%a %d %b}", "votes": n} for day, n in report.days]
    spec = {
        "data": {"values": days}, "mark": {"type": "bar", "color": _BLUE}, "width": 640, "height": 150,
        "encoding": {
            "x": {"field": "day", "type": "ordinal", "sort": None, "title": None, "axis": {"labelAngle": 0}},
            "y": {"field": "votes", "type": "quantitative", "title": "votes"},
        },
    }  # fmt: skip
    said = ", ".join(f"{row['day']} {row['votes']:,}" for row in days)
    return Section("Votes", [text], picture=_svg(spec), alt=f"Votes a day: {said}")


def _moved(report: Report) -> Section:
    if not any(row.then for row in report.standings):
        return Section("What moved", ["There were no ratings before this time to compare with."])
    if not report.moved:
        return Section("What moved", ["No rating left the 95 % interval that it had at the beginning."])
    rows = [(row.now.model, f"{row.then.rating:.0f} ({_interval(row.then)})", f"{row.now.rating:.0f}", f"{row.change:+.0f}")
            for row in report.moved if row.then is not None and row.change is not None]  # fmt: skip
    return Section("What moved", [f"{len(rows)} ratings left the interval that they had."], ("Model", "#Then", "#Now", "#Change"), rows)


def _ratings(report: Report) -> Section:
    if not report.standings:
        return Section("Ratings", ["No vote makes two models comparable yet."])
    rows = [
        (
            f"{row.now.rank}",
            _places(row),
            row.now.model,
            f"{row.now.rating:.0f}",
            _interval(row.now),
            _change(row),
            f"{row.now.n_battles:,}",
        )
        for row in report.standings
    ]
    values = [
        {"model": row.now.model, "rating": row.now.rating, "lower": row.now.rating_lower, "upper": row.now.rating_upper,
         "then": row.then.rating if row.then else None}
        for row in report.standings[:DRAWN]
    ]  # fmt: skip
    y = {"field": "model", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 200, "labelOverlap": False}}
    scale = {"zero": False}
    spec = {
        "data": {"values": values}, "width": 520, "height": {"step": 20}, "encoding": {"y": y},
        "layer": [
            {"mark": {"type": "rule", "strokeWidth": 3, "opacity": 0.5, "color": _BLUE},
             "encoding": {"x": {"field": "lower", "type": "quantitative", "scale": scale, "title": "rating"}, "x2": {"field": "upper"}}},
            {"mark": {"type": "point", "size": 55, "color": _ORANGE, "shape": "diamond"},
             "transform": [{"filter": "isValid(datum.then)"}],
             "encoding": {"x": {"field": "then", "type": "quantitative", "scale": scale}}},
            {"mark": {"type": "circle", "size": 60, "opacity": 1, "color": _BLUE},
             "encoding": {"x": {"field": "rating", "type": "quantitative", "scale": scale}}},
        ],
    }  # fmt: skip
    text = ["Bradley–Terry of all rated votes, with 95 % intervals. In the picture a diamond is where a model stood at the beginning."]
    if len(report.standings) > DRAWN:
        text.append(f"It shows the best {DRAWN} of {len(report.standings)}.")
    columns = ("#Rank", "#Places", "Model", "#Rating", "#95 % interval", "#Change", "#Votes")
    return Section("Ratings", text, columns, rows, _svg(spec), f"Ratings of {len(values)} models with their intervals")


def _newcomers(report: Report) -> Section:
    # An arena that opens with sixty models writes sixty entries within a second.
    minutes = groupby(report.ledger, lambda entry: (f"{entry.at:%d %b, %H:%M}", entry.event))
    rows = [(when, ", ".join(entry.model for entry in entries), event) for (when, event), entries in minutes]
    said = f"{len(report.ledger)} entries of the ledger." if rows else "No endpoint joined, changed or was withdrawn."
    return Section("Endpoints", [said], ("When (UTC)", "Endpoint", "What"), rows)


def _audit(report: Report) -> Section:
    if report.n_audited is None:
        return Section("Audit", [f"{report.n_total:,} votes are too many to audit on the way: run 'arena audit'."])
    if not report.findings:
        return Section("Audit", [f"Nothing is flagged among {report.n_audited:,} votes."])
    rows = [(row.reason, REASONS[row.reason], f"{row.n_voters:,}", f"{row.n_votes:,}", f"{row.n_in_week:,}") for row in report.findings]
    text = f"Of {report.n_audited:,} votes. A flag is evidence, not proof; 'arena audit' names the votes, '--apply' unrates them."
    return Section("Audit", [text], ("Reason", "Meaning", "#Voters", "#Votes", "#Of this time"), rows)


def _pairing(report: Report) -> Section:
    if not report.n_battles:
        return Section("Pairing", ["No battle was fought here in this time."])
    text = [f"{report.n_battles:,} battles, {report.n_unvoted:,} of them without a vote."]
    if report.n_pairs_possible:
        share = report.n_pairs / report.n_pairs_possible
        text.append(f"{report.n_pairs:,} of {report.n_pairs_possible:,} pairs of the models that take part met ({share:.0%}).")
    missing = report.never_met[:10]
    if missing:
        more = len(report.never_met) - len(missing)
        text.append("Did not meet: " + "; ".join(f"{a} and {b}" for a, b in missing) + (f"; and {more:,} more pairs." if more else "."))
    return Section("Pairing", text)


def _unrated(report: Report) -> Section:
    total = sum(n for _, n in report.unrated)
    said = f"{total:,} votes of this time rate no model." if total else "Every vote of this time counts."
    return Section("Votes that are not rated", [said], ("Reason", "#Votes"), [(reason, f"{n:,}") for reason, n in report.unrated])


def _cost(report: Report) -> Section:
    if not report.spent:
        return Section("Cost", ["No answer was asked for in this time."])
    total, unpriced = sum(row.cost_usd for row in report.spent), sum(row.n_unpriced for row in report.spent)
    answers = sum(row.n_answers for row in report.spent)
    text = [f"${total:,.2f} for {answers:,} answers." + (f" {unpriced:,} answers have no price and are not in it." if unpriced else "")]
    rows = [(row.endpoint, f"{row.n_answers:,}", f"{row.n_failed:,}", _dollars(row), f"{row.n_unpriced:,}") for row in report.spent]
    return Section("Cost", text, ("Endpoint", "#Answers", "#Failed", "#Dollars", "#Without a price"), rows)


def _dollars(row: Any) -> str:
    return "–" if row.n_unpriced == row.n_answers - row.n_failed and not row.cost_usd else f"{row.cost_usd:,.4f}"


def _interval(rating: Any) -> str:
    return f"{rating.rating_lower:.0f} to {rating.rating_upper:.0f}" if rating.rating_lower is not None else "–"


def _places(row: Standing) -> str:
    return f"{row.now.rank_lower}–{row.now.rank_upper}" if row.now.rank_lower != row.now.rank_upper else ""


def _change(row: Standing) -> str:
    # What rounds to nothing has no sign.
    return "new" if row.change is None else f"{row.change:+.0f}{' *' if row.moved else ''}" if abs(row.change) >= 0.5 else "0"


def _footer(report: Report) -> str:
    return (
        f"From {report.since:%Y-%m-%d %H:%M} to {report.until:%Y-%m-%d %H:%M} UTC. * left the interval that it had. Made by 'arena report'."
    )


def _section_html(section: Section) -> str:
    parts = [f"<section><h2>{html.escape(section.title)}</h2>", *(f"<p>{html.escape(sentence)}</p>" for sentence in section.text)]
    if section.picture:
        parts.append(f'<figure role="img" aria-label="{html.escape(section.alt)}">{section.picture}</figure>')
    if section.rows:
        kinds = ["num" if name.startswith("#") else "" for name in section.columns]
        head = "".join(
            f'<th class="{kind}">{html.escape(name.removeprefix("#"))}</th>' for name, kind in zip(section.columns, kinds, strict=True)
        )
        body = "".join(
            "<tr>" + "".join(f'<td class="{kind}">{html.escape(cell)}</td>' for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
            for row in section.rows
        )
        parts.append(f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>')
    return "".join([*parts, "</section>"])


def _svg(spec: dict[str, Any]) -> str:
    import vl_convert

    spec = {"$schema": "https://vega.github.io/schema/vega-lite/v6.json", "background": None, "config": {"font": "sans-serif"}, **spec}
    return str(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]))


def _plain(text: str) -> str:
    """Text that Markdown takes for nothing but text."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", text).replace("\n", " ")
