"""MT-bench has no right answers: judges compare them. Only their length is told here; mt_bench.yaml names these."""

from collections.abc import Sequence
from typing import Any


def count(doc: dict[str, Any], results: Sequence[str]) -> dict[str, list[int]]:
    """The words of one answer, in a list of its own: a bare 1 would read as a right answer."""
    return {"words": [len(results[0].split())]}


def mean_words(items: Sequence[Sequence[int]]) -> float:
    """Words per answer."""
    return sum(words for (words,) in items) / len(items)
