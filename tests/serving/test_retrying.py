"""What is asked again, when, and with a new clock; what was refused or begun is not."""

import asyncio
import statistics
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from model_server import CUT, ModelServer, Writes, http, problem, sse
from one_answer import HELLO, ask

from serving.client import Client
from serving.completion import Completion
from serving.endpoints import Endpoint
from serving.retrying import wait_s


def in_turn(*scripts: Writes) -> Callable[[dict[str, object]], Writes]:
    left = iter(scripts)
    return lambda _: next(left)


@pytest.mark.parametrize("refusal", ["429 Too Many Requests", "500 Oops", "503 Overloaded"])
def test_what_the_server_did_not_begin_is_asked_again_with_a_new_clock(refusal: str):
    with ModelServer(in_turn(problem(refusal, "later", "Retry-After: 0.6\r\n"), sse("now"))) as server:
        before = datetime.now(UTC)
        answer = ask(server.endpoint())
    assert (answer.text, answer.status, answer.retries, len(server.requests)) == ("now", "ok", 1, 2)
    assert answer.latency_s is not None and answer.latency_s < 0.5, "the wait is not the answer's"
    assert answer.started_at is not None and answer.started_at - before >= timedelta(seconds=0.6)


def test_retries_are_bounded_and_can_be_turned_off():
    with ModelServer(problem("503 Overloaded", "later", "Retry-After: 0\r\n")) as server:
        thrice = ask(server.endpoint(), max_retries=2)
        once = ask(server.endpoint(), max_retries=0)
    assert (thrice.retries, once.retries, len(server.requests)) == (2, 0, 4)
    assert thrice.status == once.status == "api_error"


@pytest.mark.parametrize(
    "script",
    [
        problem("400 Bad Request", "no"),
        problem("401 Unauthorized", "no"),
        problem("404 Not Found", "no"),
        [*sse("half an ans")[:3], CUT],
        http([b'data: {"error": {"message": "overloaded", "code": 503}}\n\n']),
        [CUT],
    ],
)
def test_what_was_refused_or_begun_is_not_asked_again(script: list[bytes]):
    with ModelServer(script) as server:
        answer = ask(server.endpoint(), max_retries=5)
    assert (answer.retries, len(server.requests)) == (0, 1) and not answer.answered


def test_a_connection_refused_is_tried_again():
    async def late(endpoint: Endpoint, port: int) -> Completion:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.writelines(sse("there"))
            writer.close()

        async with Client(max_retries=8) as client:
            asked = asyncio.create_task(client.ask(endpoint, HELLO))
            await asyncio.sleep(0.05)
            async with await asyncio.start_server(serve, "127.0.0.1", port):
                return await asked

    with ModelServer([]) as gone:
        endpoint = gone.endpoint()
    answer = asyncio.run(late(endpoint, gone.port))
    assert (answer.text, answer.status) == ("there", "ok") and answer.retries >= 1


def test_how_long_to_wait_is_the_servers_word_up_to_a_minute():
    in_ten = format_datetime(datetime.now(UTC) + timedelta(seconds=10), usegmt=True).encode()
    assert wait_s(0, {b"retry-after": b"7"}) == 7
    assert wait_s(0, {b"retry-after": b"7", b"retry-after-ms": b"250"}) == 0.25
    assert 8 < wait_s(0, {b"retry-after": in_ten}) <= 10
    assert wait_s(0, {b"retry-after": b"86400"}) == 60
    assert wait_s(0, {b"retry-after": b"Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    for nonsense in (b"soon", b"-5", b"nan", b"1e9", b"", b"Wed, 99 Oct", b"\xff"):
        assert 0.05 <= wait_s(0, {b"retry-after": nonsense}) <= 0.5


def test_without_a_word_the_wait_doubles_and_is_never_the_same():
    waits = [[wait_s(retries) for _ in range(200)] for retries in range(12)]
    assert all(max(drawn) <= min(0.5 * 2**retries, 8) and len(set(drawn)) > 100 for retries, drawn in enumerate(waits))
    assert statistics.median(waits[3]) > 3 * statistics.median(waits[0])


# Patience
