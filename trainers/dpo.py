"""Direct preference optimisation on votes: `trainers dpo RECIPE --data DIR` (Rafailov et al. 2023; TRL's DPOTrainer).

Read top to bottom: rows and base, TRL's DPOTrainer with the base as reference, log-probabilities and preferences before and after on the
held-out rows, then save, merge and record. The default loss is sigmoid + sft: sigmoid alone can win every preference by destroying both
answers, and neither accuracy nor margin shows it; watch `logps/chosen`.
"""

from pathlib import Path
from typing import Any

from trainers.data import for_dpo
from trainers.recipe import Recipe
from trainers.record import Training
from trainers.training import OnStep, begin, built, finish, train_and_measure, watch

# Of what TRL evaluates, what tells whether the model learned to prefer or was destroyed.
_TOLD = ("loss", "rewards/accuracies", "rewards/margins", "logps/chosen", "logps/rejected")


def dpo(recipe: Recipe, results: Path, on_step: OnStep | None = None) -> Training:
    """Train and record. Raises DataError and TrainersError before any weight is touched."""
    from trl import DPOTrainer

    begun = begin(recipe, results)
    trainer = built(DPOTrainer, begun, recipe, for_dpo)
    watch(trainer, on_step)
    metrics: dict[str, Any] = {"trained_rows": len(trainer.train_dataset)}
    metrics |= train_and_measure(trainer, begun, _TOLD)
    return finish(begun, recipe, trainer, metrics)
