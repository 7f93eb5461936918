"""Bytes through the client's own connection and reader, split anywhere: what the fuzzers share. Nothing is mocked but the socket.

With atheris (its own environment: `pip install atheris`) this file is the coverage-guided fuzzer itself:

    python tests/streams.py -max_total_time=60 CORPUS
"""

import asyncio
import sys
from collections.abc import Callable, Iterable
from typing import Any

from serving.client import Prepared, completion_of
from serving.completion import Completion, Request
from serving.connection import Address, Connection, Exchange
from serving.endpoints import Endpoint
from serving.reading import Reader

STATUSES = ("ok", "truncated", "refused", "filtered", "api_error", "malformed")


class Deaf(asyncio.Transport):
    """Takes what is written, and closes when told."""

    closed = False

    def write(self, data: Any) -> None:
        pass

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def prepared(wire: str = "openai") -> Prepared:
    endpoint = Endpoint(id="fuzzed", wire=wire, model="m", base_url="http://localhost/v1")  # type: ignore[arg-type]
    return Prepared(endpoint, Request.user("hello"), Address("localhost", 80, False), b"")


def exchanged(pieces: Iterable[bytes], on_change: Callable[[Exchange], None] | None = None) -> Exchange:
    """The exchange that these pieces and the end of the connection make."""
    connection, transport = Connection(), Deaf()
    connection.connection_made(transport)
    exchange = connection.send(b"", on_change)
    for piece in pieces:
        if piece and not transport.closed:
            connection.data_received(piece)
    if not transport.closed:
        connection.eof_received()
    connection.connection_lost(None)
    assert exchange.ended, "the client would wait for ever"
    return exchange


def receive(pieces: Iterable[bytes], *, wire: str = "openai", watched: bool = False) -> Completion:
    """What a client makes of these pieces and the end of the connection, its text read as it arrives when `watched`."""
    asked = prepared(wire)
    reader: Reader | None = None
    seen: list[str] = []

    def watch(exchange: Exchange) -> None:
        nonlocal reader
        reader = reader or Reader(wire, exchange)
        seen.extend(reader.read())

    exchange = exchanged(pieces, watch if watched else None)
    if watched:
        watch(exchange)
    completion = completion_of(asked, exchange, None, reader=reader)
    assert completion.status in STATUSES
    # Whatever came, it can be written down and read again.
    assert Completion.model_validate_json(completion.to_line()).status == completion.status
    return completion


def split(stream: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The stream cut at these places (taken modulo its length)."""
    places = sorted({cut % (len(stream) + 1) for cut in cuts} | {0, len(stream)})
    return [stream[start:end] for start, end in zip(places, places[1:], strict=False)]


def essence(completion: Completion) -> dict[str, Any]:
    """All of a completion that may not depend on how the bytes were split."""
    said = completion.model_dump(include={"text", "status", "finish_reason", "usage", "error"})
    return {**said, "chunks": len(completion.chunk_times_s)}


def one_input(data: bytes) -> None:
    """One input of the fuzzer: the first byte chooses the dialect, the next three where to cut, the rest is the stream."""
    wire = "anthropic" if data[:1] > b"\x7f" else "openai"
    stream = data[4:] if data[:1] and data[0] % 2 else b"HTTP/1.1 200 OK\r\n\r\n" + data[4:]
    whole = essence(receive([stream], wire=wire))
    assert whole == essence(receive(split(stream, [cut * 37 for cut in data[1:4]]), wire=wire, watched=True))
    assert whole == essence(receive([stream[place : place + 1] for place in range(len(stream))], wire=wire))


if __name__ == "__main__":
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
