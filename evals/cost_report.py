"""The bill on screen: what `evals cost` computed, as tables. A dash is "not known"; brackets hold a 95 % interval.

Console().print(*tables(document))
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

DASH = "–"


def tables(document: dict[str, Any]) -> "Iterator[RenderableType]":
    """One table a question; those without an answer are left out."""
    if "shape" in document:
        shape = document["shape"]
        yield (
            f"a request: {shape['input_tokens']:,.0f} input and {shape['output_tokens']:,.0f} output tokens ({shape['source']}); "
            f"prices of {document['on'][:16]} UTC{', batch' if document['batch'] else ''}\n"
        )
        if document["machines"]:
            yield _machines(document["machines"])
        if document["apis"]:
            yield _apis(document)
        if document["months"]:
            yield _months(document)
        if document["not_priced"]:
            yield f"not priced: {', '.join(document['not_priced'])}\n"
    if document["per_correct"]:
        yield _per_correct(document["per_correct"])


def _machines(machines: list[dict[str, Any]]) -> "Table":
    headings = [f"{one['machine']}, {unit}" for one in machines for unit in ("$/Mtok", "$/1,000 requests")]
    table = _table("Own machines, by the share of the time they are busy", "busy", *headings)
    for row in zip(*(machine["at"] for machine in machines), strict=True):
        cells = [_interval(one[key]) for one in row for key in ("usd_per_mtok", "usd_per_1000_requests")]
        table.add_row(f"{100 * row[0]['utilisation']:.0f} %", *cells)
    table.caption = "\n".join(
        f"{one['machine']}: ${one['usd_per_hour']:g}/h{' for ' + one['accelerators'] if one['accelerators'] else ''}, "
        f"{_interval(one['tokens_per_s'], '{:,.0f}', '')} tok/s, {_interval(one['requests_per_hour'], '{:,.0f}', '')} requests/h"
        for one in machines
    )
    table.caption_justify = "left"
    return table


def _apis(document: dict[str, Any]) -> "Table":
    """Each API with, per machine, the busy share and the requests an hour from which the machine is cheaper."""
    even = {(one["against"], one["machine"]): one for one in document["break_even"]}
    names = [machine["machine"] for machine in document["machines"]]
    headings = [heading for name in names for heading in (f"{name} pays above", "requests/h")]
    table = _table("APIs", "endpoint", "$/1,000 requests", "$/Mtok", *headings, "source")
    for api in document["apis"]:
        cells = []
        for name in names:
            found = even.get((api["endpoint"], name))
            from_here = DASH if found is None or found["pays"] is False else f"{found['requests_per_hour']:,.0f}"
            cells += [DASH if found is None else _pays(found), from_here]
        checked = f", checked {api['checked_on']}" if api["checked_on"] else f", since {api['since']}" if api["since"] else ""
        costs = [_usd(api["usd_per_1000_requests"]), _usd(api["usd_per_mtok"])]
        table.add_row(api["endpoint"], *costs, *cells, (api["source"] or DASH) + checked)
    return table


def _pays(found: dict[str, Any]) -> str:
    share = _interval({key: None if value is None else 100 * value for key, value in found["utilisation"].items()}, "{:.0f}", "")
    return {True: f"{share} %", False: f"never ({share} %)", None: f"{share} %, not settled"}[found["pays"]]


def _months(document: dict[str, Any]) -> "Table":
    table = _table(f"A month ({document['hours_per_month']:.0f} h) of the demand", "option", "$/month", "machines at peak", "busy")
    for bill in document["months"]:
        machines = DASH if bill["machines"] is None else _interval(bill["machines"], "{:,.0f}", "")
        busy = DASH if bill["utilisation"] is None else f"{100 * bill['utilisation']:.0f} %"
        table.add_row(bill["option"], _interval(bill["usd_per_month"], "{:,.0f}"), machines, busy)
    return table


def _per_correct(rows: list[dict[str, Any]]) -> "Table":
    table = _table("Correct answers", "endpoint", "task", "correct", "$/1,000 requests", "$/1,000 correct answers")
    for row in rows:
        each = DASH if row["usd_per_request"] is None else _usd(1000 * row["usd_per_request"])
        found = row["usd_per_correct"]
        correct = DASH if found is None else _interval({key: None if value is None else 1000 * value for key, value in found.items()})
        failed = f", {row['n_failed']} failed" if row["n_failed"] else ""
        table.add_row(row["endpoint"], row["task"], f"{row['correct']:,} of {row['n']:,}{failed}", each, correct)
    return table


def _table(title: str, first: str, *others: str) -> "Table":
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column(first, overflow="fold")
    for heading in others:
        table.add_column(heading, justify="left" if heading in ("source", "task") else "right", overflow="fold")
    return table


def _interval(found: dict[str, Any], form: str = "", unit: str = "$") -> str:
    """`$.278 [.26, .30]`; a bound without a limit is ∞."""

    def shown(value: float) -> str:
        return form.format(value) if form else _usd(value).removeprefix("$")

    if found["lower"] is None and found["upper"] is None:
        return unit + shown(found["value"])
    low = "0" if found["lower"] is None else shown(found["lower"])
    high = "∞" if found["upper"] is None else shown(found["upper"])
    return unit + shown(found["value"]) + (f" [{low}, {high}]" if low != high else "")


def _usd(amount: float) -> str:
    return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${amount:#.3g}"
