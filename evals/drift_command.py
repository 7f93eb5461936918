"""`evals drift`: whether an endpoint still answers as it did. Exit code 3 when it does not, so that cron can tell.

    evals run nightly --endpoint gpt-4o && evals drift --endpoint gpt-4o --suite nightly || mail …
    evals drift 20261101-nightly:gpt-4o 20261124-nightly:gpt-4o          # named runs: the first is the reference, the last is now

The tests are evals/drift.py's.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.command import RESULTS, AsJson, Results, emit_json

if TYPE_CHECKING:
    from evals.items import Side

DRIFTED = 3


def drift(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN[:ENDPOINT]]...", help="In the order of time; else all there are.")
    ] = None,
    endpoint: Annotated[str | None, typer.Option(metavar="ID", help="The endpoint to watch.")] = None,
    suite: Annotated[str | None, typer.Option(metavar="NAME", help="Only runs of this suite.")] = None,
    tolerance: Annotated[float, typer.Option(min=0, max=1, help="Lengths, seconds, dollars: this share of the answers must move.")] = 0.1,
    examples: Annotated[int, typer.Option(min=0, help="Show this many items that fell and as many that rose.")] = 2,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Compare an endpoint's newest run with its first on the same items; exit with 3 where accuracy, length, latency or cost moved."""
    from evals.drift import find_drift

    series, notes = _series(names or [], endpoint, suite, results)
    found = find_drift(series, tolerance=tolerance, examples=examples, notes=notes)
    if as_json:
        emit_json({**found.model_dump(mode="json"), "drifted": bool(found.drifted)})
    else:
        from rich.console import Console

        from evals.drift_report import tables

        Console(highlight=False, width=None if sys.stdout.isatty() else 180).print(*tables(found), sep="\n")
    if found.drifted:
        raise typer.Exit(DRIFTED)


def _series(names: list[str], endpoint: str | None, suite: str | None, results: Path) -> "tuple[list[Side], list[str]]":
    """One side for each run, in the order of time."""
    from evals.drift import find_series
    from evals.errors import NotComparable
    from evals.items import read_sides

    if not names:
        if endpoint is None:
            raise NotComparable("which endpoint? Give --endpoint ID (and --suite NAME), or name two runs: RUN:ENDPOINT RUN:ENDPOINT")
        return find_series(results, endpoint, suite)
    if len(names) < 2:
        raise NotComparable(f"{names[0]}: drift needs two runs, or none named and --endpoint ID")
    series = []
    for name, sides in zip(names, read_sides(names, results), strict=True):
        mine = [side for side in sides if endpoint in (None, side.endpoint)]
        if len(mine) != 1:
            known = ", ".join(side.endpoint for side in sides)
            raise NotComparable(f"{name}: name one of its endpoints, as {name}:ENDPOINT or with --endpoint ID; it has {known}")
        series += mine
    return series, []
