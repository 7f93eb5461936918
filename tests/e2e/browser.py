"""A house under test and a headless Chromium to look at it with.

with house("arena", "--demo", results=folder) as url, chromium() as page:
    page.goto(url)
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync"""
# Theme and width: the two that differ most are looked at each time, the others by `make test-slow`.
LOOKS = [("light", 1440), ("dark", 390), *(pytest.param(*look, marks=pytest.mark.slow) for look in (("dark", 1440), ("light", 390)))]
needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here: apt-get install chromium")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def house(room: str, *options: str, results: Path, patience_s: float = 60, port: int | None = None) -> Iterator[str]:
    """`arena up` or `dashboards up` as a user starts it; its address once it answers; stopped with SIGTERM, which must end it cleanly."""
    port = port or free_port()
    command = [sys.executable, "-m", f"{room}.cli", "up", *options, "--port", str(port), "--results", str(results)]
    log = results.parent / f"{room}-{port}.log"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("wb") as chatter:
        process = subprocess.Popen(command, stdout=chatter, stderr=chatter, start_new_session=True, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        limit = time.monotonic() + patience_s
        while True:
            try:
                urllib.request.urlopen(f"{url}/_stcore/health", timeout=2).read()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < limit, f"{room} up did not answer within {patience_s:g} s: {log.read_text()}"
                time.sleep(0.1)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert code == 0, log.read_text()


@contextmanager
def chromium(profile: Path, **context: Any) -> Iterator[Any]:
    """A page in a fresh profile; closed at the end. Needs Debian's chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch_persistent_context(
            str(profile), executable_path=shutil.which("chromium"), args=FLAGS.split(), headless=True, **context
        )
        try:
            page = opened.new_page()
            page.set_default_timeout(30_000)
            yield page
        finally:
            opened.close()


def charts_drawn(page: Any) -> None:
    """Wait until every chart is drawn; asked again and again, because a page's own polling would need eval, which our policy forbids."""
    drawn = "[...document.querySelectorAll('[data-testid=\"stVegaLiteChart\"]')].every(box => box.querySelector('canvas, svg'))"
    for _ in range(300):
        if page.evaluate(drawn):
            return
        page.wait_for_timeout(100)
    raise AssertionError("a chart was not drawn within 30 s")
