"""Learning from a reward: `trainers grpo RECIPE --data DIR` (GRPO; Shao et al. 2024, arXiv:2402.03300) and `trainers rloo` (Ahmadian et
al. 2024, arXiv:2402.14740).

The model answers each prompt several times; what is worth more than its neighbours becomes more likely. Both are for what PPO did before it
left TRL: first `trainers reward`, then one of these with `reward: model:ID`. Read top to bottom: prompts and base, what answers are worth,
TRL's trainer, the mean reward before and after on held-out prompts, then save, merge and record.
"""

from pathlib import Path
from typing import Any

from trainers.data import for_prompts
from trainers.recipe import Recipe
from trainers.record import Training
from trainers.rewards import Scorer, read_rewards
from trainers.training import OnStep, begin, built, finish, train_and_measure, watch

# A name that ends with a slash stands for all that begin so.
_TOLD = ("reward", "reward_std", "kl", "entropy", "completions/mean_length", "completions/clipped_ratio", "rewards/")


def grpo(recipe: Recipe, results: Path, on_step: OnStep | None = None) -> Training:
    """Train and record; `eval_reward` is the mean over held-out prompts. Raises RecipeError, DataError, TrainersError."""
    from trl import GRPOTrainer

    return _by_reward(GRPOTrainer, recipe, results, on_step)


def rloo(recipe: Recipe, results: Path, on_step: OnStep | None = None) -> Training:
    """As `grpo`, with the mean of the other answers to the prompt as baseline."""
    from trl import RLOOTrainer

    return _by_reward(RLOOTrainer, recipe, results, on_step)


def _by_reward(kind: Any, recipe: Recipe, results: Path, on_step: OnStep | None) -> Training:
    rewards = read_rewards(recipe.path, recipe.own["reward"], results)
    begun = begin(recipe, results)
    # TRL loads a scorer from its folder, and its tokenizer beside it.
    functions = [reward.folder if isinstance(reward, Scorer) else reward for reward in rewards]
    trainer = built(kind, begun, recipe, for_prompts, reward_funcs=functions)
    watch(trainer, on_step)
    metrics: dict[str, Any] = {"trained_rows": len(trainer.train_dataset)}
    metrics |= train_and_measure(trainer, begun, _TOLD)
    logged = [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]
    if logged:
        metrics |= {"train_reward_first": logged[0], "train_reward_last": logged[-1]}
    return finish(begun, recipe, trainer, metrics)
