"""kill -9 while voters vote: whoever was thanked has one vote in the store, nobody two. Sick endpoints among ten: the arena goes on."""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from arena_client import Page, arrive
from browser import house
from crowd import Server, Tally, voter
from model_server import CUT, ModelServer, http, sse

from arena.store import Store
from serving.endpoints import register
from serving.listening import free_port

VOTERS = 16


async def killed(server: Server, kills: int) -> Tally:
    """`kills` times: wait until every voter may have been thanked once more, then kill at a moment of chance."""
    tally, done = Tally(), asyncio.Event()
    server.start()
    await server.ready()
    voters = [asyncio.create_task(voter(server.url, tally, done, number)) for number in range(VOTERS)]
    for _ in range(kills):
        enough, limit = len(tally.thanked) + VOTERS, time.monotonic() + 90
        while len(tally.thanked) < enough:
            assert time.monotonic() < limit, f"{len(tally.thanked)} votes, {enough} awaited: {server.log.read_text()[-3000:]}"
            await asyncio.sleep(0.02)
        await asyncio.sleep(random.random() * 0.3)
        server.kill()
        server.start()
        await server.ready()
    done.set()
    await asyncio.gather(*voters)
    server.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.process.wait, 20) == 0
    return tally


@pytest.mark.parametrize(
    "kills",
    [pytest.param(3, marks=pytest.mark.timeout(240)), pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(1500)])],
)
def test_whoever_was_thanked_has_one_vote_after_a_kill(tmp_path: Path, kills: int):
    results = tmp_path / "results"
    server = Server(results)
    with ModelServer(sse("Red", ".")) as one, ModelServer(sse("Blue", ".")) as two:
        for name, model in (("one", one), ("two", two)):
            register(model.endpoint(name), results)
        try:
            tally = asyncio.run(killed(server, kills))
        finally:
            server.process.kill()
            server.process.wait(10)
    with Store(results / "arena.duckdb") as store:
        stored = [(record.battle.battle_id, record.vote.winner) for record in store.voted()]
    assert len(tally.thanked) >= kills * VOTERS and tally.interrupted
    assert max(Counter(battle_id for battle_id, _ in stored).values()) == 1
    votes = dict(stored)
    lost = {battle_id for battle_id in tally.thanked if battle_id not in votes}
    assert not lost, f"{len(lost)} of {len(tally.thanked)} acknowledged votes are gone"
    assert {battle_id: votes[battle_id] for battle_id in tally.thanked} == tally.thanked
    # A vote whose thanks were cut off may be there or not; one that nobody sent may not.
    assert all(winner in tally.sent[battle_id].split() for battle_id, winner in votes.items())


@contextmanager
def ten_endpoints(results: Path) -> Iterator[dict[str, ModelServer]]:
    """Six that answer at once, a slow one, one that talks nonsense, one that is cut off, and one whose port nobody listens at."""
    scripts = {f"well-{number}": sse("All ", "is ", "well.") for number in range(6)}
    scripts["slow"] = sse("I ", "am ", "slow.")
    scripts["garbage"] = http([b"data: {not json\n\n", b"\x00\xff\xfe" * 50])
    scripts["cut"] = [*sse("I am cut", done=False)[:2], CUT]
    servers = {name: ModelServer(script, pace_s=0.4 if name == "slow" else 0.0) for name, script in scripts.items()}
    with _all(list(servers.values())):
        for name, server in servers.items():
            register(server.endpoint(name), results)
        register(servers["cut"].endpoint("dead", base_url=f"http://127.0.0.1:{free_port()}/v1"), results)
        yield servers


@contextmanager
def _all(servers: list[ModelServer]) -> Iterator[None]:
    if not servers:
        yield
        return
    with servers[0], _all(servers[1:]):
        yield


@pytest.mark.timeout(180)
def test_a_dead_a_slow_and_a_garbage_endpoint_do_not_stop_the_arena(tmp_path: Path):
    results = tmp_path / "results"
    ends: Counter[str] = Counter()

    async def visitor(url: str, battles: int) -> None:
        browser = await arrive(url)
        for _ in range(battles):
            async with Page(browser) as page:
                await page.until(Page.can_ask)
                await page.ask("How is it?")
                took_s = await page.until(lambda page: page.votable() or page.void(), patience_s=60)
                ends["void" if page.void() else "votable"] += 1
                if page.votable():
                    await page.press("tie")
                    await page.until(Page.thanked)
                else:
                    # Kindly: what happened and a way on; no name and no error text of a server.
                    await page.until(lambda page: page.button("new") is not None)
                    assert not [word for word in ("garbage", "dead", "onnection", "JSON") if page.says(word)]
                assert took_s < 30

    async def visitors(url: str) -> None:
        await asyncio.gather(*(visitor(url, 6) for _ in range(5)))

    with ten_endpoints(results), house("arena", results=results) as url:
        asyncio.run(visitors(url))
    # A failed endpoint rests for half a minute: most battles are fought among those that answer.
    assert ends["void"] >= 1 and ends["votable"] >= 15, ends
    with Store(results / "arena.duckdb") as store:
        assert store.count_votes() == ends["votable"]
        models = {name for record in store.voted() for name in (record.battle.model_a, record.battle.model_b)}
    assert not models & {"dead", "garbage", "cut"}
