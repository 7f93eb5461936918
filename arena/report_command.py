"""`arena report`: the state of the arena over a week, as a page that opens anywhere and as Markdown.

arena report                                         # the last seven days, to results/reports/
arena report --until 2026-11-24 --days 30 --out DIR
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.command import RESULTS, AsJson, Results, emit_json, say

if TYPE_CHECKING:
    from arena.report import Report


def write_report(
    days: Annotated[int, typer.Option(min=1, max=366, help="How many days it looks back.")] = 7,
    until: Annotated[
        str | None, typer.Option(metavar="DATE", help="Up to the end of this day (UTC), such as 2026-11-24; now by default.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the two files; <results>/reports by default.")] = None,
    database: Annotated[str | None, typer.Option(help="Votes: a DuckDB file or postgresql://…; <results>/arena.duckdb by default.")] = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Write the state of the arena: votes, what moved, newcomers, audit, pairing, cost."""
    from arena.database import locate
    from arena.reading import open_for_reading
    from arena.report import gather
    from arena.report_pages import html_of, markdown_of

    end = end_of(until)
    with open_for_reading(locate(database, results), results) as store:
        report = gather(store, since=end - timedelta(days=days), until=end)
    folder = out or results / "reports"
    stem = f"arena-{(end - timedelta(microseconds=1)):%Y-%m-%d}" + ("" if days == 7 else f"-{days}-days")
    files = {folder / f"{stem}.html": html_of(report), folder / f"{stem}.md": markdown_of(report)}
    _write(files)
    say(f"{report.n_votes:,} votes in {days} days, {len(report.moved)} ratings moved; written: {', '.join(map(str, files))}")
    if as_json:
        emit_json({"files": list(map(str, files)), **document(report)})


def end_of(day: str | None) -> datetime:
    """The end of a day, or now. Raises ArenaError for what is no day."""
    from arena.errors import ArenaError

    if day is None:
        return datetime.now(UTC)
    try:
        return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)
    except ValueError:
        raise ArenaError(f"--until '{day}': is no day; write it as 2026-11-24") from None


def document(report: "Report") -> dict[str, Any]:
    """The report as numbers, with full precision."""
    from dataclasses import asdict

    plain = {name: value for name, value in asdict(report).items() if name not in ("standings", "ledger")}
    return plain | {
        "since": report.since.isoformat(),
        "until": report.until.isoformat(),
        "days": [[day.isoformat(), n] for day, n in report.days],
        "ledger": [[entry.at.isoformat(), entry.model, entry.event] for entry in report.ledger],
        "ratings": [
            row.now.model_dump(mode="json") | {"rating_then": row.then.rating if row.then else None, "moved": row.moved}
            for row in report.standings
        ],
    }


def _write(files: dict[Path, str]) -> None:
    from arena.errors import ExportRefused
    from serving.documents import write_text_atomically

    for path, text in files.items():
        try:
            write_text_atomically(path, text)
        except OSError as error:
            raise ExportRefused(f"{path} cannot be written: {error.strerror}; choose another --out") from None
