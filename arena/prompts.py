"""Prompts on offer: in the demo those that the shipped recordings answer (arena/data/llmfao-prompts.jsonl; LLMFAO, CC BY 4.0).

A live arena offers examples by category to whoever has no prompt of their own: arena/data/examples.yaml, or those that
results/arena.yaml states.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from serving.documents import Noun, parse_document

FILE = Path(__file__).parent / "data" / "llmfao-prompts.jsonl"
EXAMPLES = FILE.with_name("examples.yaml")


class Prompt(Noun):
    """A prompt on offer; `type` is its category (code, creativity, instruct, knowledge, reflexion), `voted` whether people voted on it."""

    id: str
    slug: str
    type: str
    text: str
    voted: bool


@cache
def recorded_prompts() -> tuple[Prompt, ...]:
    """The shipped prompts: those that people voted on first."""
    lines = FILE.read_text(encoding="utf-8").splitlines()
    prompts = [parse_document(json.loads(line), Prompt, where=f"{FILE}:{number}") for number, line in enumerate(lines, start=1)]
    return tuple(sorted(prompts, key=lambda prompt: not prompt.voted))


@cache
def shipped_examples() -> Mapping[str, Sequence[str]]:
    """Prompts by category, as they ship."""
    import yaml

    found: dict[str, list[str]] = yaml.safe_load(EXAMPLES.read_text(encoding="utf-8"))
    return found


def on_offer(stated: Mapping[str, Sequence[str]] | None) -> Mapping[str, Sequence[str]]:
    """The examples of a live arena: those that its settings state, else the shipped ones; none where `{}` is stated."""
    return shipped_examples() if stated is None else stated
