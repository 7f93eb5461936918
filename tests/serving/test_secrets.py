"""A key in the environment is found nowhere but in the request: not in completions, logs, reprs, errors or files, however much fails."""

import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from model_server import CUT, HANG, ModelServer, Writes, http, messages, problem, sse
from proxy_server import ProxyServer

from serving.client import Client, Timeouts, check_reachable, completion_of, prepare
from serving.completion import Completion, Request
from serving.endpoints import Endpoint, register
from serving.errors import BakeoffError

KEY = "sk-live-4f9a8b7c6d5e4f3a2b1c0d9e"
PASSWORD = "proxy-password-77aa88bb"
HELLO = Request.user("hello")
# A part of the key is as bad as the whole: errors are cut, and the cut may go through it.
PARTS = [KEY[:12], KEY[-12:], PASSWORD[:12], PASSWORD[-8:]]


def scripts() -> list[Writes]:
    """Servers that fail, each repeating the key wherever a server can."""
    echo = [f'data: {{"choices":[{{"delta":{{"content":"you sent {KEY}"}},"finish_reason":"{KEY}"}}]}}\n\n'.encode()]
    long = ["x" * filler + KEY for filler in (0, *range(50, 100, 7), *range(265, 300, 7), 1970, 1990)]
    return [
        problem("401 Unauthorized", f"Incorrect API key provided: {KEY}."),
        *[problem("403 Forbidden", text) for text in long],
        *[http([f"data: {{broken {text}\n\n".encode()]) for text in long],
        *[http([f'data: {{"error": {{"message": "{text}"}}}}\n\n'.encode()]) for text in long],
        http([f"<h1>Bearer {KEY}</h1>".encode()], status="502 Bad Gateway", content_type="text/html"),
        http([], status="302 Found", headers=f"Location: https://elsewhere.test/?key={KEY}\r\n"),
        http([], headers=f"X-Your-Key: {KEY}\r\n"),
        http(echo),
        http([f'data: {{"choices": "{KEY}"}}\n\n'.encode()]),
        http([f'"{KEY}"'.encode()], content_type="application/json"),
        messages("you sent ", KEY[:10], KEY[10:]),
        [f"HTTP/1.1 200 {KEY}\r\nX: \x00{KEY}\r\n\r\n".encode()],
        [f"{KEY}\r\n\r\n".encode()],
        [*sse(KEY)[:3], CUT],
        [*sse(KEY)[:3], HANG],
        [HANG],
        [CUT],
    ]


def has_secret(text: str) -> bool:
    return any(part in text for part in PARTS)


async def ask_every_way(endpoint: Endpoint) -> list[Completion]:
    limits = Timeouts(first_s=0.1, between_s=0.1)
    async with Client(max_retries=0, timeouts=limits) as client:
        prepared = prepare(endpoint, HELLO)
        exchange = await client.exchange(prepared)
        assert not has_secret(f"{prepared!r}{exchange!r}{client!r}")
        return [
            await client.ask(endpoint, HELLO),
            await client.ask(endpoint, HELLO, on_text=lambda _: None),
            completion_of(prepared, exchange, None),
        ]


def test_the_key_is_nowhere_after_a_run_full_of_errors(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path):
    monkeypatch.setenv("LIVE_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    record = tmp_path / "completions.jsonl"
    for script in scripts():
        for wire in ("openai", "anthropic"):
            with ModelServer(script) as server:
                completions = asyncio.run(ask_every_way(server.endpoint(wire=wire, api_key_env="LIVE_KEY")))
                assert all(KEY in head for head in server.heads) and len(server.heads) == 3, "the server must have had the key to repeat it"
            for completion in completions:
                assert not has_secret(f"{completion!r}{completion}{completion.to_line()}")
                with record.open("a") as file:
                    file.write(completion.to_line() + "\n")
    assert len(record.read_text().splitlines()) == 6 * len(scripts())
    assert not has_secret(record.read_text()) and not has_secret(caplog.text)


def test_no_error_that_is_raised_shows_a_key_or_a_proxys_password(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIVE_KEY", KEY + "\n" + KEY)
    endpoint = Endpoint(id="far", wire="openai", model="m", base_url="http://model.test/v1", api_key_env="LIVE_KEY")
    with pytest.raises(BakeoffError) as broken_key:
        prepare(endpoint, HELLO)
    monkeypatch.setenv("LIVE_KEY", KEY)
    told = [str(broken_key.value)]
    with ProxyServer(credentials="user:other") as proxy:
        proxy_url = f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}"
        for name, url in [("HTTP_PROXY", proxy_url), ("HTTPS_PROXY", proxy_url), ("HTTP_PROXY", f"ftp://user:{PASSWORD}@x")]:
            monkeypatch.setenv(name, url)
            far = endpoint.model_copy(update={"base_url": f"{name.removesuffix('_PROXY').lower()}://model.test/v1"})
            for attempt in (ask_every_way, check_reachable):
                try:
                    told.append(str(asyncio.run(attempt(far))))
                except BakeoffError as error:
                    told.append(str(error))
            told.append(repr(far))
        assert len(proxy.heads) >= 4
    assert not has_secret(" ".join(told)) and len(told) == 10


def test_the_key_is_in_no_file_and_no_output_of_the_commands(results: Path, tmp_path: Path):
    refusals = iter(
        [problem("401 Unauthorized", f"no {KEY}"), problem("403 Forbidden", "x" * 290 + KEY), http([f"data: {KEY}\n\n".encode()])]
    )
    last = sse(f"my key is {KEY}", finish=None)
    suite = tmp_path / "suite.yaml"
    suite.write_text(yaml.safe_dump({"name": "failing", "attempts": 1, "runs": [{"tasks": ["prime"], "endpoints": ["scripted"]}]}))
    with ModelServer(lambda _: next(refusals, last)) as server:
        register(server.endpoint(api_key_env="LIVE_KEY"), results)
        environment = {**os.environ, "LIVE_KEY": KEY, "BAKEOFF_RESULTS": str(results)}
        told = []
        for command in (
            ["serving.cli", "ping", "scripted"],
            ["evals.cli", "run", str(suite), "--limit", "6", "--json"],
            ["serving.cli", "ls", "--json"],
        ):
            done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, env=environment, cwd=tmp_path)
            told.append(done.stdout + done.stderr)
        assert len(server.heads) == 7 and all(KEY in head for head in server.heads), told
    files = [path for path in results.rglob("*") if path.is_file()]
    assert any(path.name == "completions.jsonl" for path in files), told
    assert not has_secret("".join(told))
    assert not [path for path in files if has_secret(path.read_text(encoding="utf-8", errors="replace"))]
