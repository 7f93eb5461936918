"""IFEval's verdicts do not depend on what was judged before, on a download, or on chance."""

import random
import socket
from typing import Any

import pytest

from evals.tasks.ifeval import score, sentences


def doc(instruction: str, key: int = 1, **kwargs: Any) -> dict[str, Any]:
    return {"key": key, "prompt": "p", "instruction_id_list": [instruction], "kwargs": [kwargs]}


def followed(instruction: str, response: str, **kwargs: Any) -> bool:
    return bool(score(doc(instruction, **kwargs), [response])["prompt_level_strict_acc"])


def test_sentences_end_where_they_end() -> None:
    assert sentences("Dr. Smith paid $3.50 at 5 p.m. on Monday. Then he left! Did he? Yes.") == [
        "Dr. Smith paid $3.50 at 5 p.m. on Monday.",
        "Then he left!",
        "Did he?",
        "Yes.",
    ]
    assert followed("length_constraints:number_sentences", "One, e.g. this. Two.", relation="less than", num_sentences=3)
    assert not followed("length_constraints:number_sentences", "One. Two. Three.", relation="less than", num_sentences=3)


def test_words_in_capitals_are_counted_without_the_download() -> None:
    assert followed("change_case:capital_word_frequency", "THE U.S. won. It did.", capital_relation="at least", capital_frequency=2)
    assert not followed("change_case:capital_word_frequency", "THE end.", capital_relation="at least", capital_frequency=2)


def test_a_verdict_is_the_same_whatever_came_before() -> None:
    hashes = doc("keywords:letter_frequency", 1122, let_relation="at least", letter="#", let_frequency=4)
    response = "embracing the beauty of diversity, freedom and self-expression. #playboy #freedom #diversity #selfexpression"
    first = score(hashes, [response])
    state = random.getstate()
    for key in range(5):
        score({**hashes, "key": key}, [response])
    assert score(hashes, [response]) == first
    assert random.getstate() == state, "nobody else's random numbers are touched"


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert followed("punctuation:no_comma", "None here.")
    assert not followed("punctuation:no_comma", "One, here.")


def test_loose_forgives_an_opening_line() -> None:
    verdict = score(doc("detectable_format:json_format"), ['Sure! Here it is:\n{"a": 1}'])
    assert (verdict["prompt_level_strict_acc"], verdict["prompt_level_loose_acc"]) == (0, 1)
    assert verdict["inst_level_loose_acc"] == [1]
