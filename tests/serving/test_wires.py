"""Each dialect over a real socket: what is asked in its words, and what its words mean."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from model_server import ModelServer, http, messages, named, sse

from serving.client import Client, prepare
from serving.completion import Completion, Message, Request
from serving.endpoints import Capabilities, Endpoint, Price
from serving.errors import CannotAsk

HELLO = Request.user("hello")
SETUP = (Message(role="system", content="Be brief."), Message(role="user", content="hello"))


def ask(endpoint: Endpoint, request: Request = HELLO, **client: Any) -> Completion:
    async def once() -> Completion:
        async with Client(**client) as opened:
            return await opened.ask(endpoint, request)

    return asyncio.run(once())


def claude(server: ModelServer, **values: Any) -> Endpoint:
    return server.endpoint(wire="anthropic", **values)


# OpenAI


def test_the_limit_has_the_name_that_the_server_knows_and_only_in_chats():
    can = Capabilities(max_tokens_field="max_completion_tokens")
    with ModelServer(sse("x")) as server:
        ask(server.endpoint(capabilities=can), Request.user("q", max_tokens=5))
        ask(server.endpoint(capabilities=can), Request(prompt="q", max_tokens=5))
    chat, text = server.requests
    assert chat["max_completion_tokens"] == 5 and "max_tokens" not in chat
    assert text["max_tokens"] == 5 and "max_completion_tokens" not in text


def test_usage_is_not_asked_of_a_server_that_does_not_tell_it():
    with ModelServer(sse("x", usage=None)) as server:
        ask(server.endpoint())
        answer = ask(server.endpoint(capabilities=Capabilities(usage=False)))
    assert server.requests[0]["stream_options"] == {"include_usage": True}
    assert "stream_options" not in server.requests[1]
    assert answer.usage.output_tokens is None and answer.usage_source is None and answer.cost_usd is None


def test_a_server_that_cannot_stream_is_asked_for_the_whole_answer():
    body = {"choices": [{"message": {"content": "whole"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    with ModelServer(http([json.dumps(body).encode()], content_type="application/json")) as server:
        answer = ask(server.endpoint(capabilities=Capabilities(streaming=False)))
    assert server.requests[0]["stream"] is False and "stream_options" not in server.requests[0]
    assert (answer.text, answer.status, answer.usage_source) == ("whole", "ok", "server")
    assert answer.latency_s is not None and answer.ttft_s is None and answer.chunk_times_s == ()


def test_reasoning_and_text_as_parts_of_a_list_are_told_apart():
    thought = {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hmm"}]}]}
    deltas = [thought, {"content": [{"type": "text", "text": "4"}]}, {"content": "2"}]
    lines = [f"data: {json.dumps({'choices': [{'delta': delta}]})}\n\n".encode() for delta in deltas]
    lines.append(b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n')
    with ModelServer(http(lines)) as server:
        answer = ask(server.endpoint())
    assert (answer.text, answer.status, len(answer.chunk_times_s)) == ("42", "ok", 3)


def test_a_character_cut_into_two_events_is_whole_in_the_answer():
    halves = [
        rb'data: {"choices":[{"delta":{"content":"a\ud83d"}}]}' + b"\n\n",
        rb'data: {"choices":[{"delta":{"content":"\ude00"}}]}' + b"\n\n",
    ]
    end = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
    with ModelServer(http([*halves, end])) as server:
        assert ask(server.endpoint()).text == "a😀"
    with ModelServer(http([halves[0], end])) as server:
        answer = ask(server.endpoint())
    assert answer.text == "a\ufffd" and answer.to_line()


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}, (10, 2, 4)),
        ({"prompt_tokens": 10, "completion_tokens": 2, "prompt_cache_hit_tokens": 6}, (10, 2, 6)),
        ({"prompt_tokens": -1, "completion_tokens": "2", "prompt_tokens_details": [4]}, (None, None, None)),
        ({"prompt_tokens": True, "completion_tokens": 1e99}, (None, None, None)),
    ],
)
def test_counts_are_taken_only_where_they_are_counts(usage: dict[str, Any], expected: tuple[int | None, ...]):
    events = [{"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]}, {"choices": [], "usage": usage}]
    with ModelServer(http([f"data: {json.dumps(event)}\n\n".encode() for event in events])) as server:
        answer = ask(server.endpoint())
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.cache_read_tokens) == expected
    assert answer.status == "ok"


# Anthropic


def test_the_messages_api_is_asked_in_its_own_words(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CLAUDE_KEY", "sk-ant-very-secret-0123456789")
    with ModelServer(messages("Hi")) as server:
        ask(
            claude(server, api_key_env="CLAUDE_KEY"), Request(messages=SETUP, stop=("END",), temperature=0.5, top_p=0.9, extra={"top_k": 3})
        )
        ask(claude(server), Request.user("q", max_tokens=9))
    body, short = server.requests
    assert body["system"] == "Be brief." and body["messages"] == [{"role": "user", "content": "hello"}]
    assert (body["max_tokens"], body["stop_sequences"], body["temperature"], body["top_p"], body["top_k"]) == (4096, ["END"], 0.5, 0.9, 3)
    assert body["stream"] is True and "stream_options" not in body and "stop" not in body
    assert short["max_tokens"] == 9 and "system" not in short and "temperature" not in short
    assert server.heads[0].startswith("POST /v1/messages HTTP/1.1")
    assert "x-api-key: sk-ant-very-secret-0123456789" in server.heads[0] and "anthropic-version: 2023-06-01" in server.heads[0]
    assert "Authorization" not in server.heads[0] and "x-api-key" not in server.heads[1]


def test_a_streamed_message_has_text_times_and_all_its_tokens():
    usage = {"input_tokens": 100, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 20}
    with ModelServer(messages("Hello", " you", thinking="hmm", usage=usage), pace_s=0.01) as server:
        answer = ask(claude(server, price=Price(input_usd_per_mtok=2, output_usd_per_mtok=10, cache_read_usd_per_mtok=1)))
    assert (answer.text, answer.status, answer.finish_reason) == ("Hello you", "ok", "end_turn")
    assert len(answer.chunk_times_s) == 3  # the thought, then two pieces of text
    assert answer.ttft_s == answer.chunk_times_s[0] >= 0.03
    counted = answer.usage
    assert (counted.input_tokens, counted.output_tokens, counted.cache_read_tokens, counted.cache_write_tokens) == (150, 3, 30, 20)
    assert answer.cost_usd is not None and answer.usage_source == "server"


@pytest.mark.parametrize(
    ("stop", "status"),
    [("end_turn", "ok"), ("stop_sequence", "ok"), ("max_tokens", "truncated"), ("model_context_window_exceeded", "truncated"),
     ("refusal", "refused"), (None, "malformed")],
)  # fmt: skip
def test_each_stop_reason_has_its_status(stop: str | None, status: str):
    with ModelServer(messages("x", stop=stop)) as server:
        assert ask(claude(server)).status == status


def test_a_whole_message_is_read_like_a_streamed_one():
    body = {
        "type": "message",
        "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hi"}, {"type": "text", "text": "!"}],
    }
    body |= {"stop_reason": "end_turn", "usage": {"input_tokens": 5, "output_tokens": 2}}
    with ModelServer(http([json.dumps(body).encode()], content_type="application/json")) as server:
        answer = ask(claude(server, capabilities=Capabilities(streaming=False)))
    assert (answer.text, answer.status, answer.usage.input_tokens, answer.ttft_s) == ("Hi!", "ok", 5, None)
    assert server.requests[0]["stream"] is False


def test_overloaded_in_the_stream_is_an_error_and_not_an_answer():
    start = messages("Hel")[:-2]
    error = named({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    with ModelServer([*start[:5], *http(error)[1:]]) as server:
        answer = ask(claude(server))
    assert (answer.status, answer.error, len(server.requests)) == ("api_error", "Overloaded", 1)


def test_overloaded_before_the_stream_is_asked_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("serving.client.wait_s", lambda *_: 0.0)
    body = json.dumps({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}).encode()
    answers: Iterator[list[bytes]] = iter([http([body], status="529 Overloaded", content_type="application/json"), messages("Hi")])
    with ModelServer(lambda _: next(answers)) as server:
        answer = ask(claude(server))
    assert (answer.text, answer.status, answer.retries) == ("Hi", "ok", 1)


def test_events_of_kinds_to_come_are_passed_over():
    writes = messages("Hi")
    writes.insert(3, http(named({"type": "weather", "rain": True}))[1])
    with ModelServer(writes) as server:
        assert ask(claude(server)).text == "Hi"


@pytest.mark.parametrize("request_", [Request(prompt="once upon"), Request.user("q", seed=1)])
def test_what_the_messages_api_cannot_be_told_is_said_and_nothing_is_sent(request_: Request):
    with ModelServer(messages("x")) as server:
        answer = ask(claude(server), request_)
        with pytest.raises(CannotAsk, match="'scripted'"):
            prepare(claude(server), request_)
    assert answer.status == "api_error" and "wire: anthropic" in (answer.error or "") and server.connections == 0
