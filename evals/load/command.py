"""`evals load`: options in, a run's folder and its report out. What is typed is checked here, before anything is sent.

evals load --endpoint our-llama --concurrency 32 --duration 60
evals load --base-url http://gpu-box:8000/v1 --model llama-3.1-8b --sweep --slo mlperf:llama3.1-8b --json
evals load --from 20261123-061500-load-our-llama --as vllm
"""

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.command import RESULTS, AsJson, Results, emit_json, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evals.load.loop import Progress
    from evals.load.plan import Load
    from evals.load.run import Summary, Watching
    from evals.load.slo import Slo
    from serving.endpoints import Endpoint

DEFAULT_DURATION_S = 30.0
# A closed loop that only says how many requests ends here all the same.
MOST_DURATION_S = 3600.0
LONGEST_S = 86_400.0
ARRIVALS = "constant, poisson (default), gamma:CV, burst:N, ramp:RATE, trace:FILE."
LIMITS = "ttft=2,tpot=0.1[,latency=30][,p=95] in seconds, or mlperf:llama2-70b, …"


def load(
    endpoint: Annotated[str | None, typer.Option(metavar="ID", help="The endpoint to load ('serving ls').")] = None,
    base_url: Annotated[str | None, typer.Option(metavar="URL", help="Any OpenAI-compatible server, with --model.")] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="The model's name at --base-url.")] = None,
    engine: Annotated[str | None, typer.Option(metavar="NAME", help="What serves at --base-url; vllm gives full-length answers.")] = None,
    rate: Annotated[float | None, typer.Option(help="Open loop: requests a second, sent by the clock.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Closed loop: so many at once. With --rate: at most so many.")] = None,
    sweep: Annotated[bool, typer.Option("--sweep", help="Raise rate or concurrency twofold to the knee; with --slo, bisect.")] = False,
    arrivals: Annotated[str | None, typer.Option(metavar="KIND", help=ARRIVALS)] = None,
    think: Annotated[float, typer.Option(min=0, help="Closed loop: seconds between an answer and the next request.")] = 0.0,
    duration: Annotated[float | None, typer.Option(help="Seconds of sending, per level (default 30, or until --requests).")] = None,
    requests: Annotated[int | None, typer.Option(min=1, help="At most so many requests per level.")] = None,
    ramp_in: Annotated[float | None, typer.Option(min=0, help="Seconds at the start that are not measured (10 % of --duration).")] = None,
    warmup: Annotated[int | None, typer.Option(min=0, help="Requests before it, with other prompts (default: one per place).")] = None,
    input_tokens: Annotated[int, typer.Option(min=1, help="Tokens of each prompt.")] = 1000,
    output_tokens: Annotated[int, typer.Option(min=1, help="Tokens of each answer, at most.")] = 1000,
    shared_prefix_tokens: Annotated[int, typer.Option(min=0, help="So many of the prompt's tokens are the same in all requests.")] = 0,
    slo: Annotated[str | None, typer.Option(metavar="LIMITS", help=LIMITS)] = None,
    repeats: Annotated[int, typer.Option(min=1, max=100, help="Measure each level so often; intervals are then over repeats.")] = 1,
    processes: Annotated[int, typer.Option(min=0, max=64, help="Processes that make the load; 0: more when the client is late.")] = 0,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds until a request has failed.")] = 300.0,
    most_levels: Annotated[int, typer.Option(min=2, max=100, help="A sweep ends after so many levels.")] = 16,
    seed: Annotated[int | None, typer.Option(min=0, help="Prompts and arrivals as in an earlier run (caches may know them).")] = None,
    from_run: Annotated[str | None, typer.Option("--from", metavar="RUN", help="No load: a stored run, under another --slo.")] = None,
    as_peer: Annotated[str | None, typer.Option("--as", metavar="TOOL", help="With --from: as vllm, guidellm or aiperf define it.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for this run, new or empty (default: results/runs/<run_id>).")] = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Measure latency and throughput under load: how fast, how many at once, and where it breaks."""
    from evals.errors import LoadError
    from evals.load.plan import Load, Shape
    from evals.load.run import Settings, Watching, read_summary, run_load
    from evals.load.slo import parse_slo
    from serving.documents import parse_document

    promise = parse_slo(slo) if slo else None
    if from_run is not None:
        _show_stored(from_run, results, promise, as_peer, as_json)
        return
    if as_peer is not None:
        raise LoadError(f"--as {as_peer}: applies to a stored run; add --from RUN")
    if duration is not None and not 0 < duration <= LONGEST_S:
        raise LoadError(f"--duration {duration:g}: must be above 0 and at most {LONGEST_S:,.0f} seconds")
    if ramp_in is not None and duration is not None and ramp_in >= duration:
        raise LoadError(f"--ramp-in {ramp_in:g}: leaves nothing of --duration {duration:g}")
    _check_load(rate=rate, concurrency=concurrency, sweep=sweep, arrivals=arrivals, think=think)
    by_clock = rate is not None or _is_trace(arrivals)
    limit_s = duration or _limit_s(by_clock=by_clock, traced=_is_trace(arrivals), counted=requests is not None)
    cut_s = ramp_in if ramp_in is not None else 0.1 * limit_s if limit_s and not requests else 0.0
    made = {
        "rate": rate, "concurrency": concurrency, "arrivals": arrivals or "poisson", "think_s": think, "duration_s": limit_s,
        "requests": requests, "ramp_in_s": cut_s, "warmup": warmup,
    }  # fmt: skip
    tokens = {"input_tokens": input_tokens, "output_tokens": output_tokens, "shared_prefix_tokens": shared_prefix_tokens}
    first = parse_document(made, Load, where="evals load")
    _check_schedule(first)
    settings = Settings(
        endpoint=_endpoint(endpoint, base_url, model, engine, results), load=first, sweep=sweep,
        shape=parse_document(tokens, Shape, where="evals load"), slo=promise, repeats=repeats, processes=processes,
        timeout_s=timeout, most_levels=most_levels, seed=_new_seed() if seed is None else seed,
    )  # fmt: skip
    watching = Watching()
    with _progress(watching, settings.repeats):
        folder = run_load(settings, results, out=out, watching=watching)
    summary = read_summary(folder)
    from evals.load.report import write_report
    from evals.runs import read_run_record

    write_report(folder, read_run_record(folder), summary)
    say(f"kept in {folder}")
    show(summary, folder, as_json)
    if watching.stopped:
        sys.exit(130)
    _fail_when_nothing_came(summary, folder)


def show(summary: "Summary", folder: Path, as_json: bool) -> None:
    """The summary on stdout: a table, or one JSON document."""
    if as_json:
        emit_json({**summary.model_dump(mode="json"), "folder": str(folder)})
        return
    from rich.console import Console

    from evals.load.report import to_screen

    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(to_screen(summary))


def show_run(folder: Path, *, markdown: bool, as_json: bool) -> None:
    """What `evals report` shows of a load run. Raises LoadError for a run of another kind."""
    from evals.load.report import to_markdown
    from evals.load.run import read_summary
    from evals.runs import read_run_record
    from serving.command import emit

    summary = read_summary(folder)
    if markdown:
        emit(to_markdown(read_run_record(folder), summary))
    else:
        show(summary, folder, as_json)


def _show_stored(name: str, results: Path, slo: "Slo | None", peer: str | None, as_json: bool) -> None:
    from evals.load.peers import as_peer
    from evals.load.plan import read_samples
    from evals.load.run import read_summary, summarise_again
    from evals.runs import find_run

    folder = find_run(name, results)
    if peer is None:
        stored = read_summary(folder)
        show(summarise_again(folder, slo or stored.slo), folder, as_json)
        return
    summary, samples = read_summary(folder), read_samples(folder / "load.jsonl")
    tables = [
        (level.load.label, as_peer([sample for sample in samples if sample.point == point], peer))
        for point, level in enumerate(summary.levels)
    ]
    if as_json:
        emit_json({"run_id": summary.run_id, "as": peer, "levels": [{"load": label, **table.model_dump()} for label, table in tables]})
        return
    from rich.console import Console

    from evals.load.report import peer_screen

    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(peer_screen(tables))


def _check_load(*, rate: float | None, concurrency: int | None, sweep: bool, arrivals: str | None, think: float) -> None:
    """Raises LoadError for options that cannot be meant together."""
    from evals.errors import LoadError

    traced = _is_trace(arrivals)
    if rate is not None and not 0 < rate <= 1e6:
        raise LoadError(f"--rate {rate:g}: must be above 0 and at most 1,000,000 requests a second")
    if rate is None and concurrency is None and not sweep and not traced:
        raise LoadError("how much load? Give --rate R (by the clock), --concurrency C (so many at once), --sweep, or --arrivals trace:FILE")
    if traced and (rate is not None or sweep):
        raise LoadError(f"--arrivals {arrivals}: a trace has its own times; leave out {'--rate' if rate is not None else '--sweep'}")
    if sweep and rate is not None and concurrency is not None:
        raise LoadError("--sweep raises one of --rate and --concurrency; give the first value of one, or of neither")
    if arrivals is not None and rate is None and not traced and not sweep:
        raise LoadError(f"--arrivals {arrivals}: belongs to an open loop; add --rate R")
    if arrivals is not None and sweep and (concurrency is not None or arrivals.startswith("ramp")):
        raise LoadError(f"--arrivals {arrivals}: does not go with this --sweep; leave it out")
    if think and (concurrency is None or rate is not None or traced):
        raise LoadError(f"--think {think:g}: belongs to a closed loop; give --concurrency C without --rate")


def _check_schedule(first: "Load") -> None:
    """Draw the schedule once, so that a bad kind, a bad trace or an endless load is told before anything is sent."""
    from evals.errors import LoadError
    from evals.load.arrivals import arrivals, trace

    if first.arrivals.startswith("trace:"):
        due = trace(Path(first.arrivals.removeprefix("trace:")))
    else:
        due = arrivals(first.arrivals, first.rate or 1.0, requests=first.requests, duration_s=first.duration_s)
    due = due[due < first.duration_s] if first.duration_s else due[: first.requests]
    if len(due) and due[-1] > LONGEST_S:
        raise LoadError(f"{first.label}: the last request would be due after {due[-1] / 3600:,.0f} hours; give --duration")


def _endpoint(endpoint_id: str | None, base_url: str | None, model: str | None, engine: str | None, results: Path) -> "Endpoint":
    from evals.errors import LoadError
    from serving.documents import parse_document
    from serving.endpoints import Endpoint, find_endpoint

    if (endpoint_id is None) == (base_url is None):
        raise LoadError("whom to load? Give either --endpoint ID ('serving ls' lists them) or --base-url URL --model NAME")
    if endpoint_id is not None:
        if model is not None or engine is not None:
            raise LoadError(f"--{'model' if model else 'engine'}: goes with --base-url; endpoint '{endpoint_id}' has its own")
        return find_endpoint(endpoint_id, results)
    if model is None:
        raise LoadError(f"--base-url {base_url}: needs --model NAME as well")
    values: dict[str, Any] = {"id": _id_of(model), "wire": "openai", "model": model, "base_url": base_url, "engine": engine}
    return parse_document(values, Endpoint, where="--base-url")


def _id_of(model: str) -> str:
    """An id that can name a folder."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in model).strip("-.")[:60] or "model"


def _limit_s(*, by_clock: bool, traced: bool, counted: bool) -> float | None:
    """Seconds of sending where --duration does not say; None where the schedule itself ends."""
    if counted:
        return None if by_clock else MOST_DURATION_S
    return None if traced else DEFAULT_DURATION_S


def _is_trace(arrivals: str | None) -> bool:
    return arrivals is not None and arrivals.startswith("trace:")


def _new_seed() -> int:
    """Another one each time: a server that keeps prompts would otherwise know those of the last run."""
    import secrets

    return secrets.randbelow(2**31)


def _fail_when_nothing_came(summary: "Summary", folder: Path) -> None:
    from evals.errors import NothingAnswered

    if any(level.figures for level in summary.levels):
        return
    reason = next((error for level in summary.levels for error in level.errors), "no request was sent")
    raise NothingAnswered(f"no request was answered ({reason}); {folder / 'load.jsonl'} has them all")


@contextmanager
def _progress(watching: "Watching", repeats: int) -> "Iterator[None]":
    """One line on stderr that lives: level, sent, answered, failed, in flight. Without a terminal a line per level."""
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    terminal = sys.stderr.isatty()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.fields[counts]}"), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True, disable=not terminal) as bar:
        task = bar.add_task("counting tokens", counts="", total=None)

        def on_level(load: "Load", point: int, repeat: int) -> None:
            title = f"{point + 1}: {load.label}" + (f", repeat {repeat + 1}/{repeats}" if repeats > 1 else "")
            bar.reset(task, description=title, counts="warming up")
            if not terminal:
                say(title)

        def on_progress(progress: "Progress") -> None:
            counts = f"{progress.sent:,} sent, {progress.ended - progress.failed:,} answered, {progress.in_flight:,} in flight"
            if progress.failed:
                counts += f", {progress.failed:,} failed"
            bar.update(task, counts=counts if progress.phase == "load" else "warming up")

        watching.on_level, watching.on_progress = on_level, on_progress
        yield
