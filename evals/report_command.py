"""`evals report`: runs and load tests shown again, on screen, as Markdown, as one HTML file or as JSON.

evals report 20261124-054512-demo
evals report 20261124-054512-demo 20261124-091500-load --html report.html
"""

from pathlib import Path
from typing import Annotated

import typer

from serving.command import RESULTS, AsJson, Results, emit, emit_json, say


def report(
    names: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run ids (see 'evals ls'), or the folders of runs.")],
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the report as Markdown.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the reports as one HTML page that needs no network.")] = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Show the report of one run, or of several in turn; runs of 'evals run' and of 'evals load' alike."""
    from evals.load.command import show_run
    from evals.report import to_markdown
    from evals.run_command import report_document, show_report
    from evals.runs import find_run, read_run

    folders = [find_run(name, results) for name in names]
    if html is not None:
        if markdown or as_json:
            raise typer.BadParameter("writes a file; leave --markdown and --json out", param_hint="--html")
        _write_html(folders, html)
        return
    if any((folder / "load.json").is_file() for folder in folders):
        for folder in folders:
            show_run(folder, markdown=markdown, as_json=as_json)
        return
    found = [read_run(folder) for folder in folders]
    if as_json:
        documents = [report_document(files) for files in found]
        emit_json(documents[0] if len(documents) == 1 else documents)
        return
    for files in found:
        if markdown:
            emit(to_markdown(files))
        else:
            say(f"{files.run.run_id}: {files.folder}")
            show_report(files, as_json=False)


def _write_html(folders: list[Path], path: Path) -> None:
    from evals.errors import EvalsError
    from evals.load.run import read_summary
    from evals.report_html import to_html
    from evals.runs import read_run, read_run_record
    from serving.documents import write_text_atomically

    is_load = [(folder / "load.json").is_file() for folder in folders]
    found = [(read_run_record(one), read_summary(one)) if load else read_run(one) for one, load in zip(folders, is_load, strict=True)]
    page = to_html(found)
    try:
        write_text_atomically(path, page)
    except OSError as error:
        raise EvalsError(f"--html {path}: cannot be written: {error.strerror}; name a file that can be made") from None
    say(f"wrote {path} ({len(page.encode()) / 1000:,.0f} kB)")
