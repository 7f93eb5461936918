"""`arena label`: have a model say which prompts belong to the categories that ask (arena/labelling.py).

arena label --judge gpt-4o-mini
"""

from typing import Annotated

import typer

from serving.command import RESULTS, AsJson, Results, emit, emit_json, say

Database = Annotated[str | None, typer.Option(help="Votes: a DuckDB file or postgresql://…; <results>/arena.duckdb by default.")]


def label(
    judge: Annotated[str, typer.Option(metavar="ID", help="The endpoint that is asked about each prompt.")],
    category: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this category; repeatable.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many prompts of each category.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Requests in flight.")] = 8,
    database: Database = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Have a model say which prompts belong to the categories in results/categories.yaml that ask a question."""
    from arena.categories import questions
    from arena.database import locate
    from arena.errors import ArenaError
    from arena.labelling import label as label_prompts
    from arena.reading import open_for_writing
    from serving.endpoints import load_endpoints, pick
    from serving.errors import did_you_mean

    asked = questions(results)
    if unknown := next((name for name in category or () if name not in asked), None):
        raise ArenaError(f"--category {unknown}: asks nothing in {results / 'categories.yaml'}.{did_you_mean(unknown, list(asked))}")
    if not asked:
        raise ArenaError(f'{results / "categories.yaml"}: no category asks a question; write NAME: {{ask: "Does …?"}}')
    endpoint = pick(load_endpoints(results), judge)
    documents = []
    with open_for_writing(locate(database, results), results, create=False) as store:
        for name in category or asked:
            found = label_prompts(store, endpoint, name, asked[name], limit=limit, concurrency=concurrency)
            documents.append({"category": name, **{key: found.counts[key] for key in ("yes", "no", "unparsed", "failed")}})
            documents[-1]["cost_usd"] = found.cost_usd
    if as_json:
        emit_json({"judge": judge, "categories": documents})
        return
    for one in documents:
        cost = "cost not known" if one["cost_usd"] is None else f"${one['cost_usd']:.4g}"
        emit(f"{one['category']}: {one['yes']:,} yes, {one['no']:,} no, {one['unparsed']:,} unparsed, {one['failed']:,} failed; {cost}")
    if any(one["unparsed"] or one["failed"] for one in documents):
        say("what has no label is asked again the next time")
