"""The client against a real socket: what it measures, what it calls each outcome, and that a failure is never an answer."""

import asyncio
import json
import socket
import statistics
import time
import tracemalloc

import pytest
from model_server import CUT, HANG, ModelServer, Writes, http, problem, sse
from one_answer import HELLO, ask
from timing import again_if_late, timely

from serving.client import Client, Timeouts, check_reachable, completion_of, prepare
from serving.completion import Completion, Request
from serving.endpoints import Endpoint, Price
from serving.errors import MissingKey, Unreachable


def test_a_streamed_answer_has_text_usage_times_and_cost():
    with ModelServer(sse("Hello", " you", usage=(1000, 2000))) as server:
        answer = ask(server.endpoint(price=Price(input_usd_per_mtok=1, output_usd_per_mtok=2)))
    assert (answer.text, answer.status, answer.finish_reason) == ("Hello you", "ok", "stop")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (1000, 2000)
    assert answer.cost_usd == pytest.approx(0.005)
    assert len(answer.chunk_times_s) == 2
    assert 0 < answer.ttft_s <= answer.latency_s


@again_if_late
def test_the_first_token_is_the_first_content_not_the_empty_role_chunk():
    # Writes: head, role, "a" (after 2 paces), "b" (3), finish, usage, done, end.
    with ModelServer(sse("a", "b"), pace_s=0.05) as server:
        answers = [ask(server.endpoint()) for _ in range(5)]
    ttft = statistics.median(answer.ttft_s for answer in answers)
    gap = statistics.median(answer.chunk_times_s[1] - answer.chunk_times_s[0] for answer in answers)
    assert ttft > 0.07
    timely(ttft < 0.13 and gap == pytest.approx(0.05, abs=0.02), ttft, gap)


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
        (http([b"data: {broken\n\n"]), "malformed", "not JSON"),
        (http([b'data: {"error": {"message": "out of memory"}}\n\n']), "api_error", "out of memory"),
    ],
)
def test_every_outcome_has_its_status(script: list[bytes], status: str, error: str | None):
    with ModelServer(script) as server:
        answer = ask(server.endpoint(), max_retries=0)
    assert answer.status == status
    assert (error is None and answer.error is None) or error in (answer.error or "")
    assert answer.answered == (status == "truncated")


def test_silence_is_a_timeout_not_an_answer():
    with ModelServer(sse("a", "b"), pace_s=2) as server:
        answer = ask(server.endpoint(), timeouts=Timeouts(first_s=0.2, between_s=0.2))
    assert answer.status == "timeout" and "no token came within 0.2 s" in (answer.error or "")


def test_nobody_listening_is_told_once_and_plainly():
    with ModelServer([]) as server:
        endpoint = server.endpoint()
    answer = ask(endpoint, max_retries=1)
    assert answer.retries == 1
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


@again_if_late
def test_sixty_four_streams_at_once_are_timed_as_one(request: pytest.FixtureRequest):
    async def many(endpoint: Endpoint) -> list[Completion]:
        async with Client() as client:
            return await asyncio.gather(*(client.ask(endpoint, HELLO) for _ in range(64)))

    with ModelServer(sse(*["tok "] * 20), pace_s=0.02) as server:
        answers = asyncio.run(many(server.endpoint()))
    assert all(answer.text == "tok " * 20 for answer in answers)
    # Role chunk after one pace, first content after two: the rest is the client's, the server's and this machine's lateness.
    timely(statistics.median(answer.ttft_s for answer in answers) < 0.04 + 0.1)


# The three steps of asking


def test_a_request_is_prepared_once_and_sent_many_times():
    async def thrice(endpoint: Endpoint) -> list[Completion]:
        async with Client(max_retries=0) as client:
            prepared = prepare(endpoint, HELLO)
            exchanges = [await client.exchange(prepared) for _ in range(3)]
        return [completion_of(prepared, exchange, None) for exchange in exchanges]

    with ModelServer(sse("Hello", " you")) as server:
        began = time.perf_counter()
        answers = asyncio.run(thrice(server.endpoint()))
        took_s = time.perf_counter() - began
        asked = ask(server.endpoint())
    assert server.connections == 2 and server.requests[0] == server.requests[3]
    assert [(answer.text, answer.status, answer.usage) for answer in answers] == [(asked.text, asked.status, asked.usage)] * 3
    assert all(0 < answer.ttft_s <= answer.latency_s < took_s for answer in answers)


def test_the_key_is_in_no_repr_of_what_is_prepared(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TEST_KEY", "sk-secret-123")
    prepared = prepare(Endpoint(id="x", wire="openai", model="m", base_url="http://localhost/v1", api_key_env="TEST_KEY"), HELLO)
    assert b"sk-secret-123" in prepared.payload and "sk-secret" not in repr(prepared)


# Retries


ROLE = sse()[1]
COMMENT = http([b": still here\n\n"])[1]
HEAD = sse()[0]


@pytest.mark.parametrize(
    ("script", "limits", "error"),
    [
        ([HANG], Timeouts(first_s=0.2), "no token came within 0.2 s"),
        ([HEAD, HANG], Timeouts(first_s=0.2), "no token came within 0.2 s"),
        ([bytes([byte]) for byte in HEAD] * 50, Timeouts(first_s=0.2), "no token came within 0.2 s"),
        ([HEAD, ROLE, *[COMMENT] * 5000], Timeouts(first_s=0.2, between_s=0.1), "no token came within 0.2 s"),
        ([*sse("a")[:3], *[COMMENT] * 5000], Timeouts(between_s=0.2), "no further token came within 0.2 s"),
        ([*sse(*["a"] * 5000)[:-1]], Timeouts(total_s=0.3), "not whole within 0.3 s"),
        ([HEAD, ROLE, 0.3, *sse("late")[2:3], HANG], Timeouts(first_s=5, between_s=0.2), "no further token came"),
    ],
    ids=["never", "headers only", "slow headers", "comments only", "comments after a token", "for ever", "stalled"],
)
@again_if_late
def test_patience_ends_whatever_the_server_does_instead_of_answering(script: list[bytes], limits: Timeouts, error: str):
    with ModelServer(script, pace_s=0.01) as server:
        start = time.perf_counter()
        answer = ask(server.endpoint(), timeouts=limits)
        took_s = time.perf_counter() - start
    assert answer.status == "timeout" and error in (answer.error or "")
    # By itself none of them would end in less than half a minute.
    timely(took_s < 2.0, took_s)
    assert answer.latency_s is None and answer.ttft_s is None and answer.retries == 0


def test_a_slow_start_is_not_taken_for_a_stall():
    # The first token may take longer than the patience between two, also when the role chunk came at once.
    with ModelServer([HEAD, ROLE, 0.4, *sse("a", "b")[2:]]) as server:
        assert ask(server.endpoint(), timeouts=Timeouts(first_s=5, between_s=0.15)).text == "ab"


def test_a_connection_that_nobody_accepts_is_a_timeout():
    async def full(endpoint: Endpoint) -> Completion:
        async with Client(max_retries=0, timeouts=Timeouts(connect_s=0.2)) as client:
            return await client.ask(endpoint, HELLO)

    # A proxy that never answers CONNECT: the same wait as for a host that drops packets.
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{silent.getsockname()[1]}")
        answer = asyncio.run(full(Endpoint(id="far", wire="openai", model="m", base_url="https://model.test/v1")))
    assert (answer.status, answer.error) == ("timeout", "no connection to model.test:443 within 0.2 s")


# Cancelling and holding back


@again_if_late
def test_cancelling_closes_the_connection_at_once():
    async def give_up(endpoint: Endpoint) -> float:
        async with Client() as client:
            began = asyncio.Event()
            asked = asyncio.create_task(client.ask(endpoint, HELLO, on_text=lambda _: began.set()))
            await began.wait()
            asked.cancel()
            at = time.perf_counter()
            with pytest.raises(asyncio.CancelledError):
                await asked
            # The client stays open: it is the cancelling, not its end, that must close the connection.
            limit = at + 10
            while not server.client_left_s and time.perf_counter() < limit:
                await asyncio.sleep(0.02)
        return at

    with ModelServer([*sse("a")[:3], HANG]) as server:
        at = asyncio.run(give_up(server.endpoint()))
    assert len(server.client_left_s) == 1
    timely(server.client_left_s[0] - at < 0.8)


def test_what_a_watcher_raises_ends_the_request_and_is_raised():
    def broken(_: str) -> None:
        raise LookupError("my own fault")

    async def watched(endpoint: Endpoint) -> None:
        async with Client() as client:
            await client.ask(endpoint, HELLO, on_text=broken)

    with ModelServer([*sse("a")[:3], HANG]) as server:
        with pytest.raises(LookupError, match="my own fault"):
            asyncio.run(watched(server.endpoint()))
    assert len(server.client_left_s) == 1


def test_a_slow_watcher_holds_the_server_back_and_memory_does_not_grow():
    piece = "x" * 2**16
    sent = 0

    def endless(_: dict[str, object]) -> Writes:
        return [HEAD, *http([f'data: {{"choices":[{{"delta":{{"content":"{piece}"}}}}]}}\n\n'.encode()])[1:2] * 4000]

    async def watch(endpoint: Endpoint) -> int:
        def slowly(text: str) -> None:
            nonlocal sent
            sent += 1
            time.sleep(0.02)

        async with Client() as client:
            asked = asyncio.create_task(client.ask(endpoint, HELLO, on_text=slowly))
            tracemalloc.start()
            await asyncio.sleep(1)
            while sent <= 2:
                await asyncio.sleep(0.05)
            grown, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
        return grown

    with ModelServer(endless) as server:
        grown = asyncio.run(watch(server.endpoint()))
        written = len(server.lateness_s)
    # What the server could write is bounded by the sockets' buffers, of a stream of 260 MB.
    assert 2 < sent < 60 and written < sent + 200
    assert grown < 40e6


def test_a_response_without_end_is_cut_off_and_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("serving.connection.MAX_RESPONSE_BYTES", 2**20)
    with ModelServer([HEAD, *http([b": " + b"x" * 2**16])[1:2] * 200]) as server:
        body = ask(server.endpoint())
    with ModelServer([b"HTTP/1.1 200 OK\r\n", *[b"X-Filler: " + b"x" * 1000 + b"\r\n"] * 5000]) as server:
        head = ask(server.endpoint())
    assert body.status == "malformed" and "exceeds 1048576 bytes" in (body.error or "")
    assert head.status == "api_error" and "exceeds 1048576 bytes" in (head.error or "")


def test_a_redirect_is_an_error_that_names_the_remedy():
    with ModelServer(http([], status="301 Moved", headers="Location: https://elsewhere.test/v1\r\n")) as server:
        answer = ask(server.endpoint())
    assert (
        answer.status == "api_error" and "https://elsewhere.test/v1" in (answer.error or "") and "correct base_url" in (answer.error or "")
    )


def test_a_body_without_a_length_ends_where_the_connection_ends():
    events = [piece.split(b"\r\n", 1)[1].rsplit(b"\r\n", 1)[0] for piece in sse("a", "b", usage=None, done=False)[1:-1]]
    pieces: list[str] = []

    async def watched(endpoint: Endpoint) -> Completion:
        async with Client() as client:
            return await client.ask(endpoint, HELLO, on_text=pieces.append)

    with ModelServer([b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", *events], close_after=1) as server:
        answer = asyncio.run(watched(server.endpoint()))
    assert (answer.text, answer.status, pieces) == ("ab", "ok", ["a", "b"])
