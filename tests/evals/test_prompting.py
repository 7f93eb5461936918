"""Methods of asking, against a real socket: majorities and ties, examples that are near, reasoning that was right, choices shuffled."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from model_server import ModelServer, problem, sse

from evals.prompting import (
    Answered,
    Item,
    Method,
    ask_item,
    choice_orders,
    figures,
    final_answer,
    majority,
    nearest,
    presets,
    with_own_reasoning,
)
from serving.client import Client
from serving.completion import Completion, Request

POOL = [
    Item("What is 2 and 2?", "4"),
    Item("Which sea is red?", "the Red Sea"),
    Item("What is 3 and 9?", "12"),
    Item("Who wrote Emma?", "Austen"),
]
CHOICE = Item("Which is a fruit?", "apple", ("stone", "apple", "chair", "cloud"))


def played(server: ModelServer, work: Callable[[Callable[[Request], Coroutine[Any, Any, Completion]]], Coroutine[Any, Any, Any]]) -> Any:
    endpoint = server.endpoint(price={"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0})

    async def run() -> Any:
        async with Client(max_retries=0) as client:
            return await work(lambda request: client.ask(endpoint, request))

    return asyncio.run(run())


def test_the_majority_of_the_samples_counts_and_a_tie_is_nobodys() -> None:
    said = {0: "Answer: 1,200", 1: "so\n**Answer:** 1200.", 2: "Answer: 7", 3: "I do not know", 4: "Answer: 8"}
    method = presets()["self-consistency"]
    with ModelServer(lambda body: sse(said[body["seed"]])) as server:
        answered: Answered = played(server, lambda ask: ask_item(ask, Item("?", "1200"), method=method))
        assert sorted(body["seed"] for body in server.requests) == [0, 1, 2, 3, 4] and server.requests[0]["temperature"] == 0.7
    assert (answered.answer, answered.right, answered.tied, answered.n_unparsed) == ("1,200", True, False, 1)
    # Five requests of 7 and 3 tokens at $1 and $2 per million.
    assert abs((figures([answered])["usd_per_question"] or 0) - 5 * 13e-6) < 1e-12
    assert majority(["a", "b", "b", "A", None]) == (None, True) and majority([None, None]) == (None, False)


def test_a_failed_sample_is_counted_and_never_graded() -> None:
    with ModelServer(problem("500 Internal Server Error", "no")) as server:
        answered: Answered = played(server, lambda ask: ask_item(ask, POOL[0], method=Method(name="m")))
    summary = figures([answered])
    assert (summary["accuracy"], summary["n"], summary["n_failed"], summary["usd_per_question"]) == (None, 0, 1, None)


def test_shuffled_choices_are_voted_on_by_their_text_so_that_a_love_of_one_letter_cancels() -> None:
    def knows(body: dict[str, Any]) -> list[bytes]:
        lines = body["messages"][-1]["content"].splitlines()
        return sse(f"Answer: {next(line[0] for line in lines if line.endswith('apple'))}")

    method = presets()["medprompt"].model_copy(update={"shots": 0})
    with ModelServer(knows) as server:
        answered: Answered = played(server, lambda ask: ask_item(ask, CHOICE, method=method))
        assert answered.right and len({body["messages"][-1]["content"] for body in server.requests}) == 5
    with ModelServer(sse("Answer: A")) as server:
        answered = played(server, lambda ask: ask_item(ask, CHOICE, method=method))
        firsts = [body["messages"][-1]["content"].splitlines()[1].removeprefix("A. ") for body in server.requests]
    assert len(set(firsts)) > 2 and max(firsts.count(first) for first in firsts) < 4
    assert (answered.answer, answered.tied) == majority(firsts) and answered.n_unparsed == 0


def test_own_reasoning_is_kept_only_where_its_answer_is_right_and_all_of_it_is_paid() -> None:
    def script(body: dict[str, Any]) -> list[bytes]:
        return sse("2 and 2 make 4.\nAnswer: 4" if "2 and 2" in body["messages"][-1]["content"] else "Surely.\nAnswer: 5")

    with ModelServer(script) as server:
        kept, completions = played(server, lambda ask: with_own_reasoning(ask, POOL, method=presets()["medprompt"]))
        assert [(item.question, item.reasoning) for item in kept] == [("What is 2 and 2?", "2 and 2 make 4.")] and len(completions) == 4
        played(server, lambda ask: ask_item(ask, Item("What is 5 and 2?", "7"), method=presets()["medprompt"], pool=kept))
        system, question, reasoned, asked = server.requests[-1]["messages"]
    assert (
        reasoned["content"] == "2 and 2 make 4.\nAnswer: 4"
        and asked["content"] == "What is 5 and 2?"
        and "step by step" in system["content"]
    )


def test_the_nearest_examples_come_last_and_the_question_is_never_its_own_example() -> None:
    method = Method(name="near", shots=2, examples="nearest")
    with ModelServer(sse("Answer: 12")) as server:
        played(server, lambda ask: ask_item(ask, POOL[2], method=method, pool=POOL))
        asked = [message["content"] for message in server.requests[0]["messages"] if message["role"] == "user"]
    assert asked[-2:] == ["What is 2 and 2?", "What is 3 and 9?"] and asked.count("What is 3 and 9?") == 1
    assert nearest([item.question for item in POOL], "who wrote it", k=1) == [3]


def test_an_answer_is_read_from_its_line_or_not_at_all() -> None:
    assert final_answer("It is 4") is None and final_answer("Answer: 3\nno:\nFinal answer: 4") == "4"
    choices = CHOICE.choices
    assert [final_answer(f"Answer: {text}", choices) for text in ("B", "(B)", "B. apple", "Apple", "E", "A or B")] == ["apple"] * 4 + [
        None,
        None,
    ]


@given(n_choices=st.integers(0, 5), n=st.integers(1, 8))
def test_orders_are_permutations_and_differ_while_they_can(n_choices: int, n: int) -> None:
    import math

    orders = choice_orders(n_choices, n, seed="x")
    assert len(orders) == n and all(sorted(order) == list(range(n_choices)) for order in orders)
    assert len({tuple(order) for order in orders}) == min(n, math.factorial(n_choices))
