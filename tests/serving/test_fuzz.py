"""No bytes that a server can send break the client: however they are split the completion is the same, and nothing raises or hangs."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httptools
import pytest
import streams
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from model_server import http, messages, named, problem, sse
from streams import essence, exchanged, receive, split

from serving import connection
from serving.answer import SSEReader
from serving.wires import EVENT

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
WHOLE = [
    b"".join(sse("Hello", " you, ", "Grüße 世界 😀")),
    b"".join(sse("a", "b", done=False, usage=None)),
    b"".join(messages("Hel", "lo", thinking="hmm")),
    b"".join(problem("429 Too Many Requests", "slow down", "Retry-After: 1\r\n")),
    HEAD + b'\xef\xbb\xbf: hi\r\rdata: {"choices":\rdata: [{"delta":{"content":"x"},"finish_reason":"stop"}]}\r\n\r\ndata\n\n',
    b"HTTP/1.1 100 Continue\r\n\r\n" + b"".join(sse("after")),
    b"".join(sse("twice")) * 2,
    b"HTTP/1.1 200 OK\r\nContent-Length: 58\r\nContent-Type: application/json\r\n\r\n"
    b'{"choices":[{"message":{"content":"x"},"finish_reason":1}]}',
]
CUTS = st.lists(st.integers(0, 4000), max_size=12)
WIRES = st.sampled_from(["openai", "anthropic"])
NAMES = ["choices", "delta", "usage", "error", "type", "message", "content", "content_block", "stop_reason", "finish_reason", "text"]
JSON: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, True, -1, 3, 1e99, "", "x", "stop", "text", "error", "\ud83d", [], {}]) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=2),
    max_leaves=4,
)
quick = settings(max_examples=150)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A stream as servers send it, with a few bytes changed, doubled or lost."""
    stream = bytearray(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(stream) - 1))
        stream[place : place + draw(st.integers(0, 3))] = draw(
            st.binary(max_size=3) | st.sampled_from([b"\r", b"\n", b"\r\n\r\n", b"data:"])
        )
    return bytes(stream)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """An event with the names that the dialects know, and anything at all as their values."""
    event = draw(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=3))
    if draw(st.booleans()):
        event["choices"] = draw(st.lists(st.dictionaries(st.sampled_from([*NAMES, "refusal", "reasoning"]), JSON, max_size=3), max_size=2))
    if draw(st.booleans()):
        kinds = ["message_start", "content_block_start", "content_block_delta", "message_delta", "message_stop", "message", "ping", "error"]
        event["type"] = draw(st.sampled_from(kinds))
    return event


@given(stream=damaged() | st.binary(max_size=400), cuts=CUTS, wire=WIRES, watched=st.booleans())
@quick
def test_however_a_stream_is_split_the_completion_is_the_same(stream: bytes, cuts: list[int], wire: str, watched: bool):
    whole = essence(receive([stream], wire=wire))
    assert essence(receive(split(stream, cuts), wire=wire, watched=watched)) == whole


PARTS = [b"data", b":", b" ", b"\r", b"\n", b"{}", b"\xef\xbb\xbf", b"data: a\n\n", b"data: b\n", b"data: c\rdata: d\n\n", b": e\n\n"]


@given(pieces=st.lists(damaged() | st.sampled_from(PARTS), max_size=6))
@example(pieces=[b"data: a\n\n", b"data: c\rdata: d\n\n"])
@example(pieces=[b": e\n\n", b"data: b\n", b"data: a\n\n"])
@quick
def test_the_event_reader_says_the_same_byte_by_byte(pieces: list[bytes]):
    whole, piecewise, bytewise = SSEReader(), SSEReader(), SSEReader()
    body = b"".join(pieces)
    together = [*whole.feed(body), *whole.close()]
    assert [event for piece in pieces for event in piecewise.feed(piece)] + piecewise.close() == together
    assert [event for place in range(len(body)) for event in bytewise.feed(body[place : place + 1])] + bytewise.close() == together


@pytest.mark.parametrize("stream", WHOLE)
@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_every_single_place_to_cut_gives_the_same_completion(stream: bytes, wire: str):
    whole = essence(receive([stream], wire=wire))
    for place in range(len(stream)):
        assert essence(receive([stream[:place], stream[place:]], wire=wire)) == whole


# Events that differ from plain tokens in all the ways in which the short way through a stream could be fooled.
TEXTS = st.text(max_size=4) | st.sampled_from(
    ["another", "chunk", "chat", "\ud83d", "\ude00", '"', "\\", "\n", "\r\n", "\u2028", "\x7f", "", "m"]
)
ODDITIES: list[dict[str, Any]] = [
    {"usage": {"prompt_tokens": 1}},
    {"error": "no"},
    {"id": "another"},
    {"choices": []},
    {"content": "chunk"},
]


@st.composite
def tokens(draw: st.DrawFn) -> bytes:
    """One event, nearly always a plain token like its neighbours; now and then it is something else, or a few of its bytes are."""
    choice = {"index": 0, "delta": {"content": draw(TEXTS)}, "finish_reason": draw(st.sampled_from([None, None, None, "stop"]))}
    event = {"id": "chat", "object": "chunk", "model": "m", "choices": [choice], "created": 1}
    if draw(st.integers(0, 5)) == 0:
        event |= draw(st.sampled_from(ODDITIES))
    line = bytearray(b"data: " + json.dumps(event, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass") + b"\n\n")
    if draw(st.integers(0, 3)) == 0:
        place = draw(st.integers(0, len(line) - 1))
        line[place : place + draw(st.integers(0, 2))] = draw(st.binary(max_size=2) | st.sampled_from([b'"', b"\\", b"\r", b"\n\n"]))
    return bytes(line)


TOKEN = b'data: {"id":"chunk","choices":[{"delta":{"content":"%s"}}],"name":"m"}\n\n'


@given(pieces=st.lists(tokens(), max_size=8))
@example(pieces=[TOKEN % b"a", TOKEN % b"a", TOKEN % b"chunk", TOKEN % b"m", TOKEN % b'b","c":"', TOKEN % b"\\n", TOKEN % b"\xff"])
@example(pieces=[TOKEN % b"b", TOKEN % b"m", TOKEN % b"chunk", TOKEN % b'"}}],"error":"no","x":[{"d":{"e":"', TOKEN % b"", TOKEN % b"c\rd"])
@example(pieces=[TOKEN % b"a", (TOKEN % b"b")[:-1], TOKEN % b"c"])
@example(pieces=[TOKEN % text for text in (b"m", b"a\\", b',"x', b"b\\\\", b"\\", b",", b"\\", b"c")])
@example(
    pieces=[TOKEN % text for text in [b"m"] * 40 + [b'\\"'] + [b"\\u4e16"] * 90 + [b"\\ud83d", b"\\ude00", b"", b"\xff"] + [b"n"] * 300]
)
@example(pieces=[TOKEN % b"m", (TOKEN % b"m").replace(b'e":"m"', b'e":"other"')])
@settings(quick, max_examples=600)
def test_tokens_that_come_alone_are_read_as_those_that_come_together(pieces: list[bytes]):
    assert essence(receive([HEAD, *pieces])) == essence(receive([HEAD + b"".join(pieces)]))


def test_a_token_like_the_one_before_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch):
    parsed: list[bytes] = []
    take = EVENT["openai"]
    monkeypatch.setitem(EVENT, "openai", lambda answer, data, at_s: parsed.append(data) or take(answer, data, at_s))
    texts = [b"a", b"Gr\xc3\xbc\xc3\x9fe", b"b\\n", b" c", b"\xff"]
    completion = receive([HEAD, b": hi\n\n", *(TOKEN % text for text in texts)])
    assert completion.text == "aGrüßeb\n c" and len(completion.chunk_times_s) == 4
    # The first tells what they share; bytes that are no character are for the parser.
    assert parsed == [(TOKEN % text)[6:-2] for text in (b"a", b"\xff")]


def test_a_chunk_that_comes_alone_is_not_parsed(monkeypatch: pytest.MonkeyPatch):
    fed: list[bytes] = []

    class Counting(httptools.HttpResponseParser):  # type: ignore[misc]
        def feed_data(self, data: bytes) -> None:
            fed.append(data)
            super().feed_data(data)

    monkeypatch.setattr(httptools, "HttpResponseParser", Counting)
    head, *pieces = http([TOKEN % text for text in (b"a", b"b", b"c" * 3000, b"d")])
    assert receive([head, *pieces]).text == f"ab{'c' * 3000}d"
    # Nothing tells that a head is followed by a chunk of its own; a long chunk and the last one are the parser's.
    assert fed == [head, pieces[0], pieces[2], pieces[-1]]


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@st.composite
def chunks(draw: st.DrawFn) -> bytes:
    """One chunk, nearly always as servers write it; now and then its first line is another way to say it, or is wrong, or bytes are."""
    content = draw(st.binary(min_size=1, max_size=20) | st.sampled_from([b"\r\n", b"0\r\n\r\n", b"5\r\nabcde\r\n", b"a" * 15, b"\n" * 16]))
    size = len(content) + draw(st.sampled_from([0] * 12 + [-1, 1, 2]))
    line = draw(st.sampled_from([b"%x\r\n"] * 8 + [b"%X\r\n", b"0%x\r\n", b"%x;a=b\r\n", b"%x\n", b"%x \r\n", b""]))
    chunk = bytearray(
        (line % size if line else b"") + content + draw(st.sampled_from([b"\r\n"] * 8 + [b"\n", b"", b"\r\n\r\n", b"\r\n0\r\n\r\n"]))
    )
    if draw(st.integers(0, 7)) == 0:
        place = draw(st.integers(0, len(chunk)))
        chunk[place : place + draw(st.integers(0, 2))] = draw(st.binary(max_size=2) | st.sampled_from([b"\r", b"\n", b"\r\n", b"0"]))
    return bytes(chunk)


@given(pieces=st.lists(chunks(), max_size=6), cuts=st.none() | CUTS, closes=st.booleans())
@example(pieces=[b"1\r\na\r\n", b"1\r\nb\r\n5\r\n", b"3\r\n\r\n\r\n"], cuts=None, closes=True)
@example(pieces=[b"1\r\na\r\n", b"1\r\n", b"b\r\n", b"1\r\nc\r\n"], cuts=None, closes=True)
@example(pieces=[b"1\r\na\r\n0\r\n\r\n", b"1\r\nb\r\n"], cuts=None, closes=False)
@settings(quick, max_examples=600)
def test_chunks_that_pass_the_parser_by_arrive_as_those_it_parsed(pieces: list[bytes], cuts: list[int] | None, closes: bool):
    pieces = [CHUNKED, *pieces, *([b"0\r\n\r\n"] if closes else [])]
    if cuts is not None:
        pieces = split(b"".join(pieces), cuts)
    short = exchanged(pieces)
    with patch.object(connection, "_SHORT", 0):
        parsed = exchanged(pieces)
    assert [piece for _, piece in short.body] == [piece for _, piece in parsed.body]
    assert (short.status, short.complete, short.failure) == (parsed.status, parsed.complete, parsed.failure)


@given(shapes=st.lists(events() | JSON, min_size=1, max_size=4), wire=WIRES)
@example(shapes=[{"choices": None, "delta": 3}], wire="openai")
@example(shapes=[{"choices": [{"delta": 3}], "usage": [1]}], wire="openai")
@example(shapes=[{"choices": {"0": {}}}], wire="openai")
@example(shapes=[{"choices": [{"delta": {"content": {"a": 1}}, "finish_reason": []}]}], wire="openai")
@example(shapes=[{"type": "message", "content": 3, "usage": [1]}], wire="anthropic")
@example(shapes=[{"type": "message_delta", "delta": 3, "usage": {"output_tokens": -1}}], wire="anthropic")
@quick
def test_json_of_any_shape_gives_a_completion(shapes: list[Any], wire: str):
    lines = [f"data: {json.dumps(shape)}\n\n".encode() for shape in shapes]
    receive([b"".join(http(lines))], wire=wire)
    receive([b"".join(http([json.dumps(shapes[0]).encode()], content_type="application/json"))], wire=wire)


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_json_deeper_than_the_stack_is_malformed(wire: str):
    assert receive([HEAD + b"data: " + b"[" * 200_000 + b"\n\n"], wire=wire).status == "malformed"
    assert receive([b"HTTP/1.1 500 No\r\n\r\n" + b'{"error":' * 100_000], wire=wire).status == "api_error"


def test_shapes_that_hold_no_answer_are_malformed_and_say_why():
    for shape in ({"choices": [{"delta": 3}]}, {"choices": "x"}, {"choices": [{"delta": {"content": 5}}]}, [1], 5, "x"):
        completion = receive([HEAD + f"data: {json.dumps(shape)}\n\n".encode()])
        assert completion.status == "malformed" and "the stream held" in (completion.error or "")
    assert receive([HEAD + b"".join(named({"type": "message", "content": 3}))], wire="anthropic").status == "malformed"


@pytest.mark.slow
@given(
    stream=damaged() | st.binary(max_size=2000), cuts=CUTS, wire=WIRES, watched=st.booleans(), shapes=st.lists(events() | JSON, max_size=5)
)
@settings(max_examples=30_000, suppress_health_check=list(HealthCheck))
@pytest.mark.timeout(1200)
def test_a_long_search_finds_nothing(stream: bytes, cuts: list[int], wire: str, watched: bool, shapes: list[Any]):
    whole = essence(receive([stream], wire=wire))
    assert essence(receive(split(stream, cuts), wire=wire, watched=watched)) == whole
    body = b"".join(f"data: {json.dumps(shape)}\n\n".encode() for shape in shapes)
    assert essence(receive([HEAD, *split(body, cuts)], wire=wire)) == essence(receive([HEAD + body], wire=wire))


@pytest.mark.slow
def test_coverage_guided_fuzzing_finds_nothing(tmp_path: Path):
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed (pip install atheris)")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, stream in enumerate(WHOLE):
        (corpus / f"{number}").write_bytes(bytes([1 + 128 * (b"message_start" in stream), 3, 50, 7]) + stream)
    command = [sys.executable, streams.__file__, "-max_total_time=120", "-rss_limit_mb=4096", "-timeout=20", str(corpus)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
