"""Drift on screen: the alarm in one line each, every metric then and now, and the items that flipped.

Console().print(*tables(found))
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from evals.compare_report import DASH, amount, number, short, table
from evals.drift import Change, Drift

if TYPE_CHECKING:
    from rich.console import RenderableType

TESTS = {"mcnemar_exact": "McNemar", "cluster_t": "t, clusters", "bootstrap_t": "bootstrap", "ks_paired": "KS, paired"}
WORDS = {"output_tokens": "output tokens", "characters": "characters", "latency_s": "latency", "cost_usd": "$ per 1,000 answers"}


def tables(found: Drift) -> "Iterator[RenderableType]":
    """The headline, the table, examples, notes."""
    from rich.markup import escape

    shown = table(
        f"{found.reference} ({found.reference_at:%Y-%m-%d %H:%M}) against {found.now} ({found.now_at:%Y-%m-%d %H:%M})",
        *("task", "metric", "n", "then", "now", "difference", "moved", "A/A", "q", "test", ""),
    )
    for one in found.changes:
        shown.add_row(*_cells(one))
    yield shown
    yield ""
    for flip in found.flips:
        yield escape(
            f"{flip.doc_id}: {short(flip.prompt, 160)}\n  then, {flip.verdict_a}: {short(flip.answer_a)}\n"
            f"  now, {flip.verdict_b}: {short(flip.answer_b)}\n  right: {short(flip.target)}\n"
        )
    for note in found.notes:
        yield escape(f"note: {note}")
    yield escape(headline(found))


def headline(found: Drift) -> str:
    """One line for whoever is woken by it."""
    alarms = found.drifted
    if not alarms:
        return f"no drift in {len(found.changes)} metrics of {found.now}"
    told = "; ".join(
        f"{one.task} {WORDS.get(one.metric, one.metric)} {value(one, one.before)} -> {value(one, one.after)}" for one in alarms
    )
    return f"DRIFT of {found.now} in {len(alarms)} of {len(found.changes)} metrics: {told}"


def value(one: Change, number_: float, *, sign: bool = False) -> str:
    """A value of this metric with its unit."""
    if one.kind == "quantity":
        return amount(one.metric, number_, sign=sign)
    plus = "+" if sign else ""
    return f"{100 * number_:{plus}.1f}{'' if sign else ' %'}" if one.kind == "share" else f"{number_:{plus}.4g}"


def _cells(one: Change) -> tuple[str, ...]:
    interval = (
        "" if one.lower is None or one.upper is None else f" [{value(one, one.lower, sign=True)}, {value(one, one.upper, sign=True)}]"
    )
    flips = f" ({one.lost}:{one.gained})" if one.lost is not None else ""
    moved = "{:.2f}" if one.kind == "quantity" else "{:.3g}"
    return (
        one.task,
        WORDS.get(one.metric, one.metric),
        f"{one.n:,}",
        value(one, one.before),
        value(one, one.after),
        value(one, one.difference, sign=True) + interval + flips,
        moved.format(one.moved),
        DASH if one.noise is None else moved.format(one.noise),
        number(one.q),
        TESTS[one.test],
        "DRIFT" if one.drifted else "",
    )
