"""A listening socket, or one clear line about the port that is taken."""

import socket

from serving.errors import ServingError


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
