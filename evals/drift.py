"""Whether an endpoint still answers as it did: the same frozen items, asked again later.

    evals drift --endpoint gpt-4o --suite nightly          # the newest run against the first; exit code 3 when something moved

Closed models change behind an unchanged name, and it shows in length, refusals and the bill before it shows in accuracy. So every metric is
watched: verdicts pair by pair (McNemar), lengths, seconds and dollars as whole distributions (Kolmogorov and Smirnov). An alarm needs a
false discovery rate of 5 % over all of them *and* more movement than there was between repeated runs of the reference (A/A).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Literal

from evals.compare import ALPHA, QUANTITIES, Flip, Quantity, flips, q_values
from evals.errors import NotComparable
from evals.items import Item, Matched, Side, match
from evals.runs import Run, read_run, read_run_record, run_folders
from serving.documents import Noun
from serving.errors import did_you_mean

SAME_TIME = timedelta(hours=24)  # runs as close as this to the reference are repeats of it
TOLERANCE = 0.1


class Change(Noun):
    """One metric, then and now, over the `n` items of both runs. `difference` is now − then with its 95 % interval.

    `moved` is what is held against the A/A floor: the size of the difference of a share or a metric; of a quantity Kolmogorov and Smirnov's
    distance, the largest difference between the two distributions. `noise` is the largest `moved` between any two repeats of the
    reference (None without repeats).
    """

    task: str
    metric: str
    kind: Literal["share", "metric", "quantity"]
    n: int
    before: float
    after: float
    median_before: float | None = None
    median_after: float | None = None
    difference: float
    lower: float | None
    upper: float | None
    test: Literal["mcnemar_exact", "cluster_t", "bootstrap_t", "ks_paired"]
    p: float | None
    q: float | None = None
    lost: int | None = None
    gained: int | None = None
    moved: float
    noise: float | None = None
    drifted: bool = False


class Drift(Noun):
    """What became of one endpoint between `reference` and `now`. `repeats` are the runs that the A/A floor is from."""

    reference: str
    now: str
    reference_at: datetime
    now_at: datetime
    repeats: tuple[str, ...]
    changes: tuple[Change, ...]
    flips: tuple[Flip, ...]
    notes: tuple[str, ...]

    @property
    def drifted(self) -> tuple[Change, ...]:
        """The changes that are an alarm."""
        return tuple(change for change in self.changes if change.drifted)


@dataclass(frozen=True)
class _Pairs:
    """A metric's values in two runs, item by item."""

    task: str
    metric: str
    kind: Literal["share", "metric", "quantity"]
    a: list[float]
    b: list[float]
    clusters: list[str | None] | None


def find_series(results: Path, endpoint: str, suite: str | None = None) -> tuple[list[Side], list[str]]:
    """The endpoint's finished runs on the newest run's items, oldest first, as far as `find_drift` looks at them, and notes on those left
    out. Raises NotComparable where there are fewer than two.
    """
    records = [(folder, read_run_record(folder)) for folder in run_folders(results) if not (folder / "load.json").is_file()]
    series, notes = frozen_series(records, endpoint, suite, where=results / "runs")
    return sides_of(series, endpoint), notes


def sides_of(series: Sequence[tuple[Path, Run]], endpoint: str) -> list[Side]:
    """The first of the series, its repeats, and the last: what lies between is no part of the answer and is not read."""
    began = series[0][1].started_at
    needed = [(folder, run) for folder, run in series[1:-1] if abs(run.started_at - began) <= SAME_TIME]
    return [Side(read_run(folder, endpoint=endpoint), endpoint) for folder, _ in (series[0], *needed, series[-1])]


def frozen_series(
    records: Sequence[tuple[Path, Run]], endpoint: str, suite: str | None = None, *, where: Path
) -> tuple[list[tuple[Path, Run]], list[str]]:
    """Of these runs (of `evals run`, by their records alone) the endpoint's finished ones on the newest one's items (suite, task files,
    seed, limit), oldest first, and notes on those left out. Raises NotComparable where there are fewer than two.
    """
    # A rescored run holds another day's answers: it is no new observation.
    asked = [(folder, run) for folder, run in records if run.finished_at and "rescored_from" not in run.config]
    of_suite = [(folder, run) for folder, run in asked if suite is None or run.suite == suite]
    mine = sorted(((folder, run) for folder, run in of_suite if endpoint in run.endpoints), key=lambda pair: pair[1].started_at)
    if not mine:
        known = sorted({name for _, run in of_suite for name in run.endpoints})
        of = f", suite {suite}" if suite else ""
        raise NotComparable(
            f"no finished run of endpoint '{endpoint}' in {where}{of}.{did_you_mean(endpoint, known)} 'evals ls' lists the runs"
        )
    newest = mine[-1][1]

    def frozen(config: dict[str, object]) -> object:
        tasks = config.get("tasks")
        hashes = sorted(str(entry.get("sha256")) for entry in tasks.values()) if isinstance(tasks, dict) else None
        return hashes, config.get("limit")

    items = (newest.suite, newest.seed, frozen(newest.config))
    same = [(folder, run) for folder, run in mine if (run.suite, run.seed, frozen(run.config)) == items]
    if len(same) < 2:
        raise NotComparable(
            f"endpoint '{endpoint}' has one run of suite '{newest.suite}' with these tasks, seed and limit ({newest.run_id}); "
            f"drift needs two: run 'evals run {newest.suite} --endpoint {endpoint}' again"
        )
    left = len(mine) - len(same)
    notes = [f"{left} runs of '{endpoint}' with another suite, task file, seed or limit were left out"] if left else []
    return same, notes


def find_drift(series: Sequence[Side], *, tolerance: float = TOLERANCE, examples: int = 3, notes: Iterable[str] = ()) -> Drift:
    """The last of `series` against the first. Those between that started within 24 h of the first are its repeats, for the A/A floor.

    `tolerance` is the smallest Kolmogorov–Smirnov distance of a quantity that is an alarm: so large a share of the answers must have moved.
    Raises NotComparable where the items are not the same.
    """
    reference, now = series[0], series[-1]
    began = reference.files.run.started_at
    repeats = [side for side in series[1:-1] if abs(side.files.run.started_at - began) <= SAME_TIME and side.endpoint == reference.endpoint]
    tasks = [task for task in reference.tasks if task in now.tasks]
    if not tasks:
        raise NotComparable(f"no task in common between {reference.name} and {now.name}")
    matches = [match(reference, now, task) for task in tasks]
    told = [*notes, *_changed_entry(reference, now), *dict.fromkeys(note for matched in matches for note in matched.notes)]
    if now.files.run.n_held:
        told.append(f"{now.files.run.n_held} answers of {now.name} were not asked again but held already (resumed, or --cache)")
    if not repeats:
        told.append("the reference was run once, so that nothing says how much such runs differ by themselves: run it twice within a day")
    floor = _noise([reference, *repeats], tasks)
    found = [_change(pairs) for matched in matches for pairs in _metrics(matched)]
    changes = []
    for change, q in zip(found, q_values([change.p for change in found]), strict=True):
        noise = floor.get((change.task, change.metric), 0.0) if repeats else None
        alarm = q is not None and q <= ALPHA and change.moved > (noise or 0.0)
        if change.kind == "quantity":
            alarm = alarm and change.moved >= tolerance
        changes.append(change.model_copy(update={"q": q, "noise": noise, "drifted": alarm}))
    drifted = {change.task for change in changes if change.drifted}
    return Drift(
        reference=reference.name,
        now=now.name,
        reference_at=began,
        now_at=now.files.run.started_at,
        repeats=tuple(side.name for side in repeats),
        changes=tuple(changes),
        flips=tuple(flip for matched in matches if matched.task in drifted for flip in flips(matched.answered, examples)),
        notes=tuple(told),
    )


def _changed_entry(reference: Side, now: Side) -> list[str]:
    """A note where the endpoint was not the same entry in both runs: then the change may be our own."""
    entries = [side.files.run.config.get("endpoints", {}).get(side.endpoint, {}) for side in (reference, now)]
    keys = [key for key in sorted({*entries[0], *entries[1]}) if entries[0].get(key) != entries[1].get(key) and key != "price"]
    return [f"the endpoint's own entry changed between the runs: {', '.join(keys)}"] if keys else []


def _noise(sides: Sequence[Side], tasks: Iterable[str]) -> dict[tuple[str, str], float]:
    """The largest movement of each metric between any two of these runs of the same thing."""
    floor: dict[tuple[str, str], float] = {}
    for a, b in combinations(sides, 2):
        for task in tasks:
            for pairs in _metrics(match(a, b, task)):
                key = (pairs.task, pairs.metric)
                floor[key] = max(floor.get(key, 0.0), _moved(pairs))
    return floor


def _moved(pairs: _Pairs) -> float:
    from evals.stats import paired_ks

    if pairs.kind == "quantity":
        return paired_ks(pairs.a, pairs.b, permutations=0)[0]
    return abs(sum(pairs.b) - sum(pairs.a)) / len(pairs.a)


def _metrics(matched: Matched) -> list[_Pairs]:
    """Everything that is watched on one task; what neither run knows, or what happened in neither, is left out."""
    both, clusters = matched.answered, matched.clusters
    found = []
    if both.a:
        x, y = ([item.value or 0.0 for item in items] for items in (both.a, both.b))
        kind: Literal["share", "metric"] = "share" if set(x) | set(y) <= {0.0, 1.0} else "metric"
        found.append(_Pairs(matched.task, matched.metric, kind, x, y, both.clusters))
        found += [pairs for quantity in QUANTITIES if (pairs := _quantity(both, quantity))]
    for name in ("unparsed", "refused", "truncated", "failed"):
        x, y = ([float(_happened(name, item)) for item in items] for items in (matched.a, matched.b))
        if any(x) or any(y):
            found.append(_Pairs(matched.task, name, "share", x, y, clusters))
    return found


def _happened(name: str, item: Item) -> bool:
    sample = item.sample
    return not sample.answered if name == "failed" else name in (sample.status, sample.verdict)


def _quantity(both: Matched, quantity: Quantity) -> _Pairs | None:
    def known(one: Item, other: Item) -> bool:
        return getattr(one, quantity) is not None and getattr(other, quantity) is not None

    kept = [(one, other) for one, other in zip(both.a, both.b, strict=True) if known(one, other)]
    if not kept:
        return None
    x, y = ([getattr(pair[side], quantity) for pair in kept] for side in (0, 1))
    clusters = [one.sample.cluster for one, _ in kept] if both.clusters else None
    return _Pairs(both.task, quantity, "quantity", x, y, clusters)


def _change(pairs: _Pairs) -> Change:
    from statistics import fmean, median

    from evals import stats

    share = pairs.kind == "share"
    measure = stats.paired_difference if share else stats.paired_bootstrap
    found = measure(pairs.a, pairs.b, clusters=pairs.clusters)
    lost, gained = (sum(x > y for x, y in zip(*sides, strict=True)) for sides in ((pairs.a, pairs.b), (pairs.b, pairs.a)))
    test: Literal["mcnemar_exact", "cluster_t", "bootstrap_t", "ks_paired"] = "bootstrap_t"
    p: float = found.p
    if pairs.kind == "quantity":
        test, p = "ks_paired", stats.paired_ks(pairs.a, pairs.b)[1]
    elif share and found.n_clusters == found.n:
        test, p = "mcnemar_exact", stats.mcnemar_exact(lost, gained)
    elif share:
        test = "cluster_t"
    unsure = found.lower != found.lower
    return Change(
        task=pairs.task,
        metric=pairs.metric,
        kind=pairs.kind,
        n=found.n,
        before=fmean(pairs.a),
        after=fmean(pairs.b),
        median_before=None if share else median(pairs.a),
        median_after=None if share else median(pairs.b),
        difference=found.value,
        lower=None if unsure else found.lower,
        upper=None if unsure else found.upper,
        test=test,
        p=None if p != p else p,
        lost=lost if share else None,
        gained=gained if share else None,
        moved=_moved(pairs),
    )
