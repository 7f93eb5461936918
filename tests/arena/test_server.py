"""`arena up` as a process: who comes second is told in one line, pages are safe to open, and it stops when it is told to."""

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import house

from arena.store import Store

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """(address, results) of a demo arena that runs."""
    results = tmp_path_factory.mktemp("arena") / "results"
    with house("arena", "--demo", results=results) as url:
        yield url, results


def arena(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "BAKEOFF_RESULTS"}
    return subprocess.run([sys.executable, "-m", "arena.cli", *arguments], capture_output=True, text=True, timeout=60, env=environment)


def test_a_second_arena_on_the_same_votes_is_told_in_one_line(demo: tuple[str, Path]):
    _, results = demo
    done = arena("up", "--results", str(results), "--port", "0")
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1
    assert "arena.duckdb is in use by process" in done.stderr and "another --database" in done.stderr


def test_a_second_arena_on_the_same_port_is_told_in_one_line(demo: tuple[str, Path], tmp_path: Path):
    url, _ = demo
    port = url.rpartition(":")[2]
    done = arena("up", "--demo", "--results", str(tmp_path), "--port", port)
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1
    assert f"port {port} on 127.0.0.1 cannot be used" in done.stderr and "--port" in done.stderr


def test_the_page_loads_nothing_from_elsewhere_and_names_its_voter(demo: tuple[str, Path]):
    url, _ = demo
    with urllib.request.urlopen(url, timeout=10) as response:
        headers = dict(response.headers)
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["connect-src"] == "'self'" and policy["object-src"] == policy["frame-src"] == "'none'"
    assert policy["script-src"].startswith("'self' 'sha256-") and "unsafe" not in policy["script-src"]
    assert policy["img-src"] == "'self' data: blob:" and headers["permissions-policy"].startswith("camera=()")
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert headers["set-cookie"].startswith("bakeoff_voter=") and "HttpOnly" in headers["set-cookie"]


def test_the_demo_is_seeded_once_and_the_votes_are_there_after_it_stops(tmp_path: Path):
    results = tmp_path / "results"
    for _ in range(2):
        with house("arena", "--demo", results=results, unseeded=True):
            pass
        with Store(results / "arena.duckdb") as store:
            assert store.count_votes() == 8931


def test_a_typo_in_a_catalogue_is_told_before_anything_is_served(tmp_path: Path):
    (tmp_path / "endpoints").mkdir()
    (tmp_path / "endpoints" / "mine.yaml").write_text("id: mine\nwire: openai\nmodle: m\nbase_url: http://127.0.0.1:1\n")
    done = arena("up", "--results", str(tmp_path), "--port", "0")
    assert done.returncode == 1 and "mine.yaml: modle: unknown key. Did you mean 'model'?" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ("metrics: {addresses: [203.0.113.0/24]}\ntrusted_proxies: [127.0.0.1]", 200),
        ("metrics: {addresses: [203.0.113.0/24]}", 403),
        ("metrics: {addresses: [127.0.0.1]}", 403),
    ],
)
def test_a_forwarded_address_is_believed_of_a_trusted_proxy_alone(tmp_path: Path, settings: str, status: int):
    results = tmp_path / "results"
    results.mkdir()
    (results / "arena.yaml").write_text(settings)
    with house("arena", results=results) as url:
        request = urllib.request.Request(f"{url}/metrics", headers={"X-Forwarded-For": "203.0.113.9"})
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                assert response.status == status
        except urllib.error.HTTPError as refused:
            with refused:
                assert refused.code == status


def test_a_name_that_the_arena_does_not_bear_is_not_answered(tmp_path: Path):
    results = tmp_path / "results"
    results.mkdir()
    (results / "arena.yaml").write_text("allowed_hosts: ['*.example.org']\n")

    def status(url: str, host: str | None, path: str = "/") -> int:
        request = urllib.request.Request(url + path, headers={} if host is None else {"Host": host})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def upgrade(url: str, host: str) -> str:
        """The status line that a page of this host gets for its websocket, asking for this host: as DNS rebinding has it."""
        port = int(url.rpartition(":")[2])
        key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: streamlit"
        key += "\r\nConnection: Upgrade\r\nUpgrade: websocket"
        head = f"GET /_stcore/stream HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n{key}"
        with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
            link.sendall(f"{head}\r\n\r\n".encode())
            return link.recv(4096).split(b"\r\n")[0].decode()

    with house("arena", results=results) as url:
        port = url.rpartition(":")[2]
        assert [status(url, host) for host in (None, f"localhost:{port}", "votes.example.org", "VOTES.example.org:80")] == [200] * 4
        assert {status(url, host, path) for host in ("evil.example", "example.org.evil.example", "") for path in ("/", "/healthz")} == {400}
        assert "101" in upgrade(url, "votes.example.org") and "400" in upgrade(url, "evil.example")
