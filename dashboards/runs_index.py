"""Which runs there are and what they scored, quickly: each file is read once and again only when it changed.

    listed, problems = index(results)
    latest(listed)                                   # the newest score of each endpoint on each task

A page over hundreds of runs looks at run.json, scores.jsonl and measures.jsonl alone. Answers are read of one run, when somebody asks for
it (dashboards/samples.py). A file that cannot be read is a problem to tell, never a page that fails.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from evals.measures import Measure, read_measures
from evals.runs import Run, Score, read_run_record, read_scores, run_folders
from serving.documents import stamp
from serving.errors import BakeoffError

Z95 = 1.959963984540054


@dataclass(frozen=True)
class Listed:
    """A run as the pages know it: what was asked, and its scores (none of a load test, nor of a run that did not finish)."""

    folder: Path
    run: Run
    is_load: bool
    scores: tuple[Score, ...]

    @property
    def finished(self) -> bool:
        """Whether it has scores, or figures of a load, to show."""
        return self.run.finished_at is not None

    @property
    def when(self) -> str:
        """The day on which it began."""
        return f"{self.run.started_at:%-d %B %Y}"

    @property
    def origin(self) -> str:
        """The run and its day, as every figure names where it comes from."""
        return f"run {self.folder.name}, {self.when}"


def index(results: Path) -> tuple[list[Listed], list[str]]:
    """(runs, problems), oldest first."""
    found, problems = [], []
    for folder in run_folders(results):
        try:
            found.append(_listed(folder, stamp(folder / "run.json"), stamp(folder / "scores.jsonl"), stamp(folder / "load.json")))
        except BakeoffError as error:
            problems.append(str(error))
    return sorted(found, key=lambda one: one.run.started_at), problems


@lru_cache(maxsize=4096)
def _listed(folder: Path, *stamps: tuple[int, ...]) -> Listed:
    run = read_run_record(folder)
    is_load = bool(stamps[2]) or run.suite == "load"
    return Listed(folder, run, is_load, read_scores(folder) if run.finished_at is not None and not is_load else ())


def loads(listed: Sequence[Listed]) -> list[Listed]:
    """The load tests that have figures, newest first."""
    return [one for one in reversed(listed) if one.is_load and (one.folder / "load.json").exists()]


def scored(listed: Sequence[Listed]) -> list[Listed]:
    """The runs of `evals run` that finished, newest first."""
    return [one for one in reversed(listed) if one.finished and not one.is_load]


@dataclass(frozen=True)
class Latest:
    """The headline score of one endpoint on one task: the task's first metric in the newest run that has it."""

    listed: Listed
    score: Score


def latest(listed: Sequence[Listed]) -> dict[tuple[str, str], Latest]:
    """By (endpoint, task); a rescored run counts as the day on which it was scored."""
    found: dict[tuple[str, str], Latest] = {}
    for one in scored(listed):
        for score in one.scores:
            # The first metric of a task is the one it is known by; the others stay in the run's report.
            found.setdefault((score.endpoint, score.task), Latest(one, score))
    return found


def measures_of(folder: Path) -> dict[tuple[str, str], Measure]:
    """What the answers of a finished run took, by (endpoint, task). Raises UnknownRun, DocumentError."""
    return _measures(folder, stamp(folder / "measures.jsonl"), stamp(folder / "run.json"))


@lru_cache(maxsize=4096)
def _measures(folder: Path, *stamps: tuple[int, ...]) -> dict[tuple[str, str], Measure]:
    return {(one.endpoint, one.task): one for one in read_measures(folder)}


def interval(score: Score) -> tuple[float | None, float | None]:
    """95 %: the run's own, which takes what was not answered as unknown, else value ± 1.96 standard errors."""
    if score.value is None:
        return None, None
    if score.lower is not None and score.upper is not None:
        return score.lower, score.upper
    half = Z95 * (score.stderr or 0)
    return score.value - half, score.value + half


def row_of(one: Latest, measure: Measure | None) -> dict[str, Any]:
    """A score with what it took, as a page's table and its download show it."""
    score, (lower, upper) = one.score, interval(one.score)
    return {
        "endpoint": score.endpoint, "task": score.task, "metric": score.metric, "value": score.value, "stderr": score.stderr,
        "lower": lower, "upper": upper, "n": score.n, "n_failed": score.n_failed, "coverage": score.coverage,
        "latency_s": measure and measure.latency_s_p50, "output_tokens": measure and measure.output_tokens_mean,
        "cost_usd_per_1000": measure and measure.cost_usd_per_1000,
        "run_id": one.listed.folder.name, "finished_at": one.listed.run.finished_at,
    }  # fmt: skip
