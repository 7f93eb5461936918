"""A crowd that votes without a browser, and an arena that can be killed under it: what was sent, and what the page thanked for.

server = Server(results)
server.start()
await server.ready()
voters = [asyncio.create_task(voter(server.url, tally, done, number)) for number in range(16)]
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from arena_client import Browser, Gone, Page, arrive

from serving.listening import free_port

VERDICTS = {"model_a": "You preferred A", "model_b": "You preferred B", "tie": "You called it a tie", "both_bad": "You found both bad"}


class Server:
    """`arena up` with these options; it can be killed and started again on the same port."""

    def __init__(self, results: Path, *options: str) -> None:
        self.results, self.options, self.port = results, options, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = results.parent / f"arena-{self.port}.log"

    def start(self) -> None:
        command = [sys.executable, "-m", "arena.cli", "up", "--port", str(self.port), "--results", str(self.results), *self.options]
        with self.log.open("ab") as chatter:
            self.process = subprocess.Popen(command, stdout=chatter, stderr=chatter, env={**os.environ, "OMP_NUM_THREADS": "1"})

    async def ready(self) -> None:
        limit = time.monotonic() + 60
        while True:
            try:
                await asyncio.to_thread(lambda: urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2).read())
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < limit, self.log.read_text()[-3000:]
                await asyncio.sleep(0.05)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)


class Interrupted(Exception):
    """The server was killed under a page; the message is the page's address."""


@dataclass
class Tally:
    """What voters sent and what they were thanked for, by battle."""

    sent: dict[str, str] = field(default_factory=dict)
    thanked: dict[str, str] = field(default_factory=dict)
    interrupted: int = 0


async def voter(url: str, tally: Tally, done: asyncio.Event, number: int) -> None:
    """Fight and vote until told to stop; after a crash go on with the battle in hand, as a browser that reloads does."""
    draw, browser, query = random.Random(number), None, ""
    while not done.is_set():
        try:
            browser = browser or await arrive(url)
            query = await one_battle(browser, query, tally, draw)
        except Interrupted as crash:
            # The address bar still holds the battle; a reload asks for it.
            query = str(crash)
            tally.interrupted += 1
            await asyncio.sleep(0.1)
        except Gone:
            tally.interrupted += 1
            await asyncio.sleep(0.1)


async def one_battle(browser: Browser, query: str, tally: Tally, draw: random.Random) -> str:
    """Fight the battle of this address, or a new one, until thanked; returns the address to go on from."""
    page = Page(browser, query)
    await page.connect()
    try:
        await page.rerun()
        await page.until(lambda page: page.can_ask() or page.votable() or page.thanked() or page.void(), patience_s=20)
        if page.can_ask():
            await page.ask("Name a colour")
            await page.until(lambda page: page.votable() or page.void(), patience_s=20)
        battle_id = page.query.partition("battle=")[2].partition("&")[0]
        if page.void():
            return ""
        if page.votable():
            winner = draw.choice(list(VERDICTS))
            tally.sent[battle_id] = winner if battle_id not in tally.sent else f"{tally.sent[battle_id]} {winner}"
            await page.press(winner)
            await page.until(Page.thanked, patience_s=20)
        tally.thanked[battle_id] = next(winner for winner, words in VERDICTS.items() if page.says(words))
        return ""
    except Gone:
        raise Interrupted(page.query) from None
    finally:
        await page.close()
