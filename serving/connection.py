"""One connection to a model server: bytes in, bytes out, and the moment each piece of the body arrived.

An asyncio.Protocol with llhttp (httptools) as HTTP/1.1 parser. The clock is read first thing in `data_received`, before anything is parsed,
so what is measured is the server and not the client (popular clients add up to seconds at 256 streams; docs/measuring.md). A token is
nearly always one chunk that comes alone; where it surely is and nobody watches, it passes the parser by, which stands between two chunks
before it and after it.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools

from serving.proxies import Proxy

# A response that exceeds this is cut off and says so: nothing that is asked here is longer, and memory is not the server's to fill.
MAX_RESPONSE_BYTES = 256 * 2**20
# Longer chunks are left to the parser.
_SHORT = 2048
_now = time.perf_counter_ns


@dataclass(frozen=True)
class Address:
    """Where to connect, and through which proxy: one pool of connections each."""

    host: str
    port: int
    tls: bool
    via: Proxy | None = None

    @classmethod
    def of(cls, url: str) -> "Address":
        """The address in an http(s) URL. Raises ValueError for a bad port, a missing host, or credentials in the URL."""
        parts = urlsplit(url)
        if parts.username or parts.password:
            raise ValueError("holds a user name or a password; name the variable that holds the key in api_key_env")
        if not parts.hostname:
            raise ValueError(f"no host in '{url}'")
        tls = parts.scheme == "https"
        return cls(parts.hostname, parts.port or (443 if tls else 80), tls)

    @property
    def host_header(self) -> str:
        """The Host header, without a default port and with IPv6 in brackets (RFC 9110, 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


@dataclass(slots=True)
class Exchange:
    """One response as it arrives. All times are perf_counter_ns; `body` holds (moment, bytes) per piece.

    `failure` says in words why no whole response came, `timed_out` whether patience ended. `retries` counts the earlier attempts: the
    times are those of the last. Bodies and headers stay out of the repr, because a server may repeat a key in them.
    """

    sent_ns: int = 0
    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict, repr=False)
    body: list[tuple[int, bytes]] = field(default_factory=list, repr=False)
    ended_ns: int = 0
    complete: bool = False
    failure: str | None = None
    timed_out: bool = False
    retries: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.complete or self.failure is not None


class Connection(asyncio.Protocol):
    """A keep-alive connection that carries one exchange at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.exchange: Exchange | None = None
        self.reusable = True
        self._on_change: Callable[[Exchange], None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._watcher_error: BaseException | None = None
        self._now = 0
        self._received_bytes = 0
        self._between_chunks = False
        self._keep = list[tuple[int, bytes]]().append
        self._parser = httptools.HttpResponseParser(self)

    def send(self, payload: bytes, on_change: Callable[[Exchange], None] | None = None) -> Exchange:
        """Write one request and start its clock; the exchange fills as the response arrives, `on_change` told after each arrival."""
        assert self.transport is not None
        self._parser = httptools.HttpResponseParser(self)
        self._on_change = on_change
        self._now = 0
        self._received_bytes = 0
        self._between_chunks = False
        self.exchange = Exchange()
        self._keep = self.exchange.body.append
        self.exchange.sent_ns = time.perf_counter_ns()
        self.transport.write(payload)
        return self.exchange

    async def finished(self) -> None:
        """Wait until nothing more will come. Raises what `on_change` raised."""
        if self.exchange is not None and not self.exchange.ended:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._watcher_error is not None:
            raise self._watcher_error

    def close(self) -> None:
        """Drop the connection at once; an exchange under way fails."""
        self.reusable = False
        if self.transport is not None:
            self.transport.abort()

    def fail(self, why: str, *, timed_out: bool = False) -> None:
        """End the exchange under way without a whole response."""
        assert self.exchange is not None
        self.exchange.ended_ns = time.perf_counter_ns()
        self.exchange.timed_out = timed_out
        self.exchange.failure = why
        self._between_chunks = False
        self.close()
        self._wake()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio.Transport.
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        now = _now()
        size = len(data)
        self._received_bytes += size
        if self._between_chunks and size < _SHORT:
            head, length = _CHUNKS[size]
            body = data.removeprefix(head).removesuffix(b"\r\n")
            if len(body) == length and self._received_bytes <= MAX_RESPONSE_BYTES:
                self._keep((now, body))
                return
        self._now = now
        exchange = self.exchange
        if exchange is None or exchange.ended:
            self.close()
            return
        self._between_chunks = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.fail("the server wants another protocol")
        except httptools.HttpParserError as error:
            # What follows a whole response is not part of it, however it was split.
            if exchange.complete:
                self.reusable = False
            else:
                self.fail(f"the server does not speak HTTP/1.1: {error}")
        if self._received_bytes > MAX_RESPONSE_BYTES and not exchange.ended:
            self.fail(f"the response exceeds {MAX_RESPONSE_BYTES} bytes")
        if self._on_change is not None:
            try:
                self._on_change(exchange)
            except BaseException as error:
                self._watcher_error = error
                if not exchange.ended:
                    self.fail("whoever watched the answer failed")
                self.close()
        if exchange.complete:
            self._wake()
        # What follows a whole chunk begins the next one, whose line has no end without on_chunk_header.
        self._between_chunks = self._between_chunks and data.endswith(b"\r\n") and not exchange.ended and self._on_change is None

    def eof_received(self) -> bool:
        self._now = time.perf_counter_ns()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.reusable = False
        exchange = self.exchange
        if exchange is None or exchange.ended:
            return
        if exchange.status >= 200 and b"content-length" not in exchange.headers and not _chunked(exchange):
            # A body without a length ends where the connection ends (RFC 9112, 6.3).
            self._now = self._now or time.perf_counter_ns()
            self.on_message_complete()
            self._wake()
        else:
            self.fail(f"the connection was cut{f' ({error})' if error else ''}")

    def on_header(self, name: bytes, value: bytes) -> None:
        exchange = self.exchange
        assert exchange is not None
        if not exchange.complete:
            exchange.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        exchange = self.exchange
        assert exchange is not None
        if exchange.complete:
            # A second response that nobody asked for: whatever it is, this connection is not in step.
            self.reusable = False
            return
        exchange.status = self._parser.get_status_code()
        if exchange.status < 200:
            exchange.headers.clear()
        else:
            self.reusable = self.reusable and self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        exchange = self.exchange
        assert exchange is not None
        if not exchange.complete:
            exchange.body.append((self._now, body))

    def on_chunk_header(self) -> None:
        self._between_chunks = False

    def on_chunk_complete(self) -> None:
        self._between_chunks = True

    def on_message_complete(self) -> None:
        exchange = self.exchange
        assert exchange is not None
        if exchange.complete or 100 <= exchange.status < 200:
            return
        exchange.ended_ns = self._now
        exchange.complete = True

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _chunk(size: int) -> tuple[bytes, int]:
    """How a chunk of so many bytes in all begins, as nearly every server writes it (RFC 9112, 7.1), and the length of its content: -1
    where no chunk is so long (21 bytes, say).
    """
    for digits in range(1, 4):
        length = size - digits - 4
        if length > 0 and len(b"%x" % length) == digits:
            return b"%x\r\n" % length, length
    return b"", -1


_CHUNKS = [_chunk(size) for size in range(_SHORT)]


def _chunked(exchange: Exchange) -> bool:
    return b"chunked" in exchange.headers.get(b"transfer-encoding", b"").lower()
