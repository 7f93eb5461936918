"""`evals`: run a suite, make load, list what there is, show a run's report.

evals run suites/demo.yaml
evals load --endpoint my-llama --concurrency 32
evals run demo --endpoint my-llama --limit 200 --json
"""

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evals.cost_command import cost
from evals.judging.command import calibrate, judge
from evals.load.command import load, show_run
from serving.command import RESULTS, AsJson, Results, emit, emit_json, entry, new_command, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evals.quality import OnProgress
    from evals.quality import Progress as Asked
    from evals.runs import RunFiles

app = new_command("Which model is right more often, how fast, and at what cost.")
app.command()(load)


@app.command()
def run(
    suite_name: Annotated[str, typer.Argument(metavar="SUITE", help="A suite's YAML file, or the name of a shipped suite.")],
    endpoint: Annotated[list[str] | None, typer.Option(metavar="ID", help="Ask this endpoint instead of the suite's; repeatable.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N documents of each task.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for this run, new or empty (default: results/runs/<run_id>).")] = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Ask a suite's tasks of its endpoints; keep every answer, verdict and score; print the report."""
    import os

    from evals.errors import NothingAnswered
    from evals.suite import choose_endpoints, find_suite, load_suite

    # lm-eval's and datasets' progress bars; ours is below. Read once, when tqdm is imported.
    os.environ.setdefault("TQDM_DISABLE", "1")
    path = find_suite(suite_name)
    suite = load_suite(path)
    if limit is not None:
        suite = suite.model_copy(update={"limit": limit})
    parts = choose_endpoints(suite, endpoint or [])

    from evals.quality import run_suite
    from evals.report import notes, to_markdown
    from serving.documents import write_text_atomically

    pairs = sum(len(part.endpoints) * len(part.tasks) for part in parts)
    with _progress_bar(pairs) as on_progress:
        files = run_suite(suite, parts, folder=path.parent, results=results, out=out, on_progress=on_progress)
    write_text_atomically(files.folder / "report.md", to_markdown(files))
    say(f"kept in {files.folder}")
    if as_json:
        for note in notes(files):
            say(note)
    if not any(score.n for score in files.scores):
        failed = next(sample for sample in files.samples if not sample.answered)
        raise NothingAnswered(
            f"no request was answered ({failed.status}: {failed.error}); {files.folder / 'completions.jsonl'} has them all"
        )
    _show(files, as_json)


@app.command()
def report(
    names: Annotated[list[str], typer.Argument(metavar="RUN", help="Run id (see 'evals ls'), or the folder of a run.")],
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the report as Markdown.")] = False,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Show the report of one run, or of several in turn."""
    from evals.report import to_markdown
    from evals.runs import find_run, read_run

    folders = [find_run(name, results) for name in names]
    if any((folder / "load.json").is_file() for folder in folders):
        for folder in folders:
            show_run(folder, markdown=markdown, as_json=as_json)
        return
    found = [read_run(folder) for folder in folders]
    if as_json:
        documents = [_document(files) for files in found]
        emit_json(documents[0] if len(documents) == 1 else documents)
        return
    for files in found:
        if markdown:
            emit(to_markdown(files))
        else:
            say(f"{files.run.run_id}: {files.folder}")
            _show(files, as_json=False)


@app.command()
def ls(results: Results = RESULTS, as_json: AsJson = False) -> None:
    """List the shipped suites and tasks, and the runs kept here."""
    from evals.runs import read_run_record, run_folders
    from evals.suite import SUITES, TASKS, shipped_suites, shipped_tasks

    suites = {name: _first_comment(SUITES / f"{name}.yaml") for name in shipped_suites()}
    tasks = {name: _first_comment(TASKS / f"{name}.yaml") for name in shipped_tasks()}
    runs = [read_run_record(folder) for folder in run_folders(results)]
    if as_json:
        kept = [run.model_dump(mode="json", exclude={"config", "versions"}) for run in runs]
        emit_json({"suites": suites, "tasks": tasks, "runs": kept})
        return
    for title, entries in (("suites", suites), ("tasks", tasks)):
        emit(f"{title}:")
        for name, says in entries.items():
            emit(f"  {name:<14} {says}")
    emit(f"runs in {results / 'runs'}:" if runs else f"runs in {results / 'runs'}: none yet; try 'evals run demo'")
    for kept_run in runs:
        emit(f"  {kept_run.run_id}  {len(kept_run.endpoints)} endpoints{'' if kept_run.finished_at else ', did not finish'}")


app.command()(cost)
app.command()(judge)
app.command()(calibrate)


def _show(files: "RunFiles", as_json: bool) -> None:
    if as_json:
        emit_json(_document(files))
        return
    from rich.console import Console

    from evals.report import to_screen

    # Into a file or a pipe there is no width to fit.
    Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(to_screen(files))


def _document(files: "RunFiles") -> dict[str, Any]:
    from evals.measures import measures

    return {
        "run_id": files.run.run_id,
        "suite": files.run.suite,
        "folder": str(files.folder),
        "scores": [score.model_dump(mode="json") for score in files.scores],
        "measures": [measure.model_dump(mode="json") for measure in measures(files)],
    }


def _first_comment(path: Path) -> str:
    line = path.read_text(encoding="utf-8").split("\n", 1)[0]
    return line.removeprefix("#").strip() if line.startswith("#") else ""


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


main = entry(app)

if __name__ == "__main__":
    main()
