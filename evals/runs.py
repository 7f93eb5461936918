"""A run is a folder of files that nothing overwrites: results/runs/<run_id>/.

run.json            what was asked, with which versions: written at the start, completed at the end (finished_at)
completions.jsonl   every Completion, appended and flushed as it arrives: a crash loses nothing that was paid for
samples.jsonl       the verdict on each document, with the request_hash that leads to its completion
scores.jsonl        what lm-eval's metrics say about the answered documents
measures.jsonl      what the answers took (evals/measures.py), so that a page over many runs need not read them all
report.md           the same as a page
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from evals.errors import CannotResume, RunExists, UnknownRun
from serving.completion import ANSWERED, Completion, Status
from serving.documents import Noun, parse_document, without_collection, write_text_atomically
from serving.errors import did_you_mean

Verdict = Literal["correct", "wrong", "unparsed"]
AnyNoun = TypeVar("AnyNoun", bound=Noun)
HERE = Path(__file__).parent
DISTRIBUTIONS = ("bakeoff", "lm_eval", "datasets", "numpy", "genai-prices")


class Run(Noun):
    """What was asked. `config` is resolved: blocks, endpoints in full (a key's variable, never the key), tasks with their files' hashes.

    `n_held` answers were there already (resumed or cached), `n_not_asked` requests the budget forbade; `client_lateness_p99_s` is how late
    this process's own event loop ran (above .05 s its latencies are not to be trusted).
    """

    run_id: str
    suite: str
    endpoints: tuple[str, ...]
    started_at: datetime
    finished_at: datetime | None = None
    git_commit: str | None = None
    versions: dict[str, str]
    seed: int
    config: dict[str, Any]
    n_held: int = 0
    n_not_asked: int = 0
    client_lateness_p99_s: float | None = None


class Sample(Noun):
    """The verdict on one document. A failed request has a `status` (see serving.completion) and neither verdict nor metrics.

    `verdict` is None too where the task's first metric is not a plain 0 or 1. `filter` is lm-eval's name for the way the answer was read.
    `request_hashes` are all the requests of a document that took several (choices to score, votes of a prompting).
    """

    endpoint: str
    task: str
    doc_id: int
    filter: str
    status: Status
    verdict: Verdict | None = None
    target: Any = None
    extracted: Any = None
    metrics: dict[str, Any] = {}
    request_hash: str
    request_hashes: tuple[str, ...] = ()
    cluster: str | None = None  # documents that resemble each other (one passage's questions), where the task names the field
    error: str | None = None

    @property
    def answered(self) -> bool:
        """Whether the model answered, so that the sample is scored."""
        return self.status in ANSWERED


class Score(Noun):
    """One metric over the answered documents: `n` were scored, `n_failed` were not answered, `coverage` is the share that was answered.

    `value` is None when nothing was answered; `stderr` is lm-eval's, None where it has none. `lower` and `upper` are the 95 % interval that
    treats what was not answered as unknown, for metrics between 0 and 1 (evals/stats.py); None for others.
    """

    run_id: str
    endpoint: str
    task: str
    metric: str
    value: float | None
    stderr: float | None
    n: int
    n_failed: int
    coverage: float
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True)
class RunFiles:
    """A run as read back from its folder."""

    folder: Path
    run: Run
    scores: tuple[Score, ...]
    samples: tuple[Sample, ...]
    completions: tuple[Completion, ...]


def new_run_folder(suite: str, started_at: datetime, results: Path, out: Path | None = None) -> tuple[str, Path]:
    """(run_id, folder), the folder made and empty. The id sorts by time: 20261123-054512-demo. Raises RunExists for a full `out`."""
    stem = f"{started_at:%Y%m%d-%H%M%S}-{suite}"
    if out is not None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise RunExists(f"--out {out}: already holds something; a run never overwrites: name a new folder")
        out.mkdir(parents=True, exist_ok=True)
        return stem, out
    number = 1
    while True:
        run_id = stem if number == 1 else f"{stem}-{number}"
        folder = results / "runs" / run_id
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return run_id, folder


def write_run(run: Run, folder: Path) -> None:
    """run.json, whole or not at all."""
    write_text_atomically(folder / "run.json", run.model_dump_json(indent=2) + "\n")


def write_lines(path: Path, nouns: Iterable[Noun]) -> None:
    """A JSONL file, whole or not at all."""
    write_text_atomically(path, "".join(noun.model_dump_json(exclude_defaults=True) + "\n" for noun in nouns))


@contextmanager
def completions_log(folder: Path) -> Iterator[Callable[[Completion], None]]:
    """A function that appends one completion to completions.jsonl and flushes it.

    The file is locked while it is open (the lock goes with the process, however it ends). Raises CannotResume where another has it.
    """
    import fcntl

    path = folder / "completions.jsonl"
    with path.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotResume(f"{path} is being written by another process: wait for that run, or stop it") from None

        def record(completion: Completion) -> None:
            file.write(completion.to_line() + "\n")
            file.flush()

        yield record


def find_run(name: str, results: Path) -> Path:
    """The folder of a run, by id or path. Raises UnknownRun."""
    for folder in (results / "runs" / name, Path(name)):
        if (folder / "run.json").is_file():
            return folder
    known = [folder.name for folder in run_folders(results)]
    raise UnknownRun(f"no run '{name}' in {results / 'runs'}.{did_you_mean(name, known)} 'evals ls' lists the {len(known)} known ones")


def run_folders(results: Path) -> list[Path]:
    """The runs found in results, oldest first."""
    return sorted(path.parent for path in (results / "runs").glob("*/run.json"))


def read_run_record(folder: Path) -> Run:
    """run.json alone."""
    path = folder / "run.json"
    try:
        return parse_document(json.loads(path.read_text(encoding="utf-8")), Run, where=str(path))
    except json.JSONDecodeError as error:
        raise UnknownRun(f"{path}: not JSON: {error}") from None


@without_collection()
def read_run(folder: Path, *, endpoint: str | None = None) -> RunFiles:
    """Everything but the report, or of it what concerns one endpoint. Raises UnknownRun for a run that did not finish, DocumentError for a
    line that does not fit.
    """
    run = read_run_record(folder)
    if run.finished_at is None:
        raise UnknownRun(
            f"{folder}: this run did not finish, so it has no scores; 'evals run SUITE --resume {run.run_id}' goes on where it stopped"
        )
    scores, samples = read_scores(folder), read_lines(folder / "samples.jsonl", Sample, endpoint)
    if endpoint is not None:
        scores = tuple(score for score in scores if score.endpoint == endpoint)
    return RunFiles(folder, run, scores, samples, read_lines(folder / "completions.jsonl", Completion, endpoint))


def read_scores(folder: Path) -> tuple[Score, ...]:
    """scores.jsonl alone. Raises UnknownRun, DocumentError."""
    return read_lines(folder / "scores.jsonl", Score)


def versions() -> dict[str, str]:
    """The versions that a run depends on: Python's and the distributions'."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """The commit of the checkout that this code runs from, with -dirty when it was changed; None outside a checkout of it."""
    import subprocess

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(HERE), *arguments], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def now() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def read_lines(path: Path, noun: type[AnyNoun], endpoint: str | None = None) -> tuple[AnyNoun, ...]:
    """The lines of a run's file, or those of one endpoint: a line that does not even hold its name is not looked into. Raises UnknownRun,
    DocumentError.
    """
    found = []
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UnknownRun(f"{path}: missing, though the run says that it finished; run the suite again") from None
    name = json.dumps(endpoint) if endpoint is not None and endpoint.isascii() else None
    for number, line in enumerate(text.split("\n"), start=1):
        if not line or (name is not None and name not in line):
            continue
        try:
            one = noun.model_validate_json(line)
        except ValueError:
            try:
                values = json.loads(line)
            except ValueError as error:
                raise UnknownRun(f"{path}:{number}: not JSON: {error}") from None
            one = parse_document(values, noun, where=f"{path}:{number}")
        if endpoint is None or getattr(one, "endpoint", None) == endpoint:
            found.append(one)
    return tuple(found)
