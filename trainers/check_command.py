"""`trainers check`: what a training would do, before it costs anything.

trainers check trainers/recipes/smollm2-135m/dpo/lora.yaml --data results/datasets/votes
trainers check recipe.yaml --method sft --data DIR --endpoint our-llama       # and whether that engine renders prompts the same
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from serving.command import RESULTS, AsJson, Results, emit, emit_json, say

if TYPE_CHECKING:
    from trainers.check import Checked
    from trainers.template import Rendered

METHODS = ("sft", "dpo", "kto", "reward")


def check_recipe(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML in TRL's own keys, e.g. under trainers/recipes/.")],
    method: Annotated[
        Literal["sft", "dpo", "kto", "reward"] | None, typer.Option(help="By the recipe's folder (…/dpo/lora.yaml) where it says.")
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Folder, file or hub id; goes before the recipe's.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the recipe; repeatable.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Endpoint that is up: does it render prompts to the same tokens?")] = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Check recipe, rows and chat template; show trained tokens, memory, steps and time; train nothing."""
    from serving.documents import read_yaml
    from serving.endpoints import find_endpoint
    from trainers.errors import RecipeError

    read_yaml(recipe)
    chosen: Any = method or (recipe.resolve().parent.name if recipe.resolve().parent.name in METHODS else None)
    if chosen is None:
        raise RecipeError(f"{recipe}: its folder does not say what it is for: add --method {' or '.join(METHODS)}")
    from trainers.check import check
    from trainers.recipe import read_recipe

    served = None if endpoint is None else find_endpoint(endpoint, results)
    checked = check(read_recipe(recipe, chosen, data=data, overrides=set_ or []), results, endpoint=served)
    if as_json:
        emit_json(document(checked))
    else:
        _show(checked)
    for warning in checked.warnings:
        say(f"warning: {warning}")
    say(f"{recipe}: nothing speaks against 'trainers {chosen}'" + (", but see the warnings" if checked.warnings else ""))


def document(checked: "Checked") -> dict[str, Any]:
    """The figures of a check, for --json."""
    estimate = checked.estimate
    return {
        "base": checked.base,
        "n_train": len(checked.rows.train),
        "n_test": len(checked.rows.test),
        "n_cut": checked.n_cut,
        "n_lost": checked.n_lost,
        "n_tokens": sum(checked.lengths),
        "n_trained_tokens": checked.n_trained_tokens,
        "longest_tokens": max(checked.lengths),
        "warnings": checked.warnings,
        "served": checked.served,
        "memory_bytes": estimate.memory_bytes,
        "n_parameters": estimate.n_parameters,
        "n_trained_parameters": estimate.n_trained,
        "n_steps": estimate.n_steps,
        "time_s": estimate.time_s,
    }


def _show(checked: "Checked") -> None:
    estimate = checked.estimate
    for number, example in enumerate(checked.examples, start=1):
        emit(f"example {number} ({len(example.ids)} tokens, trained are the marked {len(example.ids) - example.start}):")
        _show_example(checked.tokenizer, example)
    cut = ", ".join(f"{number} rows of {name} cut at max_length" for name, number in checked.n_cut.items() if number) or "no row is cut"
    lost = ", ".join(f"{number} rows of {name} lose their answer and are not trained" for name, number in checked.n_lost.items())
    emit(f"rows      {len(checked.rows.train):,} train, {len(checked.rows.test):,} test; {cut}" + (f"; {lost}" if lost else ""))
    emit(f"tokens    {sum(checked.lengths):,} an epoch, {checked.n_trained_tokens:,} of them trained; longest {max(checked.lengths):,}")
    emit(f"base      {checked.base}: {estimate.n_parameters:,} parameters, {estimate.n_trained:,} trained")
    told = ", ".join(f"{part} {_size(size)}" for part, size in estimate.memory_bytes.items() if size)
    emit(f"memory    about {_size(sum(estimate.memory_bytes.values()))} on one device: {told}")
    emit(f"time      {estimate.n_steps:,} steps, {estimate.n_tokens:,} tokens, about {_span(estimate.time_s)} here (an estimate)")
    emit(f"template  {checked.served or 'not compared with a serving engine (--endpoint ID)'}")


def _show_example(tokenizer: Any, example: "Rendered") -> None:
    """Coloured on a terminal; «…» around what is trained elsewhere."""
    from rich.console import Console
    from rich.text import Text

    before, trained = tokenizer.decode(example.ids[: example.start]), tokenizer.decode(example.ids[example.start :])
    console = Console()
    if console.is_terminal:
        console.print(Text(before, style="dim") + Text(trained, style="bold green"))
    else:
        emit(f"{before}«{trained}»")


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.1f} MB"


def _span(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 7200 else f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.1f} s"
