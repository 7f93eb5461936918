"""What SFT and DPO share, before and after the part that is theirs: the base and its tokenizer, progress, saving, merging, the record."""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainers.data import Rows, check_lengths, load_rows
from trainers.errors import TrainersError
from trainers.merge import merge
from trainers.recipe import Recipe
from trainers.record import Training, new_training, resolve_base, versions, weights_hash, write_training

log = logging.getLogger("trainers")
# Below this many preferences a DPO result says little (the published recipes start at thousands).
FEW_ROWS = 500
OnStep = Callable[[int, int, dict[str, float]], None]


@dataclass
class Begun:
    """A training that is about to start: everything checked, its folder made."""

    training_id: str
    folder: Path
    base: str
    parent: str | None
    rows: Rows
    tokenizer: Any
    started_at: datetime


def begin(recipe: Recipe, results: Path) -> Begun:
    """Load rows and tokenizer and check them against the recipe, before any weight is touched. Raises DataError, TrainersError."""
    from datasets import disable_progress_bars
    from transformers import AutoTokenizer

    disable_progress_bars()
    base, parent = resolve_base(recipe.model.model_name_or_path, results)
    rows = load_rows(recipe.dataset, recipe.method)
    try:
        tokenizer = AutoTokenizer.from_pretrained(base, revision=recipe.model.model_revision)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise TrainersError(f"{recipe.path}: model_name_or_path: '{base}' cannot be loaded: {reason}") from None
    if tokenizer.chat_template is None:
        raise TrainersError(
            f"{recipe.path}: model_name_or_path: the tokenizer of '{base}' has no chat template; start from an instruct model"
        )
    if cut := check_lengths(recipe, rows.train, tokenizer):
        log.warning("%d of %d rows are longer than max_length (%d) and will be cut", cut, len(rows.train), recipe.training.max_length)
    if len(rows.train) < FEW_ROWS:
        log.warning("only %d rows to train on: below %d the result says little", len(rows.train), FEW_ROWS)
    training_id, folder = new_training(recipe.method, base, results)
    recipe.training.output_dir = str(folder / "checkpoints")
    return Begun(training_id, folder, base, parent, rows, tokenizer, datetime.now(UTC))


def model_arguments(recipe: Recipe) -> dict[str, Any]:
    """What the base is loaded with, from the ModelConfig keys of the recipe."""
    stated = {"revision": recipe.model.model_revision, "dtype": recipe.model.dtype, "attn_implementation": recipe.model.attn_implementation}
    return {**stated, **(recipe.training.model_init_kwargs or {})}


def watch(trainer: Any, on_step: OnStep | None) -> None:
    """Report each logged step to `on_step(step, steps, metrics)`, and keep transformers from writing its own to stdout."""
    from transformers import PrinterCallback, ProgressCallback, TrainerCallback

    class Report(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
            if on_step is not None and logs:
                on_step(state.global_step, state.max_steps, {key: value for key, value in logs.items() if isinstance(value, int | float)})

    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(Report())


def finish(begun: Begun, recipe: Recipe, trainer: Any, metrics: dict[str, Any]) -> Training:
    """Save the adapter (or the whole model), merge, and write the record; returns it."""
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    if losses:
        metrics = {"train_loss_first": losses[0], "train_loss_last": losses[-1], **metrics}
    adapter = merged = None
    if recipe.model.use_peft:
        adapter = begun.folder / "adapter"
        trainer.save_model(str(adapter))
        begun.tokenizer.save_pretrained(adapter)
        if recipe.merge:
            merged = begun.folder / "merged"
            metrics |= merge(begun.base, adapter, merged)
    else:
        merged = begun.folder / "merged"
        trainer.save_model(str(merged))
        begun.tokenizer.save_pretrained(merged)
    with suppress(OSError):
        # Empty unless the recipe asked for checkpoints.
        Path(recipe.training.output_dir).rmdir()
    training = Training(
        training_id=begun.training_id,
        method=recipe.method,
        base=begun.base,
        base_hash=weights_hash(Path(begun.base)),
        parent=begun.parent,
        dataset=str(begun.rows.folder),
        dataset_hash=begun.rows.dataset_hash,
        n_train=len(begun.rows.train),
        n_test=len(begun.rows.test),
        recipe={**recipe.stated, "path": str(recipe.path)},
        versions=versions(),
        seed=recipe.training.seed,
        metrics=metrics,
        adapter=adapter.name if adapter else None,
        merged=merged.name if merged else None,
        started_at=begun.started_at,
        finished_at=datetime.now(UTC),
    )
    write_training(training, begun.folder)
    return training
