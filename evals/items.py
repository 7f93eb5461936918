"""One endpoint in one run as a *side*, and the items on which two sides meet: the same documents, asked and read the same way.

    evals compare RUN:gpt-4-0314 RUN:gpt-4-0613

Two sides may only be compared where their items are the same. A task whose file changed, another target behind the same number, other
few-shot examples from another seed: each is refused in one line, because a difference between them would be no difference between models.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from evals.errors import NotComparable, TaskError
from evals.runs import RunFiles, Sample, find_run, read_run
from serving.completion import Completion
from serving.errors import did_you_mean

UNPARSED = "unparsed"


@dataclass(frozen=True)
class Side:
    """One endpoint's part of one run."""

    files: RunFiles
    endpoint: str

    @property
    def name(self) -> str:
        """As it is named on the command line."""
        return f"{self.files.folder.name}:{self.endpoint}"

    @property
    def tasks(self) -> list[str]:
        """The tasks it was asked, in the order of the run."""
        return list(dict.fromkeys(sample.task for sample in self.files.samples if sample.endpoint == self.endpoint))


@dataclass(frozen=True)
class Item:
    """One document as one side answered it. `value` is the metric; None where the request failed. What is not known is None."""

    sample: Sample
    value: float | None
    prompt: str
    text: str
    content_hash: str | None
    output_tokens: float | None = None
    characters: float | None = None
    latency_s: float | None = None
    cost_usd: float | None = None


@dataclass(frozen=True)
class Matched:
    """The documents that both sides were asked, in order, as each answered them; `notes` say what a reader must know of the match."""

    task: str
    metric: str
    a: tuple[Item, ...]
    b: tuple[Item, ...]
    notes: tuple[str, ...] = ()

    @property
    def answered(self) -> "Matched":
        """Those that both answered and that the metric measures."""
        both = [(x, y) for x, y in zip(self.a, self.b, strict=True) if x.value is not None and y.value is not None]
        return Matched(self.task, self.metric, tuple(x for x, _ in both), tuple(y for _, y in both), self.notes)

    @property
    def clusters(self) -> list[Any] | None:
        """Each item's cluster where the task names one; None where each item is its own."""
        found = [item.sample.cluster for item in self.a]
        return found if found and all(cluster is not None for cluster in found) else None


def read_sides(names: Sequence[str], results: Path) -> list[list[Side]]:
    """For each RUN or RUN:ENDPOINT its sides: all endpoints of the run, or the one named. Raises UnknownRun, NotComparable."""
    read: dict[Path, RunFiles] = {}
    found = []
    for name in names:
        folder, endpoint = _split(name, results)
        if (folder / "load.json").is_file():
            raise NotComparable(f"{name}: a load test has no scores to compare; 'evals report {folder.name}' shows it")
        files = read[folder] if folder in read else read.setdefault(folder, read_run(folder))
        known = list(files.run.endpoints)
        if endpoint is not None and endpoint not in known:
            raise NotComparable(f"{name}: this run has no endpoint '{endpoint}'.{did_you_mean(endpoint, known)} It has: {', '.join(known)}")
        found.append([Side(files, one) for one in ([endpoint] if endpoint is not None else known)])
    return found


def choose_pairs(groups: Sequence[Sequence[Side]]) -> list[tuple[Side, Side]]:
    """(baseline, other) of every comparison that the sides named on the command line ask for. Raises NotComparable.

    One run: all pairs of its endpoints. Several: the first is the baseline of each other one; where both have endpoints of the same id,
    each is compared with itself, else each with each. Pairs without a common task are left out.
    """
    if len(groups) == 1:
        pairs = list(combinations(groups[0], 2))
        if not pairs:
            raise NotComparable(f"{groups[0][0].name} is one endpoint; name another run or endpoint to compare it with")
    else:
        pairs = [pair for other in groups[1:] for pair in _across(groups[0], other)]
    found = [(a, b) for a, b in pairs if set(a.tasks) & set(b.tasks)]
    if not found:
        asked = "; ".join(f"{side.name} was asked {', '.join(side.tasks) or 'nothing'}" for side in pairs[0])
        raise NotComparable(f"no task in common: {asked}")
    return found


def match(a: Side, b: Side, task: str, *, metric: str | None = None) -> Matched:
    """The documents of `task` that both sides were asked. Raises NotComparable where they are not the same documents.

    `metric` is named as in scores.jsonl; by default the first numeric one of the task's first filter, its headline.
    """
    _same_file(a, b, task)
    name = metric or _headline(a, task) or _headline(b, task)
    if name is None:
        raise NotComparable(f"task '{task}': neither {a.name} nor {b.name} has an answered document with a metric that is a number")
    left, right = _items(a, task, name), _items(b, task, name)
    shared = [number for number in left if number in right]
    if not shared:
        raise NotComparable(f"task '{task}': {a.name} and {b.name} were asked no document in common")
    notes = []
    moved = [number for number in shared if left[number].sample.target != right[number].sample.target]
    if moved:
        first = moved[0]
        raise NotComparable(
            f"task '{task}': {a.name} and {b.name} have different items: document {first} has target {left[first].sample.target!r} in the "
            f"one and {right[first].sample.target!r} in the other ({len(moved)} of {len(shared)} differ); run both on the same data"
        )
    asked = [(left[number].content_hash, right[number].content_hash) for number in shared]
    differently = sum(x is not None and y is not None and x != y for x, y in asked)
    seeds = (a.files.run.seed, b.files.run.seed)
    if differently and seeds[0] != seeds[1]:
        raise NotComparable(
            f"task '{task}': {a.name} and {b.name} were run with seeds {seeds[0]} and {seeds[1]}, and {differently} of {len(shared)} "
            "documents were asked with different prompts; run both with the same seed"
        )
    if differently:
        notes.append(f"{differently} of {len(shared)} documents were asked differently: the difference is also one of prompts")
    for side, items in ((a, left), (b, right)):
        if len(items) > len(shared):
            notes.append(f"{len(items) - len(shared)} documents were asked of {side.name} alone and are left out")
    return Matched(task, name, tuple(left[number] for number in shared), tuple(right[number] for number in shared), tuple(notes))


def cluster_of(task: Any, doc: Any) -> str | None:
    """Which documents resemble this one: the field that the task's `metadata: {cluster: FIELD}` names. Raises TaskError without it."""
    field = (task.get_config("metadata") or {}).get("cluster")
    if field is None:
        return None
    if field not in doc:
        raise TaskError(f"task '{task.task_name}': metadata.cluster is '{field}', which its documents lack; they have {', '.join(doc)}")
    return str(doc[field])


def _split(name: str, results: Path) -> tuple[Path, str | None]:
    """The run's folder, and the endpoint where one is named; either may hold colons."""
    for cut in [len(name), *(place for place, character in enumerate(name) if character == ":")]:
        for folder in (results / "runs" / name[:cut], Path(name[:cut])):
            if name[:cut] and (folder / "run.json").is_file():
                return folder, name[cut + 1 :] or None
    return find_run(name.partition(":")[0], results), None


def _across(first: Sequence[Side], other: Sequence[Side]) -> Iterator[tuple[Side, Side]]:
    of_id = {side.endpoint: side for side in other}
    same = [(side, of_id[side.endpoint]) for side in first if side.endpoint in of_id]
    pairs = same or [(a, b) for a in first for b in other]
    for a, b in pairs:
        if (a.files.folder, a.endpoint) == (b.files.folder, b.endpoint):
            raise NotComparable(f"{a.name} is named twice; name two runs, or two endpoints as RUN:ENDPOINT RUN:ENDPOINT")
        yield a, b


def _same_file(a: Side, b: Side, task: str) -> None:
    hashes = [_file_hash(side, task) for side in (a, b)]
    if None not in hashes and hashes[0] != hashes[1]:
        shown = " and ".join(str(one)[:12] for one in hashes)
        raise NotComparable(
            f"task '{task}': its file is not the same in {a.name} and {b.name} (sha256 {shown}); run both with one version of it"
        )


def _file_hash(side: Side, task: str) -> str | None:
    """SHA-256 of the task's file as the run wrote it down; None where the run does not say which file was this task's."""
    entries = side.files.run.config.get("tasks", {})
    for key, entry in entries.items():
        if task in (key, Path(key).stem, key.rpartition(":")[2]):
            return str(entry["sha256"])
    return str(next(iter(entries.values()))["sha256"]) if len(entries) == 1 else None


def _headline(side: Side, task: str) -> str | None:
    return next((name for name in metrics_of(side, task) if name.partition(",")[0] != UNPARSED), None)


def metrics_of(side: Side, task: str) -> list[str]:
    """The task's metrics that are numbers, named as in scores.jsonl; none where nothing was answered."""
    filters = _filters(side, task)
    found: dict[str, None] = {}
    for sample in side.files.samples:
        if (sample.endpoint, sample.task) == (side.endpoint, task):
            numbers = (name for name, value in sample.metrics.items() if isinstance(value, int | float))
            found |= dict.fromkeys(name if len(filters) == 1 else f"{name},{sample.filter}" for name in numbers)
    return list(found)


def has_metric(side: Side, task: str, metric: str) -> bool:
    """Whether the task has this metric, by its whole name or, of its first filter, without it."""
    return bool({metric, *(f"{metric},{name}" for name in _filters(side, task)[:1])} & set(metrics_of(side, task)))


def _filters(side: Side, task: str) -> list[str]:
    return list(dict.fromkeys(sample.filter for sample in side.files.samples if (sample.endpoint, sample.task) == (side.endpoint, task)))


def _items(side: Side, task: str, metric: str) -> dict[int, Item]:
    """By document, in the order of the run. Raises NotComparable for a metric that the task does not have."""
    filters = _filters(side, task)
    name, wanted = metric, filters[0]
    if metric.rpartition(",")[2] in filters:
        name, _, wanted = metric.rpartition(",")
    completions: dict[str, list[Completion]] = {}
    for completion in side.files.completions:
        if completion.endpoint == side.endpoint:
            completions.setdefault(completion.request_hash, []).append(completion)
    samples = [one for one in side.files.samples if (one.endpoint, one.task, one.filter) == (side.endpoint, task, wanted)]
    known = metrics_of(side, task)
    if known and not has_metric(side, task, metric):
        told = f"{did_you_mean(metric, known)} It has: {', '.join(known)}"
        raise NotComparable(f"task '{task}' has no metric '{metric}' that is a number.{told}")
    return {sample.doc_id: _item(sample, name, completions.get(sample.request_hash, [])) for sample in samples}


def _item(sample: Sample, metric: str, completions: list[Completion]) -> Item:
    """Where a document was answered several times (`repeats`), lengths, seconds and dollars are the mean over its answers."""
    answers = [completion for completion in completions if completion.answered]
    shown = answers[-1] if answers else completions[-1] if completions else None
    value = sample.metrics.get(metric) if sample.answered else None
    if shown is None:
        return Item(sample, None if value is None else float(value), "", "", None)
    request = shown.request
    turns = [message.content for message in request.messages or () if message.role == "user"]
    return Item(
        sample,
        None if value is None else float(value),
        prompt=turns[-1] if turns else request.prompt or "",
        text=shown.text,
        content_hash=request.content_hash,
        output_tokens=_mean([answer.usage.output_tokens for answer in answers]),
        characters=_mean([len(answer.text) for answer in answers]),
        latency_s=_mean([answer.latency_s for answer in answers]),
        cost_usd=_mean([answer.cost_usd for answer in answers]),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
