"""A model that scores answers, from votes: `trainers reward RECIPE --data DIR` (Bradley–Terry; Ouyang et al. 2022, arXiv:2203.02155).

Read top to bottom: rows and base, TRL's RewardTrainer, accuracy and margin before and after on the held-out rows, then save, merge and
record. What it leaves in `merged` is a sequence classifier with one label that `grpo`, `rloo` and `self-train` take by the training's id:

    trainers grpo recipe.yaml --data DIR --set reward=model:20261123-061500-reward-tiny
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from trainers.data import for_dpo
from trainers.errors import AdapterInactive
from trainers.merge import CANARIES
from trainers.recipe import Recipe
from trainers.record import Training
from trainers.training import OnStep, begin, built, finish, train_and_measure, watch

_TOLD = ("loss", "accuracy", "margin", "mean_reward")


def reward(recipe: Recipe, results: Path, on_step: OnStep | None = None) -> Training:
    """Train and record. Raises DataError and TrainersError before any weight is touched."""
    from trl import RewardTrainer

    begun = begin(recipe, results)
    trainer = built(RewardTrainer, begun, recipe, for_dpo)
    watch(trainer, on_step)
    metrics: dict[str, Any] = {"trained_rows": len(trainer.train_dataset)}
    metrics |= train_and_measure(trainer, begun, _TOLD)
    return finish(begun, recipe, trainer, metrics, merge=merge_scorer)


def load_scorer(folder: str | Path, **arguments: Any) -> Any:
    """The sequence classifier with one label in a folder or on the hub, ready to score."""
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, **arguments).eval()


def scores(model: Any, tokenizer: Any, conversations: list[list[dict[str, str]]], *, batch: int = 8) -> list[float]:
    """One score for each whole conversation: higher is better, without unit."""
    import torch

    found: list[float] = []
    model.config.pad_token_id = tokenizer.pad_token_id
    for start in range(0, len(conversations), batch):
        texts = [tokenizer.apply_chat_template(turns, tokenize=False) for turns in conversations[start : start + batch]]
        tokens = tokenizer(texts, return_tensors="pt", padding=True, padding_side="right", add_special_tokens=False).to(model.device)
        with torch.no_grad():
            found += model(**tokens).logits[:, 0].float().tolist()
    return found


def merge_scorer(base: str, adapter: Path, out: Path, *, revision: str = "main") -> dict[str, float]:
    """As trainers.merge.merge, for a scorer: how far the adapter moves a score, and how far the written files differ from base + adapter.

    Raises AdapterInactive.
    """
    from peft import PeftModel
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(adapter)
    asked = [[{"role": "user", "content": text}, {"role": "assistant", "content": "Yes."}] for text in CANARIES]
    adapted = PeftModel.from_pretrained(load_scorer(base, revision=revision), adapter).eval()
    during = scores(adapted, tokenizer, asked)
    # The adapter brings its own head: without the adapter's layers it must score otherwise.
    with adapted.disable_adapter():
        before = scores(adapted, tokenizer, asked)
    shift = max(abs(one - other) for one, other in zip(during, before, strict=True))
    if not 0.0 < shift < float("inf"):
        raise AdapterInactive(f"{adapter}: moves scores by {shift}: it was not trained, has diverged, or does not fit {base}")
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".merging-") as room:
        fresh = Path(room) / "merged"
        adapted.merge_and_unload().save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)
        written = scores(load_scorer(fresh), tokenizer, asked)
        error = max(abs(one - other) for one, other in zip(written, during, strict=True))
        if not error <= 0.05 * max(1.0, shift):
            raise AdapterInactive(f"{adapter}: merged weights differ from base + adapter by {error:.3g} in score; nothing was written")
        shutil.rmtree(out, ignore_errors=True)
        fresh.rename(out)
    return {"adapter_shift": shift, "merge_error": error}
