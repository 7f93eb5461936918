"""A request made ready to send: checked, addressed and encoded once, so that a load generator sends it at its moment and does nothing else.

prepared = prepare(endpoint, Request.user("Why is the sky blue?"))
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from urllib.parse import quote, urlsplit

from serving.completion import Request
from serving.connection import Address
from serving.endpoints import Endpoint
from serving.errors import CannotAsk, Unreachable
from serving.proxies import proxy_for
from serving.wires import HEADERS, POST


@dataclass(frozen=True, slots=True)
class Prepared:
    """One request as bytes. `payload` (head and body) and `secrets` hold the key and stay out of the repr."""

    endpoint: Endpoint
    request: Request
    address: Address
    payload: bytes = field(repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


def prepare(endpoint: Endpoint, request: Request) -> Prepared:
    """Encode one request; nothing is sent. Raises MissingKey, Unreachable (base_url or proxy unusable) and CannotAsk."""
    if endpoint.wire not in POST:
        raise CannotAsk(f"endpoint '{endpoint.id}' (wire: {endpoint.wire}) has no server; ask it through Client.ask")
    path, body = POST[endpoint.wire](endpoint, request)
    return prepare_call(endpoint, request, path=path, body=body)


def prepare_call(endpoint: Endpoint, request: Request, *, path: str, body: bytes, method: str = "POST") -> Prepared:
    """Any other call to the endpoint's server (its list of models, an adapter to load), with the same address, key and proxy."""
    key = endpoint.api_key()
    if key is not None and not (key.isascii() and key.isprintable()):
        raise Unreachable(f"endpoint '{endpoint.id}': the key in {endpoint.api_key_env} holds characters that no header can carry")
    address = address_of(endpoint)
    proxy_key = address.via.authorization if address.via is not None else None
    lines = HEADERS[endpoint.wire](key)
    if proxy_key is not None and not address.tls:
        lines.append(f"Proxy-Authorization: {proxy_key}")
    head = _head(method, endpoint.base_url or "", path, address, tuple(lines))
    secrets = tuple(secret for secret in (key, proxy_key and proxy_key.removeprefix("Basic ")) if secret)
    return Prepared(endpoint, request, address, b"%s%d\r\n\r\n%s" % (head, len(body), body), secrets)


@lru_cache(maxsize=256)
def _head(method: str, base_url: str, path: str, address: Address, lines: tuple[str, ...]) -> bytes:
    """The head of a request as far as it is the same for all of an endpoint's: up to the length of the body."""
    parts = urlsplit(base_url)
    target = quote(parts.path.rstrip("/") + path, safe="/%:=&~+!$,;'@()*") + (f"?{parts.query}" if parts.query else "")
    if address.via is not None and not address.tls:
        # Without TLS the proxy reads the request itself and must be told the whole address (RFC 9112, 3.2.2).
        target = f"http://{address.host_header}{target}"
    lines = (
        f"{method} {target} HTTP/1.1",
        f"Host: {address.host_header}",
        "User-Agent: bakeoff",
        "Content-Type: application/json",
        "Accept: text/event-stream, application/json",
        "Accept-Encoding: identity",
        *lines,
        "Content-Length: ",
    )
    return "\r\n".join(lines).encode("ascii", "replace")


def address_of(endpoint: Endpoint) -> Address:
    """Where the endpoint's server is, and through which proxy. Raises Unreachable."""
    try:
        address = _address(endpoint.base_url or "")
    except ValueError as error:
        raise Unreachable(f"endpoint '{endpoint.id}': base_url: {error}") from None
    via = proxy_for(address.host, address.port, tls=address.tls)
    return address if via is None else replace(address, via=via)


_address = lru_cache(maxsize=256)(Address.of)
