"""The prompts that the shipped recordings answer, offered in the demo: arena/data/llmfao-prompts.jsonl (LLMFAO, CC BY 4.0)."""

import json
from functools import cache
from pathlib import Path

from serving.documents import Noun, parse_document

FILE = Path(__file__).parent / "data" / "llmfao-prompts.jsonl"


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
