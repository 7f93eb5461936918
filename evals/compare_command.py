"""`evals compare`: which of two is better on the same items, as tables or as JSON.

    evals compare 20261124-133246-demo                                        # all pairs of endpoints in one run
    evals compare 20261124-133246-demo:gpt-4-0314 20261124-133246-demo:gpt-4-0613
    evals compare 20261101-nightly 20261124-nightly                           # the same endpoints in two runs

The comparison is evals/compare.py's, the matching of items evals/items.py's.
"""

import sys
from typing import Annotated

import typer

from serving.command import RESULTS, AsJson, Results, emit_json


def compare(
    names: Annotated[list[str], typer.Argument(metavar="RUN[:ENDPOINT]...", help="Runs or endpoints in them; the first is the baseline.")],
    metric: Annotated[str | None, typer.Option(metavar="NAME", help="As in scores.jsonl; else the first of each task.")] = None,
    examples: Annotated[int, typer.Option(min=0, help="Show this many items that fell and as many that rose.")] = 2,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Compare endpoints on the items that both answered: paired differences, how sure they are, what else moved, which items flipped."""
    from evals.compare import compare as compared
    from evals.items import choose_pairs, read_sides

    found = compared(choose_pairs(read_sides(names, results)), metric=metric, examples=examples)
    if as_json:
        emit_json({"comparisons": [one.model_dump(mode="json") for one in found]})
        return
    from rich.console import Console

    from evals.compare_report import tables

    Console(highlight=False, width=None if sys.stdout.isatty() else 180).print(*tables(found), sep="\n")
