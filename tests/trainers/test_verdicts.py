"""A judge compares two answers by a rule over what it is shown, in both orders; what it does not say is never taken for a verdict."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from model_server import CUT, ModelServer, Script, problem, sse

from serving.errors import Unreachable
from trainers.verdicts import Pair, judged

PROMPT = [{"role": "user", "content": "How do I bake bread?"}]
GLAD, CURT = "Gladly! To bake bread, start slowly.", "No. bread is bad."


def shown(body: dict[str, Any]) -> tuple[str, str]:
    """Both answers as the judge sees them, A first."""
    found = re.search(
        r"\[Answer A\]\n(.*)\n\[End of answer A\]\n\n\[Answer B\]\n(.*)\n\[End of answer B\]", body["messages"][-1]["content"], re.S
    )
    assert found is not None
    return found[1], found[2]


def prefers(likes: Callable[[str], bool]) -> Callable[[dict[str, Any]], Any]:
    """A judge that likes what `likes` is true of, and says so after a sentence of reasons."""

    def says(body: dict[str, Any]) -> Any:
        a, b = map(likes, shown(body))
        return sse("[[A]] and [[B]] were read. ", f"[[{'C' if a == b else 'A' if a else 'B'}]]")

    return says


def outcomes(script: Script, *pairs: Pair) -> list[int | None]:
    with ModelServer(script) as server:
        return judged(pairs, server.endpoint("judge")).outcomes


def test_the_answer_with_the_trait_wins_whichever_model_wrote_it_and_equals_tie():
    polite = prefers(lambda answer: answer.startswith("Gladly"))
    pairs = [Pair(PROMPT, CURT, GLAD), Pair(PROMPT, GLAD, CURT), Pair(PROMPT, GLAD, GLAD), Pair(PROMPT, CURT, CURT)]
    assert outcomes(polite, *pairs) == [1, -1, 0, 0]


def test_the_judge_sees_the_conversation_and_both_orders_at_temperature_0():
    with ModelServer(prefers(lambda answer: answer == GLAD)) as server:
        judged([Pair(PROMPT, CURT, GLAD)], server.endpoint("judge"))
    assert [shown(body) for body in server.requests] == [(CURT, GLAD), (GLAD, CURT)]
    assert all("user: How do I bake bread?" in body["messages"][-1]["content"] and body["temperature"] == 0 for body in server.requests)


@pytest.mark.parametrize("side", ["A", "B"])
def test_a_verdict_that_follows_the_place_is_a_tie(side: str):
    assert outcomes(sse(f"The first reads well. [[{side}]]"), Pair(PROMPT, CURT, GLAD)) == [0]


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (sse("Answer A is better."), r"no \[\[A\]\], \[\[B\]\] or \[\[C\]\] in 'Answer A is better\.'"),
        (sse("[[D]]"), "no .* in '.*D.*'"),
        (sse(""), "no .*|malformed: "),
        # It names the first on its way to a verdict that it does not reach.
        (sse("At first sight [[A]] is", finish="length"), "truncated: "),
        (problem("400 Bad Request", "context too long"), "api_error: .*context too long"),
        ([*sse("The verdict: [[A]]")[:2], CUT], "malformed: the connection was cut"),
    ],
    ids=["prose", "no-side", "silence", "cut-short", "error", "broken-off"],
)
def test_what_is_no_verdict_is_neither_win_nor_tie(script: Any, told: str):
    with ModelServer(script) as server:
        found = judged([Pair(PROMPT, CURT, GLAD)], server.endpoint("judge"))
    assert found.outcomes == [None] and found.problem is not None
    assert re.search(told, found.problem), found.problem


def test_one_order_that_fails_leaves_no_verdict():
    def says(body: dict[str, Any]) -> Any:
        return sse("[[B]]") if shown(body)[1] == GLAD else problem("400 Bad Request", "no")

    assert outcomes(says, Pair(PROMPT, CURT, GLAD)) == [None]


def test_a_judge_that_is_down_is_told_and_nothing_is_judged():
    with ModelServer(sse("[[A]]")) as server:
        endpoint = server.endpoint("judge")
    with pytest.raises(Unreachable, match="endpoint 'judge' does not answer"):
        judged([Pair(PROMPT, CURT, GLAD)], endpoint)
