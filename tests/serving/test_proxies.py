"""The way to a server: through proxies that the environment names, and TLS whose certificates are always verified."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop
from model_server import ModelServer, sse
from proxy_server import ProxyServer

from serving.client import Client, check_reachable, prepare
from serving.completion import Completion, Request
from serving.endpoints import Endpoint
from serving.errors import Unreachable
from serving.proxies import Proxy, proxy_for

HELLO = Request.user("hello")
VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for model.test and loopback, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: no certificate can be made")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=model.test", "-addext", "subjectAltName=DNS:model.test,IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def ask(endpoint: Endpoint, times: int = 1, loop: Callable[[], asyncio.AbstractEventLoop] | None = None) -> Completion:
    async def asked() -> Completion:
        async with Client(max_retries=0) as client:
            return [await client.ask(endpoint, HELLO) for _ in range(times)][-1]

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(asked())


def at(host: str, server: ModelServer) -> Endpoint:
    return server.endpoint(base_url=server.base_url.replace("127.0.0.1", host))


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy"])
def test_plain_http_goes_through_the_proxy_with_the_whole_address(name: str, monkeypatch: pytest.MonkeyPatch):
    with ProxyServer() as proxy, ModelServer(sse("via")) as server:
        monkeypatch.setenv(name, proxy.url)
        answer = ask(at("model.test", server), times=2)
    assert (answer.text, answer.status) == ("via", "ok")
    assert len(proxy.heads) == 1, "the connection to the proxy is kept alive"
    assert proxy.heads[0].startswith(
        f"POST http://model.test:{server.port}/v1/chat/completions HTTP/1.1\r\nHost: model.test:{server.port}\r\n"
    )


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_tls_goes_through_a_tunnel_and_the_proxy_sees_nothing_of_it(
    loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext, certificate: tuple[Path, Path]
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    monkeypatch.setenv("MODEL_KEY", "sk-for-the-server-only-012345")
    with ProxyServer(credentials="user:p@ss:wörd") as proxy, ModelServer(sse("tunnelled"), tls=tls) as server:
        monkeypatch.setenv("https_proxy", proxy.url)
        endpoint = at("model.test", server).model_copy(update={"api_key_env": "MODEL_KEY"})
        answer = ask(endpoint, times=2, loop=loop)
        assert (answer.text, answer.status, server.connections, len(proxy.heads)) == ("tunnelled", "ok", 1, 1)
        asyncio.run(check_reachable(endpoint))
        assert len(proxy.heads) == 2
    assert proxy.heads[0].startswith(f"CONNECT model.test:{server.port} HTTP/1.1\r\n")
    assert "sk-for-the-server" not in "".join(proxy.heads) and "Proxy-Authorization" not in "".join(server.heads)


def test_a_proxy_that_refuses_is_told_plainly_and_without_its_credentials(monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext):
    with ProxyServer(credentials="user:right") as proxy, ModelServer(sse("x")) as server, ModelServer(sse("x"), tls=tls) as secure:
        wrong = proxy.url.replace("right", "wrong-password-0123")
        monkeypatch.setenv("HTTP_PROXY", wrong)
        monkeypatch.setenv("HTTPS_PROXY", wrong)
        plain, tunnel = ask(at("model.test", server)), ask(at("model.test", secure))
    assert plain.status == tunnel.status == "api_error"
    assert "HTTP 407" in (plain.error or "") and "refused: HTTP/1.1 407" in (tunnel.error or "")
    assert "wrong-password" not in f"{plain}{tunnel}" and server.connections == secure.connections == 0


def test_a_proxy_that_is_not_there_is_an_api_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    answer = ask(Endpoint(id="far", wire="openai", model="m", base_url="http://model.test/v1"))
    assert answer.status == "api_error" and "no connection to model.test:80" in (answer.error or "")


def test_loopback_never_goes_through_a_proxy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with ModelServer(sse("direct")) as server:
        assert ask(server.endpoint()).text == "direct"
        assert ask(at("localhost", server)).text == "direct"


@pytest.mark.parametrize(
    ("no_proxy", "host", "direct"),
    [
        ("", "model.test", False),
        ("*", "model.test", True),
        ("model.test", "model.test", True),
        ("MODEL.test", "model.TEST", True),
        ("test", "model.test", True),
        (".test", "model.test", True),
        ("*.test", "model.test", True),
        ("el.test", "model.test", False),
        ("other, model.test:8000", "model.test", True),
        ("model.test:8001", "model.test", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("fd00::/8", "fd12::1", True),
        ("[fd12::1]:8000", "fd12::1", True),
        ("10.1.2.3", "10.1.2.3", True),
    ],
)
def test_no_proxy_is_read_as_curl_and_go_read_it(no_proxy: str, host: str, direct: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert proxy_for(host, 8000, tls=True) == (None if direct else Proxy("proxy.example", 3128))
    assert proxy_for(host, 8000, tls=False) is None


@pytest.mark.parametrize("url", ["socks5://user:hidden@proxy:1080", "https://user:hidden@proxy", "http://user:hidden@proxy:port"])
def test_a_proxy_of_another_kind_is_refused_without_showing_its_password(url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", url)
    with pytest.raises(Unreachable, match="HTTP_PROXY.*http://host:port") as told:
        prepare(Endpoint(id="far", wire="openai", model="m", base_url="http://model.test/v1"), HELLO)
    assert "hidden" not in str(told.value)


def test_tls_with_an_authority_of_ones_own_is_trusted_once_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext, certificate: tuple[Path, Path]
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with ModelServer(sse("Hello", " you"), tls=tls, pace_s=0.005) as server:
        answer = ask(server.endpoint(), times=2)
    assert (answer.text, answer.status, server.connections) == ("Hello you", "ok", 1)
    assert answer.ttft_s is not None and answer.ttft_s >= 0.01


def test_a_certificate_that_nobody_vouches_for_is_a_clear_error(tls: ssl.SSLContext):
    with ModelServer(sse("x"), tls=tls) as server:
        answer = ask(server.endpoint())
        with pytest.raises(Unreachable, match="certificate is not trusted: self-signed certificate.*SSL_CERT_FILE"):
            asyncio.run(check_reachable(server.endpoint()))
    assert answer.status == "api_error" and "SSL_CERT_FILE" in (answer.error or "") and not server.heads


def test_a_certificate_for_another_name_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext, certificate: tuple[Path, Path]
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with ModelServer(sse("x"), tls=tls) as server:
        answer = ask(at("localhost", server))
    assert answer.status == "api_error" and "not valid for 'localhost'" in (answer.error or "") and not server.heads


def test_tls_to_a_server_that_speaks_none_is_a_clear_error():
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def asked() -> Completion:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, Client(max_retries=2) as client:
            return await client.ask(Endpoint(id="plain", wire="openai", model="m", base_url=f"https://127.0.0.1:{port}"), HELLO)

    answer = asyncio.run(asked())
    assert answer.status == "api_error" and "no TLS" in (answer.error or "") and answer.retries == 0


def test_credentials_in_the_address_are_refused_and_not_shown():
    endpoint = Endpoint(id="open", wire="openai", model="m", base_url="http://user:hidden@model.test/v1")
    with pytest.raises(Unreachable, match="'open': base_url: holds a user name or a password.*api_key_env") as told:
        prepare(endpoint, HELLO)
    assert "hidden" not in str(told.value)
