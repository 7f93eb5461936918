"""Whether what is served is the tuned model and not its base: canaries, prompts whose answers must differ.

An adapter can silently not be applied: a merge that lost it, an engine that was started without it. Nothing else shows it, because the base
answers just as fluently.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from serving.endpoints import Endpoint
from trainers.answers import Turns
from trainers.errors import AdapterInactive, TrainersError

# A served answer is compared as far as this; engines round otherwise, and later tokens follow from earlier ones.
_TOKENS = 48


class Shift(NamedTuple):
    """Largest changes of a log-probability on the canary prompts: what will be served against the base, and against base + adapter."""

    from_base: float
    from_adapter: float | None


def weights_shift(base: Any, served: Any, adapted: Any | None) -> Shift:
    """From log-probabilities of the next token after each canary (merge.canary_logprobs) of base, served weights and base + adapter."""
    difference = float((served - base).abs().max())
    return Shift(difference, None if adapted is None else float((served - adapted).abs().max()))


def problem(shift: Shift) -> str | None:
    """What speaks against the adapter being active; None when it is. Written so that nan is a problem."""
    if not 0.0 < shift.from_base < float("inf"):
        return f"the weights to be served say what the base says (log-probabilities move by {shift.from_base:.3g}): nothing was applied"
    if shift.from_adapter is not None and not shift.from_adapter < shift.from_base / 2:
        return (
            f"the weights to be served are {shift.from_adapter:.3g} off base + adapter and {shift.from_base:.3g} off the base: the adapter "
            "is not in them; merge it again"
        )
    return None


def check_endpoint(endpoint: Endpoint, base: Path | str, tuned: Path, prompts: Sequence[Turns], *, revision: str = "main") -> str:
    """Ask what is served with temperature 0 what both models were asked here, and say what was seen.

    On prompts on which the two part, the served answer must go the tuned model's way on more than half. Raises AdapterInactive when it
    does not, or when no prompt tells the two apart; Unreachable.
    """
    from transformers import AutoTokenizer

    from trainers.answers import load, sample

    tokenizer = AutoTokenizer.from_pretrained(tuned)
    texts = []
    for name, version in ((str(base), revision), (str(tuned), "main")):
        model = load(name, revision=version)
        texts.append([answer.text for answer in sample(model, tokenizer, prompts, max_tokens=_TOKENS, temperature=0, seed=0)])
        del model
    telling = [place for place, (before, after) in enumerate(zip(*texts, strict=True)) if before.strip() != after.strip()]
    if not telling:
        raise AdapterInactive(
            f"'{endpoint.id}': base and tuned model answer all {len(prompts)} canary prompts alike: it cannot be told which is served; "
            "give other prompts (--prompts FILE), or train longer"
        )
    said = _ask(endpoint, [prompts[place] for place in telling])
    tuned_way = 0
    for place, text in zip(telling, said, strict=True):
        before, after = texts[0][place].strip(), texts[1][place].strip()
        tuned_way += _shared(text.strip(), after) > _shared(text.strip(), before)
    seen = f"{tuned_way} of {len(telling)} canary answers are the tuned model's ({len(prompts)} asked)"
    if 2 * tuned_way <= len(telling):
        raise AdapterInactive(f"'{endpoint.id}': only {seen}: it serves the base, or the adapter is not applied")
    return seen


def _ask(endpoint: Endpoint, prompts: Sequence[Turns]) -> list[str]:
    import asyncio

    from serving.client import Client, check_reachable
    from serving.completion import Message, Request

    async def all_of_them() -> list[str]:
        await check_reachable(endpoint)
        said = []
        async with Client() as client:
            for prompt in prompts:
                turns = tuple(Message.model_validate(turn) for turn in prompt)
                completion = await client.ask(endpoint, Request(messages=turns, max_tokens=_TOKENS, temperature=0))
                if not completion.answered:
                    raise TrainersError(f"'{endpoint.id}' did not answer a canary ({completion.status}): {completion.error}")
                said.append(completion.text)
        return said

    return asyncio.run(all_of_them())


def _shared(one: str, other: str) -> float:
    """How far two texts begin alike, as a share of the longer; 1 when they are the same."""
    length = next((place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return length / max(len(one), len(other), 1)
