"""Ports: one that is taken is told in a line, and one for later is nobody's by chance."""

import socket

import pytest

from serving.errors import ServingError
from serving.listening import claim_port, free_port


def test_a_port_for_later_is_free_and_none_that_systems_hand_out():
    ports = {free_port() for _ in range(20)}
    assert len(ports) > 10 and all(20_000 <= port < 32_768 for port in ports)
    with socket.create_server(("127.0.0.1", ports.pop())):
        pass


def test_where_none_of_them_is_free_any_will_do(monkeypatch: pytest.MonkeyPatch):
    with claim_port("127.0.0.1", 0) as taken:
        monkeypatch.setattr("serving.listening._LOWEST", taken.getsockname()[1])
        monkeypatch.setattr("serving.listening._HANDED_OUT", taken.getsockname()[1] + 1)
        assert free_port() != taken.getsockname()[1]


def test_a_taken_port_is_one_line():
    with claim_port("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServingError, match=f"port {port} on 127.0.0.1 cannot be used: .*; choose another with --port"):
            claim_port("127.0.0.1", port)
