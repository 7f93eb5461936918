"""The one client: every answer that the arena shows, the harness scores and the load generator times comes through `Client.ask`.

    async with Client() as client:
        completion = await client.ask(endpoint, Request.user("Why is the sky blue?"), on_text=show)

A request that fails raises nothing: its Completion has a status and an error text. Configuration that is wrong (a missing key) raises.
The clock starts when the request is written to an open connection: connecting is not part of TTFT.
"""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from urllib.parse import urlsplit

from serving.completion import Completion, Request, Status
from serving.connection import Address, Connection, Exchange, Pool
from serving.endpoints import Endpoint
from serving.errors import NotRecorded, Unreachable
from serving.prices import cost_usd
from serving.recorded import ask_recording, load_recording
from serving.wires import EVENT, POST, Answer, SSEReader, error_text

OnText = Callable[[str], None]


@dataclass(frozen=True)
class Timeouts:
    """Seconds to wait: for the connection, the first byte of the response, between two pieces of it, and for the whole."""

    connect_s: float = 10.0
    first_s: float = 300.0
    between_s: float = 120.0
    total_s: float = 1800.0


class Client:
    """Asks endpoints over pooled keep-alive connections; belongs to the event loop it is entered in.

    `speed` is the pace at which recorded endpoints reveal their text (1: as recorded, inf: at once).
    """

    def __init__(self, *, speed: float = math.inf, timeouts: Timeouts | None = None) -> None:
        self.speed = speed
        self.timeouts = timeouts or Timeouts()
        self._pool = Pool(self.timeouts.connect_s)

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.close()

    async def ask(self, endpoint: Endpoint, request: Request, on_text: OnText | None = None) -> Completion:
        """One request, its text handed to `on_text` as it arrives. Raises MissingKey, and DocumentError for an unreadable recording."""
        if endpoint.wire == "recorded":
            try:
                return await ask_recording(endpoint, request, speed=self.speed, on_text=on_text)
            except NotRecorded as error:
                return Completion(endpoint=endpoint.id, request=request, status="api_error", error=f"NotRecorded: {error}")
        key = endpoint.api_key()
        address, head, body = _post(endpoint, request, key)
        started_at = datetime.now(UTC)
        try:
            exchange, answer = await self._exchange(endpoint, address, head, body, on_text)
        except _Failed as failure:
            text = failure.text.replace(key, "[key]") if key else failure.text
            return Completion(endpoint=endpoint.id, request=request, started_at=started_at, status=failure.status, error=text)
        status = answer.status()
        latency_s = (exchange.ended_ns - exchange.sent_ns) / 1e9
        problem = answer.error or ("the stream ended without a finish reason" if status == "malformed" else None)
        return Completion(
            endpoint=endpoint.id,
            request=request,
            text="".join(answer.text),
            finish_reason=answer.finish_reason,
            usage=answer.usage,
            started_at=started_at,
            ttft_s=answer.chunk_times_s[0] if answer.chunk_times_s else None,
            latency_s=latency_s,
            chunk_times_s=tuple(answer.chunk_times_s),
            cost_usd=cost_usd(endpoint, answer.usage, started_at),
            status=status,
            error=problem.replace(key, "[key]") if problem and key else problem,
        )

    async def _exchange(
        self, endpoint: Endpoint, address: Address, head: bytes, body: bytes, on_text: OnText | None
    ) -> tuple[Exchange, Answer]:
        while True:
            try:
                connection, used = await self._pool.take(address)
            except TimeoutError:
                raise _Failed("timeout", f"no connection to {address.host}:{address.port} within {self.timeouts.connect_s:g} s") from None
            except OSError as error:
                raise _Failed("api_error", f"no connection to {address.host}:{address.port}: {error}") from None
            try:
                exchange = connection.send(head, body)
                answer = await self._read(endpoint, exchange, on_text)
            except BaseException:
                connection.close()
                raise
            if exchange.failure and used and not exchange.status:
                # The server closed an idle connection just as we wrote to it: nothing was answered, so ask again, with a new clock.
                continue
            self._finish(address, connection, exchange)
            return exchange, answer

    def _finish(self, address: Address, connection: Connection, exchange: Exchange) -> None:
        self._pool.give_back(address, connection)
        if exchange.status >= 400:
            content = b"".join(piece for _, piece in exchange.body)
            raise _Failed("api_error", f"HTTP {exchange.status}: {_problem(content)}")
        if exchange.failure:
            raise _Failed("api_error" if not exchange.status else "malformed", exchange.failure)

    async def _read(self, endpoint: Endpoint, exchange: Exchange, on_text: OnText | None) -> Answer:
        """Wait for the whole response. Events are parsed as they arrive only when somebody watches; else after the end."""
        answer, reader, event = Answer(), SSEReader(), EVENT[endpoint.wire]
        taken = 0
        limit_ns = exchange.sent_ns + int(self.timeouts.total_s * 1e9)
        while True:
            exchange.changed.clear()
            ended = exchange.ended
            if (on_text is not None or ended) and 200 <= exchange.status < 300:
                for at_ns, piece in exchange.body[taken:]:
                    taken += 1
                    if b"text/event-stream" not in exchange.headers.get(b"content-type", b"text/event-stream"):
                        continue
                    for data in reader.feed(piece):
                        _tell(on_text, event(answer, data, (at_ns - exchange.sent_ns) / 1e9))
            if ended:
                break
            patience = self.timeouts.between_s if exchange.body else self.timeouts.first_s
            patience = min(patience, (limit_ns - time.perf_counter_ns()) / 1e9)
            try:
                await asyncio.wait_for(exchange.changed.wait(), patience)
            except TimeoutError:
                raise _Failed("timeout", f"nothing came for {max(patience, 0):.3g} s (after {len(exchange.body)} pieces)") from None
        at_s = (exchange.ended_ns - exchange.sent_ns) / 1e9
        if 200 <= exchange.status < 300:
            if b"text/event-stream" in exchange.headers.get(b"content-type", b"text/event-stream"):
                rest = reader.close()
            else:
                # A server that cannot stream answers with one JSON document: its text has a latency but no first token of its own.
                rest = [b"".join(piece for _, piece in exchange.body)]
            for data in rest:
                _tell(on_text, event(answer, data, at_s))
        return answer


async def check_reachable(endpoint: Endpoint) -> None:
    """Before a run: raises MissingKey, Unreachable (nobody listens at base_url) or DocumentError (recording unreadable)."""
    if endpoint.wire == "recorded":
        assert endpoint.recording is not None
        load_recording(endpoint.recording)
        return
    endpoint.api_key()
    address = _address(endpoint)
    pool = Pool(Timeouts().connect_s)
    try:
        connection, _ = await pool.take(address)
    except (OSError, TimeoutError) as error:
        reason = str(error) or f"no connection within {Timeouts().connect_s:g} s"
        what = f"endpoint '{endpoint.id}' does not answer at {endpoint.base_url}"
        raise Unreachable(f"{what}: {reason}; start its server or correct base_url") from None
    connection.close()


class _Failed(Exception):
    """A request that brought no answer; never leaves this module."""

    def __init__(self, status: Status, text: str) -> None:
        super().__init__(text)
        self.status: Status = status
        self.text = text


def _tell(on_text: OnText | None, text: str) -> None:
    if on_text is not None and text:
        on_text(text)


def _address(endpoint: Endpoint) -> Address:
    try:
        return Address.of(endpoint.base_url or "")
    except ValueError as error:
        raise Unreachable(f"endpoint '{endpoint.id}': base_url: {error}") from None


def _post(endpoint: Endpoint, request: Request, key: str | None) -> tuple[Address, bytes, bytes]:
    address = _address(endpoint)
    path, body = POST[endpoint.wire](endpoint, request)
    parts = urlsplit(endpoint.base_url or "")
    target = parts.path.rstrip("/") + path + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"POST {target} HTTP/1.1",
        f"Host: {address.host_header}",
        "User-Agent: bakeoff",
        "Content-Type: application/json",
        "Accept: text/event-stream, application/json",
        f"Content-Length: {len(body)}",
    ]
    if key is not None:
        if not key.isascii() or not key.isprintable():
            raise Unreachable(f"endpoint '{endpoint.id}': the key in {endpoint.api_key_env} holds characters that no header can carry")
        lines.append(f"Authorization: Bearer {key}")
    return address, "\r\n".join([*lines, "", ""]).encode("ascii", "replace"), body


def _problem(content: bytes) -> str:
    import json

    try:
        return error_text(json.loads(content))
    except ValueError:
        return error_text(content.decode("utf-8", "replace")) or "no explanation"
