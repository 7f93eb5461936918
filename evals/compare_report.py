"""A comparison on screen: who is ahead by how much, what that rests on, what else moved, and the items that flipped.

Console().print(*tables(comparisons))

A dash is "not known"; brackets hold a 95 % interval. Shares are in percent, their differences in points.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from evals.compare import Comparison, Flip, Shift

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

DASH = "–"
TITLES = {"output_tokens": "output tokens", "characters": "characters", "latency_s": "latency", "cost_usd": "$ per 1,000"}
TESTS = {"mcnemar_exact": "McNemar", "cluster_t": "t, clusters", "bootstrap_t": "bootstrap"}


def tables(found: Sequence[Comparison]) -> "Iterator[RenderableType]":
    """One table of scores and one of shifts for each task; below it what each comparison comes to. One run alone is not named each time."""
    from rich.markup import escape

    runs = {name.partition(":")[0] for one in found for name in (one.a, one.b)}
    if len(runs) == 1:
        found = [one.model_copy(update={"a": one.a.partition(":")[2], "b": one.b.partition(":")[2]}) for one in found]
    for task, metric in dict.fromkeys((one.task, one.metric) for one in found):
        of_task = [one for one in found if (one.task, one.metric) == (task, metric)]
        yield _scores(f"{task}, {metric}", of_task)
        if any(one.shifts for one in of_task):
            yield _shifts(of_task)
        for one in of_task:
            yield "\n".join(escape(line) for line in (says(one), *(f"  note: {note}" for note in one.notes))) + "\n"
    for one in found:
        for flip in one.flips:
            yield escape(_flip(one, flip))


def says(one: Comparison) -> str:
    """What a comparison comes to, in a sentence or two."""
    percent = one.lost is not None
    by = _by(abs(one.difference), percent)
    if one.p is None:
        return f"{one.b} against {one.a}: a single cluster does not say how sure this is."
    if one.settled:
        side = "above" if one.difference > 0 else "below"
        told = f"{one.b} is {by} {side} {one.a}: p = {number(one.p)}, q = {number(one.q)}."
    else:
        told = f"{one.b} and {one.a} are not told apart: p = {number(one.p)}, q = {number(one.q)}."
        if one.detectable is not None:
            told += f" {one.n:,} items show a difference of {_by(one.detectable, percent)} four times in five."
        if one.items_more:
            told += f" To tell these apart ({by}) you need about {one.items_more:,} more items."
    told += f" The answers to {one.changed:,} of {one.n:,} items differ."
    if one.bounds is not None:
        low, high = (_signed(bound, percent) for bound in one.bounds)
        told += f" {one.n_failed_a} and {one.n_failed_b} requests failed: had they been answered, it would lie within [{low}, {high}]."
    return told


def number(p: float | None) -> str:
    """A p-value as it is read: .031, 2e-41."""
    if p is None:
        return DASH
    return f"{p:.0e}" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def amount(quantity: str, value: float, *, sign: bool = False) -> str:
    """A value of one of the quantities, with its unit."""
    plus = "+" if sign else ""
    if quantity == "cost_usd":
        text = f"{1000 * abs(value):,.2f}" if abs(value) >= 1e-5 or not value else f"{1000 * abs(value):.2g}"
        return ("-" if value < 0 else plus) + f"${text}"
    if quantity == "latency_s":
        return f"{value:{plus},.2f} s"
    return f"{value:{plus},.1f}"


def short(text: str, most: int = 110) -> str:
    """One line: the beginning and, since answers end with what counts, the end."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most // 2]} … {line[-most // 2 :]}"


def table(title: str, *headings: str) -> "Table":
    """An empty table; what is no text stands on the right."""
    from rich.table import Table

    shown = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for place, heading in enumerate(headings):
        shown.add_column(heading, justify="left" if place < 2 or heading in ("", "test") else "right", overflow="fold")
    return shown


def _scores(title: str, found: Sequence[Comparison]) -> "Table":
    shown = table(title, "baseline", "other", "n", "baseline", "other", "difference", "lost:gained", "p", "q", "test")
    for one in found:
        percent = one.lost is not None
        interval = f" [{_signed(one.lower, percent)}, {_signed(one.upper, percent)}]" if one.lower is not None else ""
        shown.add_row(
            one.a,
            one.b,
            f"{one.n:,}" if one.n == one.n_clusters else f"{one.n:,} in {one.n_clusters:,}",
            _value(one.value_a, percent),
            _value(one.value_b, percent),
            _signed(one.difference, percent) + interval,
            DASH if one.lost is None else f"{one.lost:,}:{one.gained:,}",
            number(one.p),
            number(one.q),
            TESTS[one.test],
        )
    return shown


def _shifts(found: Sequence[Comparison]) -> "Table":
    shown = table("what else moved (means; medians in brackets)", "baseline", "other", "", "n", "baseline", "other", "difference", "q")
    for one in found:
        for shift in one.shifts:
            shown.add_row(one.a, one.b, *_shift(shift))
    return shown


def _shift(shift: Shift) -> tuple[str, ...]:
    def shown(value: float | None, sign: bool = False) -> str:
        return DASH if value is None else amount(shift.quantity, value, sign=sign)

    return (
        TITLES[shift.quantity],
        f"{shift.n:,}",
        f"{shown(shift.mean_a)} ({shown(shift.median_a)})",
        f"{shown(shift.mean_b)} ({shown(shift.median_b)})",
        f"{shown(shift.difference, True)} [{shown(shift.lower, True)}, {shown(shift.upper, True)}]",
        number(shift.q),
    )


def _flip(one: Comparison, flip: Flip) -> str:
    return (
        f"{one.task} {flip.doc_id}: {short(flip.prompt, 160)}\n"
        f"  {one.a}, {flip.verdict_a}: {short(flip.answer_a)}\n"
        f"  {one.b}, {flip.verdict_b}: {short(flip.answer_b)}\n"
        f"  right: {short(flip.target)}\n"
    )


def _value(value: float, percent: bool) -> str:
    return f"{100 * value:.1f} %" if percent else f"{value:.4g}"


def _signed(value: float | None, percent: bool) -> str:
    if value is None:
        return DASH
    return f"{100 * value:+.1f}" if percent else f"{value:+.4g}"


def _by(value: float, percent: bool) -> str:
    return f"{100 * value:.1f} points" if percent else f"{value:.3g}"
