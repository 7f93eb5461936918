"""A model that learns from its own best answers: `trainers self-train RECIPE --data DIR` (rejection sampling; RAFT, arXiv:2304.06767).

    reward: judge:gpt-4o-mini        # what is an answer worth (trainers/rewards.py)
    samples: 4                       # answers to each prompt; the best is kept, if it is worth at least min_reward
    sampler: our-llama               # an endpoint that answers; without it the model that is trained does
    rounds: 2                        # sample and train again from what the first round made

Each round: answer, score, keep the best, write those rows as a dataset with an account of every prompt, fine-tune (trainers/sft.py), and
answer the held-out prompts before and after: `eval_reward` is the mean reward of what the model itself answers there.
"""

import asyncio
import dataclasses
import json
import logging
from pathlib import Path
from statistics import fmean
from typing import Any

from trainers.data import Row, dataset_hash, for_prompts, load_rows
from trainers.errors import TrainersError
from trainers.recipe import Recipe
from trainers.record import Training, resolve_base, write_training
from trainers.reward import load_scorer, scores
from trainers.rewards import Reward, Scorer, Turns, read_rewards
from trainers.sft import sft
from trainers.training import OnStep

log = logging.getLogger("trainers")
_DEFAULTS: dict[str, Any] = {
    "samples": 4,
    "rounds": 1,
    "temperature": 1.0,
    "max_completion_length": 512,
    "min_reward": None,
    "sampler": None,
}
_AT_ONCE = 8


def self_train(recipe: Recipe, results: Path, on_step: OnStep | None = None) -> Training:
    """Train `rounds` times, each a training of its own with the one before as parent; returns the last. Raises TrainersError."""
    asked = _DEFAULTS | dict(recipe.own)
    if asked["samples"] < 2 or asked["rounds"] < 1:
        raise TrainersError(f"{recipe.path}: samples must be at least 2 and rounds at least 1: the best of one answer is no choice")
    if asked["sampler"] is not None and asked["rounds"] > 1:
        raise TrainersError(f"{recipe.path}: rounds: with a sampler the answers would be the same each round; remove one of them")
    rewards = read_rewards(recipe.path, asked["reward"], results)
    rows = load_rows(recipe.dataset, "self-train", recipe.own)
    model, training = recipe.model.model_name_or_path, None
    for number in range(asked["rounds"]):
        training = _round(recipe, results, on_step, asked | {"rewards": rewards, "rows": rows, "model": model, "seed": number})
        model = training.training_id
    assert training is not None
    return training


def _round(recipe: Recipe, results: Path, on_step: OnStep | None, asked: dict[str, Any]) -> Training:
    base, _ = resolve_base(asked["model"], results)
    prompts, held_out = for_prompts(asked["rows"].train), for_prompts(asked["rows"].test)
    model = Speaker(base, recipe, asked)
    before = model.mean_reward(held_out)
    answers = from_endpoint(prompts, asked, results) if asked["sampler"] else model.answers(prompts, n=asked["samples"])
    kept, account = keep_best(prompts, answers, asked["rewards"], asked["min_reward"])
    del model
    if not kept:
        raise TrainersError(f"{recipe.path}: no answer was worth min_reward ({asked['min_reward']}): {account}; lower it or raise samples")
    folder = _write(results, recipe, kept, account)
    following = dataclasses.replace(
        recipe,
        dataset=folder,
        own={},
        model=dataclasses.replace(recipe.model, model_name_or_path=asked["model"]),
        resolved={**recipe.resolved, "dataset": str(folder), "source_dataset": str(recipe.dataset), "model_name_or_path": asked["model"]},
        training=dataclasses.replace(recipe.training, model_init_kwargs=None),
    )
    trained = sft(following, results, on_step)
    metrics = {**trained.metrics, **{name: value for name, value in account.items() if name != "dataset_hash"}}
    if held_out and trained.merged:
        after = Speaker(str(results / "trainings" / trained.training_id / trained.merged), recipe, asked).mean_reward(held_out)
        metrics |= {"eval_reward_before": before, "eval_reward": after}
    trained = trained.model_copy(update={"metrics": metrics})
    write_training(trained, results / "trainings" / trained.training_id)
    return trained


def keep_best(
    prompts: list[Row], answers: list[list[str]], rewards: list[Scorer | Reward], least: float | None
) -> tuple[list[Row], dict[str, Any]]:
    """(rows of prompt and completion, an account of all prompts): of each prompt's answers the one of highest mean reward.

    Left out are prompts without an answer that has a reward, those whose best is below `least`, and those whose answers are all worth the
    same: of these nothing is best.
    """
    flat = [(row, text) for row, texts in zip(prompts, answers, strict=True) for text in texts]
    worth = iter(value_of([row for row, _ in flat], [text for _, text in flat], rewards))
    kept: list[Row] = []
    account = {"n_prompts": len(prompts), "n_sampled": len(flat), "n_unscored": 0, "n_below": 0, "n_all_alike": 0, "n_kept": 0}
    sampled, best_of = [], []
    for row, texts in zip(prompts, answers, strict=True):
        found = [(value, text) for text in texts if (value := next(worth)) is not None and text.strip()]
        sampled += [value for value, _ in found]
        if not found:
            account["n_unscored"] += 1
            continue
        best, text = max(found, key=lambda pair: pair[0])
        if least is not None and best < least:
            account["n_below"] += 1
        elif len(found) > 1 and best == min(found)[0] and len({text for _, text in found}) > 1 and least is None:
            account["n_all_alike"] += 1
        else:
            account["n_kept"] += 1
            best_of.append(best)
            kept.append({"prompt": row["prompt"], "completion": [{"role": "assistant", "content": text}]})
    means = {"sampled_reward": fmean(sampled) if sampled else None, "kept_reward": fmean(best_of) if best_of else None}
    return kept, account | means


def value_of(rows: list[Row], texts: list[str], rewards: list[Scorer | Reward]) -> list[float | None]:
    """The mean of all rewards of each answer; None where one of them has none."""
    columns: list[list[float | None]] = []
    for reward in rewards:
        said = [[{"role": "assistant", "content": text}] for text in texts]
        if isinstance(reward, Scorer):
            from transformers import AutoTokenizer

            whole = [row["prompt"] + turn for row, turn in zip(rows, said, strict=True)]
            columns.append([*scores(load_scorer(reward.folder), AutoTokenizer.from_pretrained(reward.folder), whole)])
        else:
            columns.append(reward([row["prompt"] for row in rows], said, answer=[row["answer"] for row in rows]))
    together = [[value for value in values if value is not None] for values in zip(*columns, strict=True)]
    return [fmean(values) if len(values) == len(rewards) else None for values in together]


class Speaker:
    """A local model that answers prompts, sampled at the recipe's temperature with a fixed seed."""

    def __init__(self, folder: str, recipe: Recipe, asked: dict[str, Any]) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        revision = recipe.model.model_revision
        self.tokenizer = AutoTokenizer.from_pretrained(folder, revision=revision, padding_side="left")
        self.model = AutoModelForCausalLM.from_pretrained(folder, revision=revision, dtype=recipe.model.dtype or "auto").eval()
        self.model.to(recipe.training.device)
        self.asked, self.batch = asked, recipe.training.per_device_eval_batch_size

    def answers(self, prompts: list[Row], *, n: int) -> list[list[str]]:
        """`n` answers to each prompt."""
        import torch

        torch.manual_seed(1000 + self.asked["seed"])
        found: list[list[str]] = []
        sampling: dict[str, Any] = {"do_sample": False}
        if self.asked["temperature"] > 0:
            sampling = {"do_sample": True, "temperature": self.asked["temperature"], "top_k": 0, "top_p": 1.0}
        for start in range(0, len(prompts), self.batch):
            turns: list[Turns] = [row["prompt"] for row in prompts[start : start + self.batch]]
            tokens = self.tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, return_tensors="pt", padding=True, return_dict=True
            ).to(self.model.device)
            with torch.no_grad():
                made = self.model.generate(**tokens, **sampling, num_return_sequences=n, max_new_tokens=self.asked["max_completion_length"])
            texts = self.tokenizer.batch_decode(made[:, tokens["input_ids"].shape[1] :], skip_special_tokens=True)
            found += [texts[place : place + n] for place in range(0, len(texts), n)]
        return found

    def mean_reward(self, rows: list[Row]) -> float | None:
        """The mean reward of one answer to each prompt; None without prompts or rewards."""
        if not rows:
            return None
        texts = [answers[0] for answers in self.answers(rows, n=1)]
        values = [value for value in value_of(rows, texts, self.asked["rewards"]) if value is not None]
        return fmean(values) if values else None


def from_endpoint(prompts: list[Row], asked: dict[str, Any], results: Path) -> list[list[str]]:
    """`samples` answers to each prompt by an endpoint; failed and cut-off ones are left out. Raises TrainersError when all fail."""
    from serving.client import Client
    from serving.completion import Completion, Message, Request
    from serving.endpoints import find_endpoint

    endpoint = find_endpoint(asked["sampler"], results)
    if endpoint.outputs_trainable is not True:
        log.warning("endpoint '%s' does not say that its outputs may be trained on (outputs_trainable)", endpoint.id)

    async def ask_all() -> list[list[Completion]]:
        limit = asyncio.Semaphore(_AT_ONCE)
        async with Client() as client:

            async def ask(prompt: Turns, number: int) -> Completion:
                messages = tuple(Message.model_validate(turn) for turn in prompt)
                request = Request(
                    messages=messages, max_tokens=asked["max_completion_length"], temperature=asked["temperature"], seed=number
                )
                async with limit:
                    return await client.ask(endpoint, request)

            async def ask_one(row: Row) -> list[Completion]:
                return list(await asyncio.gather(*(ask(row["prompt"], number) for number in range(asked["samples"]))))

            return list(await asyncio.gather(*map(ask_one, prompts)))

    done = asyncio.run(ask_all())
    if not any(one.status == "ok" for many in done for one in many):
        raise TrainersError(f"sampler '{endpoint.id}' answered none of {len(prompts)} prompts: {done[0][0].status}: {done[0][0].error}")
    return [[one.text for one in many if one.status == "ok"] for many in done]


def _write(results: Path, recipe: Recipe, kept: list[Row], account: dict[str, Any]) -> Path:
    """The kept rows as a dataset folder, under a name that its rows decide."""
    import hashlib

    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
    name = f"self-{recipe.dataset.stem}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    folder = results / "datasets" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.jsonl").write_text(text, encoding="utf-8")
    account["dataset_hash"] = dataset_hash(folder)
    audit = {**account, "source": str(recipe.dataset), **{key: value for key, value in recipe.own.items()}}
    (folder / "audit.json").write_text(json.dumps(audit, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder
