"""Multiple choice asked in words and answered with a letter, for endpoints that only write text; mmlu, arc_* and truthfulqa name these.

    "… A) 4 B) 8 …"  ->  "It has degree 4.\\nAnswer: A"  ->  "A"

The `*_mc` tasks ask the same questions by log-probability; the two kinds of score are never to be compared with each other.
"""

import hashlib
import json
import random
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

UNPARSED = "[invalid]"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# After "answer": B to Z, or any letter that ends there ("the answer is a shorter day" gives none).
_SAID = re.compile(
    r"(?i:answer(?:\s+is)?)\s*:?[\s*_(\[$]*(?:\\boxed\{|\\text\{)*(?:([B-Z])(?![A-Za-z'’])|([A-Za-z])(?=\s*(?:$|[-).:,;*_}\]$–—])))",
    re.MULTILINE,
)
_ALONE = re.compile(r"^[\s*_(\[$]*(?:\\boxed\{)?([A-Z])(?:[)\].:*_}$]+(?:\s.*)?)?\s*$", re.MULTILINE)


def choice_answer(text: str, n_choices: int = 26) -> str:
    """The letter after the last "answer", else on the last line that holds a letter alone or opens with one ("B", "(B)", "B. Eight")."""
    allowed = LETTERS[:n_choices]
    for pattern in (_SAID, _ALONE):
        letters = [(match[match.lastindex or 0]).upper() for match in pattern.finditer(text)]
        if found := [letter for letter in letters if letter in allowed]:
            return found[-1]
    return UNPARSED


def prompt(doc: dict[str, Any]) -> str:
    """Question, lettered choices, and how to answer."""
    letters = LETTERS[: len(doc["choices"])]
    listed = "\n".join(f"{letter}) {choice}" for letter, choice in zip(letters, doc["choices"], strict=True))
    return (
        f"{doc['question'].strip()}\n\n{listed}\n\nThink step by step. Then write the answer on a last line of its own, "
        f"as one of the letters {letters[0]} to {letters[-1]}: Answer: X"
    )


def target(doc: dict[str, Any]) -> str:
    """The letter of the right choice."""
    return LETTERS[doc["answer"]]


def answers(responses: Iterable[Sequence[str]], docs: Iterable[dict[str, Any]]) -> list[list[str]]:
    """lm-eval's custom filter: the letter of each document's responses."""
    return [[choice_answer(text, len(doc["choices"])) for text in of_one] for of_one, doc in zip(responses, docs, strict=True)]


def score(doc: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
    """The metrics of one document, from its filtered answer."""
    return {"exact_match": float(results[0] == target(doc)), "unparsed": float(results[0] == UNPARSED)}


def shuffled(docs: Any) -> Any:
    """The documents with their choices in an order drawn from the question: TruthfulQA lists the true one first."""
    return docs.map(_shuffle)


def five_shot(doc: dict[str, Any]) -> str:
    """MMLU's own prompt (hendrycks/test): its subject's five development questions with answers, then the question."""
    subject = doc["subject"]
    opening = f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}."
    return "\n\n".join([opening, *(f"{_stated(shot)} {target(shot)}" for shot in _development()[subject]), _stated(doc)])


def _shuffle(doc: dict[str, Any]) -> dict[str, Any]:
    order = list(range(len(doc["choices"])))
    random.Random(hashlib.sha256(doc["question"].encode()).digest()).shuffle(order)
    return {"choices": [doc["choices"][place] for place in order], "answer": order.index(doc["answer"])}


def _stated(doc: dict[str, Any]) -> str:
    listed = "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, doc["choices"], strict=False))
    return f"{doc['question'].strip()}\n{listed}\nAnswer:"


@cache
def _development() -> dict[str, list[dict[str, Any]]]:
    import gzip

    shots: dict[str, list[dict[str, Any]]] = {}
    text = gzip.decompress((Path(__file__).parent / "mmlu" / "dev.jsonl.gz").read_bytes()).decode()
    for line in text.splitlines():
        shot = json.loads(line)
        shots.setdefault(shot["subject"], []).append(shot)
    return shots
