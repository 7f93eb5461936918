"""A listening socket, or one clear line about the port that is taken."""

import secrets
import socket
from contextlib import suppress

from serving.errors import ServingError

_LOWEST, _HANDED_OUT = 20_000, 32_768


def claim_port(host: str, port: int) -> socket.socket:
    """A bound socket (port 0: a free one). Raises ServingError when the port is taken or the address is not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(socket.SOMAXCONN)
    except OSError as error:
        listener.close()
        raise ServingError(f"port {port} on {host} cannot be used: {error.strerror}; choose another with --port") from None
    return listener


def free_port(host: str = "127.0.0.1") -> int:
    """A port for somebody who listens later, as an engine does once its weights are loaded.

    It lies below those that Linux and macOS hand out by themselves: until then nobody is given it by chance.
    """
    for _ in range(100):
        with suppress(ServingError), claim_port(host, _LOWEST + secrets.randbelow(_HANDED_OUT - _LOWEST)) as listener:
            return int(listener.getsockname()[1])
    with claim_port(host, 0) as listener:
        return int(listener.getsockname()[1])
