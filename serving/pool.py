"""Connections that wait for the next request, and how new ones are made: directly, through a proxy, with TLS.

Certificates are always verified. The authorities are the system's, or those in the file that SSL_CERT_FILE names.
"""

import asyncio
import os
import ssl

from serving.connection import Address, Connection


class Pool:
    """Idle connections by address, on one event loop."""

    def __init__(self, connect_timeout_s: float) -> None:
        self._idle: dict[Address, list[Connection]] = {}
        self._connect_timeout_s = connect_timeout_s
        self._tls: ssl.SSLContext | None = None

    def idle(self, address: Address) -> Connection | None:
        """A connection that was used before and still stands, or None. The most recently used comes first."""
        waiting = self._idle.get(address)
        while waiting:
            connection = waiting.pop()
            if connection.reusable and connection.transport is not None and not connection.transport.is_closing():
                return connection
        return None

    async def connect(self, address: Address) -> Connection:
        """A new connection. Raises OSError (ssl.SSLError among them) or TimeoutError when none can be made."""
        if address.tls and self._tls is None:
            self._tls = tls_context()
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._connect_timeout_s):
            if address.via is None:
                context = self._tls if address.tls else None
                _, connection = await loop.create_connection(Connection, address.host, address.port, ssl=context)
                return connection
            if not address.tls:
                _, connection = await loop.create_connection(Connection, address.via.host, address.via.port)
                return connection
            assert self._tls is not None
            return await _tunnel(address, self._tls)

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


def tls_context() -> ssl.SSLContext:
    """Verification as OpenSSL and SSL_CERT_FILE say; where the system has no authorities at all, those of certifi."""
    paths = ssl.get_default_verify_paths()
    authorities = None
    if paths.cafile is None and paths.capath is None and not os.environ.get(paths.openssl_cafile_env):
        import certifi

        authorities = certifi.where()
    context = ssl.create_default_context(cafile=authorities)
    context.set_alpn_protocols(["http/1.1"])
    return context


def connect_problem(error: Exception) -> str:
    """Why no connection was made, in words, and what to do about a certificate that is not trusted."""
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = "if its authority is your own, name the authority's certificate file in SSL_CERT_FILE"
        return f"its certificate is not trusted: {error.verify_message}; {remedy}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {error.reason or error}; does the server speak https?"
    return str(error) or type(error).__name__


class _Handshake(asyncio.Protocol):
    """What a proxy answers to CONNECT: everything up to the blank line, and nothing may follow before we speak."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self.answer.done() and (b"\r\n\r\n" in self._received or len(self._received) > 65536):
            self.answer.set_result(self._received)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_result(self._received)


async def _tunnel(address: Address, context: ssl.SSLContext) -> Connection:
    """TLS to the server through the proxy (RFC 9110, 9.3.6)."""
    assert address.via is not None
    loop = asyncio.get_running_loop()
    transport, handshake = await loop.create_connection(_Handshake, address.via.host, address.via.port)
    try:
        host = f"[{address.host}]" if ":" in address.host else address.host
        lines = [f"CONNECT {host}:{address.port} HTTP/1.1", f"Host: {host}:{address.port}"]
        if address.via.authorization is not None:
            lines.append(f"Proxy-Authorization: {address.via.authorization}")
        transport.write("\r\n".join([*lines, "", ""]).encode("ascii"))
        status = (await handshake.answer).split(b"\r\n", 1)[0].decode("latin-1")
        if status.split(" ")[1:2] != ["200"]:
            raise ConnectionError(f"the proxy {address.via.host}:{address.via.port} refused: {status[:100] or 'it closed the connection'}")
        connection = Connection()
        secured = await loop.start_tls(transport, connection, context, server_hostname=address.host)
    except BaseException:
        transport.abort()
        raise
    if secured is None:
        raise ConnectionError("the server closed the connection during the TLS handshake")
    connection.connection_made(secured)
    return connection
