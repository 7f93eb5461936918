"""A model server for tests that says exactly what it is told, byte by byte, at a pace it is told, and remembers what it was asked.

    with ModelServer(sse("Hello", " you"), pace_s=0.01) as server:
        endpoint = server.endpoint()

A real socket on loopback, so that cut connections, split chunks and slow tokens are what a client really meets. `messages` answers in the
words of Anthropic's messages API; a number in a script is a pause, CUT drops the connection, HANG says nothing until the client leaves.
"""

import asyncio
import json
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any

from loopback import LoopbackServer

from serving.endpoints import Endpoint

Writes = list[bytes] | list[bytes | float]
Script = Writes | Callable[[dict[str, Any]], Writes]
CUT = b"\x00cut the connection here"
HANG = b"\x00say nothing more"


def sse(*pieces: str, finish: str | None = "stop", usage: tuple[int, int] | None = (7, 3), done: bool = True) -> list[bytes]:
    """A streamed chat answer: role chunk, one event per piece, finish, usage, [DONE]; one list entry is one write."""
    events: list[Any] = [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}]
    events += [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    if finish:
        events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    if usage:
        events.append({"choices": [], "usage": {"prompt_tokens": usage[0], "completion_tokens": usage[1]}})
    lines = [f"data: {json.dumps(event)}\n\n".encode() for event in events]
    return http(lines + ([b"data: [DONE]\n\n"] if done else []))


def http(pieces: Iterable[bytes], *, status: str = "200 OK", content_type: str = "text/event-stream", headers: str = "") -> list[bytes]:
    """A chunked HTTP response; the head is the first write."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n{headers}\r\n".encode()
    return [head, *(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces), b"0\r\n\r\n"]


def problem(status: str, message: str, headers: str = "") -> list[bytes]:
    """An error response in OpenAI's shape."""
    body = json.dumps({"error": {"message": message}}).encode()
    return http([body], status=status, content_type="application/json", headers=headers)


def messages(*pieces: str, stop: str | None = "end_turn", thinking: str = "", usage: dict[str, int] | None = None) -> list[bytes]:
    """A streamed answer of the messages API, pings and all; one list entry is one write."""
    counted = {"input_tokens": 7, "output_tokens": 1, **(usage or {})}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"type": "message", "role": "assistant", "content": [], "usage": counted}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
    ]
    if thinking:
        events.append({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": thinking}})
        events.append({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2ln"}})
    events += [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}} for piece in pieces]
    events.append({"type": "content_block_stop", "index": 0})
    if stop:
        events.append({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": 3}})
        events.append({"type": "message_stop"})
    return http(named(*events))


def named(*events: dict[str, Any]) -> list[bytes]:
    """Events of the messages API, each with its name in a line of its own."""
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]


class ModelServer(LoopbackServer):
    """Serves `script` (the writes of one response, or a function of the request body giving them) until the `with` ends.

    `client_left_s` are the perf_counter times at which clients closed a connection that hung.
    """

    def __init__(self, script: Script, *, pace_s: float = 0.0, close_after: int | None = None, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls=tls)
        self.script, self.pace_s, self.close_after = script, pace_s, close_after
        self.client_left_s: list[float] = []
        self.requests: list[dict[str, Any]] = []
        self.heads: list[str] = []
        self.connections = 0
        self.lateness_s: list[float] = []

    @property
    def base_url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/v1"

    def endpoint(self, endpoint_id: str = "scripted", **values: Any) -> Endpoint:
        return Endpoint(**{"id": endpoint_id, "wire": "openai", "model": "m", "base_url": self.base_url, **values})

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        answered = 0
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(next(line.split(":")[1] for line in head.split("\r\n") if line.lower().startswith("content-length")))
            body = json.loads(await reader.readexactly(length))
            self.heads.append(head)
            self.requests.append(body)
            if not await self._play(reader, writer, self.script(body) if callable(self.script) else self.script):
                break
            answered += 1
            if answered == self.close_after:
                break

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, writes: Writes) -> bool:
        due = time.perf_counter()
        for number, piece in enumerate(writes):
            if piece == CUT:
                writer.transport.abort()
                return False
            if piece == HANG:
                try:
                    await reader.read()
                finally:
                    self.client_left_s.append(time.perf_counter())
                return False
            if number:
                due += piece if isinstance(piece, float) else self.pace_s
                await asyncio.sleep(max(due - time.perf_counter(), 0))
                self.lateness_s.append(time.perf_counter() - due)
            if isinstance(piece, bytes):
                writer.write(piece)
                await writer.drain()
        return True
