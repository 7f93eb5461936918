"""What an answer is worth: a reward model trained here, a judge behind an endpoint, or a checker by name.

    reward: model:20261123-061500-reward-tiny      a training of ours, a folder or a hub id of a scorer
    reward: judge:gpt-4o-mini                      an endpoint that grades from 1 to 10; the reward is between 0 and 1
    reward: [length:400, "regex:^[A-Z]"]           checkers: at most 400 characters (1, falling to 0 at twice that); matches (1 or 0)
    reward: exact                                  1 where the answer is the row's own, but for case and space

Several are weighed by TRL's `reward_weights`. An answer that a judge does not grade has no reward: it is left out, never counted as bad;
when none is graded, the training ends.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.endpoints import Endpoint, find_endpoint
from trainers.errors import RecipeError, TrainersError
from trainers.record import resolve_base

log = logging.getLogger("trainers")
Turns = list[dict[str, str]]
# Takes prompts, answers (conversations of one turn) and the rows' columns, as TRL's reward functions do.
Reward = Callable[..., list[float | None]]
KINDS = ("model", "judge", "length", "regex", "exact")
RUBRIC = (
    "Grade the assistant's last answer from 1 (useless) to 10 (could not be better): is it correct, does it do what was asked, is it no "
    "longer than it needs to be? Do not let its length or its confidence impress you. Reply with the grade alone: a number from 1 to 10."
)
_AT_ONCE = 8


@dataclass(frozen=True)
class Scorer:
    """A reward of kind `model`: where its weights and its tokenizer are."""

    folder: str


def read_rewards(recipe_path: Path, specs: str | Sequence[str], results: Path) -> list[Scorer | Reward]:
    """What each of a recipe's rewards stands for. Raises RecipeError, and UnknownEndpoint for a judge that nobody knows."""
    found: list[Scorer | Reward] = []
    for spec in [specs] if isinstance(specs, str) else specs:
        kind, _, value = spec.partition(":")
        if kind not in KINDS or (kind != "exact" and not value):
            raise RecipeError(f"{recipe_path}: reward: write model:ID, judge:ENDPOINT, length:N, regex:PATTERN or exact (got {spec!r})")
        if kind == "model":
            found.append(Scorer(_scorer_folder(recipe_path, value, results)))
        elif kind == "judge":
            found.append(judge(find_endpoint(value, results)))
        elif kind == "length":
            if not value.isdigit() or not int(value):
                raise RecipeError(f"{recipe_path}: reward: length:N needs a number of characters (got {spec!r})")
            found.append(_named(short(int(value)), "length"))
        elif kind == "regex":
            try:
                found.append(_named(matching(re.compile(value, re.DOTALL)), "regex"))
            except re.error as error:
                raise RecipeError(f"{recipe_path}: reward: {spec!r} is no regular expression: {error}") from None
        else:
            found.append(_named(exact, "exact"))
    return found


def _scorer_folder(recipe_path: Path, name: str, results: Path) -> str:
    folder, _ = resolve_base(name, results)
    if Path(folder).is_dir():
        from transformers import AutoConfig

        architectures = AutoConfig.from_pretrained(folder).architectures or []
        if not any("SequenceClassification" in kind for kind in architectures):
            raise RecipeError(f"{recipe_path}: reward: '{name}' is no reward model ({', '.join(architectures)}); make one: trainers reward")
    return folder


def short(limit: int) -> Reward:
    """1 up to `limit` characters, then falling to 0 at twice that; an empty answer is worth 0."""

    def score(prompts: Any, completions: list[Any], **_: Any) -> list[float | None]:
        return [min(1.0, max(0.0, 2 - len(text) / limit)) if text.strip() else 0.0 for text in map(text_of, completions)]

    return score


def matching(pattern: "re.Pattern[str]") -> Reward:
    """1 where the pattern is found in the answer."""

    def score(prompts: Any, completions: list[Any], **_: Any) -> list[float | None]:
        return [1.0 if pattern.search(text_of(answer)) else 0.0 for answer in completions]

    return score


def exact(prompts: Any, completions: list[Any], answer: list[str] | None = None, **_: Any) -> list[float | None]:
    """1 where the answer is the row's, 0 otherwise; None where the row has none."""
    wanted = answer or [""] * len(completions)
    return [
        None if not _bare(right) else float(_bare(text_of(said)) == _bare(right)) for said, right in zip(completions, wanted, strict=True)
    ]


def judge(endpoint: Endpoint) -> Reward:
    """(grade - 1) / 9 by an endpoint; None where it fails or answers without a grade. Raises TrainersError when it grades none."""

    def score(prompts: list[Turns], completions: list[Any], **_: Any) -> list[float | None]:
        grades, problems = asyncio.run(_grades(endpoint, prompts, completions))
        if completions and all(grade is None for grade in grades):
            raise TrainersError(f"judge '{endpoint.id}' graded none of {len(grades)} answers: {problems[0]}")
        if problems:
            log.warning("judge '%s' did not grade %d of %d answers: %s", endpoint.id, len(problems), len(grades), problems[0])
        return grades

    return _named(score, f"judge-{endpoint.id}")


async def _grades(endpoint: Endpoint, prompts: list[Turns], completions: list[Any]) -> tuple[list[float | None], list[str]]:
    from serving.client import Client
    from serving.completion import Request

    limit, problems = asyncio.Semaphore(_AT_ONCE), list[str]()

    async with Client() as client:

        async def grade(prompt: Turns, answer: Any) -> float | None:
            said = "\n\n".join(
                f"[{turn['role']}]\n{turn['content']}" for turn in [*prompt, {"role": "assistant", "content": text_of(answer)}]
            )
            async with limit:
                done = await client.ask(endpoint, Request.user(f"{RUBRIC}\n\n{said}\n\nGrade:", max_tokens=16, temperature=0))
            found = grade_in(done.text) if done.status in ("ok", "truncated") else None
            if found is None:
                problems.append(done.error or f"no grade in {done.text[:60]!r}")
            return found

        return list(await asyncio.gather(*(grade(prompt, answer) for prompt, answer in zip(prompts, completions, strict=True)))), problems


def grade_in(text: str) -> float | None:
    """The first number from 1 to 10 in a judge's reply, as 0 to 1; None where there is none."""
    found = re.search(r"(?<![\d.])(10|[1-9])(\.\d+)?(?![\d])", text)
    value = float(found.group(0)) if found else None
    return None if value is None or value > 10 else (value - 1) / 9


def text_of(answer: Any) -> str:
    """The text of an answer, which TRL gives as one turn or as bare text."""
    return answer if isinstance(answer, str) else str(answer[-1]["content"])


def _bare(text: str) -> str:
    return " ".join(text.lower().split())


def _named(reward: Reward, name: str) -> Reward:
    # TRL logs rewards/<name>/mean.
    reward.__name__ = name
    return reward
