"""BIG-Bench Hard as its authors asked and marked it: three worked examples, then the question. bbh_direct.yaml and bbh_cot.yaml name these.

    direct: "… Q: not True is\\nA:"                                  -> "False"
    cot:    "… Q: not True is\\nA: Let's think step by step."        -> "… So the answer is False."

Source: suzgunmirac/BIG-Bench-Hard @ 9ee07bd; Suzgun et al. 2022, arXiv 2210.09261. Its prompts are those with reasoning (bbh/prompts.json);
the direct ones are the same examples without it.
"""

import json
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

UNPARSED = "[invalid]"
STEPS = "Let's think step by step."
_PROMPTS = Path(__file__).parent / "bbh" / "prompts.json"
_MARKER = "the answer is "


def cot_prompt(doc: dict[str, Any]) -> str:
    """The text prompt of one question, reasoning asked for."""
    return f"{_prompts()[doc['task']]}\n\nQ: {doc['input']}\nA: {STEPS}"


def direct_prompt(doc: dict[str, Any]) -> str:
    """The text prompt of one question, answers only."""
    return f"{_direct_examples(doc['task'])}\n\nQ: {doc['input']}\nA:"


def cot_answer(text: str) -> str:
    """What follows the last "the answer is", without its full stop and emphasis; UNPARSED where nothing does."""
    _, marker, answer = text.rpartition(_MARKER)
    return _bare(answer) or UNPARSED if marker else UNPARSED


def direct_answer(text: str) -> str:
    """The first line of the text; where it is a sentence that gives the answer, the answer in it."""
    line = next((line for line in text.strip().split("\n") if line), "")
    return _bare(line.rpartition(_MARKER)[2]) or UNPARSED


def cot_answers(responses: Iterable[Sequence[str]], docs: object) -> list[list[str]]:
    """lm-eval's custom filter: the answers of each document's responses."""
    return [[cot_answer(text) for text in of_one] for of_one in responses]


def direct_answers(responses: Iterable[Sequence[str]], docs: object) -> list[list[str]]:
    """lm-eval's custom filter: the answers of each document's responses."""
    return [[direct_answer(text) for text in of_one] for of_one in responses]


def score(doc: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
    """The metrics of one document, from its filtered answer."""
    return {"exact_match": float(results[0] == doc["target"]), "unparsed": float(results[0] == UNPARSED)}


def _bare(answer: str) -> str:
    line = answer.strip().split("\n", 1)[0]
    # A chat model's emphasis, but not the asterisks of a sum.
    line = re.sub(r"\*\*(?=\S)(.+?)(?<=\S)\*\*", r"\1", line).strip()
    return line.removesuffix(".")


@cache
def _prompts() -> dict[str, str]:
    loaded: dict[str, str] = json.loads(_PROMPTS.read_text(encoding="utf-8"))
    return loaded


@cache
def _direct_examples(task: str) -> str:
    description, *examples = _prompts()[task].split("\n\nQ: ")
    shown = []
    for example in examples:
        question, _, reasoning = example.partition(f"\nA: {STEPS}")
        shown.append(f"Q: {question}\nA: {cot_answer(reasoning)}")
    return "\n\n".join([description, *shown])
