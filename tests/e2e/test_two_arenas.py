"""Two arenas behind nginx share one board in PostgreSQL; one is killed in mid-battle, and its voters go on at the other."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from arena_client import Browser, Page, arrive
from crowd import VERDICTS, Server, Tally, voter
from model_server import ModelServer, Writes, sse
from nginx_proxy import Nginx, why_not
from postgres_server import PostgresServer

from arena.store import Store
from serving.endpoints import register

# What takes over within seconds on a machine of its own takes longer beside other browsers.
pytestmark = [pytest.mark.skipif(bool(why_not()), reason=why_not() or ""), pytest.mark.timeout(180), pytest.mark.alone]
WORDS = [f"word{number} " for number in range(20)]
PER_ARENA, CROWD = 3, 4


def answer(body: dict[str, Any]) -> Writes:
    """At once, or over eight seconds where the prompt says slowly."""
    if "slowly" not in str(body["messages"]):
        return list(sse("Red", "."))
    return [piece for write in sse(*WORDS) for piece in (write, 0.4)]


@pytest.fixture
def arenas(postgres: PostgresServer, tmp_path: Path) -> Iterator[tuple[list[Server], str]]:
    """Two processes as on two machines: each with its results folder, both with one database."""
    url = postgres.create()
    servers = []
    with ModelServer(answer) as one, ModelServer(answer) as two:
        for place in ("left", "right"):
            results = tmp_path / place / "results"
            for name, model in (("one", one), ("two", two)):
                register(model.endpoint(name), results)
            (results / "arena.yaml").write_text("trusted_proxies: [127.0.0.1]\n")
            servers.append(Server(results, "--database", url))
        try:
            for server in servers:
                server.start()
                asyncio.run(server.ready())
            yield servers, url
        finally:
            for server in servers:
                server.process.kill()
                server.process.wait(10)
    postgres.drop(url)


async def homes(nginx: Nginx, servers: list[Server]) -> dict[int, list[Browser]]:
    """Voters who have arrived, by the port of the arena that nginx sends them to: as many at each."""
    found: dict[int, list[Browser]] = {server.port: [] for server in servers}
    for _ in range(60):
        browser = await arrive(nginx.url)
        at = await asyncio.to_thread(nginx.arena_of, browser.cookies)
        assert at == await asyncio.to_thread(nginx.arena_of, browser.cookies), "a voter stays where he is"
        if len(found[at]) < PER_ARENA:
            found[at].append(browser)
        if all(len(browsers) == PER_ARENA for browsers in found.values()):
            return found
    raise AssertionError(f"sixty voters, and they are spread so: {found}")


async def begin(browser: Browser) -> Page:
    """A battle whose answers grow on the screen."""
    page = Page(browser)
    await page.connect()
    await page.rerun()
    await page.until(Page.can_ask)
    await page.ask("Count slowly")
    await page.until(lambda page: all("word1" in text for text in page.texts()))
    return page


async def finish(page: Page, tally: Tally) -> None:
    """Vote on the battle on the page, and be thanked."""
    battle_id = page.query.partition("battle=")[2]
    winner = random.choice(list(VERDICTS))
    tally.sent[battle_id] = winner
    await page.press(winner)
    await page.until(Page.thanked)
    tally.thanked[battle_id] = next(winner for winner, words in VERDICTS.items() if page.says(words))


async def go_on(old: Page, tally: Tally) -> None:
    """What a voter does whose arena has gone: open the battle's address again."""
    while old.gone is None:
        await asyncio.sleep(0.01)
    async with Page(old.browser, old.query) as page:
        await page.until(lambda page: page.says("The arena was started anew"))
        await page.until(Page.votable)
        assert page.query == old.query and all("word19" in text for text in page.texts())
        await finish(page, tally)


async def stay(page: Page, tally: Tally) -> None:
    """What a voter does at the other arena: nothing but wait for the answers, and vote."""
    await page.until(Page.votable)
    assert not page.says("The arena was started anew")
    await finish(page, tally)
    await page.close()


async def board(url: str) -> str:
    """What the leaderboard at this address says that it is made of."""
    async with Page(await arrive(url), name="leaderboard") as page:
        await page.until(lambda page: page.says("models from"))
        return next(body for body in page.bodies() if "models from" in body)


async def evening(nginx: Nginx, servers: list[Server], tally: Tally) -> None:
    """Voters at both arenas; one arena is killed while they watch answers grow, and others vote without a pause."""
    at = await homes(nginx, servers)
    dead, alive = servers
    done = asyncio.Event()
    crowd = [asyncio.create_task(voter(nginx.url, tally, done, number)) for number in range(CROWD)]
    watching = await asyncio.gather(*(begin(browser) for browser in at[dead.port]))
    others = await asyncio.gather(*(begin(browser) for browser in at[alive.port]))
    before = len(tally.thanked)
    dead.kill()
    await asyncio.gather(*(go_on(page, tally) for page in watching), *(stay(page, tally) for page in others))
    while len(tally.thanked) < before + 2 * PER_ARENA + 2 * CROWD:
        assert not [task for task in crowd if task.done()], await asyncio.gather(*crowd)
        await asyncio.sleep(0.05)
    done.set()
    await asyncio.gather(*crowd)
    # The one that came back shows what was voted while it was away, and its voters are its own again.
    dead.start()
    await dead.ready()
    for server in servers:
        assert f"2 models from {len(tally.thanked)} votes" in await board(server.url)
    browser = at[dead.port][0]
    while await asyncio.to_thread(nginx.arena_of, browser.cookies) != dead.port:
        await asyncio.sleep(0.2)
    voted = watching[0].query
    async with Page(browser, voted) as page:
        await page.until(Page.thanked)


def test_one_of_two_arenas_is_killed_and_its_voters_go_on_at_the_other(arenas: tuple[list[Server], str], tmp_path: Path):
    servers, database = arenas
    tally = Tally()
    with Nginx(tmp_path / "nginx", [server.port for server in servers]) as nginx:
        asyncio.run(evening(nginx, servers, tally))
    for server in servers:
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0, server.log.read_text()
    with Store(database) as store:
        stored = [(record.battle.battle_id, record.vote.winner) for record in store.voted()]
        assert store.counts().n_unrated == 0
    assert max(Counter(battle_id for battle_id, _ in stored).values()) == 1
    # Whose thanks were cut off looked again, as a careful voter does: nothing was sent that is not stored.
    assert dict(stored) == tally.thanked
