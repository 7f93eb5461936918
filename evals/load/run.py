"""A whole measurement: calibrate, make the load level by level, keep raw samples, summarise; `evals load` between options and report.

results/runs/<run_id>/run.json      what was asked (the resolved settings), with which versions
                      load.jsonl    every request with its raw times, appended level by level
                      load.json     the summary: a Level per load level, the knee, the highest level that keeps the SLO
                      report.md, latency.svg
"""

import asyncio
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from evals.errors import LoadError, NothingAnswered
from evals.load.figures import Client, Level, client_of, summarise
from evals.load.loop import Progress
from evals.load.plan import Load, Sample, Shape, append_samples, read_samples
from evals.load.prompts import Words, calibrating_requests, words_of
from evals.load.shards import Outcome, make_load
from evals.load.slo import Slo
from evals.load.sweep import highest_kept, knee, sweep
from evals.load.turns import Part
from evals.runs import Run, git_commit, new_run_folder, now, read_run_record, versions, write_run
from serving.completion import Completion
from serving.documents import Noun, parse_document, write_text_atomically
from serving.endpoints import Endpoint


class Settings(Noun):
    """What was asked for, resolved. `processes` 0: as many as keep the client in time. `seed` makes prompts and arrivals again."""

    endpoint: Endpoint
    load: Load
    sweep: bool = False
    shape: Shape = Shape()
    slo: Slo | None = None
    repeats: int = Field(default=1, ge=1)
    processes: int = Field(default=0, ge=0)
    timeout_s: float = Field(default=300.0, gt=0)
    most_levels: int = Field(default=16, ge=1)
    seed: int


class Summary(Noun):
    """load.json. `knee` and `best` are positions in `levels`: greatest power, and the highest level that kept the SLO."""

    run_id: str
    endpoint: str
    model: str
    shape: Shape
    words: Words
    slo: Slo | None = None
    seed: int
    levels: tuple[Level, ...]
    knee: int | None = None
    best: int | None = None
    stopped: bool = False


@dataclass
class Watching:
    """What goes on while it runs: who is told, how many processes there are by now, whether somebody asked to stop."""

    on_level: Callable[[Load, int, int], None] = lambda load, point, repeat: None
    on_progress: Callable[[Progress], None] = lambda progress: None
    processes: int = 1
    stopped: bool = False
    words: Words = field(default_factory=Words)


def run_load(settings: Settings, results: Path, *, out: Path | None = None, watching: Watching | None = None) -> Path:
    """Measure and keep; returns the run's folder. Raises what makes it impossible (LoadError, Unreachable, MissingKey, NothingAnswered).

    Interrupted (SIGINT, SIGTERM) it stops sending, keeps what was measured and returns; Summary.stopped says so.
    """
    watching = watching or Watching()
    watching.processes = settings.processes or 1
    # Before the folder is made: a server that cannot answer leaves nothing behind.
    answers, watching.words = asyncio.run(calibrate(settings))
    if settings.sweep and settings.load.rate is None and settings.load.concurrency is None:
        settings = settings.model_copy(update={"load": settings.load.model_copy(update={"rate": first_rate(settings, answers)})})
    started_at = now()
    run_id, folder = new_run_folder(f"load-{settings.endpoint.id}", started_at, results, out)
    run = _record(settings, run_id, started_at)
    write_run(run, folder)
    levels: list[Level] = []
    try:
        for level in _levels(settings, folder, watching):
            levels.append(level)
            if watching.stopped:
                break
    except KeyboardInterrupt:
        # Between two levels nobody else listens.
        watching.stopped = True
    finally:
        # Whatever ended it: the levels that were measured are kept.
        summary = summary_of(run_id, settings, levels, watching)
        write_text_atomically(folder / "load.json", summary.model_dump_json(indent=1) + "\n")
    write_run(run.model_copy(update={"finished_at": now()}), folder)
    return folder


def summary_of(run_id: str, settings: Settings, levels: list[Level], watching: Watching) -> Summary:
    """load.json's content."""
    bent, best = knee(levels), highest_kept(levels) if settings.slo else None
    return Summary(
        run_id=run_id,
        endpoint=settings.endpoint.id,
        model=settings.endpoint.model,
        shape=settings.shape,
        words=watching.words,
        slo=settings.slo,
        seed=settings.seed,
        levels=tuple(levels),
        knee=levels.index(bent) if bent and len(levels) > 1 else None,
        best=levels.index(best) if best else None,
        stopped=watching.stopped,
    )


def _levels(settings: Settings, folder: Path, watching: Watching) -> Iterator[Level]:
    def at(load: Load, point: int) -> Level:
        return measure(settings, load, point, folder=folder, watching=watching)

    if settings.sweep:
        yield from sweep(at, settings.load, settings.slo, most_levels=settings.most_levels)
    else:
        yield at(settings.load, 0)


def measure(settings: Settings, load: Load, point: int, *, folder: Path, watching: Watching) -> Level:
    """One load level, all its repeats. A repeat whose client was late is made again with twice the processes, while there are cores."""
    samples: list[Sample] = []
    lateness: list[float] = []
    cpu_s, share, repeat = 0.0, 0.0, 0
    while repeat < settings.repeats and not watching.stopped:
        watching.on_level(load, point, repeat)
        part = Part(
            endpoint=settings.endpoint, load=load, shape=settings.shape, words=watching.words,
            seed=settings.seed, point=point, repeat=repeat, timeout_s=settings.timeout_s,
        )  # fmt: skip
        outcome = asyncio.run(_make(part, folder, watching))
        taken = [sample for file in outcome.files if file.exists() for sample in read_samples(file)]
        for file in outcome.files:
            file.unlink(missing_ok=True)
        clock = _clock(taken, outcome)
        if clock.late and settings.processes == 0 and 2 * len(outcome.files) <= (os.cpu_count() or 1) and not watching.stopped:
            watching.processes = 2 * len(outcome.files)
            continue
        append_samples(folder / "load.jsonl", taken)
        samples += taken
        lateness += outcome.loop_lateness_s
        cpu_s, share, repeat = cpu_s + outcome.cpu_s, max(share, outcome.cpu_share), repeat + 1
    client = client_of(samples, lateness, processes=watching.processes, cpu_s=cpu_s, cpu_share=share)
    return summarise(samples, load, settings.slo).model_copy(update={"client": client})


async def _make(part: Part, folder: Path, watching: Watching) -> Outcome:
    stop = asyncio.Event()
    with _listening(stop):
        outcome = await make_load(part, watching.processes, folder=folder, stop=stop, on_progress=watching.on_progress)
    watching.stopped = watching.stopped or outcome.stopped
    return outcome


@contextmanager
def _listening(stop: asyncio.Event) -> Iterator[None]:
    """The first Ctrl-C stops the load and keeps what was measured; the second one is Python's."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def heard() -> None:
        stop.set()
        for number in signals:
            loop.remove_signal_handler(number)

    try:
        for number in signals:
            loop.add_signal_handler(number, heard)
    except (NotImplementedError, RuntimeError, ValueError):
        # Not the main thread, or a system without them: then there is nobody to listen to.
        pass
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def _clock(samples: list[Sample], outcome: Outcome) -> Client:
    return client_of(
        samples, outcome.loop_lateness_s, processes=len(outcome.files), cpu_s=outcome.cpu_s, cpu_share=outcome.cpu_share
    )  # fmt: skip


async def calibrate(settings: Settings) -> tuple[list[Completion], Words]:
    """Two requests: does it answer, how many tokens is a word? Raises NothingAnswered with the server's own words."""
    from serving.client import Client as Asker
    from serving.client import Timeouts, check_reachable

    endpoint = settings.endpoint
    if endpoint.wire == "recorded":
        raise LoadError(f"endpoint '{endpoint.id}' is a recording: 'serving replay FILE' makes it a server to be timed")
    await check_reachable(endpoint)
    asked = calibrating_requests(endpoint, settings.shape, settings.seed)
    limits = Timeouts(first_s=settings.timeout_s, between_s=settings.timeout_s, total_s=settings.timeout_s)
    async with Asker(timeouts=limits) as client:
        answers = [await client.ask(endpoint, request) for _, request in asked]
    if not any(answer.answered for answer in answers):
        answer = answers[-1]
        raise NothingAnswered(f"endpoint '{endpoint.id}' answers no request, so there is nothing to time: {answer.status}: {answer.error}")
    return answers, words_of(endpoint, asked, answers)


def first_rate(settings: Settings, answers: list[Completion]) -> float:
    """Where a sweep begins: the rate at which one request is in flight on average (Little), by the calibrating answers' times."""
    seconds = []
    for answer in answers:
        if answer.latency_s is not None:
            each = answer.tpot_s or 0.0
            seconds.append((answer.ttft_s or answer.latency_s) + each * (settings.shape.output_tokens - 1))
    if not seconds or max(seconds) <= 0:
        return 1.0
    return float(f"{1 / max(seconds):.2g}")


def read_summary(folder: Path) -> Summary:
    """load.json. Raises LoadError, DocumentError."""
    path = folder / "load.json"
    try:
        return parse_document(json.loads(path.read_text(encoding="utf-8")), Summary, where=str(path))
    except OSError:
        raise LoadError(f"{path}: missing; this is no run of 'evals load', or one that was killed (its load.jsonl has what came)") from None
    except json.JSONDecodeError as error:
        raise LoadError(f"{path}: not JSON: {error}") from None


def summarise_again(folder: Path, slo: Slo | None) -> Summary:
    """The summary computed anew from load.jsonl, under another SLO; the client's own account is taken over."""
    stored, samples = read_summary(folder), read_samples(folder / "load.jsonl")
    levels = [
        summarise([sample for sample in samples if sample.point == point], level.load, slo).model_copy(update={"client": level.client})
        for point, level in enumerate(stored.levels)
    ]
    best = highest_kept(levels) if slo else None
    return stored.model_copy(update={"levels": tuple(levels), "slo": slo, "best": levels.index(best) if best else None})


def is_load_run(folder: Path) -> bool:
    """Whether the folder holds a run of `evals load`."""
    return (folder / "load.jsonl").exists() or read_run_record(folder).suite == "load"


def _record(settings: Settings, run_id: str, started_at: datetime) -> Run:
    kind: Literal["load"] = "load"
    return Run(
        run_id=run_id, suite=kind, endpoints=(settings.endpoint.id,), started_at=started_at, git_commit=git_commit(),
        versions=versions(), seed=settings.seed, config=settings.model_dump(mode="json", exclude_defaults=True),
    )  # fmt: skip
