"""Which proxy stands between us and a server, by the environment's word: HTTP_PROXY, HTTPS_PROXY, NO_PROXY, in either case.

    HTTPS_PROXY=http://user:password@proxy.example:3128 NO_PROXY=.internal,10.0.0.0/8 serving ping gpt

Loopback never goes through a proxy. NO_PROXY holds host names (a name also stands for its subdomains), host:port, addresses,
networks (10.0.0.0/8) or * for everything, as curl and Go read it. A lower-case variable wins over an upper-case one.
"""

import base64
import ipaddress
import os
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from serving.errors import Unreachable


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy; `authorization` is the value of Proxy-Authorization, and a secret."""

    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)


def proxy_for(host: str, port: int, *, tls: bool) -> Proxy | None:
    """The proxy to a server, or None for a direct way. Raises Unreachable for a proxy that cannot be used, without its credentials."""
    name = "HTTPS_PROXY" if tls else "HTTP_PROXY"
    if is_loopback(host):
        return None
    url = _variable(name)
    if not url or _excluded(host, port, _variable("NO_PROXY")):
        return None
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        proxy_host, proxy_port = parts.hostname, parts.port or 80
    except ValueError:
        raise Unreachable(f"{name} is not the address of a proxy; write http://host:port") from None
    if parts.scheme != "http" or not proxy_host:
        raise Unreachable(f"{name}: only http:// proxies are supported, not '{parts.scheme}'; write http://host:port")
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    return Proxy(proxy_host, proxy_port, authorization)


def _variable(name: str) -> str:
    return (os.environ.get(name.lower()) or os.environ.get(name) or "").strip()


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Whether this is the machine itself."""
    address = _address(host)
    return address.is_loopback if address is not None else host.lower().rstrip(".") in ("localhost", "localhost.localdomain")


def _excluded(host: str, port: int, no_proxy: str) -> bool:
    host = host.lower().rstrip(".")
    address = _address(host)
    for entry in (part.strip().lower() for part in no_proxy.split(",")):
        if not entry:
            continue
        if entry == "*":
            return True
        if entry.count(":") == 1 or "]:" in entry:
            entry, _, only_port = entry.rpartition(":")
            if only_port != str(port):
                continue
        entry = entry.strip("[]")
        if address is not None:
            try:
                if address in ipaddress.ip_network(entry, strict=False):
                    return True
            except (ValueError, TypeError):
                pass
        elif host == entry.lstrip("*.") or host.endswith("." + entry.lstrip("*.")):
            return True
    return False


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
