"""`arena`: open the arena, read its leaderboard, bring votes in, take preference data out."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from arena.audit_command import audit_votes
from arena.endpoint_command import decide_on_endpoint
from arena.export_command import export_votes
from arena.forget_command import forget, tidy
from arena.label_command import label
from arena.report_command import write_report
from serving.command import RESULTS, AsJson, Results, emit_json, entry, new_command, say

app = new_command("Blind battles between models: votes, the leaderboard, and the data they become.")

Database = Annotated[str | None, typer.Option(help="Votes: a DuckDB file or postgresql://…; <results>/arena.duckdb by default.")]


@app.command()
def up(
    demo: Annotated[bool, typer.Option("--demo", help="With 59 recorded models and 8,931 real votes; no key needed.")] = False,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8501,
    database: Database = None,
    results: Results = RESULTS,
) -> None:
    """Open the arena in the browser: battle, leaderboard, about."""
    from arena.server import APP, serve

    serve(script=APP, port=port, database=_database(database, results), results=results, demo=demo)


@app.command()
def leaderboard(
    votes: Annotated[Path | None, typer.Option(help="Rate a CSV (model_a, model_b, winner, …) or judgments (.jsonl) instead.")] = None,
    method: Annotated[
        Literal["bt", "davidson", "elo"], typer.Option(help="Bradley-Terry; Davidson, ties as a parameter; Elo in the order of votes.")
    ] = "bt",
    cluster: Annotated[
        Literal["none", "voter", "prompt", "both", "item"],
        typer.Option(help="Votes of one voter or prompt may resemble each other; item: a pair on a prompt."),
    ] = "none",
    style_control: Annotated[bool, typer.Option("--style-control", help="Hold length and decoration of the answers equal.")] = False,
    style_columns: Annotated[str | None, typer.Option(help="Columns to hold equal: tokens,headers,lists,bold by default.")] = None,
    position: Annotated[bool, typer.Option("--position", help="Estimate what the left slot is worth.")] = False,
    both_bad: Annotated[
        Literal["apart", "tie"], typer.Option(help="'Both bad' is counted apart and rates nobody, or is taken for a tie.")
    ] = "apart",
    weights: Annotated[Literal["none", "pairing"], typer.Option(help="Weigh votes by the inverse probability of their pair.")] = "none",
    category: Annotated[str | None, typer.Option(help="Only such battles: code, maths, creative, hard, english, … or your own.")] = None,
    voter: Annotated[str | None, typer.Option(help="A personal board: only the votes of this id.")] = None,
    anchor: Annotated[str | None, typer.Option(metavar="MODEL=RATING", help="Shift all ratings so that MODEL has RATING.")] = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="Intervals from this many refitted draws of the votes.")] = 0,
    orders: Annotated[int, typer.Option(min=0, help="With --method elo: mean over this many random orders.")] = 0,
    fragility: Annotated[bool, typer.Option("--fragility", help="How many dropped votes put the next model above.")] = False,
    matrix: Annotated[bool, typer.Option("--matrix", help="Also how likely each model beats each other.")] = False,
    publish: Annotated[bool, typer.Option("--publish", help="Also write <results>/leaderboard.json, for 'evals pick'.")] = False,
    database: Database = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Rate the models by the votes, with 95 % intervals."""
    from arena.leaderboard_command import Choice, parse_anchor, show
    from arena.leaderboard_command import style_columns as columns
    from arena.ratings import Method

    asked = Method(
        name=method, both_bad=both_bad, position=position, style=columns(style_control, style_columns), cluster=cluster,
        weights=weights, anchor=parse_anchor(anchor), bootstrap=bootstrap, orders=orders, fragility=fragility,
    )  # fmt: skip
    choice = Choice(votes, _database(database, results), results, voter=voter, category=category)
    show(choice, asked, matrix=matrix, as_json=as_json, publish=publish)


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Votes: CSV, JSON or Parquet as the format has it; text plain or .gz.")],
    format: Annotated[
        Literal["csv", "llmfao", "fastchat", "arena55k", "arena100k", "arena140k", "comparia", "openwebui", "judgments"],
        typer.Option(help="csv: model_a, model_b, winner, …; judgments: of 'evals judge', not rated; others: as those arenas publish."),
    ],
    database: Database = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Add votes that were cast elsewhere, all of the file or nothing."""
    from arena.importers import read_records
    from arena.reading import open_for_writing

    records = read_records(file, format)
    with open_for_writing(_database(database, results), results, create=True) as store:
        added, total = store.save_all(records), store.count_votes()
    say(f"{file}: {added:,} new of {len(records):,} votes; {total:,} in all")
    if as_json:
        emit_json({"file": str(file), "format": format, "n_new": added, "n_found": len(records), "n_votes": total})


app.command(name="audit")(audit_votes)
app.command(name="export")(export_votes)
app.command(name="report")(write_report)
app.command()(label)
app.command(name="endpoint")(decide_on_endpoint)
app.command()(forget)
app.command()(tidy)


@app.command(name="hash-password")
def hash_password() -> None:
    """Make the hash that lets an operator into the admin pages (results/arena.yaml)."""
    from arena.passwords import ask_and_hash

    ask_and_hash()


def _database(database: str | None, results: Path) -> Path | str:
    from arena.database import locate

    return locate(database, results)


main = entry(app)

if __name__ == "__main__":
    main()

if __name__ == "__main__":
    main()
