"""The log-probability of a given text, out of an echo; an echo that does not fit is malformed, never a number."""

import asyncio
import json
from typing import Any

import pytest
from model_server import ModelServer, http

from serving.client import Client
from serving.completion import Completion, Request
from serving.scoring import score_echo

ASKED = Request(prompt="The capital of France is", continuation=" Paris")


def echo(tokens: list[str], values: list[float | None], tops: list[Any]) -> dict[str, Any]:
    return {"tokens": tokens, "token_logprobs": values, "top_logprobs": tops}


RIGHT = echo(
    ["<s>", "The capital", " of France is", " Pa", "ris", "."],
    [None, -9.0, -9.0, -1.5, -0.25, -0.1],
    [None, {"x": -1.0}, {"x": -1.0}, {" Pa": -1.5}, {"rks": -0.2, "ris": -0.25}, {".": -0.1}],
)


def test_the_continuations_tokens_are_summed_and_compared_with_the_likeliest() -> None:
    assert score_echo(RIGHT, ASKED) == (-1.75, False)
    greedy = {**RIGHT, "top_logprobs": [None, {}, {}, {" Pa": -1.5}, {"ris": -0.25}, {}]}
    assert score_echo(greedy, ASKED) == (-1.75, True)


def test_a_token_over_the_border_belongs_to_the_continuation() -> None:
    over = echo(["The capital of France", " is Paris"], [None, -3.0], [None, {" is Paris": -3.0}])
    assert score_echo(over, ASKED) == (-3.0, True)


@pytest.mark.parametrize(
    ("logprobs", "says"),
    [
        (None, "no log-probabilities"),
        ({**RIGHT, "tokens": ["The"]}, "one length"),
        ({**RIGHT, "tokens": ["<s>", "The capital", " of Spain is", " Pa", "ris", "."]}, "do not make up the text"),
        ({**RIGHT, "token_logprobs": [None] * 6}, "no log-probability"),
        ({**RIGHT, "top_logprobs": [None] * 6}, "no log-probability"),
    ],
)
def test_an_echo_that_does_not_fit_is_said_so(logprobs: dict[str, Any] | None, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        score_echo(logprobs, ASKED)


def ask(document: dict[str, Any]) -> tuple[Completion, dict[str, Any]]:
    async def asked() -> Completion:
        async with Client() as client:
            endpoint = server.endpoint(engine="vllm", capabilities={"completions": True, "logprobs": True})
            return await client.ask(endpoint, ASKED)

    with ModelServer(http([json.dumps(document).encode()], content_type="application/json")) as server:
        return asyncio.run(asked()), server.requests[0]


def test_the_client_asks_for_the_echo_and_gives_the_score() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 1}
    text = "The capital of France is Paris."
    answer, body = ask({"choices": [{"text": text, "finish_reason": "length", "logprobs": RIGHT}], "usage": usage})
    assert (body["prompt"], body["echo"], body["max_tokens"], body["stream"]) == ("The capital of France is Paris", True, 1, False)
    assert body["add_special_tokens"] is False
    assert (answer.loglikelihood, answer.is_greedy, answer.status, answer.text) == (-1.75, False, "ok", "")
    assert Completion.model_validate_json(answer.to_line()).loglikelihood == -1.75


def test_a_server_that_ignores_the_echo_scores_nothing() -> None:
    answer, _ = ask({"choices": [{"text": " London", "finish_reason": "length"}]})
    assert (answer.status, answer.loglikelihood) == ("malformed", None)
    assert "no log-probabilities came" in (answer.error or "")


def test_requests_without_a_continuation_hash_as_they_always_did() -> None:
    assert Request.user("hello").request_hash == "483bc0874de4e0b6c4dabdc4b00615b5"
    assert ASKED.content_hash != Request(prompt="The capital of France is").content_hash
    with pytest.raises(ValueError, match="neither may be empty"):
        Request(prompt="", continuation="x")
