"""Cost: requests of one shape on a machine paid by the hour and behind each API, from which load on the machine pays, and a month of it.

    /cost?source=20261124-091500-load&per_hour=3.9

The arithmetic is `evals cost`'s (evals/cost.py); nothing is priced here.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import streamlit as st

from arena.battle import current
from arena.views import frame
from dashboards.charts import number
from dashboards.figure import downloads, figure
from dashboards.money_charts import bars_by_hour, bills, by_utilisation
from dashboards.runs_index import Listed, index, loads, scored
from dashboards.tables import DASH, board, dollars
from evals.cost import HOURS_PER_MONTH, Estimate, Machine, Shape
from evals.cost_command import askable, bill
from evals.cost_runs import PerCorrect, machine_named, read_load, shape_of, usd_per_correct
from evals.runs import read_run
from serving.documents import stamp
from serving.endpoints import load_endpoints
from serving.errors import BakeoffError

OWN = "numbers of my own"
# An office's day in shares of its busiest hour, from midnight UTC: an example to be changed, named as such.
OFFICE = (2, 1, 1, 1, 2, 4, 10, 30, 70, 95, 100, 95, 80, 90, 100, 95, 80, 55, 35, 25, 18, 12, 8, 4)
MOST = 12


def page() -> None:
    """What is asked, then a request's price, a month's bill, and each correct answer's price."""
    frame.heading("Cost", "Per token or per hour: what your requests cost, and from which load on a machine pays.")
    results = current().results
    listed, problems = index(results)
    for problem in problems:
        st.warning(problem)
    runs = {one.folder.name: one for one in [*loads(listed), *scored(listed)]}
    source = st.selectbox("Shape of the requests, and throughput, from", [OWN, *runs], key="source", bind="query-params")
    try:
        known = load_endpoints(results)
        shape, measured, note, correct = _source(runs.get(source))
        shape, machine = _asked(shape, measured, known)
        hours = _demand()
        at = datetime.now(UTC).replace(second=0, microsecond=0)
        apis = askable(known)
        names = st.multiselect("APIs", [one.id for one in apis], key="apis", placeholder="All that are priced", bind="query-params")
        chosen = [one for one in apis if not names or one.id in names]
        document = bill(shape, [machine] if machine else [], chosen, at, batch=False, hours=hours)
    except BakeoffError as error:
        st.error(str(error))
        return
    if note:
        st.caption(note)
    origin = f"{_plain(shape.source)}: {shape.input_tokens:,.0f} tokens in, {shape.output_tokens:,.0f} out; prices of {at:%-d %B %Y}."
    _per_request(document, origin)
    _per_month(document, hours, origin)
    if correct:
        _per_correct(correct, runs[source])


def _source(run: Listed | None) -> tuple[Shape | None, tuple[str, Estimate] | None, str | None, tuple[PerCorrect, ...]]:
    if run is None:
        return None, None, None, ()
    if run.is_load:
        speed, shape, note = _load(run.folder, stamp(run.folder / "load.json"))
        return shape, (run.run.endpoints[0], speed), note, ()
    found, correct = _quality(run.folder, stamp(run.folder / "run.json"))
    if found is None:
        return None, None, "The tokens of this run's answers are not all known; the shape below is stated, not measured.", correct
    return found, None, None, correct


@lru_cache(maxsize=64)
def _load(folder: Path, file: tuple[int, ...]) -> tuple[Estimate, Shape, str | None]:
    return read_load(folder)


@lru_cache(maxsize=16)
def _quality(folder: Path, file: tuple[int, ...]) -> tuple[Shape | None, tuple[PerCorrect, ...]]:
    files = read_run(folder)
    return shape_of(files.completions, files.run.run_id), tuple(usd_per_correct(files, {}))


def _asked(shape: Shape | None, measured: tuple[str, Estimate] | None, known: dict[str, Any]) -> tuple[Shape, Machine | None]:
    """What the person states where no run says it; the machine is None where nobody states what it costs."""
    columns = st.columns(4)
    if shape is None:
        into = columns[0].number_input("Input tokens", 1, None, 1000, key="input_tokens", bind="query-params")
        out = columns[1].number_input("Output tokens", 0, None, 300, key="output_tokens", bind="query-params")
        shape = Shape(((float(into), float(out), 0.0),), "as stated here")
    price = known[measured[0]].price if measured and measured[0] in known else None
    default = price.usd_per_hour if price and price.usd_per_hour is not None else 2.0
    paid = columns[2].number_input("One machine, $ an hour", 0.0, None, float(default), key="per_hour", bind="query-params")
    if measured is not None:
        return shape, machine_named(measured[0], known.get(measured[0]), measured[1], paid)
    speed = columns[3].number_input("Its tokens a second, in and out", 0.0, None, 2000.0, key="tokens_per_s", bind="query-params")
    return shape, Machine("own machine", paid, Estimate(value=speed)) if speed else None


def _demand() -> tuple[float, ...]:
    """Requests in each hour of the day (UTC)."""
    left, right = st.columns(2)
    peak = left.number_input("Requests in the busiest hour", 1.0, None, 900.0, key="peak", bind="query-params")
    shape = right.segmented_control(
        "Over the day", ["steady", "office hours"], default="steady", required=True, key="day", bind="query-params"
    )
    return tuple(peak * share / 100 for share in OFFICE) if shape == "office hours" else (float(peak),) * 24


def _per_request(document: dict[str, Any], origin: str) -> None:
    st.html("<h2>1,000 requests</h2>")
    apis, machines = document["apis"], document["machines"]
    if not apis and not machines:
        frame.empty("Nothing is priced.", "State a price: <code>results/prices.yaml</code>, see docs/serving.md.")
        return
    rows = [
        {"option": machine["machine"], "utilisation": at["utilisation"], **at["usd_per_1000_requests"]}
        for machine in machines
        for at in machine["at"]
    ]
    flat = [{"option": api["endpoint"], "value": api["usd_per_1000_requests"], "usd_per_mtok": api["usd_per_mtok"]} for api in apis[:MOST]]
    if rows:
        chart = by_utilisation(rows, flat)
        figure(chart, [*rows, *flat], name="cost-by-utilisation", origin=origin, alt="Dollars for 1,000 requests by share of time busy")
    even = {one["against"]: one for one in document["break_even"]}
    table = [
        (
            api["endpoint"],
            dollars(api["usd_per_1000_requests"]),
            dollars(api["usd_per_mtok"]),
            *_pays(even.get(api["endpoint"])),
            _since(api),
        )
        for api in apis[:MOST]
    ]
    if table:
        st.html(board(("API", "$ per 1,000", "$ per million tokens", "A machine pays above", "requests an hour", "Price from"), table))
        downloads(apis, name="apis", origin=origin)
    if len(apis) > MOST:
        st.caption(f"The {MOST} cheapest of {len(apis)} priced; choose APIs above to see others.")
    if document["not_priced"]:
        st.caption(f"Not priced: {len(document['not_priced'])}.", help=", ".join(document["not_priced"]))


def _since(api: dict[str, Any]) -> str:
    day = f", checked {api['checked_on']}" if api["checked_on"] else f", since {api['since']}" if api["since"] else ""
    return (api["source"] or DASH) + day


def _pays(found: dict[str, Any] | None) -> tuple[str, str]:
    if found is None:
        return DASH, DASH
    share = found["utilisation"]
    bounds = "" if share["lower"] is None or share["upper"] is None else f" ({100 * share['lower']:.0f} to {100 * share['upper']:.0f})"
    told = f"{number(100 * share['value'])} % busy{bounds}"
    if found["pays"] is False:
        return f"never: {told}", DASH
    return told if found["pays"] else f"{told}, not settled", number(found["requests_per_hour"])


def _per_month(document: dict[str, Any], hours: Sequence[float], origin: str) -> None:
    st.html(f"<h2>A month of {HOURS_PER_MONTH:.0f} hours</h2>")
    by_hour = [{"hour": hour, "requests": requests} for hour, requests in enumerate(hours)]
    machine = document["machines"][0] if document["machines"] else None
    capacity = machine["requests_per_hour"]["value"] if machine else None
    told = "Requests in each hour of the day (UTC), as stated here; the line is what one machine answers."
    figure(bars_by_hour(by_hour, capacity), by_hour, name="demand", origin=told, alt="Requests in each hour of the day")
    # Machines first: they are what the APIs are held against.
    own = [one for one in document["months"] if one["machines"] is not None]
    rows = own + [one for one in document["months"] if one["machines"] is None][:MOST]
    drawn = [{"option": one["option"], **one["usd_per_month"], "own": one["machines"] is not None} for one in rows]
    if not drawn:
        return
    drawn.sort(key=lambda row: row["value"])
    figure(bills(drawn), drawn, name="month", origin=origin, alt="Dollars a month by option")
    table = [
        (one["option"], dollars(one["usd_per_month"]["value"]), DASH if one["machines"] is None else number(one["machines"]["value"]),
         DASH if one["utilisation"] is None else f"{100 * one['utilisation']:.0f} %")
        for one in sorted(rows, key=lambda one: one["usd_per_month"]["value"])
    ]  # fmt: skip
    st.html(board(("Option", "$ a month", "Machines at the peak", "Busy"), table))


def _per_correct(correct: Sequence[PerCorrect], run: Listed) -> None:
    st.html("<h2>A correct answer</h2>")
    rows = []
    for one in correct:
        found = None if one.usd_per_correct is None else one.usd_per_correct.times(1000)
        spread = ""
        if found is not None and found.lower is not None:
            spread = f" ({number(found.lower)} to {number(found.upper) if found.upper else '∞'})"
        each = dollars(None if one.usd_per_request is None else 1000 * one.usd_per_request)
        rows.append((one.endpoint, one.task, f"{one.correct:,} of {one.n:,}", each, dollars(found.value) + spread if found else DASH))
    st.html(board(("Endpoint", "Task", "Correct", "$ per 1,000 requests", "$ per 1,000 correct"), rows, text=2))
    downloads([one.model_dump(mode="json") for one in correct], name="correct", origin=f"From {run.origin}; 95 % intervals.")


def _plain(text: str) -> str:
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]<>#|$~:" else letter for letter in text)
