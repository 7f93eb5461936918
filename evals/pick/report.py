"""The decision in words and tables: the same sentences on screen and on the page.

Console().print(*tables(decision, wishes))
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from evals.pick.choosing import Candidate, Decision, Excluded, Valued
from evals.pick.constraints import Change, Check
from evals.pick.wishes import Wishes

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

DASH = "–"
MOST_ROWS = 12
NAMES = {
    "rating": "human rating",
    "quality": "task quality",
    "latency": "latency",
    "cost": "cost",
    "latency_p50": "latency, median",
    "latency_p95": "latency, p95",
    "ttft_p50": "time to first token, median",
    "ttft_p95": "time to first token, p95",
    "usd_per_1000": "$ per 1,000 requests",
    "usd_per_month": "$ a month",
}
TERMS = {"open_weights": "open weights", "data_stays": "data stay", "licenses": "licence"}


def named(measure: str) -> str:
    """A measure as people call it."""
    return NAMES.get(measure) or f"quality on {measure.partition(':')[2]}"


def shown(measure: str, value: float | str | bool | None) -> str:
    """A value with its unit: 1,034, 76.0 %, 2.03 s, $.658; a dash for what is not known."""
    if value is None or isinstance(value, str):
        return value or DASH
    if measure == "rating":
        return f"{value:,.0f}"
    if measure.startswith("quality"):
        return f"{100 * value:.1f} %"
    text = f"{value:,.0f}" if value >= 1000 else f"{value:#.3g}".rstrip(".")
    return f"${text}" if measure.startswith("usd") else f"{text} s"


def interval(measure: str, found: Valued | None) -> str:
    """`76.0 % [73.2, 78.5]`."""
    if found is None:
        return DASH
    low, high = (shown(measure, bound).strip("$s% ") for bound in (found.lower, found.upper))
    return shown(measure, found.value) + (f" [{low}, {high}]" if low != high else "")


def percent(share: float | None) -> str:
    """A probability: 83 %, <1 %, >99 %."""
    if share is None:
        return DASH
    return "<1 %" if share < 0.01 else ">99 %" if share > 0.99 else f"{100 * share:.0f} %"


def surely(share: float) -> str:
    """How sure that is, in words."""
    words = ((0.95, "almost certainly"), (0.8, "very likely"), (0.6, "likely"), (0.4, "as likely as not"))
    return next((word for bound, word in words if share >= bound), "one of several that may be")


def verdict(decision: Decision) -> str:
    """The decision in a sentence or three."""
    if decision.choice is None:
        if decision.relaxations:
            return "No endpoint keeps every constraint."
        return "No endpoint can be chosen: of each, something that counts is unknown or a constraint is not kept."
    assert decision.probability is not None
    first = f"{decision.choice}: {surely(decision.probability)} the best ({percent(decision.probability)})."
    return " ".join(line for line in (first, doubt(decision), second(decision)) if line)


def doubt(decision: Decision) -> str:
    """How probably the choice keeps every constraint, where that is in doubt; else nothing."""
    if decision.probability_feasible is None or decision.probability_feasible >= 0.995:
        return ""
    return f"It keeps every constraint with a probability of {percent(decision.probability_feasible)}."


def second(decision: Decision) -> str:
    """Who comes second, and why not first."""
    if decision.runner_up is None:
        return "It is the only one that may be chosen."
    return f"Runner-up: {decision.runner_up} ({percent(decision.probability_runner_up)}){_because(decision)}."


def _because(decision: Decision) -> str:
    """What the second has over the first, and what it lacks, by objective."""
    parts = sorted(decision.candidates[1].parts.items(), key=lambda part: part[1])
    lacks = [NAMES[name] for name, value in parts if value < -0.05]
    has = [NAMES[name] for name, value in reversed(parts) if value > 0.05]
    told = [f"{how} in {_list(names)}" for how, names in (("better", has), ("worse", lacks)) if names]
    return f", {', '.join(told)}" if told else ""


def advice(decision: Decision) -> list[str]:
    """What to measure next, a sentence each, the most telling first."""
    lines = []
    for place, one in enumerate(decision.measure_next[:2]):
        more = f"{one.n_more:,} more {one.unit if one.n_more != 1 else one.unit.rstrip('s')}"
        reach = f"; knowing it exactly, {percent(one.most)}" if one.most - one.then > 0.02 else ""
        lines.append(
            f"{'Measure next' if not place else 'Or'}: {named(one.measure)} of {one.endpoint}, {more}: "
            f"the probability of a right choice goes from {percent(one.now)} to {percent(one.then)} on average{reach}."
        )
    if not decision.measure_next and decision.choice is not None:
        sure = "the choice is settled" if (decision.probability or 0) > 0.95 else "the rest is in what is not measured here"
        lines.append(f"Nothing that is measured here would move the choice if it was measured again: {sure}.")
    for first in decision.measure_first[:2]:
        chance = percent(first.probability_best)
        lines.append(
            f"Never measured: {_list([named(name) for name in first.missing])} of {first.endpoint}; it would be chosen with {chance}."
        )
    return lines


def relaxed(decision: Decision) -> list[str]:
    """Which constraint to relax and by how much, a line each, the smallest first."""
    return [f"{', and '.join(_change(change) for change in one.changes)}: lets {one.endpoint} in" for one in decision.relaxations]


def _change(change: Change) -> str:
    if change.to is None:
        return f"leave out {TERMS.get(change.constraint, change.constraint)}"
    measure = _measure(change.constraint)
    by = abs(change.by or 0.0)
    unit = f"{100 * by:.2g} points" if measure.startswith("quality") else f"{by:.3g} points" if measure == "rating" else shown(measure, by)
    way = "raise" if change.constraint.startswith("max") else "lower"
    return f"{way} {change.constraint} from {change.limit:g} to {change.to:g} (by {unit})"


def reasons(one: Excluded) -> str:
    """Why it may not be chosen."""
    told = [_reason(check) for check in one.checks]
    return "; ".join([*told, *([f"{_list([NAMES[name] for name in one.unknown])} unknown"] if one.unknown else [])])


def _reason(check: Check) -> str:
    if check.constraint in TERMS:
        return check.why or "" if check.verdict == "broken" else f"{TERMS[check.constraint]}: unknown"
    measure = _measure(check.constraint)
    if check.verdict == "unknown":
        return f"{named(measure)} unknown"
    sign = ">" if check.constraint.startswith("max") else "<"
    return check.why or f"{named(measure)} {shown(measure, check.value)} {sign} {shown(measure, check.limit)}"


def _measure(constraint: str) -> str:
    """The measure that a constraint is on."""
    if constraint.startswith("min_quality:"):
        return constraint.replace("min_quality", "quality")
    known = {"max_ttft_p95_s": "ttft_p95", "max_latency_p95_s": "latency_p95", "min_rating": "rating"}
    return known.get(constraint, constraint.removeprefix("max_"))


def scored(one: Candidate) -> str:
    """How far behind the chosen one, in units: 0, −0.58."""
    return f"{one.score:+.2f}".replace("-", "−") if round(one.score, 2) else "0"


def grouped(excluded: tuple[Excluded, ...]) -> list[tuple[str, list[str]]]:
    """(reason, endpoints) of the excluded: those of whom the same is unknown share a line."""
    lines: dict[str, list[str]] = {}
    for one in excluded:
        lines.setdefault(reasons(one), []).append(one.endpoint)
    return list(lines.items())


def tables(decision: Decision, wishes: Wishes) -> "Iterator[RenderableType]":
    """Everything, in the order in which it is asked."""
    from rich.markup import escape

    yield f"[bold]{escape(verdict(decision))}[/bold]"
    for line in relaxed(decision):
        yield f"  {escape(line)}"
    if decision.candidates:
        yield f"\n{_weights(decision)}"
        yield _candidates(decision)
    for line in advice(decision):
        yield escape(line)
    if decision.excluded:
        yield "\nNot to be chosen:"
        for reason, endpoints in grouped(decision.excluded):
            yield escape(f"  {_names(endpoints)}: {reason}")
    for note in decision.notes:
        yield escape(f"note: {note}")


def _weights(decision: Decision) -> str:
    units = {"rating": "100 points", "quality": "10 points", "latency": "half the seconds", "cost": "half the dollars"}
    told = [f"{NAMES[name]} {weight:g} for {units[name]}" for name, weight in decision.weigh.items() if weight]
    return f"weights: {', '.join(told)}{f'; seconds at {decision.under}' if decision.under else ''}"


def _candidates(decision: Decision) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    measures = [measure for parts in decision.objectives.values() for measure in parts]
    table = Table(box=None, pad_edge=False)
    for name in ("endpoint", *(named(measure) for measure in measures), "score", "best", "front"):
        table.add_column(name, justify="left" if name == "endpoint" else "right", overflow="fold")
    for one in decision.candidates[:MOST_ROWS]:
        cells = [interval(measure, one.values.get(measure)) for measure in measures]
        table.add_row(escape(one.endpoint), *cells, scored(one), percent(one.probability_best), "yes" if one.on_front else "")
    if len(decision.candidates) > MOST_ROWS:
        table.caption = f"and {len(decision.candidates) - MOST_ROWS} more; --json has them all"
    return table


def _names(endpoints: list[str], most: int = 5) -> str:
    return ", ".join(endpoints[:most]) + (f" and {len(endpoints) - most} more" if len(endpoints) > most else "")


def _list(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
