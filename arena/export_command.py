"""`arena export`: the votes as a dataset to train on, or votes, ratings and ledger as tables.

arena export --format dpo --out results/datasets/first
arena export --format ledger --out ledger.csv
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from serving.command import RESULTS, AsJson, Results, emit_json, say

if TYPE_CHECKING:
    from arena.database import Location


def export_votes(
    out: Annotated[Path, typer.Option(help="Folder to write, new or empty; for votes, ratings, ledger a .parquet or .csv file.")],
    format: Annotated[
        Literal["dpo", "kto", "sft", "reward", "openai", "argilla", "votes", "ratings", "ledger"],
        typer.Option(help="dpo, kto, sft, reward: TRL's forms; openai: Together, Fireworks, OpenAI; argilla: records; others: tables."),
    ] = "dpo",
    min_dwell_s: Annotated[float | None, typer.Option(min=0, help="Leave out votes cast sooner than this; 1 s where it is known.")] = None,
    any_license: Annotated[bool, typer.Option("--any-license", help="Keep answers to be learned whatever their endpoint's terms.")] = False,
    ties: Annotated[bool, typer.Option("--ties", help="With kto: a tie teaches both answers, 'both bad' unteaches both.")] = False,
    scrub: Annotated[bool, typer.Option("--scrub", help="Mark e-mail addresses, phones, cards, IBANs, IPs in all texts.")] = False,
    max_voter_share: Annotated[float, typer.Option(min=0.0001, max=1, help="At most this share of the votes from one voter.")] = 0.05,
    split_by: Annotated[Literal["both", "prompt"], typer.Option(help="What train and test must not share: prompts and voters.")] = "both",
    decontaminate: Annotated[bool, typer.Option(help="Leave out prompts that hold a shipped benchmark's question.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Draws whose votes stay, where one voter has too many.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace the dataset in the folder; write fewer than 500 preferences.")] = False,
    votes: Annotated[Path | None, typer.Option(metavar="FILE", help="Judgments of 'evals judge' instead of the votes (RLAIF).")] = None,
    database: Annotated[str | None, typer.Option(help="Votes: a DuckDB file or postgresql://…; <results>/arena.duckdb by default.")] = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Write the votes as a dataset to train on (train, test, card, audit), or votes, ratings and ledger as tables."""
    from arena.cast import answers_of, casts_from, casts_of
    from arena.contamination import benchmark_grams
    from arena.database import locate
    from arena.errors import ArenaError
    from arena.export import check_free, export
    from arena.judgments import judges_of, read_judgments
    from arena.preferences import Rules, strictest
    from arena.reading import open_for_reading
    from serving.endpoints import load_endpoints

    location = locate(database, results)
    if format == "votes" or format == "ratings" or format == "ledger":
        _export_table(format, out, location, results, force=force, as_json=as_json)
        return
    if ties and format != "kto":
        raise ArenaError(f"--ties: {format} has no place for a tie; leave it out, or --format kto")
    check_free(out, force)
    trainable = {endpoint.id: endpoint.outputs_trainable for endpoint in load_endpoints(results).values()}
    rules = Rules(
        min_dwell_s=min_dwell_s, any_license=any_license, ties=ties, scrub=scrub, max_voter_share=max_voter_share, split_by=split_by,
        seed=seed, least=0 if force else 500, force=force,
    )  # fmt: skip
    if votes is not None:
        records, judges = read_judgments(votes, rated=True), [trainable.get(judge) for judge in judges_of(votes)]
        audit = export(
            casts_from(records), out, format=format, rules=rules, benchmarks=benchmark_grams() if decontaminate else None,
            outputs_trainable=lambda model: strictest(trainable.get(model), *judges),
        )  # fmt: skip
    else:
        with open_for_reading(location, results) as store:
            benchmarks = benchmark_grams() if decontaminate else None
            out.resolve().parent.mkdir(parents=True, exist_ok=True)
            with answers_of(store, out.resolve().parent) as answers:
                casts = casts_of(store, answers)
                audit = export(casts, out, format=format, rules=rules, benchmarks=benchmarks, outputs_trainable=trainable.get)
            if not store.flags():
                say("no vote is flagged: 'arena audit --apply' first keeps careless and dishonest voters out of the dataset")
    left_out = ", ".join(f"{number:,} {reason}" for reason, number in audit.dropped.items()) or "none"
    say(f"{out}: {audit.n_kept:,} of {audit.n_votes:,} votes: {audit.n_train:,} train, {audit.n_test:,} test; left out: {left_out}")
    if as_json:
        emit_json({"out": str(out), "format": format, **audit.model_dump(mode="json", exclude={"format"})})


def _export_table(format: str, out: Path, database: "Location", results: Path, *, force: bool, as_json: bool) -> None:
    from arena.reading import open_for_reading
    from arena.tables import export_table

    with open_for_reading(database, results) as store:
        n_rows = export_table(store, format, out, force=force)
    say(f"{out}: {n_rows:,} rows")
    if as_json:
        emit_json({"out": str(out), "format": format, "n_rows": n_rows})
