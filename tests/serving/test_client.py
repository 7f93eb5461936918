"""The client against a real socket: what it measures, what it calls each outcome, and that a failure is never an answer."""

import asyncio
import json
import statistics

import pytest
from model_server import CUT, ModelServer, http, problem, sse

from serving.client import Client, Timeouts, check_reachable
from serving.completion import Completion, Request
from serving.endpoints import Endpoint, Price
from serving.errors import MissingKey, Unreachable

HELLO = Request.user("hello")


def ask(endpoint: Endpoint, request: Request = HELLO, **client: object) -> Completion:
    async def once() -> Completion:
        async with Client(**client) as opened:  # type: ignore[arg-type]
            return await opened.ask(endpoint, request)

    return asyncio.run(once())


def test_a_streamed_answer_has_text_usage_times_and_cost():
    with ModelServer(sse("Hello", " you", usage=(1000, 2000))) as server:
        answer = ask(server.endpoint(price=Price(input_usd_per_mtok=1, output_usd_per_mtok=2)))
    assert (answer.text, answer.status, answer.finish_reason) == ("Hello you", "ok", "stop")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (1000, 2000)
    assert answer.cost_usd == pytest.approx(0.005)
    assert len(answer.chunk_times_s) == 2
    assert 0 < answer.ttft_s <= answer.latency_s


def test_the_first_token_is_the_first_content_not_the_empty_role_chunk():
    # Writes: head, role, "a" (after 2 paces), "b" (3), finish, usage, done, end.
    with ModelServer(sse("a", "b"), pace_s=0.05) as server:
        answers = [ask(server.endpoint()) for _ in range(5)]
    ttft = statistics.median(answer.ttft_s for answer in answers)
    assert ttft == pytest.approx(0.10, abs=0.03)
    assert statistics.median(answer.chunk_times_s[1] - answer.chunk_times_s[0] for answer in answers) == pytest.approx(0.05, abs=0.02)


def test_the_request_says_only_what_was_stated():
    with ModelServer(sse("x")) as server:
        ask(server.endpoint(), Request.user("q", max_tokens=5, stop=("END",), extra={"ignore_eos": True}))
        ask(server.endpoint(), Request(prompt="once upon"))
    chat, text = server.requests
    assert chat["messages"] == [{"role": "user", "content": "q"}]
    assert (chat["max_tokens"], chat["stop"], chat["ignore_eos"]) == (5, ["END"], True)
    assert "temperature" not in chat and "seed" not in chat
    assert text["prompt"] == "once upon" and "POST /v1/completions" in server.heads[1]


def test_watched_and_unwatched_answers_are_the_same():
    pieces: list[str] = []

    async def both(endpoint: Endpoint) -> tuple[Completion, Completion]:
        async with Client() as client:
            return await client.ask(endpoint, HELLO, on_text=pieces.append), await client.ask(endpoint, HELLO)

    with ModelServer(sse("Grüße", ", ", "世界"), pace_s=0.01) as server:
        watched, unwatched = asyncio.run(both(server.endpoint()))
        assert server.connections == 1  # kept alive
    assert pieces == ["Grüße", ", ", "世界"]
    assert watched.text == unwatched.text == "Grüße, 世界"


def test_events_split_at_any_byte_are_whole_again():
    whole = b"".join(piece.split(b"\r\n", 1)[1].rsplit(b"\r\n", 1)[0] for piece in sse("é", "ö")[1:-1])
    with ModelServer(http([whole[index : index + 1] for index in range(len(whole))])) as server:
        assert ask(server.endpoint()).text == "éö"


def test_comment_lines_crlf_and_a_missing_done_are_no_trouble():
    events = [b": keepalive 1/1\r\n\r\n", b'data: {"choices":[{"delta":{"content":"a"}}]}\r\n\r\n']
    end = b'data:{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n'
    with ModelServer(http([*events, end])) as server:
        answer = ask(server.endpoint())
    assert (answer.text, answer.status, answer.usage.output_tokens) == ("a", "ok", 1)


def test_reasoning_counts_for_the_first_token_but_is_not_the_answer():
    events = [{"reasoning_content": "hmm"}, {"content": "42"}]
    lines = [f"data: {json.dumps({'choices': [{'delta': delta}]})}\n\n".encode() for delta in events]
    lines.append(b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n')
    with ModelServer(http(lines)) as server:
        answer = ask(server.endpoint())
    assert answer.text == "42" and len(answer.chunk_times_s) == 2
    assert answer.usage.output_tokens is None and answer.cost_usd is None


def test_a_server_that_cannot_stream_is_read_whole():
    body = {"choices": [{"message": {"content": "whole"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    with ModelServer(http([json.dumps(body).encode()], content_type="application/json")) as server:
        answer = ask(server.endpoint())
    assert (answer.text, answer.status, answer.usage.output_tokens) == ("whole", "ok", 2)


@pytest.mark.parametrize(
    ("script", "status", "error"),
    [
        (sse("cut sho", finish="length"), "truncated", None),
        (sse("", finish="content_filter"), "filtered", None),
        (sse("a", finish=None), "malformed", "without a finish reason"),
        (problem("429 Too Many Requests", "slow down"), "api_error", "HTTP 429: slow down"),
        (problem("500 Internal Server Error", "oops"), "api_error", "HTTP 500: oops"),
        (http([b"<html>proxy</html>"], status="502 Bad Gateway", content_type="text/html"), "api_error", "HTTP 502: <html>"),
        ([*sse("half an ans")[:3], CUT], "malformed", "connection was cut"),
        ([CUT], "api_error", "connection was cut"),
        ([b"SSH-2.0-OpenSSH\r\n"], "api_error", "does not speak HTTP"),
        (http([b"data: {broken\n\n"]), "api_error", "not JSON"),
        (http([b'data: {"error": {"message": "out of memory"}}\n\n']), "api_error", "out of memory"),
    ],
)
def test_every_outcome_has_its_status(script: list[bytes], status: str, error: str | None):
    with ModelServer(script) as server:
        answer = ask(server.endpoint())
    assert answer.status == status
    assert (error is None and answer.error is None) or error in (answer.error or "")
    assert answer.answered == (status == "truncated")


def test_silence_is_a_timeout_not_an_answer():
    with ModelServer(sse("a", "b"), pace_s=2) as server:
        answer = ask(server.endpoint(), timeouts=Timeouts(first_s=0.2, between_s=0.2))
    assert answer.status == "timeout" and "nothing came" in (answer.error or "")


def test_nobody_listening_is_told_once_and_plainly():
    with ModelServer([]) as server:
        endpoint = server.endpoint()
    answer = ask(endpoint)
    assert answer.status == "api_error" and "no connection to 127.0.0.1" in (answer.error or "")
    with pytest.raises(Unreachable, match="'scripted' does not answer at http://127.0.0.1.*start its server"):
        asyncio.run(check_reachable(endpoint))


def test_a_keep_alive_connection_that_the_server_closed_is_replaced():
    async def twice(endpoint: Endpoint) -> list[str]:
        async with Client() as client:
            first = await client.ask(endpoint, HELLO)
            await asyncio.sleep(0.05)
            return [first.status, (await client.ask(endpoint, HELLO)).status]

    with ModelServer(sse("x"), close_after=1) as server:
        assert asyncio.run(twice(server.endpoint())) == ["ok", "ok"]


def test_the_key_travels_in_the_header_and_appears_nowhere_else(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TEST_KEY", "sk-secret-123")
    with ModelServer(problem("401 Unauthorized", "Incorrect API key provided: sk-secret-123")) as server:
        answer = ask(server.endpoint(api_key_env="TEST_KEY"))
    assert "Authorization: Bearer sk-secret-123" in server.heads[0]
    assert "sk-secret" not in answer.to_line() and "[key]" in (answer.error or "")


def test_a_missing_key_is_named_before_anything_is_sent():
    endpoint = Endpoint(id="closed", wire="openai", model="m", base_url="http://127.0.0.1:1/v1", api_key_env="NO_SUCH_KEY")
    with pytest.raises(MissingKey, match="set the environment variable NO_SUCH_KEY"):
        ask(endpoint)


def test_sixty_four_streams_at_once_are_timed_as_one(request: pytest.FixtureRequest):
    async def many(endpoint: Endpoint) -> list[Completion]:
        async with Client() as client:
            return await asyncio.gather(*(client.ask(endpoint, HELLO) for _ in range(64)))

    with ModelServer(sse(*["tok "] * 20), pace_s=0.02) as server:
        answers = asyncio.run(many(server.endpoint()))
    assert all(answer.text == "tok " * 20 for answer in answers)
    # Role chunk after one pace, first content after two: the rest is the client's, the server's and this machine's lateness.
    assert statistics.median(answer.ttft_s for answer in answers) < 0.04 + 0.1
