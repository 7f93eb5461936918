"""`trainers gate`: look at what a training made, and let it on or refuse it; also what runs after each training.

trainers gate 20261123-061500-dpo-tiny                                  # nearer to the chosen answers than the base's
trainers gate 20261123-061500-dpo-tiny --judge gpt-4o                   # an endpoint compares the answers, in both orders
trainers gate 20261123-061500-dpo-tiny --checker "regex:^Gladly" --prompts unseen.jsonl
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.command import RESULTS, AsJson, Results, emit_json, say

if TYPE_CHECKING:
    from trainers.gate import OnStage
    from trainers.record import Training

log = logging.getLogger("trainers")


def gate_training(
    training_id: Annotated[str, typer.Argument(metavar="ID", help="Training id, see 'trainers ls'.")],
    judge: Annotated[str | None, typer.Option(metavar="ENDPOINT", help="An endpoint says whose answer is better, in both orders.")] = None,
    checker: Annotated[
        str | None, typer.Option(metavar="NAME", help="Or: likeness, contains:TEXT, regex:PATTERN, FILE.py:FUNCTION.")
    ] = None,
    prompts: Annotated[Path | None, typer.Option(metavar="FILE", help="JSONL of prompts instead of the dataset's test rows.")] = None,
    n_prompts: Annotated[int | None, typer.Option(min=2, help="Ask at most this many prompts (200).")] = None,
    suite: Annotated[
        str | None, typer.Option(metavar="SUITE", help="Base and tuned model are asked this suite of 'evals run', too.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N documents of each task of the suite.")] = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Compare a training with its base on held-out prompts, and let it on or refuse it."""
    from trainers.errors import TrainersError, need_torch
    from trainers.gate import run_gate, settings_of
    from trainers.record import find_training

    if judge is not None and checker is not None:
        raise typer.BadParameter("give either --judge or --checker")
    training, _ = find_training(training_id, results)
    need_torch()
    section = training.recipe.get("gate")
    settings = settings_of(None if section is False else section, where=f"training {training_id}")
    assert settings is not None
    stated: dict[str, Any] = {"judge": judge, "checker": checker, "prompts": prompts and str(prompts)}
    stated |= {"n_prompts": n_prompts, "suite": suite, "limit": limit}
    changed = {key: value for key, value in stated.items() if value is not None}
    # One replaces the other.
    changed |= {"checker": None} if judge is not None else {"judge": None} if checker is not None else {}
    try:
        with _stages() as on_stage:
            gate = run_gate(training_id, results, settings.model_copy(update=changed), on_stage=on_stage)
    except TrainersError as error:
        raise type(error)(f"no verdict: {error}") from None
    tell(gate)
    if as_json:
        emit_json(gate)


def gate_after(training: "Training", results: Path) -> "Training":
    """Its gate, unless the recipe says `gate: false` or there is nothing held out; returns the record as it is then.

    The training is kept whatever comes of it: what keeps the gate from a verdict is told, and 'trainers gate ID' does it later.
    """
    from serving.errors import BakeoffError
    from trainers.gate import run_gate, settings_of
    from trainers.heldout import has_held_out
    from trainers.record import find_training

    training_id = training.training_id
    settings = settings_of(training.recipe.get("gate"), where=str(training.recipe.get("path", training_id)))
    if settings is None or training.method == "reward":
        return training
    if not has_held_out(training) and settings.prompts is None:
        log.warning("not gated: nothing was held out to measure on; 'trainers gate %s --prompts FILE' does it", training_id)
        return training
    try:
        with _stages() as on_stage:
            tell(run_gate(training_id, results, settings, on_stage=on_stage))
    except BakeoffError as error:
        log.warning("not gated: %s; the training is kept, and 'trainers gate %s' tries again", error, training_id)
        return training
    return find_training(training_id, results)[0]


def tell(gate: dict[str, Any]) -> None:
    """The verdict, and each check in a line, on stderr."""
    marks = {True: "passed", False: "REFUSED", None: "–"}
    for name, check in gate["checks"].items():
        say(f"  {name:15}{marks[check['passed']]:9}{check['told']}")
    remedy = "" if gate["verdict"] == "passed" else f"; kept, but not offered to the arena ('trainers enter {gate['training_id']} --force')"
    say(f"gate: {gate['verdict']}{remedy}")


@contextmanager
def _stages() -> Iterator["OnStage"]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("gate: {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    terminal = sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not terminal) as bar:
        task = bar.add_task("loading", total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield show
