"""`evals run` and `evals rescore`: ask a suite, go on with a run, say what it would cost, score its answers anew.

evals run demo
evals run nightly --dry-run
evals run nightly --max-usd 5
evals run nightly --resume 20261123-054512-nightly
evals rescore 20261123-054512-nightly
"""

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.command import RESULTS, AsJson, Results, emit, emit_json, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evals.estimate import Estimate
    from evals.quality import OnProgress
    from evals.quality import Progress as Asked
    from evals.runs import RunFiles

AllowCode = Annotated[bool, typer.Option("--allow-code", help="Let tasks run code that the model wrote, in a sandbox.")]
Out = Annotated[Path | None, typer.Option(help="Folder for this run, new or empty (default: results/runs/<run_id>).")]


def run(
    suite_name: Annotated[str, typer.Argument(metavar="SUITE", help="A suite's YAML file, or the name of a shipped suite.")],
    endpoint: Annotated[list[str] | None, typer.Option(metavar="ID", help="Ask this endpoint instead of the suite's; repeatable.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N documents of each task.")] = None,
    max_usd: Annotated[float | None, typer.Option(min=0, help="Stop before the run costs more than so many dollars.")] = None,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Go on with this run; ask only what it was not answered.")] = None,
    cache: Annotated[bool, typer.Option("--cache", help="Take answers that earlier runs of the very same endpoint hold.")] = False,
    batch: Annotated[bool, typer.Option("--batch", help="Ask through the Batch API: cheaper, and within a day.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how many requests, tokens, dollars and minutes it would be.")
    ] = False,
    allow_code: AllowCode = False,
    out: Out = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Ask a suite's tasks of its endpoints; keep every answer, verdict and score; print the report."""
    from evals.suite import choose_endpoints, find_suite, load_suite

    _hush()
    path = find_suite(suite_name)
    suite = load_suite(path)
    stated = {name: value for name, value in (("limit", limit), ("max_usd", max_usd)) if value is not None}
    suite = suite.model_copy(update=stated)
    parts = choose_endpoints(suite, endpoint or [])
    if resume is not None and (out is not None or cache):
        raise typer.BadParameter(
            "a run that goes on keeps its folder and its own answers; leave --out and --cache out", param_hint="--resume"
        )
    from evals.sandbox import allowing_code

    if dry_run:
        from evals.estimate import estimate
        from evals.quality import plan_run

        with allowing_code(allow_code):
            _show_estimate(estimate(plan_run(suite, parts, folder=path.parent, results=results), results), as_json)
        return

    from evals.quality import run_suite
    from evals.runs import find_run

    folder = find_run(resume, results) if resume is not None else None
    pairs = sum(len(part.endpoints) * len(part.tasks) * max(len(part.prompting), 1) for part in parts)
    with allowing_code(allow_code), _progress_bar(pairs) as on_progress:
        files = run_suite(
            suite, parts, folder=path.parent, results=results, out=out, resume=folder, cache=cache, batch=batch, on_progress=on_progress
        )
    _tell(files, as_json)


def rescore(
    name: Annotated[str, typer.Argument(metavar="RUN", help="Run id (see 'evals ls'), or the folder of a run.")],
    allow_code: AllowCode = False,
    out: Out = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Score a run's answers as its tasks read them today: a new run, for which nothing is asked and nothing is paid."""
    from evals.runs import find_run, read_run

    _hush()
    files = read_run(find_run(name, results))

    from evals.quality import rescore_run
    from evals.sandbox import allowing_code

    pairs = len({(score.endpoint, score.task) for score in files.scores})
    with allowing_code(allow_code), _progress_bar(pairs) as on_progress:
        scored = rescore_run(files, folder=Path(), results=results, out=out, on_progress=on_progress)
    _tell(scored, as_json)


def show_report(files: "RunFiles", as_json: bool) -> None:
    """The report on screen, or as one JSON document."""
    if as_json:
        emit_json(report_document(files))
        return
    from rich.console import Console

    from evals.report import to_screen

    # Into a file or a pipe there is no width to fit.
    Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(to_screen(files))


def report_document(files: "RunFiles") -> dict[str, Any]:
    """A run's scores and measures as `--json` tells them."""
    from evals.lists import list_means
    from evals.measures import measures

    return {
        "run_id": files.run.run_id,
        "suite": files.run.suite,
        "folder": str(files.folder),
        "scores": [score.model_dump(mode="json") for score in files.scores],
        "means": [mean.model_dump(mode="json") for mean in list_means(files)],
        "measures": [measure.model_dump(mode="json") for measure in measures(files)],
    }


def _hush() -> None:
    import os

    # lm-eval's and datasets' progress bars; ours is below. Read once, when tqdm is imported.
    os.environ.setdefault("TQDM_DISABLE", "1")


def _tell(files: "RunFiles", as_json: bool) -> None:
    """Write the report, say where the run is, show it. Raises NothingAnswered."""
    from evals.errors import NothingAnswered
    from evals.report import notes, to_markdown
    from serving.documents import write_text_atomically

    write_text_atomically(files.folder / "report.md", to_markdown(files))
    say(f"kept in {files.folder}")
    if files.run.n_held:
        say(f"{files.run.n_held:,} answers were there already and were not asked again")
    if files.run.n_not_asked:
        say(f"{files.run.n_not_asked:,} requests were not asked, to stay within max_usd; 'evals run … --resume {files.run.run_id}' goes on")
    if as_json:
        for note in notes(files):
            say(note)
    if not any(score.n for score in files.scores):
        failed = next(sample for sample in files.samples if not sample.answered)
        raise NothingAnswered(
            f"no request was answered ({failed.status}: {failed.error}); {files.folder / 'completions.jsonl'} has them all"
        )
    show_report(files, as_json)


def _show_estimate(found: "list[Estimate]", as_json: bool) -> None:
    known = [one.cost_usd for one in found if one.cost_usd is not None]
    total = {"requests": sum(one.requests for one in found), "cost_usd": sum(known) if len(known) == len(found) else None}
    if as_json:
        emit_json({"parts": [one.model_dump(mode="json") for one in found], **total})
        return
    for one in found:
        tokens = f"{one.input_tokens:,.0f} tokens in, " + (
            "unknown out" if one.output_tokens is None else f"{one.output_tokens:,.0f} out ({one.source})"
        )
        cost = "cost not known" if one.cost_usd is None else f"${one.cost_usd:,.4g}"
        minutes = "time not known" if one.minutes is None else f"{one.minutes:,.1f} minutes"
        emit(f"{one.endpoint} on {one.task}: {one.requests:,} requests of {tokens}; {cost}; {minutes}")
    emit(f"in all: {total['requests']:,} requests, " + ("cost not known" if total["cost_usd"] is None else f"${total['cost_usd']:,.4g}"))


@contextmanager
def _progress_bar(pairs: int) -> "Iterator[OnProgress]":
    """A bar on stderr for the endpoint and task at hand, and how many of the pairs are done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    terminal = sys.stderr.isatty()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not terminal) as bar:
        bars: dict[tuple[str, str], Any] = {}

        def show(progress: "Asked") -> None:
            pair = (progress.endpoint, progress.task)
            if pair not in bars:
                title = f"{len(bars) + 1}/{pairs} {progress.endpoint}: {progress.task}"
                for done in bars.values():
                    bar.update(done, visible=False)
                bars[pair] = bar.add_task(title, total=progress.total)
                if not terminal:
                    say(f"{title}, {progress.total:,} requests")
            bar.update(bars[pair], completed=progress.done)

        yield show
