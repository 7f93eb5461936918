"""Supervised fine-tuning on chosen answers: `trainers sft RECIPE --data DIR`.

Read top to bottom: rows and base, TRL's SFTTrainer, loss before and after on the held-out rows, then save, merge and record.
"""

from pathlib import Path
from typing import Any

from trainers.data import for_sft
from trainers.recipe import Recipe
from trainers.record import Training
from trainers.training import OnStep, begin, built, finish, train_and_measure, watch


def sft(recipe: Recipe, results: Path, on_step: OnStep | None = None) -> Training:
    """Train and record; the loss counts the answer's tokens only. Raises DataError and TrainersError before any weight is touched."""
    from trl import SFTTrainer

    begun = begin(recipe, results)
    if "messages" in begun.rows.train[0] and "assistant_only_loss" not in recipe.stated:
        # Of whole conversations TRL would otherwise train the user's turns as well.
        recipe.training.assistant_only_loss = True
    trainer = built(SFTTrainer, begun, recipe, for_sft)
    watch(trainer, on_step)
    metrics: dict[str, Any] = {"trained_rows": len(trainer.train_dataset)}
    metrics |= train_and_measure(trainer, begun, ("loss",))
    return finish(begun, recipe, trainer, metrics)
