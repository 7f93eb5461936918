"""What can be set against what: the tasks and objectives that enough endpoints have in common, where nobody said which.

    scope = scope_of(records, wishes)            # scope.tasks, scope.weigh, and in words why

Endpoints that were asked different tasks cannot be compared on them. So without `tasks` and `weigh` the widest comparison that the
evidence carries is taken: the most objectives for at least two endpoints, then the most endpoints, then the most tasks.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from evals.errors import PickError
from evals.pick.evidence import Market, Records, market_of
from evals.pick.wishes import OBJECTIVES, Objective, Weights, Wishes
from serving.errors import did_you_mean

_SETS = 12  # sets of tasks that are tried


@dataclass(frozen=True)
class Scope:
    """The tasks that make quality, the weights, the market that follows from them, and notes on what was chosen for the asker."""

    tasks: tuple[str, ...]
    weigh: Weights
    market: Market
    notes: tuple[str, ...] = ()


def measures_for(objective: Objective, market_tasks: tuple[str, ...], wishes: Wishes) -> tuple[str, ...]:
    """The measures that an objective is made of; several are averaged."""
    if objective == "quality":
        return tuple(f"quality:{task}" for task in market_tasks)
    if objective == "latency":
        return (wishes.figure,)
    if objective == "cost":
        return ("usd_per_month" if wishes.under.monthly else "usd_per_1000",)
    return ("rating",)


def known_in(market: Market, objective: Objective, wishes: Wishes) -> set[str]:
    """The endpoints of which everything of the objective is known."""
    names = measures_for(objective, market.tasks, wishes)
    known = [set(market.measures[name].endpoints) if name in market.measures else set() for name in names]
    return set(market.endpoints).intersection(*known) if known else set()


def scope_of(records: Records, wishes: Wishes) -> Scope:
    """The comparison that was asked for, completed by what the evidence carries. Raises PickError for names nobody knows."""
    _check_names(records, wishes)
    named = tuple(task for task in records.tasks if any(fnmatchcase(task, pattern) for pattern in wishes.tasks))
    best: tuple[tuple[int, ...], Scope] | None = None
    for tasks in [named] if wishes.tasks else _task_sets(records):
        market = market_of(records, wishes, tasks)
        asked = wishes.weigh.asked if wishes.weigh else OBJECTIVES
        known = {name: known_in(market, name, wishes) for name in OBJECTIVES}
        for objectives in [asked] if wishes.weigh else _subsets(market, known):
            n = len(set(market.endpoints).intersection(*(known[objective] for objective in objectives)))
            worth = (n > 0, len(objectives) if n > 1 else 0, n, len(tasks))
            if best is None or worth > best[0]:
                weigh = wishes.weigh or Weights(**dict.fromkeys(objectives or OBJECTIVES, 1.0))
                best = worth, Scope(tasks, weigh, market)
    assert best is not None
    scope = best[1]
    notes = []
    others = [task for task in records.tasks if task not in scope.tasks]
    if not wishes.tasks and others and scope.tasks:
        notes.append(f"quality is of {', '.join(scope.tasks)}, not of {_few(others)}")
    left = [name for name in OBJECTIVES if name not in scope.weigh.asked]
    if wishes.weigh is None and left:
        notes.append(f"not weighed: {', '.join(left)}, which no two endpoints have together with the rest")
    return Scope(scope.tasks, scope.weigh, scope.market, (*notes, *scope.market.notes))


def _task_sets(records: Records) -> list[tuple[str, ...]]:
    """Sets of tasks that at least one endpoint was asked, and what any two of these have in common; those of most endpoints first."""
    of = {one: frozenset(task for name, task in records.asked if name == one) for one, _ in records.asked}
    sets = set(of.values()) | {a & b for a in of.values() for b in of.values()} | {frozenset({task}) for task in records.tasks}
    ordered = sorted(sets - {frozenset()}, key=lambda tasks: (-sum(tasks <= has for has in of.values()), -len(tasks), sorted(tasks)))
    return [tuple(sorted(tasks)) for tasks in ordered[:_SETS]] or [()]


def _subsets(market: Market, known: Mapping[Objective, set[str]]) -> Iterator[tuple[Objective, ...]]:
    """Each set of objectives that some endpoint has whole; none at all where nothing is known."""
    sets = {tuple(name for name in OBJECTIVES if one in known[name]) for one in market.endpoints}
    common = {tuple(name for name in a if name in b) for a in sets for b in sets}
    yield from sorted(common - {()}) or [()]


def _check_names(records: Records, wishes: Wishes) -> None:
    for task in (*wishes.tasks, *wishes.require.min_quality):
        if not any(fnmatchcase(known, task) for known in records.tasks):
            told = f"{did_you_mean(task, records.tasks)} Asked so far: {_few(records.tasks) or 'none'}"
            raise PickError(f"task '{task}': no finished run has asked it.{told}")
    known = sorted({*records.endpoints, *(one for one, _ in records.asked), *records.loaded})
    for name in wishes.endpoints:
        if name not in known:
            raise PickError(f"endpoint '{name}': unknown.{did_you_mean(name, known)} 'serving ls' lists them")


def _few(names: list[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
