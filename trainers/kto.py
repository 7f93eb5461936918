"""Learning from single answers that were good or bad: `trainers kto RECIPE --data DIR` (Ethayarajh et al. 2024, arXiv:2402.01306).

Read top to bottom: rows, the weights of good and bad answers, TRL's KTOTrainer, log-probabilities before and after on the held-out rows,
then save, merge and record. The paper keeps desirable_weight × n_good between 1 and 4/3 of undesirable_weight × n_bad; where the recipe
states neither weight, the rarer side is weighed up to equality.
"""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from trainers.data import Row, for_kto
from trainers.errors import DataError
from trainers.recipe import Recipe
from trainers.record import Training
from trainers.training import OnStep, abandon, begin, built, finish, train_and_measure, watch

log = logging.getLogger("trainers")
_TOLD = ("loss", "rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen", "logps/rejected", "kl")
_LEAST, _MOST = 1.0, 4 / 3


def kto(recipe: Recipe, results: Path, on_step: OnStep | None = None) -> Training:
    """Train and record. Raises DataError and TrainersError before any weight is touched."""
    from trl import KTOTrainer

    begun = begin(recipe, results)
    try:
        metrics: dict[str, Any] = weigh(recipe, for_kto(begun.rows.train))
    except DataError:
        abandon(begun)
        raise
    trainer = built(KTOTrainer, begun, recipe, partial(for_kto, seed=recipe.training.seed))
    watch(trainer, on_step)
    metrics["trained_rows"] = len(trainer.train_dataset)
    metrics |= train_and_measure(trainer, begun, _TOLD)
    return finish(begun, recipe, trainer, metrics)


def weigh(recipe: Recipe, rows: Sequence[Row]) -> dict[str, float]:
    """Set the weights that the recipe leaves open; returns what was used. Raises DataError when all answers are good, or all bad."""
    good = sum(row["label"] for row in rows)
    bad = len(rows) - good
    if not good or not bad:
        raise DataError(
            f"{recipe.dataset}: label: all {len(rows)} answers are {'good' if good else 'bad'}: kto learns from the difference; "
            "use sft for good ones alone"
        )
    if not {"desirable_weight", "undesirable_weight"} & set(recipe.stated):
        recipe.training.desirable_weight, recipe.training.undesirable_weight = max(1.0, bad / good), max(1.0, good / bad)
    weights = {"desirable_weight": recipe.training.desirable_weight, "undesirable_weight": recipe.training.undesirable_weight}
    ratio = weights["desirable_weight"] * good / (weights["undesirable_weight"] * bad)
    if not _LEAST - 1e-9 <= ratio <= _MOST + 1e-9:
        log.warning(
            "%d good and %d bad answers with weights %g and %g: ratio %.2f, outside 1 to 1.33; set desirable_weight: %.3g or none",
            good, bad, weights["desirable_weight"], weights["undesirable_weight"], ratio, weights["undesirable_weight"] * bad / good,
        )  # fmt: skip
    return {"n_good": good, "n_bad": bad, **weights}
