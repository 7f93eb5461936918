"""`trainers`: fine-tune on votes, merge, and say what was trained from what."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.command import RESULTS, AsJson, Results, emit, emit_json, entry, new_command, say
from trainers.check_command import check_recipe
from trainers.enter_command import enter_arena
from trainers.gate_command import gate_training
from trainers.lineage_command import show_lineage

if TYPE_CHECKING:
    from trainers.record import Training

app = new_command("From votes to a challenger: SFT and DPO with LoRA, merge, lineage.")

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML in TRL's own keys, e.g. under trainers/recipes/.")]
Data = Annotated[Path | None, typer.Option("--data", help="Folder of 'arena export', file or hub id; goes before the recipe's.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the recipe; repeatable.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="Training id, see 'trainers ls'.")]


@app.command()
def sft(recipe: RecipeFile, data: Data = None, set_: Set = None, results: Results = RESULTS, as_json: AsJson = False) -> None:
    """Supervised fine-tuning on the chosen answers."""
    _train("sft", recipe, data, set_, results, as_json)


@app.command()
def dpo(recipe: RecipeFile, data: Data = None, set_: Set = None, results: Results = RESULTS, as_json: AsJson = False) -> None:
    """Direct preference optimisation on the votes."""
    _train("dpo", recipe, data, set_, results, as_json)


@app.command()
def merge(training_id: Id, results: Results = RESULTS, as_json: AsJson = False) -> None:
    """Merge a training's adapter into whole weights and check that it is active."""
    from trainers.errors import TrainersError, need_torch
    from trainers.record import find_training, weights_hash, write_training

    need_torch()
    training, folder = find_training(training_id, results)
    if training.adapter is None:
        raise TrainersError(f"training '{training_id}' has no adapter: it trained all weights, which are in {folder / 'merged'}")
    from trainers.merge import merge as merge_adapter

    revision = training.recipe.get("model_revision", "main")
    if Path(training.base).is_dir() and weights_hash(Path(training.base)) != training.base_hash:
        raise TrainersError(f"{training.base}: these are not the weights that '{training_id}' was trained from; put those back first")
    shifts = merge_adapter(training.base, folder / training.adapter, folder / "merged", revision=revision)
    write_training(training.model_copy(update={"merged": "merged", "metrics": {**training.metrics, **shifts}}), folder)
    say(f"{folder / 'merged'}: the adapter moves log-probabilities by up to {shifts['adapter_shift']:.3g}")
    if as_json:
        emit_json({"training_id": training_id, "merged": str(folder / "merged"), **shifts})


@app.command()
def ls(results: Results = RESULTS, as_json: AsJson = False) -> None:
    """List the trainings kept here."""
    from trainers.record import read_training, training_folders

    trainings = [read_training(folder) for folder in training_folders(results)]
    if as_json:
        emit_json([training.model_dump(mode="json") for training in trainings])
        return
    for training in trainings:
        emit(f"{training.training_id}  {training.method}  {training.n_train:,} rows  from {training.parent or training.base}")
    if not trainings:
        say(f"no training in {results / 'trainings'} yet: trainers sft RECIPE --data DIR")


def _train(method: Any, path: Path, data: Path | None, overrides: list[str] | None, results: Path, as_json: bool) -> None:
    from serving.documents import read_yaml

    # A missing file or a typo in YAML is told before torch takes its seconds to import.
    read_yaml(path)
    from trainers.dpo import dpo as train_dpo
    from trainers.gate_command import gate_after
    from trainers.progress import progress
    from trainers.recipe import read_recipe
    from trainers.sft import sft as train_sft

    logging.getLogger("trainers").setLevel(logging.INFO)
    recipe = read_recipe(path, method, data=data, overrides=overrides or [])
    train: Callable[..., Training] = {"sft": train_sft, "dpo": train_dpo}[method]
    with progress() as show:
        training = train(recipe, results, show)
    training = gate_after(training, results)
    say(f"{results / 'trainings' / training.training_id}: {_summary(training)}")
    if training.merged:
        say(f"serve it: serving up {results / 'trainings' / training.training_id / training.merged} --engine transformers")
    if as_json:
        emit_json(training.model_dump(mode="json"))


def _summary(training: "Training") -> str:
    metrics = training.metrics
    told = [f"{training.n_train:,} rows"]
    for name, label in (
        ("eval_loss", "held-out loss"),
        ("eval_logps/chosen", "chosen logp"),
        ("eval_rewards/accuracies", "preference accuracy"),
    ):
        if name in metrics:
            before = f"{metrics[name + '_before']:.3g} → " if name + "_before" in metrics else ""
            told.append(f"{label} {before}{metrics[name]:.3g}")
    return ", ".join(told)


app.command(name="check")(check_recipe)
app.command(name="lineage")(show_lineage)
app.command(name="gate")(gate_training)
app.command(name="enter")(enter_arena)
main = entry(app)

if __name__ == "__main__":
    main()
