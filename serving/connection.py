"""One connection to a model server: bytes in, bytes out, and the moment each piece of the body arrived.

An asyncio.Protocol with llhttp (httptools) as HTTP/1.1 parser. The clock is read first thing in `data_received`, before anything is parsed,
so what is measured is the server and not the client (popular clients add up to seconds at 256 streams; docs/measuring.md).
"""

import asyncio
import ssl
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools


@dataclass(frozen=True)
class Address:
    """Where to connect: one pool of connections each."""

    host: str
    port: int
    tls: bool

    @classmethod
    def of(cls, url: str) -> "Address":
        """The address in an http(s) URL. Raises ValueError for a bad port or a missing host."""
        parts = urlsplit(url)
        if not parts.hostname:
            raise ValueError(f"no host in '{url}'")
        tls = parts.scheme == "https"
        return cls(parts.hostname, parts.port or (443 if tls else 80), tls)

    @property
    def host_header(self) -> str:
        """The Host header, without a default port and with IPv6 in brackets (RFC 9110, 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


@dataclass
class Exchange:
    """One response as it arrives. `body` holds (perf_counter_ns, bytes); `changed` is set whenever anything happened."""

    sent_ns: int = 0
    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: list[tuple[int, bytes]] = field(default_factory=list)
    ended_ns: int = 0
    complete: bool = False
    failure: str | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

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
        self._now = 0
        self._parser = httptools.HttpResponseParser(self)

    def send(self, head: bytes, body: bytes) -> Exchange:
        """Write one request and start its clock; the exchange fills as the response arrives."""
        assert self.transport is not None
        self._parser = httptools.HttpResponseParser(self)
        self.exchange = Exchange()
        self.exchange.sent_ns = time.perf_counter_ns()
        self.transport.write(head + body)
        return self.exchange

    def close(self) -> None:
        """Drop the connection; an exchange under way fails."""
        self.reusable = False
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._now = time.perf_counter_ns()
        if self.exchange is None or self.exchange.ended:
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"the server does not speak HTTP/1.1: {error}")
        except httptools.HttpParserUpgrade:
            self._fail("the server wants another protocol")
        else:
            self.exchange.changed.set()

    def eof_received(self) -> bool:
        self._now = time.perf_counter_ns()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.reusable = False
        if self.exchange is None or self.exchange.ended:
            return
        headers = self.exchange.headers
        if self.exchange.status and b"content-length" not in headers and b"chunked" not in headers.get(b"transfer-encoding", b""):
            # A body without a length ends where the connection ends (RFC 9112, 6.3).
            self._now = self._now or time.perf_counter_ns()
            self.on_message_complete()
        else:
            self._fail(f"the connection was cut{f' ({error})' if error else ''}")

    def on_header(self, name: bytes, value: bytes) -> None:
        assert self.exchange is not None
        self.exchange.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        assert self.exchange is not None
        self.exchange.status = self._parser.get_status_code()
        self.reusable = self.reusable and self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        assert self.exchange is not None
        self.exchange.body.append((self._now, body))

    def on_message_complete(self) -> None:
        assert self.exchange is not None
        if 100 <= self.exchange.status < 200:
            return
        self.exchange.ended_ns = self._now
        self.exchange.complete = True
        self.exchange.changed.set()

    def _fail(self, why: str) -> None:
        assert self.exchange is not None
        self.exchange.ended_ns = time.perf_counter_ns()
        self.exchange.failure = why
        self.exchange.changed.set()
        self.close()


class Pool:
    """Idle connections by address, on one event loop."""

    def __init__(self, connect_timeout_s: float) -> None:
        self._idle: dict[Address, list[Connection]] = {}
        self._connect_timeout_s = connect_timeout_s
        self._tls: ssl.SSLContext | None = None

    async def take(self, address: Address) -> tuple[Connection, bool]:
        """A connection, and whether it was used before. Raises OSError or TimeoutError when none can be made."""
        idle = self._idle.get(address, [])
        while idle:
            connection = idle.pop()
            if connection.reusable and connection.transport is not None and not connection.transport.is_closing():
                return connection, True
        if address.tls and self._tls is None:
            self._tls = ssl.create_default_context()
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._connect_timeout_s):
            _, connection = await loop.create_connection(Connection, address.host, address.port, ssl=self._tls if address.tls else None)
        return connection, False

    def give_back(self, address: Address, connection: Connection) -> None:
        """Keep the connection for the next request when the server allows it, else close it."""
        whole = connection.exchange is not None and connection.exchange.complete
        if connection.reusable and whole:
            self._idle.setdefault(address, []).append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close every idle connection."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()
