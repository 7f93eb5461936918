"""A house under test and a headless Chromium to look at it with.

with house("arena", "--demo", results=folder) as url, chromium() as page:
    page.goto(url)
"""

import atexit
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ballot_box import demo_votes

from serving.listening import free_port

FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync"""
# Theme and width.
LOOKS = [(theme, width) for theme in ("light", "dark") for width in (1440, 390)]
needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here: apt-get install chromium")


def looks(*first: tuple[str, int]) -> list[Any]:
    """All LOOKS as parameters: these are looked at each time, the others by `make test-slow`."""
    return [pytest.param(*look, marks=[] if look in first else pytest.mark.slow) for look in LOOKS]


@contextmanager
def house(
    room: str, *options: str, results: Path, patience_s: float = 60, port: int | None = None, unseeded: bool = False
) -> Iterator[str]:
    """`arena up` or `dashboards up` as a user starts it; its address once it answers; stopped with SIGTERM, which must end it cleanly.

    The demo's votes are there already, which saves two seconds, unless they are to come `unseeded`: by the command itself.
    """
    port = port or free_port()
    if "--demo" in options and not unseeded and not (votes := results / "arena.duckdb").exists():
        results.mkdir(parents=True, exist_ok=True)
        demo_votes(votes)
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
    """A page of a voter who has nothing but the cookies and the storage that are kept in `profile`. Needs Debian's chromium.

    All of them are windows of one browser that share nothing: to start it takes two seconds of CPU, a window a tenth.
    """
    from playwright.sync_api import sync_playwright

    kept = profile / "storage.json"
    with sync_playwright() as playwright:
        browser = _connected(playwright)
        opened = browser.new_context(storage_state=kept if kept.exists() else None, **context)
        try:
            page = opened.new_page()
            page.set_default_timeout(30_000)
            yield page
        finally:
            profile.mkdir(exist_ok=True)
            opened.storage_state(path=kept)
            opened.close()


def _connected(playwright: Any) -> Any:
    """This process's Chromium. One in some hundred takes a connection and then says nothing: another is started in its place."""
    from playwright.sync_api import TimeoutError as SaysNothing

    for _ in range(3):
        try:
            return playwright.chromium.connect_over_cdp(_browser(), timeout=40_000)
        except SaysNothing:
            _browser.cache_clear()
    raise AssertionError("three Chromiums in turn took a connection and said nothing")


@cache
def _browser() -> str:
    """The address of this process's Chromium; it ends with this process, however that ends."""
    profile = tempfile.mkdtemp(prefix="bakeoff-chromium-")
    command = [shutil.which("chromium") or "", *FLAGS.split(), "--remote-debugging-port=0", f"--user-data-dir={profile}"]
    # Its first process outlives its starter otherwise; PR_SET_PDEATHSIG is 1 (prctl(2)).
    libc = ctypes.CDLL(None)
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=lambda: libc.prctl(1, signal.SIGKILL)
    )

    def end() -> None:
        process.kill()
        process.wait(20)
        shutil.rmtree(profile, ignore_errors=True)

    atexit.register(end)
    told, limit = Path(profile) / "DevToolsActivePort", time.monotonic() + 60
    while not (told.exists() and "\n" in told.read_text()):
        assert process.poll() is None and time.monotonic() < limit, "chromium did not start"
        time.sleep(0.05)
    return f"http://127.0.0.1:{told.read_text().split()[0]}"


def charts_drawn(page: Any) -> None:
    """Wait until every chart is drawn; asked again and again, because a page's own polling would need eval, which our policy forbids."""
    drawn = "[...document.querySelectorAll('[data-testid=\"stVegaLiteChart\"]')].every(box => box.querySelector('canvas, svg'))"
    for _ in range(300):
        if page.evaluate(drawn):
            return
        page.wait_for_timeout(100)
    raise AssertionError("a chart was not drawn within 30 s")
