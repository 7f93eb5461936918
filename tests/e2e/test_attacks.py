"""What an attacker can send over the websocket, and what comes of it: a battle is its voter's own, a vote is cast once, no name is early.

Every test leaves in `cast` the votes that ought to exist; when the arena has been stopped, its store must hold just those.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from arena_client import VOTER, Browser, Gone, Page, arrive
from browser import house
from model_server import ModelServer, Writes, sse
from streamlit.proto.BackMsg_pb2 import BackMsg

from arena.frames import BURST, PER_S
from arena.store import Store
from serving.endpoints import register

pytestmark = pytest.mark.timeout(180)
# Nothing else on the page bears these words.
NAMES = ("zanzibar-7b", "quetzal-70b", "zanzibar-weights", "quetzal-weights")
VERDICTS = {"model_a": "You preferred A", "model_b": "You preferred B", "tie": "You called it a tie", "both_bad": "You found both bad"}


@dataclass
class Arena:
    """The arena under attack, and the votes that honest voters cast in it."""

    url: str
    cast: dict[str, str] = field(default_factory=dict)


def answer(body: dict[str, Any]) -> Writes:
    """At once, or over five seconds where the prompt says slowly."""
    writes = sse("All ", "good ", "things ", "take ", "time.")
    if "slowly" not in str(body["messages"]):
        return list(writes)
    return [piece for write in writes for piece in (write, 0.6)]


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    results = tmp_path_factory.mktemp("attacked") / "results"
    with ModelServer(answer) as one, ModelServer(answer) as two:
        for name, server in (("zanzibar", one), ("quetzal", two)):
            endpoint_id = next(known for known in NAMES if known.startswith(name))
            register(server.endpoint(endpoint_id, model=f"{name}-weights"), results)
        with house("arena", results=results) as url:
            yield (attacked := Arena(url))
    with Store(results / "arena.duckdb") as store:
        stored = {record.battle.battle_id: record.vote.winner for record in store.voted()}
    assert stored == attacked.cast


def attack(script: Callable[[Arena], Coroutine[Any, Any, None]]) -> Callable[[Arena], None]:
    """Run an async test in a loop of its own."""

    def test(arena: Arena) -> None:
        asyncio.run(script(arena))

    test.__doc__ = script.__doc__
    return test


async def begin(page: Page, prompt: str = "Tell me") -> str:
    """Start a battle; its id once the page bears it in its address."""
    await page.until(Page.can_ask)
    await page.ask(prompt)
    await page.until(lambda page: "battle=" in page.query)
    return page.query.partition("battle=")[2].partition("&")[0]


async def fight(page: Page, prompt: str = "Tell me") -> str:
    """Fight a battle up to the vote; its id."""
    battle_id = await begin(page, prompt)
    await page.until(Page.votable)
    return battle_id


async def vote(arena: Arena, page: Page, battle_id: str, winner: str) -> bytes:
    """Vote honestly; the frame that said so."""
    await page.press(winner)
    arena.cast[battle_id] = winner
    await page.until(Page.thanked)
    assert page.says(VERDICTS[winner])
    return page.sent[-1]


async def settled(page: Page) -> None:
    """Until the run that was asked for last is over; a later message would have overtaken it."""
    seen = page.run
    await page.rerun()
    await page.until(lambda page: page.run > seen and page.finished == page.run)


async def verdict_on(arena: Arena, browser: Browser, battle_id: str) -> list[str]:
    """The verdicts that a fresh tab of this browser shows on the battle."""
    async with Page(browser, f"battle={battle_id}") as page:
        await page.until(lambda page: page.run > 0 and page.finished == page.run)
        return [winner for winner, words in VERDICTS.items() if page.says(words)]


@attack
async def test_a_vote_comes_back_and_names_come_after_it_only(arena: Arena):
    async with Page(await arrive(arena.url), keep_frames=True) as page:
        battle_id = await fight(page)
        early = b"".join(page.frames)
        assert b"good" in early and not [name for name in NAMES if name.encode() in early]
        await vote(arena, page, battle_id, "model_a")
        await page.until(lambda page: any(page.says(name) for name in NAMES))


@attack
async def test_both_answers_are_on_the_page_before_a_vote_button_is_live(arena: Arena):
    browser = await arrive(arena.url)
    async with Page(browser) as page:
        battle_id = await fight(page)
    shown: list[tuple[str, str]] = []

    def look(page: Page, _: Any) -> None:
        if page.votable():
            shown.append(page.texts())

    async with Page(browser, f"battle={battle_id}", on_frame=look) as page:
        await page.until(Page.votable)
    assert shown[0] == ("All good things take time.\n",) * 2


@attack
async def test_a_click_forged_on_a_disabled_button_is_no_vote(arena: Arena):
    browser = await arrive(arena.url)
    async with Page(browser) as page:
        battle_id = await fight(page)
        live = page.button("model_a").id
        await vote(arena, page, battle_id, "tie")
    async with Page(browser) as page:
        battle_id = await begin(page, "Tell me slowly")
        await page.until(lambda page: page.button("model_a") is not None)
        assert page.button("model_a").disabled and not page.votable()
        # The disabled button itself, and the button of an earlier battle that was live.
        for widget_id in (page.button("model_a").id, live):
            await page.send(page.message(widget_id))
            await page.until(lambda page: page.button("model_a") is not None and page.says("All"))
            assert not page.thanked()
        await page.until(Page.votable)
        await settled(page)
        assert not page.thanked() and page.votable()
        await vote(arena, page, battle_id, "model_b")


@attack
async def test_clicks_on_widgets_that_do_not_exist_change_nothing(arena: Arena):
    async with Page(await arrive(arena.url)) as page:
        battle_id = await fight(page)
        for widget_id in ("live-model_a", "$$ID-0123456789abcdef-live-model_a", "", "\x00", "model_a" * 5_000):
            await page.send(page.message(widget_id))
        await settled(page)
        assert page.votable() and not page.thanked()
        await vote(arena, page, battle_id, "both_bad")


@attack
async def test_the_same_vote_sent_again_counts_once(arena: Arena):
    browser = await arrive(arena.url)
    async with Page(browser) as page:
        battle_id = await fight(page)
        frame = page.message(page.button("model_a").id)
        other = page.message(page.button("model_b").id)
        arena.cast[battle_id] = "model_a"
        seen = page.run
        # A double click before any answer, then, while it is taken, replays and another verdict on the same battle.
        for again in (frame, frame, frame):
            await page.send(again)
        await page.until(lambda page: page.run > seen)
        for again in (other, frame, other):
            await page.send(again)
        await page.until(Page.thanked)
        await settled(page)
        for again in (other, frame):
            await page.send(again)
        await settled(page)
        assert page.says(VERDICTS["model_a"])
    assert await verdict_on(arena, browser, battle_id) == ["model_a"]


@attack
async def test_of_two_verdicts_in_one_breath_one_counts_and_the_page_says_which(arena: Arena):
    browser = await arrive(arena.url)
    async with Page(browser) as page:
        battle_id = await fight(page)
        # Streamlit may take both for one click on two buttons: either may be the one.
        for frame in [page.message(page.button(key).id) for key in ("model_a", "model_b", "model_a", "model_b")]:
            await page.send(frame)
        await page.until(Page.thanked)
        await settled(page)
        said = [winner for winner, words in VERDICTS.items() if page.says(words)]
    assert len(said) == 1 and said[0] in ("model_a", "model_b")
    arena.cast[battle_id] = said[0]
    assert await verdict_on(arena, browser, battle_id) == said


@attack
async def test_a_second_tab_of_the_same_voter_cannot_vote_again(arena: Arena):
    browser = await arrive(arena.url)
    async with Page(browser) as first:
        battle_id = await fight(first)
        async with Page(browser, first.query) as second:
            await second.until(Page.votable)
            replay = second.message(second.button("model_b").id)
            await vote(arena, first, battle_id, "model_a")
            await second.send(replay)
            await second.until(Page.thanked)
            assert second.says(VERDICTS["model_a"]) and not second.says(VERDICTS["model_b"])
            # The frame of the first tab, word for word, in the session of the second.
            await second.send(first.sent[-1])
            await settled(second)
    assert await verdict_on(arena, browser, battle_id) == ["model_a"]


@attack
async def test_another_voter_neither_sees_a_battle_nor_votes_on_it(arena: Arena):
    async with Page(await arrive(arena.url)) as owner:
        battle_id = await fight(owner, "A question that only its owner knows")
        frame = owner.message(owner.button("model_b").id)
        async with Page(await arrive(arena.url), f"battle={battle_id}", keep_frames=True) as thief:
            await thief.until(lambda page: page.run > 0 and page.finished == page.run)
            await thief.send(frame)
            await settled(thief)
            assert not thief.votable() and not thief.thanked()
            seen = b"".join(thief.frames)
            assert b"only its owner knows" not in seen and b"All good" not in seen and not [name for name in NAMES if name.encode() in seen]
        await settled(owner)
        assert owner.votable()
        await vote(arena, owner, battle_id, "tie")


@pytest.mark.parametrize("forgery", ["unsigned", "tampered", "cut", "garbage", "none"])
def test_a_forged_cookie_is_nobody(arena: Arena, forgery: str):
    async def script() -> None:
        browser = await arrive(arena.url)
        async with Page(browser) as owner:
            battle_id = await fight(owner, "Mine alone")
            payload, _, signature = str(browser.voter_cookie).rpartition(".")
            forged = {
                "unsigned": payload,
                "tampered": f"{payload}.{signature[::-1]}",
                "cut": f"{payload}.",
                "garbage": "a" * 3_000 + ".%00.\xff",
                "none": None,
            }[forgery]
            cookies = {name: value for name, value in browser.cookies.items() if name != VOTER}
            thief = Browser(arena.url, cookies | ({VOTER: forged} if forged is not None else {}))
            async with Page(thief, f"battle={battle_id}", keep_frames=True) as page:
                await page.until(lambda page: page.run > 0 and page.finished == page.run)
                await page.send(owner.message(owner.button("model_a").id))
                await settled(page)
                assert not page.votable() and b"Mine alone" not in b"".join(page.frames)
            # The page itself is served, and brings a cookie of the server's own making.
            await thief.load("/")
            assert thief.voter_cookie not in (None, forged, browser.voter_cookie)
            await vote(arena, owner, battle_id, "model_a")

    asyncio.run(script())


@pytest.mark.parametrize("origin", ["http://evil.example", "https://127.0.0.1.evil.example", "null", "file://"])
def test_a_page_of_another_origin_gets_no_websocket(arena: Arena, origin: str):
    async def script() -> None:
        browser = await arrive(arena.url)
        with pytest.raises(Gone, match="403"):
            await Page(browser, origin=origin).connect()

    asyncio.run(script())


@pytest.mark.parametrize("battle", ["", "0" * 32, "../../etc/passwd", "' OR 1=1 --", "%00", "b" * 10_000, "\N{PILE OF POO}"])
def test_a_battle_that_never_was_is_an_empty_page(arena: Arena, battle: str):
    async def script() -> None:
        async with Page(await arrive(arena.url), f"battle={battle}") as page:
            await page.until(Page.can_ask)
            assert not [body for body in page.bodies() if "rror" in body.partition("<style>")[0]]
            arena.cast[await _voted(arena, page)] = "tie"

    asyncio.run(script())


async def _voted(arena: Arena, page: Page) -> str:
    # The address of a battle that never was is left by starting one.
    await page.ask("Still here?")
    await page.until(Page.votable)
    battle_id = page.query.partition("battle=")[2].partition("&")[0]
    await vote(arena, page, battle_id, "tie")
    return battle_id


@attack
async def test_broken_frames_end_their_own_connection_only(arena: Arena):
    browser = await arrive(arena.url)
    async with Page(browser) as bystander:
        battle_id = await fight(bystander)
        for frame in (b"\xff" * 40, b"\x5a\xff\xff\xff\xff\x0f", b"\xff" * 3_000_000):
            page = Page(await arrive(arena.url))
            await page.connect()
            try:
                await page.send(frame)
                await page.until(lambda page: page.gone is not None)
            except Gone:
                pass
            await page.close()
        await vote(arena, bystander, battle_id, "model_b")


@attack
async def test_messages_that_no_voter_needs_are_not_heard(arena: Arena):
    """Streamlit's own protocol lets any visitor empty everybody's caches, ask for the checkout's git state and change the server's mode."""
    async with Page(await arrive(arena.url), keep_frames=True) as page:
        battle_id = await fight(page)
        page.frames.clear()
        for name in ("clear_cache", "load_git_info", "set_run_on_save", "debug_disconnect_websocket", "debug_shutdown_runtime"):
            await page.send(BackMsg(**{name: True}).SerializeToString())
        operation = BackMsg()
        operation.backend_operation_request.request_id = "1"
        operation.backend_operation_request.session_id = page.session_id
        operation.backend_operation_request.install_skills.SetInParent()
        await page.send(operation.SerializeToString())
        await settled(page)
        heard = {kind for frame in page.frames if (kind := page.kind_of(frame)) in ("git_info_changed", "backend_operation_response")}
        assert not heard and page.votable()
        await vote(arena, page, battle_id, "tie")


@attack
async def test_a_flood_of_clicks_does_not_keep_others_from_voting(arena: Arena):
    async with Page(await arrive(arena.url)) as flood, Page(await arrive(arena.url)) as bystander:
        await flood.until(Page.can_ask)
        began = time.perf_counter()
        for _ in range(300):
            await flood.rerun()
        battle_id = await fight(bystander)
        await vote(arena, bystander, battle_id, "model_a")
        # The flood is heard at its own pace: at most the burst and five a second.
        assert flood.run <= BURST + PER_S * (time.perf_counter() - began) + 2


def test_a_click_forged_after_the_terms_changed_asks_nothing(tmp_path: Path):
    results = tmp_path / "results"

    async def script(url: str, servers: tuple[ModelServer, ...]) -> str:
        browser = await arrive(url)
        async with Page(browser) as first, Page(browser) as second:
            await first.until(lambda page: page.button("accept-terms") is not None)
            assert not first.can_ask()
            await first.press("accept-terms")
            battle_id = await fight(first)
            start = next(frame for frame in first.sent if b"Tell me" in frame)
            await second.rerun()
            await second.until(Page.can_ask)
            (results / "ours.md").write_text("Be kinder.")
            n_asked = sum(len(server.requests) for server in servers)
            # A battle begun by the click that the page sent before, and new answers by a button that is still on the screen.
            await second.send(start)
            await second.until(lambda page: page.button("accept-terms") is not None)
            await first.send(first.message(first.button("redo").id))
            await first.until(lambda page: page.button("accept-terms") is not None)
            await first.until(lambda page: page.finished == page.run)
            assert "battle=" not in second.query and first.votable()
            assert sum(len(server.requests) for server in servers) == n_asked
            # The vote on what was shown under the old terms is the voter's own, and counts.
            await first.press("tie")
            await first.until(Page.thanked)
            await second.press("accept-terms")
            await second.until(Page.can_ask)
        return battle_id

    with ModelServer(answer) as one, ModelServer(answer) as two:
        for name, server in (("one", one), ("two", two)):
            register(server.endpoint(name), results)
        (results / "arena.yaml").write_text("terms: ours.md")
        (results / "ours.md").write_text("Be kind.")
        with house("arena", results=results) as url:
            battle_id = asyncio.run(script(url, (one, two)))
    with Store(results / "arena.duckdb") as store:
        assert [(record.battle.battle_id, record.vote.rated) for record in store.voted()] == [(battle_id, True)]
