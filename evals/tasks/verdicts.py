"""How an answer's text becomes a verdict, for the tasks beside this file. lm-eval calls these by name (`!function verdicts.…`).

    gsm8k: "A: 1,450,000"  -> "1450000"        prime: "... so it is. [Yes]" -> "yes"

An answer in which nothing was found is UNPARSED: it counts as wrong, and its share is a metric of its own.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

# lm-eval's own fallback for an answer that its filters cannot read.
UNPARSED = "[invalid]"

# OpenAI's rule (grade-school-math, dataset.py) reads "#### 18"; its published solutions write "A: 18". A line of its own, the last one:
# a chat model's markdown may open headings with #### too.
_GSM8K = re.compile(r"^(?:####|A:) *\$?(-?[0-9][0-9.,]*)", re.MULTILINE)
_BRACKETED = re.compile(r"\[(yes|no)\]", re.IGNORECASE)
_LEADING = re.compile(r"\s*(yes|no)\b", re.IGNORECASE)

Responses = Iterable[Sequence[str]]


def gsm8k_answer(text: str) -> str:
    """The number that a solution gives, without thousands separators, as a string: verdicts compare digits, as the published ones do."""
    found = _GSM8K.findall(text)
    return found[-1].replace(",", "").rstrip(".") if found else UNPARSED


def prime_answer(text: str) -> str:
    """ "yes" or "no": the last bracketed one (the question asks to think first, then answer), else a leading one."""
    if found := _BRACKETED.findall(text):
        return str(found[-1]).lower()
    leading = _LEADING.match(text)
    return leading[1].lower() if leading else UNPARSED


def gsm8k_answers(responses: Responses, docs: object) -> list[list[str]]:
    """lm-eval's custom filter: the answers of each document's responses."""
    return _each(gsm8k_answer, responses)


def prime_answers(responses: Responses, docs: object) -> list[list[str]]:
    """lm-eval's custom filter: the answers of each document's responses."""
    return _each(prime_answer, responses)


def gsm8k_target(doc: dict[str, Any]) -> str:
    """The number after #### in the reference solution."""
    return gsm8k_answer(doc["answer"])


def gsm8k_score(doc: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
    """The metrics of one document, from its filtered answer."""
    return _score(results[0], gsm8k_target(doc))


def prime_score(doc: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
    """The metrics of one document, from its filtered answer."""
    return _score(results[0], doc["answer"])


def _each(answer: Callable[[str], str], responses: Responses) -> list[list[str]]:
    return [[answer(text) for text in of_one_document] for of_one_document in responses]


def _score(answer: str, target: str) -> dict[str, float]:
    return {"exact_match": float(answer == target), "unparsed": float(answer == UNPARSED)}
