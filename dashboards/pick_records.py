"""The evidence that Pick weighs: read once for all who look, and again when a file or a vote has changed.

Without a page, so that it can be read before one is open.
"""

from typing import Any

from arena.battle import Arena
from arena.views.kept import Kept
from dashboards.vote_figures import rated_of
from evals.pick.certainty import Beliefs, believe
from evals.pick.command import read_wishes
from evals.pick.evidence import Market, Records, read_records
from evals.pick.scope import scope_of
from evals.runs import run_folders
from serving.documents import stamp

_RECORDS: Kept[Records] = Kept(2)
# Fifty megabytes for two hundred endpoints.
_BELIEFS: Kept[tuple[Market, Beliefs]] = Kept(4)


def records_of(arena: Arena) -> Records:
    """Everything in results/; the votes of this arena, where there are any, instead of a published leaderboard. Raises BakeoffError."""
    return _RECORDS.get(_state(arena), lambda: read_records(arena.results, rated=rated_of(arena, arena.store.counts())))


def records_are_there(arena: Arena) -> bool:
    """Whether nobody has to wait for them."""
    return _RECORDS.has(_state(arena))


def beliefs_of(market: Market) -> Beliefs:
    """Draws of the market; weights and limits change none of them, so that they are kept while the same measures are looked at."""
    # A measure is the same object as long as the records are. Kept beside its draws, its place in memory goes to no other.
    key = (tuple(market.endpoints), tuple((name, id(measured)) for name, measured in market.measures.items()))
    return _BELIEFS.get(key, lambda: (market, believe(market)))[1]


def prepare(arena: Arena) -> None:
    """Have ready what the page shows first, before a slider is moved. Raises BakeoffError."""
    wishes = read_wishes(None, arena.results, {})
    records = records_of(arena)
    beliefs_of(scope_of(records, wishes).market)


def _state(arena: Arena) -> tuple[Any, ...]:
    """What differs when the evidence does: runs, endpoints, prices, published ratings, and votes."""
    results = arena.results
    files = [*(folder / "run.json" for folder in run_folders(results)), *sorted((results / "endpoints").glob("*.yaml"))]
    files += [results / "prices.yaml", results / "leaderboard.json"]
    return (str(results), tuple((str(file), stamp(file)) for file in files), arena.store.name, arena.store.counts())
