"""`arena`: open the arena, read its leaderboard, bring votes in, take preference data out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from arena.audit_command import audit_votes
from serving.command import RESULTS, AsJson, Results, emit_json, entry, new_command, say

if TYPE_CHECKING:
    from arena.ratings import Rating
    from arena.votes import Outcome, Tally

app = new_command("Blind battles between models: votes, the leaderboard, and the data they become.")

Database = Annotated[Path | None, typer.Option(help="File of votes; arena.duckdb in the results folder by default.")]


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
    votes: Annotated[Path | None, typer.Option(help="Rate a CSV (model_a, model_b, winner, …) or judgments (.jsonl).")] = None,
    method: Annotated[Literal["bt", "elo"], typer.Option(help="Bradley-Terry, exact; or Elo in the order of the votes.")] = "bt",
    cluster: Annotated[
        Literal["none", "voter", "prompt"], typer.Option(help="Votes of one voter or prompt may resemble each other.")
    ] = "none",
    database: Database = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Rate the models by the votes, with 95 % intervals."""
    from arena.errors import ArenaError, NothingToRate
    from arena.ratings import bradley_terry, online_elo

    if method == "elo" and cluster != "none":
        raise ArenaError(f"--cluster {cluster} widens the intervals of --method bt; --method elo has none: leave one of them out")
    counts, tallies, outcomes = _votes_of_file(votes, cluster) if votes else _votes_of_store(_database(database, results), cluster)
    if not counts["n_votes"]:
        raise NothingToRate("there are no votes to rate: vote with 'arena up', or bring some in with 'arena import'")
    ratings = bradley_terry(tallies) if method == "bt" else online_elo(outcomes)
    document = {"method": method, "cluster": cluster, **counts, "ratings": [rating.model_dump(mode="json") for rating in ratings]}
    if as_json:
        emit_json(document)
    else:
        _print_table(ratings, document)


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="Folder to write, new or empty; for votes, ratings, ledger a .parquet or .csv file.")],
    format: Annotated[
        Literal["dpo", "votes", "ratings", "ledger"],
        typer.Option(help="dpo: preference pairs in TRL's conversational form; the others are tables."),
    ] = "dpo",
    min_dwell_s: Annotated[float | None, typer.Option(min=0, help="Leave out votes cast sooner than this, in seconds.")] = None,
    any_license: Annotated[bool, typer.Option("--any-license", help="Keep chosen answers whatever their endpoint's terms.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the dataset in the folder.")] = False,
    votes: Annotated[Path | None, typer.Option(metavar="FILE", help="Judgments of 'evals judge' instead of the votes (RLAIF).")] = None,
    database: Database = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Write the votes as a dataset to train on (train, test, card, audit), or votes, ratings and ledger as tables."""
    from arena.judgments import judges_of, read_judgments
    from arena.preferences import export_dpo, strictest
    from arena.store import Store
    from arena.tables import TABLES, export_table
    from serving.endpoints import load_endpoints

    if format in TABLES:
        with Store(_database(database, results), create=False) as store:
            n_rows = export_table(store, format, out, force=force)
        say(f"{out}: {n_rows:,} rows")
        if as_json:
            emit_json({"out": str(out), "format": format, "n_rows": n_rows})
        return
    trainable = {endpoint.id: endpoint.outputs_trainable for endpoint in load_endpoints(results).values()}
    rules: dict[str, Any] = {"min_dwell_s": min_dwell_s, "any_license": any_license, "force": force}
    if votes is not None:
        judges = [trainable.get(judge) for judge in judges_of(votes)]
        audit = export_dpo(
            read_judgments(votes, rated=True), out, outputs_trainable=lambda model: strictest(trainable.get(model), *judges), **rules
        )
    else:
        with Store(_database(database, results), create=False) as store:
            audit = export_dpo(store.voted(), out, outputs_trainable=trainable.get, **rules)
    left_out = ", ".join(f"{number:,} {reason}" for reason, number in audit.dropped.items()) or "none"
    say(f"{out}: {audit.n_kept:,} of {audit.n_votes:,} votes: {audit.n_train:,} train, {audit.n_test:,} test; left out: {left_out}")
    if as_json:
        emit_json({"out": str(out), "format": format, **audit.model_dump(mode="json", exclude={"format"})})


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Votes: CSV, JSON or Parquet as the format has it; text plain or .gz.")],
    format: Annotated[
        Literal["csv", "llmfao", "fastchat", "arena55k", "arena100k", "arena140k", "comparia", "openwebui", "judgments"],
        typer.Option(
            help="csv: model_a, model_b, winner, …; judgments: of 'evals judge', not rated; others: as those arenas publish."
        ),
    ],
    database: Database = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Add votes that were cast elsewhere, all of the file or nothing."""
    from arena.importers import read_records
    from arena.store import Store

    records = read_records(file, format)
    with Store(_database(database, results)) as store:
        added, total = store.save_all(records), store.count_votes()
    say(f"{file}: {added:,} new of {len(records):,} votes; {total:,} in all")
    if as_json:
        emit_json({"file": str(file), "format": format, "n_new": added, "n_found": len(records), "n_votes": total})


app.command(name="audit")(audit_votes)


def _database(database: Path | None, results: Path) -> Path:
    return database or results / "arena.duckdb"


def _votes_of_store(path: Path, cluster: Any) -> tuple[dict[str, int], "list[Tally]", "list[Outcome]"]:
    from arena.store import Store

    with Store(path, create=False) as store:
        counts, tallies, outcomes = store.counts(), store.vote_counts(cluster), store.outcomes()
    return _summary(counts.n_votes, counts.n_unrated, counts.n_both_bad), tallies, outcomes


def _votes_of_file(path: Path, cluster: str) -> tuple[dict[str, int], "list[Tally]", "list[Outcome]"]:
    from arena.importers import read_votes
    from arena.ratings import tally

    rows = read_votes(path)
    outcomes = [row.outcome for row in rows]
    clusters = {"none": None, "voter": [row.voter_id for row in rows], "prompt": [row.prompt_id for row in rows]}[cluster]
    return _summary(len(rows), 0, sum(row.winner == "both_bad" for row in rows)), tally(outcomes, clusters), outcomes


def _summary(n_votes: int, n_unrated: int, n_both_bad: int) -> dict[str, int]:
    return {"n_votes": n_votes, "n_battles": n_votes - n_unrated - n_both_bad, "n_unrated": n_unrated, "n_both_bad": n_both_bad}


def _print_table(ratings: "list[Rating]", document: dict[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("rank", justify="right")
    table.add_column("model", overflow="fold")
    table.add_column("rating", justify="right")
    table.add_column("95 % interval", justify="right")
    table.add_column("battles", justify="right")
    for rating in (rating for rating in ratings if rating.rating is not None):
        known = rating.rating_lower is not None and rating.rating_upper is not None
        interval = f"{rating.rating_lower:.0f} to {rating.rating_upper:.0f}" if known else "-"
        table.add_row(str(rating.rank), escape(rating.model), f"{rating.rating:.0f}", interval, f"{rating.n_battles:,}")
    console = Console()
    console.print(table)
    for rating in (rating for rating in ratings if rating.note):
        console.print(f"{rating.model}: {rating.note}", markup=False, highlight=False, soft_wrap=True)
    method = {"bt": "Bradley-Terry", "elo": "online Elo (K = 4)"}[document["method"]]
    counted = f"{document['n_battles']:,} of {document['n_votes']:,} votes counted"
    aside = f" ({document['n_both_bad']:,} found both bad, {document['n_unrated']:,} not rated)"
    say(f"{method} · {counted}{aside if document['n_battles'] < document['n_votes'] else ''}")


main = entry(app)

if __name__ == "__main__":
    main()

if __name__ == "__main__":
    main()
