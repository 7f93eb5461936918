"""What a judge said, read without guessing: a text that does not hold exactly one verdict in the asked-for form is unparsed.

preferred("... Therefore [[A]]")  ->  "A"
graded("Rating: [[8.5]]")         ->  8.5
preferred("A is better")          ->  None

The popular readers take the first bracket they find, so that a judge that repeats its instructions ("[[A]]" if ...) votes for A. Here
two different verdicts in one text are none. What a reasoning model thought aloud before `</think>` is no answer. A verdict may be
repeated. A text that was cut off has not come to its verdict, whatever it holds.
"""

import re
from typing import Literal

from serving.completion import Completion

Preference = Literal["A", "B", "C"]
LOWEST, HIGHEST = 1.0, 10.0
_PREFERENCE = re.compile(r"\[\[\s*([ABC])\s*\]\]")
_RATING = re.compile(r"\[\[\s*(\d+(?:\.\d+)?)\s*\]\]")


def preferred(text: str) -> Preference | None:
    """A, B or C (a tie); None: unparsed."""
    found = set(_PREFERENCE.findall(_answer(text)))
    return found.pop() if len(found) == 1 else None


def graded(text: str) -> float | None:
    """A grade from 1 to 10; None: unparsed. Grades off the scale are unparsed too."""
    found = {float(number) for number in _RATING.findall(_answer(text))}
    grade = found.pop() if len(found) == 1 else None
    return grade if grade is not None and LOWEST <= grade <= HIGHEST else None


def said(completion: Completion) -> str:
    """The text in which a verdict is sought: empty where the answer was cut off."""
    return "" if completion.status == "truncated" else completion.text


def _answer(text: str) -> str:
    return text.rpartition("</think>")[2]
