"""`trainers lineage`: what was made from what, and from whom, in either direction.

trainers lineage 20261123-061500-dpo-tiny        # back to the votes and voters
trainers lineage voter-17                        # forward to the models that learned from this voter
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from serving.command import RESULTS, AsJson, Results, emit, emit_json

_SHOWN = 5


def show_lineage(
    name: Annotated[str, typer.Argument(metavar="ID", help="A voter, vote, dataset folder, training, endpoint or battle.")],
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Trace voter, votes, dataset, training, endpoint and battles, both ways."""
    from trainers.lineage import trace

    trail = trace(name, results)
    if as_json:
        emit_json(trail)
        return
    emit(name)
    emit(f"├─ voters    {_few(trail['voters'])}")
    emit(f"├─ votes     {_few(trail['votes'])}")
    for one in trail["datasets"]:
        changed = "  (other rows now)" if one["changed"] else "" if Path(one["folder"]).exists() else "  (not there any more)"
        emit(f"├─ dataset   {one['folder']}: {one['n_votes']:,} of its {one['n_rows']:,} rows{changed}")
    for one in trail["trainings"]:
        emit(f"├─ training  {_of(one)}")
    emit(f"├─ endpoints {_few(trail['endpoints'])}")
    emit(f"└─ battles   {_few(trail['battles'])}")


def _of(one: dict[str, Any]) -> str:
    base_hash = f" sha256 {one['base_hash'][:16]}" if one["base_hash"] else ""
    parent = f", of {one['parent']}" if one["parent"] else ""
    rows = f"{one['n_train']:,} train, {one['n_test']:,} test rows sha256 {one['dataset_hash'][:16]}"
    return f"{one['training_id']}  {one['method']} from {one['base']}{base_hash}{parent}; {rows}; gate {one['gate'] or 'not asked'}"


def _few(names: list[str]) -> str:
    if not names:
        return "none"
    more = f", … ({len(names):,} in all)" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
