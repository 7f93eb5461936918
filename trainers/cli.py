"""`trainers`: fine-tune on votes, merge, and say what was trained from what."""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from serving.command import RESULTS, AsJson, Results, emit, emit_json, entry, new_command, say
from trainers.check_command import check_recipe
from trainers.enter_command import enter_arena
from trainers.gate_command import gate_training
from trainers.lineage_command import show_lineage

if TYPE_CHECKING:
    from trainers.record import Training

app = new_command("From votes to a challenger: SFT, DPO, KTO, rewards, GRPO, RLOO; check, merge, lineage.")

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML in TRL's own keys, e.g. under trainers/recipes/.")]
Data = Annotated[Path | None, typer.Option("--data", help="Folder of 'arena export', file or hub id; goes before the recipe's.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the recipe; repeatable.")]
Accelerate = Annotated[str | None, typer.Option(help="Several processes: ddp, fsdp, zero3, or a file of 'accelerate config'.")]
Processes = Annotated[int | None, typer.Option(min=1, help="How many; every GPU where it is not said. Only with --accelerate.")]
Engine = Annotated[Literal["trl", "unsloth"], typer.Option(help="Who trains; unsloth in an environment of its own (LoRA, one GPU).")]
Id = Annotated[str, typer.Argument(metavar="ID", help="Training id, see 'trainers ls'.")]


@app.command()
def sft(
    recipe: RecipeFile,
    data: Data = None,
    set_: Set = None,
    accelerate: Accelerate = None,
    processes: Processes = None,
    engine: Engine = "trl",
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Supervised fine-tuning on the chosen answers."""
    _train("sft", recipe, data, set_, results, as_json, (accelerate, processes, engine))


@app.command()
def dpo(
    recipe: RecipeFile,
    data: Data = None,
    set_: Set = None,
    accelerate: Accelerate = None,
    processes: Processes = None,
    engine: Engine = "trl",
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Direct preference optimisation on the votes."""
    _train("dpo", recipe, data, set_, results, as_json, (accelerate, processes, engine))


def _method(method: str, told: str) -> None:
    """The command of a method that trains with TRL alone."""

    def command(
        recipe: RecipeFile,
        data: Data = None,
        set_: Set = None,
        accelerate: Accelerate = None,
        processes: Processes = None,
        results: Results = RESULTS,
        as_json: AsJson = False,
    ) -> None:
        _train(method, recipe, data, set_, results, as_json, (accelerate, processes, "trl"))

    app.command(name=method, help=told)(command)


_method("kto", "Learning from single answers that were good or bad.")
_method("reward", "A model that scores answers, from votes.")
_method("grpo", "Learning from a reward model, a judge or a checker (what PPO was used for).")
_method("rloo", "As grpo, with the other answers' mean as baseline.")
_method("self-train", "Sample answers, keep the best by a judge, checker or reward model, and fine-tune on those.")


@app.command(hidden=True, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def ppo() -> None:
    """PPO has left TRL."""
    from trainers.errors import TrainersError

    raise TrainersError("PPO has left TRL: 'trainers reward' makes a reward model, 'trainers grpo' or 'trainers rloo' learn from it")


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
        verdict = training.gate["verdict"] if training.gate else "not gated"
        emit(f"{training.training_id}  {training.method}  {training.n_train:,} rows  from {training.parent or training.base}  {verdict}")
    if not trainings:
        say(f"no training in {results / 'trainings'} yet: trainers sft RECIPE --data DIR")


# --accelerate, --processes, --engine.
_How = tuple[str | None, int | None, str]


def _train(method: Any, path: Path, data: Path | None, overrides: list[str] | None, results: Path, as_json: bool, how: _How) -> None:
    from serving.documents import read_yaml

    # A missing file or a typo in YAML is told before torch takes its seconds to import.
    read_yaml(path)
    accelerate, processes, engine = how
    if accelerate is not None or processes is not None:
        from trainers.launch import launch

        launch(accelerate, processes, engine)
    if engine == "unsloth":
        from trainers.unsloth import enter

        enter()
    from importlib import import_module

    from trainers.gate_command import gate_after
    from trainers.progress import progress
    from trainers.ranks import is_main
    from trainers.recipe import read_recipe
    from trainers.trackers import kept_from_stdout

    logging.getLogger("trainers").setLevel(logging.INFO)
    recipe = read_recipe(path, method, data=data, overrides=overrides or [])
    if not is_main():
        logging.getLogger("trainers").setLevel(logging.ERROR)
    module, function = {"rloo": ("grpo", "rloo"), "self-train": ("selftrain", "self_train")}.get(method, (method, method))
    train: Callable[..., Training] = getattr(import_module(f"trainers.{module}"), function)
    with kept_from_stdout(), progress() if is_main() else nullcontext() as show:
        training = train(recipe, results, show)
    if not is_main():
        return
    training = gate_after(training, results)
    say(f"{results / 'trainings' / training.training_id}: {_summary(training)}")
    if training.merged and method != "reward":
        say(f"serve it: serving up {results / 'trainings' / training.training_id / training.merged} --engine transformers")
    if method == "reward":
        say(f"learn from it: trainers grpo RECIPE --set reward=model:{training.training_id}")
    if as_json:
        emit_json(training.model_dump(mode="json"))


def _summary(training: "Training") -> str:
    metrics = training.metrics
    told = [f"{training.n_train:,} rows"]
    for name, label in (
        ("eval_loss", "held-out loss"),
        ("eval_logps/chosen", "chosen logp"),
        ("eval_rewards/accuracies", "preference accuracy"),
        ("eval_accuracy", "preference accuracy"),
        ("eval_reward", "reward of unseen prompts"),
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
