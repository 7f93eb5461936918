"""The ruler before the measurement: the paced server keeps its schedule, tells the truth about it, and fails as it is told.

Everything here is read by a plain socket or http.client, never by the client that the server exists to judge.
"""

import json
import socket
import statistics
import time
from collections.abc import Iterator
from typing import Any

import pytest
from paced_server import PacedServer
from pacing import Asked, Pace, pace_of, read_pace, script_of, text_of, token_due_ns
from timing import again_if_late, timely

SLACK_S = 0.05  # What another process on the same two cores may cost us.


@pytest.fixture(scope="module")
def server() -> Iterator[PacedServer]:
    with PacedServer(ttft_ms=20, gap_ms=5, tokens=10) as running:
        yield running


class Talk:
    """One connection: requests out, raw bytes in, each with its arrival."""

    def __init__(self, server: PacedServer) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.arrivals: list[tuple[int, bytes]] = []

    def __enter__(self) -> "Talk":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def post(self, path: str = "/v1/chat/completions", **body: Any) -> int:
        """Send one request; returns when (perf_counter_ns)."""
        request = {"model": "paced", "stream": True, "messages": [{"role": "user", "content": "how fast is it"}], **body}
        data = json.dumps(request).encode()
        self.arrivals = []
        sent_ns = time.perf_counter_ns()
        self.socket.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
        return sent_ns

    def read(self, until: bytes = b"0\r\n\r\n") -> bytes:
        """Everything up to these bytes, or to the end of the connection."""
        whole = b""
        while not whole.endswith(until):
            piece = self.socket.recv(65536)
            self.arrivals.append((time.perf_counter_ns(), piece))
            if not piece:
                return whole
            whole += piece
        return whole

    def ask(self, **body: Any) -> list[dict[str, Any]]:
        """One streamed answer's events."""
        self.post(**body)
        return events(self.read())


def events(raw: bytes) -> list[dict[str, Any]]:
    lines = [line[6:] for line in raw.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(line) for line in lines if line != b"[DONE]"]


def text(found: list[dict[str, Any]]) -> str:
    return "".join(choice["delta"].get("content", "") for event in found for choice in event["choices"])


def test_a_stream_has_role_text_finish_usage_and_done(server: PacedServer):
    with Talk(server) as talk:
        talk.post(stream_options={"include_usage": True})
        raw = talk.read()
    found = events(raw)
    assert raw.startswith(b"HTTP/1.1 200") and raw.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert found[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert text(found) == text_of(Pace(tokens=10)) == "w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 "
    assert found[-2]["choices"][0]["finish_reason"] == "stop"
    assert found[-1]["choices"] == [] and found[-1]["usage"] == {"prompt_tokens": 4, "completion_tokens": 10, "total_tokens": 14}


@again_if_late
def test_tokens_arrive_on_their_absolute_schedule(server: PacedServer):
    server.clear()
    with Talk(server) as talk:
        sent_ns = talk.post(model="ttft=60,gap=20,tokens=20", user="timed")
        talk.read()
        arrived_s = [(at_ns - sent_ns) / 1e9 for at_ns, piece in talk.arrivals for _ in range(piece.count(b'"content":"w'))]
    assert len(arrived_s) == 20
    late = [at - (0.06 + 0.02 * number) for number, at in enumerate(arrived_s)]
    assert min(late) > 0, "a token came before it was due"
    # No drift: the last tokens are no later than the first, and half of them are as good as exact.
    timely(statistics.median(late) < 0.005 and max(late) < SLACK_S, late)


@again_if_late
def test_the_servers_record_is_what_the_client_saw(server: PacedServer):
    server.clear()
    with Talk(server) as talk:
        sent_ns = talk.post(model="ttft=20,gap=10,tokens=30", user="recorded")
        talk.read()
        arrived_ns = [at_ns for at_ns, piece in talk.arrivals for _ in range(piece.count(b'"content":"w'))]
    stats = server.stats(requests=True)
    (record,) = stats["requests"]
    assert (record["name"], record["outcome"], sum(record["tokens"])) == ("recorded", "complete", 30)
    assert record["arrived_ns"] > sent_ns
    timely(record["arrived_ns"] - sent_ns < SLACK_S * 1e9)
    wrote_ns = [wrote for wrote, tokens in zip(record["wrote_ns"], record["tokens"], strict=True) if tokens]
    trips_s = [(seen - wrote) / 1e9 for seen, wrote in zip(arrived_ns, wrote_ns, strict=True)]
    assert min(trips_s) > 0
    timely(statistics.median(trips_s) < 0.002, trips_s)
    # The record holds real moments, not the schedule again; and lateness is their difference.
    late_ms = [(wrote - record["arrived_ns"] - due) / 1e6 for wrote, due in zip(record["wrote_ns"], record["due_ns"], strict=True)]
    assert min(late_ms) > 0 and max(late_ms) == pytest.approx(stats["lateness_ms"]["max"])
    assert stats["writes"] == len(late_ms) and stats["outcomes"] == {"complete": 1}


@again_if_late
def test_many_streams_share_one_timer_and_stay_on_time(server: PacedServer):
    server.clear()
    talks = [Talk(server) for _ in range(64)]
    for number, talk in enumerate(talks):
        talk.post(model="ttft=50,gap=10,tokens=50", user=f"stream {number}")
    answers = [text(events(talk.read())) for talk in talks]
    for talk in talks:
        talk.socket.close()
    stats = server.stats(requests=True)
    assert set(answers) == {text_of(Pace(tokens=50))}
    assert sorted(record["name"] for record in stats["requests"]) == sorted(f"stream {number}" for number in range(64))
    timely(stats["lateness_ms"]["p50"] < 10, "half of the writes came later than the next was due")


def test_jitter_is_seeded_and_keeps_the_mean():
    jittered = token_due_ns(Pace(mode="jittered", seed=3, tokens=2001))
    assert jittered == token_due_ns(Pace(mode="jittered", seed=3, tokens=2001)) != token_due_ns(Pace(mode="jittered", seed=4, tokens=2001))
    gaps_ms = [(after - before) / 1e6 for before, after in zip(jittered, jittered[1:], strict=False)]
    assert statistics.mean(gaps_ms) == pytest.approx(10, rel=0.05) and min(gaps_ms) >= 0 and max(gaps_ms) <= 20
    assert statistics.stdev(gaps_ms) == pytest.approx(20 / 12**0.5, rel=0.05)


@again_if_late
def test_a_stall_lies_in_the_middle(server: PacedServer):
    server.clear()
    with Talk(server) as talk:
        talk.ask(model="ttft=10,gap=5,tokens=10,mode=stalled,stall=200")
        arrivals = [at_ns for at_ns, piece in talk.arrivals for _ in range(piece.count(b'"content":"w'))]
    gaps_s = [(after - before) / 1e9 for before, after in zip(arrivals, arrivals[1:], strict=False)]
    assert gaps_s.index(max(gaps_s)) == 4 and max(gaps_s) > 0.205 - SLACK_S
    timely(max(gaps_s) < 0.205 + SLACK_S, gaps_s)


def test_several_tokens_travel_in_one_event(server: PacedServer):
    with Talk(server) as talk:
        found = talk.ask(model="tokens=10,per_chunk=4", stream_options={"include_usage": True})
    pieces = [choice["delta"]["content"] for event in found for choice in event["choices"] if choice["delta"].get("content")]
    assert pieces == ["w0 w1 w2 w3 ", "w4 w5 w6 w7 ", "w8 w9 "]
    assert found[-1]["usage"]["completion_tokens"] == 10
    # An event is due with its last token, as a server that waits for all of them would send it.
    assert script_of(Pace(tokens=10, per_chunk=4), Asked()).due_ns == (0, 80_000_000, 120_000_000, 140_000_000)


def test_the_form_follows_the_request(server: PacedServer):
    with Talk(server) as talk:
        talk.post("/v1/completions", messages=None, prompt="once upon a time", paced={"tokens": 3})
        streamed = events(talk.read())
        assert "".join(event["choices"][0]["text"] for event in streamed) == "w0 w1 w2 "
        sent_ns = talk.post(stream=False, max_tokens=4, model="ttft=30,gap=10")
        whole = json.loads(talk.read(until=b"}}").split(b"\r\n\r\n", 1)[1])
        assert (talk.arrivals[0][0] - sent_ns) / 1e9 >= 0.06
    assert whole["choices"][0]["message"]["content"] == "w0 w1 w2 w3 " and whole["usage"]["completion_tokens"] == 4


def test_429_comes_as_often_as_told_and_then_the_answer(server: PacedServer):
    with Talk(server) as talk:
        for _ in range(2):
            talk.post(model="status=429,times=2,retry_after=1,tokens=2", user="retrying")
            raw = talk.read(until=b"}}")
            assert raw.startswith(b"HTTP/1.1 429") and b"Retry-After: 1\r\n" in raw
        assert text(talk.ask(model="status=429,times=2,retry_after=1,tokens=2", user="retrying")) == "w0 w1 "
        talk.post(model="status=503")
        assert talk.read(until=b"}}").startswith(b"HTTP/1.1 503")


def test_a_cut_ends_in_the_middle_of_an_event(server: PacedServer):
    server.clear()
    with Talk(server) as talk:
        talk.post(model="fault=cut")
        raw = talk.read()
        assert talk.arrivals[-1][1] == b"", "the connection is closed"
    assert raw.endswith(b'"del') and b'"content":"w4 "' in raw and b'"content":"w5 "' not in raw
    assert server.stats()["outcomes"] == {"cut": 1}


def test_garbage_is_not_json_and_the_stream_goes_on(server: PacedServer):
    with Talk(server) as talk:
        talk.post(model="fault=garbage")
        raw = talk.read()
    assert b"\xff\xfe" in raw and b'"content":"w9 "' in raw and raw.endswith(b"[DONE]\n\n\r\n0\r\n\r\n")
    with pytest.raises(UnicodeDecodeError):
        events(raw)


def test_an_error_event_and_a_missing_finish_are_told_apart(server: PacedServer):
    with Talk(server) as talk:
        assert talk.ask(model="fault=error")[-1]["error"]["message"] == "the paced server ran out of memory"
        unfinished = talk.ask(model="fault=no_finish,done=false")
    assert len(text(unfinished).split()) == 10 and not any(event["choices"][0]["finish_reason"] for event in unfinished)


def test_comments_keep_a_connection_alive_without_a_token(server: PacedServer):
    with Talk(server) as talk:
        talk.post(model="fault=comments,gap=20")
        raw = b"".join(talk.socket.recv(4096) for _ in range(5))
    assert raw.count(b": still here") >= 3 and b"data:" not in raw


def test_never_means_never_and_a_client_that_leaves_is_recorded(server: PacedServer):
    server.clear()
    with Talk(server) as talk:
        talk.post(model="fault=never")
        talk.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            talk.socket.recv(1)
    with Talk(server) as talk:
        talk.post(model="ttft=10,gap=1000", user="left early")
        talk.socket.recv(4096)
    deadline = time.monotonic() + 5
    while server.stats()["outcomes"] != {"dropped": 2} and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.stats()["outcomes"] == {"dropped": 2}


@again_if_late
def test_slow_headers_drip(server: PacedServer):
    with Talk(server) as talk:
        sent_ns = talk.post(model="head=300,ttft=0,tokens=1")
        raw = talk.read()
        ended_s = (talk.arrivals[-1][0] - sent_ns) / 1e9
        pieces = sum(b"data:" not in piece for _, piece in talk.arrivals)
    assert text(events(raw)) == "w0 " and ended_s >= 0.3
    timely(ended_s < 0.3 + 5 * SLACK_S and pieces > 20, ended_s, pieces)


def test_a_second_request_on_the_wire_waits_for_the_first(server: PacedServer):
    with Talk(server) as talk:
        talk.post(model="ttft=30,gap=0,tokens=1")
        talk.post(model="ttft=0,gap=0,tokens=2")
        first = talk.read()
        second = b"" if first.count(b"HTTP/1.1 200") == 2 else talk.read()
    answers = (first + second).split(b"HTTP/1.1 200")[1:]
    assert [text(events(answer)) for answer in answers] == ["w0 ", "w0 w1 "]


def test_a_pace_that_cannot_be_is_told(server: PacedServer):
    with pytest.raises(ValueError, match="no pace key 'speed'; there are ttft_ms"):
        pace_of({"speed": 1}, Pace())
    with pytest.raises(ValueError, match="'mode': 'bursty' is none of constant, jittered, stalled"):
        read_pace("mode=bursty", Pace())
    with pytest.raises(ValueError, match="'tokens': 'many' is no int"):
        read_pace("tokens=many", Pace())
    with Talk(server) as talk:
        talk.post(model="gap=fast")
        raw = talk.read(until=b"}}")
    assert raw.startswith(b"HTTP/1.1 400") and b"'gap': 'fast' is no float" in raw
