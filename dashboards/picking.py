"""Pick: say what an endpoint must keep and what counts; see who is best, how surely, and what to measure next. `evals pick` as a page.

Starts from results/pick.yaml where there is one. What is read is kept until a file or a vote changes; what is wished is decided anew each
time.
"""

import html
from contextlib import nullcontext
from typing import Any

import streamlit as st

from arena.battle import current
from arena.views import frame
from dashboards.charts import dots, front
from dashboards.figure import figure
from dashboards.pick_records import beliefs_of, records_are_there, records_of
from dashboards.picking_controls import controls
from evals.pick.choosing import Candidate, Decision, Valued, decide
from evals.pick.command import read_wishes
from evals.pick.front import on_front
from evals.pick.report import MOST_ROWS, advice, doubt, grouped, interval, named, percent, relaxed, scored, second, surely, verdict
from evals.pick.scope import scope_of
from serving.errors import BakeoffError

LEAD = "Say what an endpoint must keep and what counts; see who is best, and how surely."
FORMATS = {"rating": ",.0f", "quality": ".0%", "latency": "~g", "ttft": "~g", "usd": "$~g"}
MOST_EXCLUDED = 60


def page() -> None:
    """The answer on top; what was wished beside what follows from it."""
    arena = current()
    frame.heading("Pick", LEAD)
    try:
        with nullcontext() if records_are_there(arena) else st.spinner("Reading the runs …"):
            records, start = records_of(arena), read_wishes(None, arena.results, {})
        if not records.asked and not records.loaded and records.rated is None:
            frame.empty(
                "Nothing has been measured yet.",
                "Run a suite: <code>evals run demo</code>, make load: <code>evals load</code>, or let people vote in the arena.",
            )
            return
        answer = st.container()
        left, right = st.columns([1, 2.3], gap="large")
        carried = scope_of(records, start)
        with left:
            wishes = controls(records, start, carried)
        scope = scope_of(records, wishes)
        decision = decide(scope, wishes, beliefs_of(scope.market))
    except BakeoffError as error:
        st.error(str(error))
        return
    with answer:
        st.html(headline(decision))
    with right:
        # Why the sliders stand where they stood, as long as they do.
        _result(decision, carried.notes if scope.weigh == carried.weigh and scope.tasks == carried.tasks else ())
    for problem in records.problems:
        st.warning(problem)


def headline(decision: Decision) -> str:
    """The choice with its probability in words, second and advice; or what would have to give."""
    if decision.choice is None or decision.probability is None:
        steps = "".join(f"<li>{html.escape(line[0].upper() + line[1:])}.</li>" for line in relaxed(decision))
        return f'<div class="pick none" role="status"><h2>Nobody</h2><p>{html.escape(verdict(decision))}</p><ul>{steps}</ul></div>'
    words = f"{surely(decision.probability)} the best"
    label = html.escape(f"{percent(decision.probability)} {words}")
    meter = f'<div class="meter" role="img" aria-label="{label}"><i style="width:{100 * decision.probability:.1f}%"></i></div>'
    told = "".join(f"<p>{html.escape(line)}</p>" for line in (doubt(decision), second(decision)) if line)
    more = "".join(f"<li>{html.escape(line)}</li>" for line in advice(decision))
    return (
        f'<div class="pick" role="status"><h2>{html.escape(decision.choice)}</h2>'
        f'<p class="sure"><b>{html.escape(percent(decision.probability))}</b> {words}</p>{meter}{told}<ul>{more}</ul></div>'
    )


def _result(decision: Decision, said: tuple[str, ...]) -> None:
    measures = [measure for parts in decision.objectives.values() for measure in parts]
    if decision.candidates or decision.excluded:
        _chart(decision, measures)
    if decision.candidates:
        st.html(table(decision, measures))
    if decision.excluded:
        lines = "".join(
            f"<li><b>{html.escape(', '.join(names[:MOST_EXCLUDED]))}</b>: {html.escape(reason)}</li>"
            for reason, names in grouped(decision.excluded)
        )
        with st.expander(f"Not to be chosen ({len(decision.excluded)})", expanded=not decision.candidates):
            st.html(f'<ul class="reasons">{lines}</ul>')
    if notes := dict.fromkeys((*decision.notes, *said)):
        st.html("".join(f'<p class="note">{html.escape(note[0].upper() + note[1:])}.</p>' for note in notes))


def _chart(decision: Decision, measures: list[str]) -> None:
    """Two of what counts against each other, chosen by the reader where there are more."""
    rows = chart_rows(decision, measures)
    if not rows:
        return
    many = len(measures) > 1
    y = next((measure for measure in measures if measure.startswith(("quality", "rating"))), measures[0])
    others = [measure for measure in measures if measure != y]
    if many:
        default = next((measure for measure in others if measure.startswith("usd")), others[0])
        x = default
        if others[1:]:
            x = st.segmented_control("Against", others, default=default, required=True, format_func=named, key="against")
    else:
        x = y
    drawn = [row for row in rows if row.get(_key(x)) is not None and row.get(_key(y)) is not None]
    if not drawn:
        return
    origins = sorted({row["origin"] for row in drawn if row["origin"]})
    dashed = " Dashed: the front in these two." if many else ""
    origin = f"From {', '.join(origins[:3])}. Bars are 95 % intervals of the true values.{dashed}"
    alt_text = f"{named(y)} against {named(x)} of {len(drawn)} endpoints" if many else f"{named(x)} of {len(drawn)} endpoints"
    if many:
        log_x = not x.startswith(("quality", "rating"))
        drawn = _in_two(drawn, _key(x), _key(y), less=log_x)
        chart = front(drawn, x=_key(x), y=_key(y), titles=(named(x), named(y)), formats=(_format(x), _format(y)), log_x=log_x)
    else:
        drawn = drawn[:30]
        chart = dots(drawn, x=_key(x), title=named(x), format=_format(x))
    figure(chart, drawn, name="pick", origin=origin, alt=alt_text)


def _in_two(rows: list[dict[str, Any]], x: str, y: str, *, less: bool) -> list[dict[str, Any]]:
    """The rows from left to right, `line` where nobody who may be chosen beats them in these two."""
    import numpy as np

    ordered = sorted(rows, key=lambda row: (row[x], row[y]))
    able = [row for row in ordered if row["role"] != "excluded"]
    points = np.array([[-row[x] if less else row[x], row[y]] for row in able]).reshape(len(able), 2)
    line = {row["endpoint"] for row, kept in zip(able, on_front(points), strict=True) if kept} if able else set()
    return [{**row, "line": row["endpoint"] in line} for row in ordered]


def chart_rows(decision: Decision, measures: list[str]) -> list[dict[str, Any]]:
    """A row for each endpoint of which any of the measures is known, the chosen first."""
    rows = []
    for one in decision.candidates:
        role = "choice" if one.endpoint == decision.choice else "front" if one.on_front else "beaten"
        rows.append(_row(one.endpoint, one.values, measures, role=role, best=percent(one.probability_best), why=""))
    for excluded in decision.excluded:
        why = next(reason for reason, names in grouped((excluded,)) if excluded.endpoint in names)
        if any(measure in excluded.values for measure in measures):
            rows.append(_row(excluded.endpoint, excluded.values, measures, role="excluded", best="", why=why))
    return rows


def _row(endpoint: str, values: dict[str, Valued], measures: list[str], **more: str) -> dict[str, Any]:
    row: dict[str, Any] = {"endpoint": endpoint, **more, "origin": ""}
    for measure in measures:
        if (found := values.get(measure)) is not None:
            row |= {_key(measure): found.value, f"{_key(measure)}_lower": found.lower, f"{_key(measure)}_upper": found.upper}
            row["origin"] = row["origin"] or found.origin
    return row


def table(decision: Decision, measures: list[str]) -> str:
    """Who may be chosen, best first, with the origin of each number in its title."""
    heads = "".join(f'<th class="num">{html.escape(named(measure))}</th>' for measure in measures)
    head = f'<tr><th>Endpoint</th><th class="num">Best</th>{heads}<th class="num">Score</th></tr>'
    body = "".join(_line(one, measures) for one in decision.candidates[:MOST_ROWS])
    left = len(decision.candidates) - MOST_ROWS
    more = f'<p class="note">and {left} more: <code>evals pick --json</code> has them all.</p>' if left > 0 else ""
    return f'<div class="scroll" tabindex="0"><table class="board"><thead>{head}</thead><tbody>{body}</tbody></table></div>{more}'


def _line(one: Candidate, measures: list[str]) -> str:
    beaten = "" if one.on_front else "<br><small>beaten in everything</small>"
    cells = f'<td class="model">{html.escape(one.endpoint)}{beaten}</td><td class="num">{html.escape(percent(one.probability_best))}</td>'
    for measure in measures:
        found = one.values.get(measure)
        title = f"{found.n:,} {found.unit}, {found.origin}" if found else "not measured"
        cells += f'<td class="num" title="{html.escape(title)}">{html.escape(interval(measure, found))}</td>'
    return f'<tr>{cells}<td class="num">{scored(one)}</td></tr>'


def _key(measure: str) -> str:
    """A measure as a column that Vega reads: no colon, no dot."""
    return "".join(letter if letter.isalnum() else "_" for letter in measure)


def _format(measure: str) -> str:
    return next(form for name, form in FORMATS.items() if measure.startswith(name))
