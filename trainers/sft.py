"""Supervised fine-tuning on chosen answers: `trainers sft RECIPE --data DIR`.

Read top to bottom: rows and base, TRL's SFTTrainer, loss before and after on the held-out rows, then save, merge and record.
"""

from pathlib import Path
from typing import Any

from trainers.data import for_sft
from trainers.recipe import Recipe
from trainers.record import Training
from trainers.training import OnStep, begin, finish, model_arguments, watch


def sft(recipe: Recipe, results: Path, on_step: OnStep | None = None) -> Training:
    """Train and record; the loss counts the answer's tokens only. Raises DataError and TrainersError before any weight is touched."""
    from datasets import Dataset
    from trl import SFTTrainer, get_peft_config

    begun = begin(recipe, results)
    recipe.training.model_init_kwargs = model_arguments(recipe)
    test = Dataset.from_list(for_sft(begun.rows.test)) if begun.rows.test else None
    trainer = SFTTrainer(
        model=begun.base,
        args=recipe.training,
        train_dataset=Dataset.from_list(for_sft(begun.rows.train)),
        eval_dataset=test,
        processing_class=begun.tokenizer,
        peft_config=get_peft_config(recipe.model),
    )
    watch(trainer, on_step)
    metrics: dict[str, Any] = {"trained_rows": len(trainer.train_dataset)}
    if test is not None:
        metrics["eval_loss_before"] = trainer.evaluate()["eval_loss"]
    trainer.train()
    if test is not None:
        metrics["eval_loss"] = trainer.evaluate()["eval_loss"]
    return finish(begun, recipe, trainer, metrics)
