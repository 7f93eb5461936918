"""What all methods share, before and after the part that is theirs: the base and its tokenizer, progress, saving, merging, the record."""

import logging
import math
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainers.data import Row, Rows, check_lengths, load_rows
from trainers.errors import DataError, TrainersError, need_bitsandbytes
from trainers.merge import merge
from trainers.progress import forget_after, keep_step
from trainers.ranks import is_main, shared
from trainers.recipe import Recipe
from trainers.record import Training, read_training, resolve_base, versions, weights_hash, write_training
from trainers.resume import Claim, claim
from trainers.trackers import check_trackers, place
from trainers.whole import whole_weights

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
    checkpoint: str | None
    claim: Claim | None


def begin(recipe: Recipe, results: Path) -> Begun:
    """Load rows and tokenizer and check them against the recipe, before any weight is touched. Raises DataError, TrainersError."""
    _quieten()
    base, parent = resolve_base(recipe.model.model_name_or_path, results)
    if parent is not None and recipe.method != "reward" and read_training(results / "trainings" / parent).method == "reward":
        raise TrainersError(f"{recipe.path}: model_name_or_path: '{parent}' is a reward model, which cannot answer; start from another")
    if recipe.model.load_in_4bit or recipe.model.load_in_8bit:
        need_bitsandbytes()
    check_trackers(recipe)
    rows = load_rows(recipe.dataset, recipe.method, recipe.own)
    base = shared(whole_weights(base, results, revision=recipe.model.model_revision) if is_main() else base)
    tokenizer = load_tokenizer(recipe, base)
    if not rows.test and (recipe.training.eval_strategy != "no" or recipe.training.eval_on_start):
        raise DataError(
            f"{recipe.path}: eval_strategy: {rows.folder} has no test.jsonl to evaluate on; export more votes or remove the key"
        )
    for name, split in (("train.jsonl", rows.train), ("test.jsonl", rows.test)):
        if cut := check_lengths(recipe, split, tokenizer, name=name):
            log.warning(
                "%s: %d of %d rows are longer than max_length (%d) and will be cut", name, cut, len(split), recipe.training.max_length
            )
    if len(rows.train) < FEW_ROWS:
        log.warning("only %d rows to train on: below %d the result says little", len(rows.train), FEW_ROWS)
    held = claim(recipe, base, rows.dataset_hash, results) if is_main() else None
    training_id, folder, checkpoint = shared((held.training_id, held.folder, held.checkpoint) if held else ("", results, None))
    if checkpoint is not None:
        log.info("%s goes on from %s", training_id, Path(checkpoint).name)
    recipe.training.output_dir = str(folder / "checkpoints")
    # Under the same name everywhere.
    recipe.training.run_name = recipe.training.run_name or training_id
    return Begun(training_id, folder, base, parent, rows, tokenizer, datetime.now(UTC), checkpoint, held)


def load_tokenizer(recipe: Recipe, base: str) -> Any:
    """The base's tokenizer with its chat template. Raises TrainersError."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(base, revision=recipe.model.model_revision)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise TrainersError(f"{recipe.path}: model_name_or_path: '{base}' cannot be loaded: {reason}") from None
    if given := getattr(recipe.training, "chat_template_path", None):
        # Relative to the recipe that names it; TRL, which reads it too, knows no recipe.
        path = recipe.path.parent / given
        if not path.is_file():
            raise TrainersError(f"{recipe.path}: chat_template_path: no such file: {path}")
        recipe.training.chat_template_path = str(path.resolve())
        tokenizer.chat_template = path.read_text(encoding="utf-8")
    if tokenizer.chat_template is None:
        raise TrainersError(
            f"{recipe.path}: model_name_or_path: the tokenizer of '{base}' has no chat template; start from an instruct model "
            "or set chat_template_path"
        )
    return tokenizer


def _quieten() -> None:
    """Leave the terminal to our own progress: no bars for every file that is read."""
    from datasets import disable_progress_bars
    from transformers.utils import logging as transformers_logging

    disable_progress_bars()
    transformers_logging.disable_progress_bar()


def model_arguments(recipe: Recipe) -> dict[str, Any]:
    """What the base is loaded with, from the ModelConfig keys of the recipe."""
    stated = {"revision": recipe.model.model_revision, "dtype": recipe.model.dtype, "attn_implementation": recipe.model.attn_implementation}
    return {**stated, **(recipe.training.model_init_kwargs or {})}


def built(trainer: Any, begun: Begun, recipe: Recipe, rows: Callable[[list[Row]], list[Row]], **more: Any) -> Any:
    """TRL's `trainer` class at work on this recipe; `rows` shapes rows for it, `more` are its own arguments.

    Raises TrainersError for what TRL refuses.
    """
    from datasets import Dataset
    from trl import get_peft_config, get_quantization_config

    recipe.training.model_init_kwargs = model_arguments(recipe)
    adapter = get_peft_config(recipe.model)
    if adapter is not None and recipe.method == "reward":
        adapter.task_type = "SEQ_CLS"
    try:
        made = trainer(
            model=begun.base,
            args=recipe.training,
            train_dataset=Dataset.from_list(rows(begun.rows.train)),
            eval_dataset=Dataset.from_list(rows(begun.rows.test)) if begun.rows.test else None,
            processing_class=begun.tokenizer,
            peft_config=adapter,
            quantization_config=get_quantization_config(recipe.model),
            **more,
        )
    except (ValueError, NotImplementedError, OSError, ImportError) as error:
        abandon(begun)
        raise TrainersError(f"{recipe.path}: {' '.join(str(error).split())[:400]}") from None
    place(made, begun.folder)
    if "save_strategy" not in recipe.stated:
        made.add_callback(_no_last_checkpoint())
    return made


def train_and_measure(trainer: Any, begun: Begun, told: Sequence[str]) -> dict[str, float]:
    """Train, from the checkpoint where there is one: `train_runtime` (seconds of this process), and what TRL evaluates on held-out rows.

    Of the latter those named in `told` (a name that ends with a slash: all that begin so), as `eval_…_before` and `eval_…`. On an
    accelerator also `peak_memory_bytes`: the most that this process's tensors held at once while it trained.
    """
    import torch

    before = _evaluated(trainer, begun, told)
    accelerated = torch.accelerator.is_available()
    if accelerated:
        torch.accelerator.reset_peak_memory_stats()
    done = trainer.train(resume_from_checkpoint=begun.checkpoint)
    measured = {"train_runtime": float(done.metrics["train_runtime"])}
    if accelerated:
        measured["peak_memory_bytes"] = float(torch.accelerator.max_memory_allocated())
    return {f"{name}_before": value for name, value in before.items()} | measured | _evaluated(trainer, begun, told)


def _evaluated(trainer: Any, begun: Begun, told: Sequence[str]) -> dict[str, float]:
    """Nothing without held-out rows; and a set smaller than a batch has no loss where the recipe drops what does not fill one."""
    if not begun.rows.test:
        return {}
    wanted = {f"eval_{name}" for name in told}
    groups = tuple(name for name in wanted if name.endswith("/"))
    return {name: value for name, value in trainer.evaluate().items() if name in wanted or name.startswith(groups)}


def abandon(begun: Begun) -> None:
    """Leave nothing of a training that cannot be followed or has diverged."""
    if begun.claim is not None:
        begun.claim.release()
        shutil.rmtree(begun.folder, ignore_errors=True)


def _no_last_checkpoint() -> Any:
    """Checkpoints are for a training that is killed: what its last step made is saved as the result anyway."""
    from transformers import TrainerCallback

    class NoLast(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step >= state.max_steps:
                control.should_save = False

    return NoLast()


def watch(trainer: Any, on_step: OnStep | None) -> None:
    """Report each logged step to `on_step(step, steps, metrics)`, and keep transformers from writing its own to stdout."""
    from transformers import PrinterCallback, ProgressCallback, TrainerCallback

    class Report(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.is_world_process_zero:
                forget_after(Path(args.output_dir).parent, state.global_step)

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
            if logs and state.is_world_process_zero:
                keep_step(Path(args.output_dir).parent, state.global_step, state.max_steps, logs)
            if on_step is not None and logs:
                on_step(state.global_step, state.max_steps, {key: value for key, value in logs.items() if isinstance(value, int | float)})

    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(Report())


def finish(
    begun: Begun, recipe: Recipe, trainer: Any, metrics: dict[str, Any], *, merge: Callable[..., dict[str, float]] = merge
) -> Training:
    """Save the adapter (or the whole model), write the record, merge; returns the record.

    Raises TrainersError when a loss or a weight is no number: nothing is kept of such a training. When only the merge fails, adapter and
    record stay.
    """
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    if losses:
        metrics = {"train_loss_first": losses[0], "train_loss_last": losses[-1], **metrics}
    trained = (weight for weight in trainer.model.parameters() if weight.requires_grad)
    if not all(math.isfinite(loss) for loss in losses) or not all(bool(weight.isfinite().all()) for weight in trained):
        abandon(begun)
        raise TrainersError(f"{recipe.path}: the training diverged (a loss or weight is no number any more); lower learning_rate")
    saved = begun.folder / ("adapter" if recipe.model.use_peft else "merged")
    trainer.save_model(str(saved))
    training = _record(begun, recipe, metrics)
    if begun.claim is None:
        return shared(training)
    begun.tokenizer.save_pretrained(saved)
    # A pickle of the arguments, with this machine's paths: the record says the same, readably.
    (saved / "training_args.bin").unlink(missing_ok=True)
    # From here on it is done, whenever it is killed: without the record its checkpoints are all there is of it.
    write_training(training, begun.folder)
    checkpoints = Path(recipe.training.output_dir)
    if "save_strategy" not in recipe.stated:
        shutil.rmtree(checkpoints, ignore_errors=True)
    with suppress(OSError):
        # Empty unless the recipe asked for checkpoints.
        checkpoints.rmdir()
    begun.claim.release()
    if recipe.model.use_peft and recipe.merge:
        shifts = merge(begun.base, saved, begun.folder / "merged", revision=recipe.model.model_revision)
        training = training.model_copy(update={"merged": "merged", "metrics": {**metrics, **shifts}})
        write_training(training, begun.folder)
    return shared(training)


def _record(begun: Begun, recipe: Recipe, metrics: dict[str, Any]) -> Training:
    return Training(
        training_id=begun.training_id,
        method=recipe.method,
        base=begun.base,
        base_hash=weights_hash(local_weights(begun.base, recipe.model.model_revision)),
        parent=begun.parent,
        dataset=str(begun.rows.folder),
        dataset_hash=begun.rows.dataset_hash,
        n_train=len(begun.rows.train),
        n_test=len(begun.rows.test),
        recipe={**recipe.resolved, "path": str(recipe.path)},
        versions=versions(),
        seed=recipe.training.seed,
        metrics=metrics,
        adapter="adapter" if recipe.model.use_peft else None,
        merged=None if recipe.model.use_peft else "merged",
        started_at=begun.started_at,
        finished_at=datetime.now(UTC),
    )


def local_weights(base: str, revision: str) -> Path:
    """The folder that a base's weights lie in: itself, or for a name on the hub the snapshot in the local cache."""
    if Path(base).is_dir():
        return Path(base)
    from transformers.utils import cached_file

    return Path(str(cached_file(base, "config.json", revision=revision))).parent
