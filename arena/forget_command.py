"""`arena forget` and `arena tidy`: take out a voter's data, or texts past their time (arena/deletion.py says what goes and what stays).

arena forget 8sKq1Zl3vT0aYx2b --dry-run
arena tidy

While an arena holds the file, it is asked to do it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.command import RESULTS, AsJson, Results, emit, emit_json, say

if TYPE_CHECKING:
    from arena.database import Location
    from arena.deletion import Deletion
    from arena.store import Store

Database = Annotated[str | None, typer.Option(help="Votes: a DuckDB file or postgresql://…; <results>/arena.duckdb by default.")]


def forget(
    voter: Annotated[str, typer.Argument(metavar="VOTER", help="The voter_id, as 'arena export --format votes' has it.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    database: Database = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Remove a voter's prompts, answers and id; the votes stay, anonymous. Says which datasets and trainings they are in."""
    from arena.database import locate
    from arena.deletion import forget as forget_voter

    def here(store: "Store") -> "list[Deletion]":
        return [forget_voter(store, voter, results=results, dry_run=dry_run)]

    document = _done(locate(database, results), results, "/forget", {"voter": voter, "dry_run": dry_run}, here)[0]
    if as_json:
        emit_json({"voter": voter, "dry_run": dry_run, **document})
        return
    verb = "would lose" if dry_run else "lost"
    emit(f"{document['n_battles']:,} battles {verb} prompt, voter and hour; {document['n_votes']:,} votes stay, anonymous")
    emit(f"{document['n_answers']:,} answers that no other battle shows {'would be' if dry_run else 'were'} emptied")
    for name, n_rows in document["datasets"].items():
        emit(f"dataset {name}: {n_rows:,} rows hold these votes; export it again, or delete it")
    for training_id in document["trainings"]:
        emit(f"training {training_id}: made of them; train it again, or delete it")


def tidy(database: Database = None, results: Results = RESULTS, as_json: AsJson = False) -> None:
    """Remove the texts of battles that results/arena.yaml lets be kept no longer; a running arena does so every hour."""
    from arena.database import locate
    from arena.deletion import tidy as tidy_store
    from arena.settings import load_settings

    retention = load_settings(results).retention
    documents = _done(locate(database, results), results, "/tidy", {}, lambda store: tidy_store(store, retention))
    if as_json:
        emit_json({"deletions": documents})
        return
    for document in documents:
        emit(f"{document['cause']}: {document['n_battles']:,} battles and {document['n_answers']:,} answers lost their texts")


def _done(
    database: "Location", results: Path, path: str, body: dict[str, Any], here: "Callable[[Store], list[Deletion]]"
) -> list[dict[str, Any]]:
    """Done on the file, or by the arena that holds it."""
    import json

    from arena.errors import StoreInUse
    from arena.reading import ask, remote, running_arena
    from arena.store import Store

    running = remote(database, results)
    if running is None:
        try:
            with Store(database, create=False) as store:
                return [deletion.document() for deletion in here(store)]
        except StoreInUse:
            if (running := running_arena(database)) is None:
                raise
    with ask(running, path, body) as answer:
        documents: list[dict[str, Any]] = json.load(answer)["deletions"]
    say(f"done by the arena at {running.url}")
    return documents
