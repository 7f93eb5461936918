"""A small real HTTP proxy for tests: CONNECT tunnels and absolute-form requests, every host name leading to loopback.

with ProxyServer(credentials="user:pass") as proxy:
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
"""

import asyncio
import base64
from urllib.parse import quote, urlsplit

from loopback import LoopbackServer


class ProxyServer(LoopbackServer):
    """`heads` are the requests it was sent; `credentials` (user:password) must then be in each, else it answers 407."""

    def __init__(self, *, credentials: str | None = None) -> None:
        super().__init__()
        self.credentials = credentials
        self.heads: list[str] = []

    @property
    def url(self) -> str:
        user, _, password = (self.credentials or "").partition(":")
        login = f"{quote(user)}:{quote(password, safe='')}@" if self.credentials else ""
        return f"http://{login}127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head.decode())
        method, target, _ = head.decode().split("\r\n")[0].split(" ")
        wanted = base64.b64encode((self.credentials or "").encode()).decode()
        if self.credentials and f"Proxy-Authorization: Basic {wanted}\r\n" not in head.decode():
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        else:
            await self._pass_on(method, target, head, reader, writer)

    async def _pass_on(self, method: str, target: str, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        there, away = await asyncio.open_connection("127.0.0.1", parts.port)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            away.write(head.replace(f"http://{parts.netloc}".encode(), b"", 1))
        try:
            await asyncio.gather(_pump(reader, away), _pump(there, writer))
        finally:
            away.transport.abort()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    except OSError:
        pass
    finally:
        sink.close()
