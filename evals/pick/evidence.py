"""What is known of each endpoint, read from results/: its terms, the newest run of each task, its load tests, its rating.

    records = read_records(Path("results"))
    market = market_of(records, wishes, tasks=("gsm8k",))

Of an endpoint and a task the newest finished run counts. An arena's model is the endpoint of the same id, or the one that `names` says.
Nothing here decides: a measure that an endpoint lacks is left out, and "unknown" to whoever asks for it.
"""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from evals.errors import PickError
from evals.items import Side, metrics_of
from evals.load.figures import Level
from evals.pick.bills import bills
from evals.pick.measured import Answers, Measured, Quantile, of_bills, of_items, of_levels, of_ratings, of_requests
from evals.pick.wishes import LatencyFigure, Under, Wishes
from evals.runs import RunFiles, read_run, read_run_record, run_folders
from serving.documents import without_collection
from serving.endpoints import Endpoint, load_endpoints
from serving.errors import BakeoffError

UNPARSED = "unparsed"
ENOUGH_ANSWERED = 0.95  # of the requests under load; with more failures than 5 % the 95th percentile is a failure
_MOST_KNOWN = 500


@dataclass(frozen=True)
class Asked:
    """One endpoint's answers on one task: items by (file hash, document), and of each answered request seconds, dollars and tokens."""

    run_id: str
    metric: str
    items: Answers
    file: str | None = None
    latency_s: tuple[float, ...] = ()
    ttft_s: tuple[float, ...] = ()
    cost_usd: tuple[float, ...] = ()
    tokens: tuple[tuple[float, float, float], ...] = ()
    n_answered: int = 0


@dataclass(frozen=True)
class Loaded:
    """One endpoint's load tests: each level with the run it is of, and the folder of the newest, for its throughput."""

    levels: tuple[tuple[str, Level], ...]
    folder: Path | None = None


@dataclass(frozen=True)
class Records:
    """All that was read. `rated` is the document of results/leaderboard.json; `problems` are files that could not be read, a line each."""

    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    asked: Mapping[tuple[str, str], Asked] = field(default_factory=dict)
    loaded: Mapping[str, Loaded] = field(default_factory=dict)
    rated: Mapping[str, Any] | None = None
    problems: tuple[str, ...] = ()
    known: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    gate: threading.Lock = field(default_factory=threading.Lock, compare=False, repr=False)

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` computes from these records, kept under its key: wishes change by the second on a page, records do not. Of keys that
        a wish makes there is no end, so the oldest gives way.
        """
        with self.gate:
            if key in self.known:
                return self.known[key]
        made = make()
        with self.gate:
            while len(self.known) >= _MOST_KNOWN:
                del self.known[next(iter(self.known))]
            return self.known.setdefault(key, made)

    @property
    def tasks(self) -> list[str]:
        """The tasks that any endpoint was asked."""
        return sorted({task for _, task in self.asked})


@dataclass(frozen=True)
class Market:
    """The endpoints to choose from, and every measure by name: rating, quality:TASK, latency_p50 …, usd_per_1000, usd_per_month.

    `broken` says of (measure, endpoint) why there is no value though it was tried: more failures than the figure bears.
    """

    endpoints: Mapping[str, Endpoint | None]
    measures: Mapping[str, Measured]
    tasks: tuple[str, ...] = ()
    broken: Mapping[tuple[str, str], str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def value(self, measure: str, endpoint: str) -> float | None:
        """In natural units; None where it is not known."""
        return self.measures[measure].value(endpoint) if measure in self.measures else None


@without_collection()
def read_records(results: Path, *, rated: Mapping[str, Any] | None = None) -> Records:
    """Everything in results/. `rated` is used instead of results/leaderboard.json. A run that cannot be read is a problem, no end."""
    endpoints = load_endpoints(results)
    asked: dict[tuple[str, str], Asked] = {}
    loaded: dict[str, Loaded] = {}
    problems: list[str] = []
    for folder in reversed(run_folders(results)):
        try:
            if (folder / "load.json").is_file():
                _take_load(folder, loaded)
            elif read_run_record(folder).finished_at is not None and not _pairs_of(folder) <= asked.keys():
                for pair, found in asked_of(read_run(folder)).items():
                    asked.setdefault(pair, found)
        except BakeoffError as error:
            problems.append(str(error))
    return Records(endpoints, asked, loaded, rated or read_leaderboard(results / "leaderboard.json"), tuple(problems))


def read_leaderboard(path: Path) -> dict[str, Any] | None:
    """results/leaderboard.json, None where there is none. Raises PickError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise PickError(f"{path}: not JSON: {error}; 'arena leaderboard --publish' writes it anew") from None
    if not isinstance(document, dict) or not isinstance(document.get("ratings"), list):
        raise PickError(f"{path}: ratings: missing; 'arena leaderboard --publish' writes it anew")
    return document


def asked_of(files: RunFiles) -> dict[tuple[str, str], Asked]:
    """What each endpoint of a run answered on each task: items of the task's headline metric, its first that is a number."""
    by_request: dict[tuple[str, str], list[Any]] = {}
    for completion in files.completions:
        if completion.answered:
            by_request.setdefault((completion.endpoint, completion.request_hash), []).append(completion)
    samples: dict[tuple[str, str], list[Any]] = {}
    for sample in files.samples:
        samples.setdefault((sample.endpoint, sample.task), []).append(sample)
    found = {}
    for (endpoint, task), rows in samples.items():
        side = Side(RunFiles(files.folder, files.run, (), tuple(rows), ()), endpoint)
        metric = next((name for name in metrics_of(side, task) if name.partition(",")[0] != UNPARSED), None)
        if metric is None:
            continue
        name, _, wanted = metric.partition(",")
        headline = [row for row in rows if row.filter == (wanted or rows[0].filter)]
        values = {row.doc_id: row.metrics.get(name) if row.answered else None for row in headline}
        file = _file_hash(files, task)
        items: dict[Any, tuple[float | None, str | None]] = {
            (file, row.doc_id): (None if (value := values[row.doc_id]) is None else float(value), row.cluster) for row in headline
        }
        hashes = dict.fromkeys(each for row in headline for each in (row.request_hashes or (row.request_hash,)))
        answers = [answer for each in hashes for answer in by_request.get((endpoint, each), [])]
        usages = [answer.usage for answer in answers]
        found[endpoint, task] = Asked(
            files.run.run_id, metric, items, file,
            tuple(answer.latency_s for answer in answers if answer.latency_s is not None),
            tuple(answer.ttft_s for answer in answers if answer.ttft_s is not None),
            tuple(answer.cost_usd for answer in answers if answer.cost_usd is not None),
            tuple(
                (float(usage.input_tokens), float(usage.output_tokens), float(usage.cache_read_tokens or 0))
                for usage in usages if usage.input_tokens is not None and usage.output_tokens is not None
            ),
            len(answers),
        )  # fmt: skip
    return found


def market_of(records: Records, wishes: Wishes, tasks: tuple[str, ...]) -> Market:
    """The measures under the conditions that were wished, of every endpoint with any evidence (or of those named). Raises CostError."""
    measures: dict[str, Measured] = {}
    notes: list[str] = []
    broken: dict[tuple[str, str], str] = {}
    if records.rated is not None:
        of_rating = partial(rating_of, records.rated, wishes.names)
        rating, note = records.once(("rating", tuple(sorted(wishes.names.items()))), of_rating)
        if rating is not None:
            measures["rating"] = rating
        notes += [note] if note else []
    for task in dict.fromkeys((*tasks, *wishes.require.min_quality)):
        on = {one: asked for (one, of), asked in records.asked.items() if of == task}
        shares = {one: asked for one, asked in on.items() if all(value is None or 0 <= value <= 1 for value, _ in asked.items.values())}
        if len(shares) < len(on):
            notes.append(f"task '{task}': {next(iter(on.values())).metric} is no share from 0 to 1, so it is not weighed")
        if shares:
            origin = {one: asked.run_id for one, asked in shares.items()}
            items = {one: asked.items for one, asked in shares.items()}
            name = f"quality:{task}"
            measures[name] = records.once(name, partial(of_items, name, items, origin))
        notes += _several_versions(task, on)
    wanted: set[LatencyFigure] = {wishes.figure}
    wanted |= {"ttft_p95"} if wishes.require.max_ttft_p95_s is not None else set()
    wanted |= {"latency_p95"} if wishes.require.max_latency_p95_s is not None else set()
    for figure in sorted(wanted):
        if wishes.under.load:
            key = (figure, wishes.under.rate, wishes.under.concurrency)
            found, failed = records.once(key, partial(_under_load, records, figure, wishes.under))
            broken |= failed
        else:
            found = records.once((figure, tasks), partial(_as_asked, records, figure, tasks))
        if found.endpoints:
            measures[figure] = found
    measures |= records.once(("bills", wishes.under, tasks), partial(_billed, records, wishes.under, tasks))
    seen = dict.fromkeys([*(one for measure in measures.values() for one in measure.endpoints), *(one for one, _ in records.asked)])
    named = wishes.endpoints or tuple(seen)
    return Market({one: records.endpoints.get(one) for one in named}, measures, tasks, broken, tuple(notes))


def rating_of(document: Mapping[str, Any], names: Mapping[str, str]) -> tuple[Measured | None, str | None]:
    """(the ratings of a leaderboard document, what to know of them). Without a covariance, intervals stand for independent errors."""
    import numpy as np

    rows = [row for row in document["ratings"] if row.get("rating") is not None]
    covariance = document.get("covariance")
    note = None
    if covariance is None:
        halves = [(row.get("rating_upper"), row.get("rating_lower")) for row in rows]
        if any(upper is None or lower is None for upper, lower in halves):
            return None, "results/leaderboard.json: these ratings have no intervals, so they are unknown here; rate with --method bt"
        covariance = np.diag([((upper - lower) / 2 / 1.959963984540054) ** 2 for upper, lower in halves])
        note = (
            "results/leaderboard.json has no covariance: errors of ratings are taken as independent; 'arena leaderboard --publish' adds it"
        )
    matrix = np.asarray(covariance, dtype=float)
    if matrix.shape != (len(rows), len(rows)):
        raise PickError(
            f"results/leaderboard.json: covariance: {matrix.shape} for {len(rows)} rated models; "
            "write it with 'arena leaderboard --publish'"
        )
    if not rows:
        return None, None
    models = [names.get(row["model"], row["model"]) for row in rows]
    twice = {model for model in models if models.count(model) > 1}
    if twice:
        raise PickError(f"names: several of the arena's models are said to be endpoint '{min(twice)}'; name each endpoint once")
    origin = f"{document.get('n_battles', 0):,} votes, {str(document.get('published_at', ''))[:10]}".rstrip(", ")
    groups = int(document.get("n_clusters") or document.get("n_battles") or 2)
    n = [int(row["n_battles"]) for row in rows]
    return of_ratings(models, [row["rating"] for row in rows], matrix, n=n, groups=groups, origin=origin), note


def level_at(levels: tuple[tuple[str, Level], ...], under: Under) -> tuple[str, Level] | None:
    """The lowest tested level that is at least the load asked for (5 % less counts as that load), the newest of equals; None: never
    tested.
    """
    wanted = under.rate if under.rate is not None else float(under.concurrency or 0)

    def height(level: Level) -> float | None:
        if under.rate is not None:
            return level.load.rate
        return None if level.load.open_loop else float(level.load.concurrency or 0)

    fitting = [(value, place) for place, (_, level) in enumerate(levels) if (value := height(level)) is not None and value >= 0.95 * wanted]
    return levels[min(fitting)[1]] if fitting else None


def quantile_of(level: Level, figure: LatencyFigure, run_id: str = "") -> Quantile | None:
    """A figure of a load level, from schedule as users wait; None where its requests do not carry the percentile."""
    what, percentile = figure.split("_")
    found = level.figures.get(f"{what}_from_schedule_s")
    interval = None if found is None else found.percentiles.get(percentile)
    return None if interval is None else Quantile(interval.value, interval.lower, interval.upper, level.repeats, level.n_measured, run_id)


def _billed(records: Records, under: Under, tasks: tuple[str, ...]) -> dict[str, Measured]:
    return {name: of_bills(name, found) for name, found in bills(records, under, tasks).items() if found}


def _under_load(records: Records, figure: LatencyFigure, under: Under) -> tuple[Measured, dict[tuple[str, str], str]]:
    """(what is known of the figure at that load, why the others have none)."""
    found: dict[str, Quantile] = {}
    broken: dict[tuple[str, str], str] = {}
    for endpoint, loaded in records.loaded.items():
        if (at := level_at(loaded.levels, under)) is None:
            continue
        run_id, level = at
        failed = sum(level.failures.values())
        if failed > (1 - ENOUGH_ANSWERED) * level.n_requests:
            broken[figure, endpoint] = f"{failed:,} of {level.n_requests:,} requests failed at {level.load.label}"
        elif (quantile := quantile_of(level, figure, run_id)) is not None:
            found[endpoint] = quantile
    return of_levels(figure, found), broken


def _as_asked(records: Records, figure: LatencyFigure, tasks: tuple[str, ...]) -> Measured:
    what, percentile = figure.split("_p")
    seconds: dict[str, list[float]] = {}
    origin = {}
    whole = {one for one, _ in records.asked if all((one, task) in records.asked for task in tasks)}
    for (one, task), asked in records.asked.items():
        times = asked.latency_s if what == "latency" else asked.ttft_s
        if task in tasks and one in whole and times:
            seconds.setdefault(one, []).extend(times)
            origin[one] = asked.run_id
    return of_requests(figure, seconds, int(percentile), origin)


def _take_load(folder: Path, loaded: dict[str, Loaded]) -> None:
    from evals.load.run import read_summary

    summary = read_summary(folder)
    before = loaded.get(summary.endpoint, Loaded((), folder))
    loaded[summary.endpoint] = Loaded((*before.levels, *((summary.run_id, level) for level in summary.levels)), before.folder)


def _pairs_of(folder: Path) -> set[tuple[str, str]]:
    """(endpoint, task) of a run, by its scores alone. What cannot be read is left to whoever reads the run whole."""
    try:
        rows = [json.loads(line) for line in (folder / "scores.jsonl").read_text(encoding="utf-8").splitlines() if line]
        return {(row["endpoint"], row["task"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        return {("", folder.name)}


def _file_hash(files: RunFiles, task: str) -> str | None:
    for key, entry in files.run.config.get("tasks", {}).items():
        if task in (key, Path(key).stem, key.rpartition(":")[2]):
            return str(entry["sha256"])
    return None


def _several_versions(task: str, on: Mapping[str, Asked]) -> list[str]:
    versions = {asked.file for asked in on.values()}
    return [f"task '{task}': its file is not the same in all runs, so its scores compare different questions"] if len(versions) > 1 else []
