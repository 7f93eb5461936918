"""`dashboards up` beside an arena that holds the votes: two real processes, one of which reads what the other one writes."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from arena_client import Gone, Page, arrive
from browser import house
from model_server import ModelServer, sse

from dashboards.beside import windows
from serving.endpoints import register
from serving.listening import free_port

pytestmark = pytest.mark.timeout(120)


async def fight_and_vote(url: str) -> None:
    async with Page(await arrive(url)) as page:
        await page.until(Page.can_ask)
        await page.ask("Name a colour")
        await page.until(Page.votable)
        await page.press("model_a")
        await page.until(Page.thanked)


async def says(url: str, text: str, name: str = "") -> None:
    """Until a page that is opened anew says this."""
    for _ in range(60):
        async with Page(await arrive(url), name=name) as page:
            await page.until(lambda page: page.run > 0 and page.finished == page.run)
            assert not page.can_ask()
            if page.says(text):
                return
        await asyncio.sleep(0.25)
    raise AssertionError(f"never said: {text}")


@pytest.mark.slow
def test_windows_show_the_votes_of_a_running_arena_and_stay_when_it_stops(tmp_path: Path):
    results, port = tmp_path / "results", free_port()
    with ModelServer(sse("Red", ".")) as one, ModelServer(sse("Blue", ".")) as two:
        for name, server in (("one", one), ("two", two)):
            register(server.endpoint(name), results)
        with house("arena", results=results) as arena:
            asyncio.run(fight_and_vote(arena))
            with house("dashboards", "--refresh", "1", results=results, port=port) as url:
                log = tmp_path / f"dashboards-{port}.log"
                assert f"votes are those of the arena at {arena}, read again every 1 s; battles are fought there" in log.read_text()
                asyncio.run(says(url, "2 models from 1 votes"))
                asyncio.run(says(url, f"Votes of the arena at {arena}, as of "))
                asyncio.run(fight_and_vote(arena))
                asyncio.run(says(url, "2 models from 2 votes"))
                asyncio.run(says(url, "How often each model was preferred", "head-to-head"))
        # Both have stopped cleanly (`house` sees to that) and left nothing behind.
        assert not (results / "arena.running").exists() and not (results / "arena.snapshots").exists()


def test_the_last_votes_stay_when_the_arena_stops_and_new_ones_come_when_it_is_back(tmp_path: Path):
    results, port = tmp_path / "results", free_port()
    command = [sys.executable, "-m", "dashboards.cli", "up", "--refresh", "1", "--port", str(port), "--results", str(results)]
    url, log = f"http://127.0.0.1:{port}", tmp_path / "windows.log"
    with ModelServer(sse("Red", ".")) as one, ModelServer(sse("Blue", ".")) as two, log.open("wb") as chatter:
        for name, server in (("one", one), ("two", two)):
            register(server.endpoint(name), results)
        with house("arena", results=results) as arena:
            asyncio.run(fight_and_vote(arena))
            process = subprocess.Popen(command, stdout=chatter, stderr=chatter)
            try:
                asyncio.run(ready(url))
                asyncio.run(says(url, "2 models from 1 votes"))
            except BaseException:
                process.kill()
                raise
        try:
            asyncio.run(says(url, "2 models from 1 votes"))
            with house("arena", results=results) as arena:
                asyncio.run(fight_and_vote(arena))
                asyncio.run(says(url, "2 models from 2 votes"))
                # Before the second arena goes, so that only the first can have been missed.
                process.terminate()
                code = process.wait(20)
        finally:
            process.kill()
    assert code == 0 and log.read_text().count("no arena runs on") <= 1, log.read_text()


async def ready(url: str) -> None:
    for _ in range(240):
        try:
            await arrive(url)
            return
        except Gone:
            await asyncio.sleep(0.25)
    raise AssertionError(f"{url} does not answer")


def test_without_an_arena_beside_it_every_page_is_shown():
    pages = {"": [object()], "Results": [object()]}
    assert windows(pages) is pages
