"""What does a battle cost the arena, and how many at once does one core carry? Voters without browsers, on loopback, bounded.

    python benchmarks/arena_load.py                                                     # some three minutes, the soak apart
    python benchmarks/arena_load.py --against ../before --phases cpu,streams            # another checkout's arena, in turn with this one's
    python benchmarks/arena_load.py --phases soak --json soak.json                      # exits 1 where memory grows: half an hour

`arena up` runs on one core; voters (tests/arena_client.py) and the model server (tests/paced_server.py) on the other. A battle is two
answers of 250 tokens at 50 a second: the page is loaded, a prompt sent, both answers looked at to the end, a vote cast, its thanks awaited.
CPU is the server process's user + system time. The clock is one for all processes, so that the first character on screen can be held
against the write of the first token by the model server.
"""

import asyncio
import json
import os
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "e2e"), str(ROOT / "benchmarks")]

from arena_client import Page, arrive  # noqa: E402
from browser import free_port  # noqa: E402
from growth import growth  # noqa: E402
from paced_server import PacedServer  # noqa: E402

STREAMED, AT_ONCE = "ttft=200,gap=20,tokens=250", "ttft=1,gap=0,tokens=250,per_chunk=10"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = resource.getpagesize()
# A machine that is busy with other things is slow, and no reason to end a soak of half an hour.
PATIENCE_S = 120.0
METRICS_OPEN = "metrics: {addresses: [127.0.0.1]}\n"


@dataclass
class House:
    """An arena under load, seen from outside through /proc."""

    url: str
    pid: int
    models: PacedServer
    results: Path

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def sizes(self) -> dict[str, float]:
        """MB of memory: resident, and the process's own; MB of the store's log; threads and open files."""
        fields = Path(f"/proc/{self.pid}/statm").read_text().split()
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        status = Path(f"/proc/{self.pid}/status").read_text()
        log = self.results / "arena.duckdb.wal"
        return {
            "rss_mb": int(fields[1]) * PAGE_BYTES / 1e6,
            "anon_mb": int(rollup.split("Anonymous:")[1].split()[0]) * 1024 / 1e6,
            "log_mb": log.stat().st_size / 1e6 if log.exists() else 0.0,
            "threads": int(status.split("Threads:")[1].split()[0]),
            "files": len(os.listdir(f"/proc/{self.pid}/fd")),
        }

    def store_mb(self) -> dict[str, float]:
        """MB of memory that the store holds, by DuckDB's tags, as the arena itself tells; older checkouts do not."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=PATIENCE_S) as answer:
            found = re.findall(r'^bakeoff_store_memory_bytes{tag="(\w+)"} (\S+)$', answer.read().decode(), re.MULTILINE)
        return {tag: float(held) / 1e6 for tag, held in found}


@dataclass
class Found:
    """What one battle brought, in seconds; `first_s` by side, from the model server's write to the frame's arrival."""

    vote_s: float
    first_s: list[float] = field(default_factory=list)


@contextmanager
def house(tree: Path, pace: str, *, server_core: int, settings: str = "") -> Iterator[House]:
    """`arena up` of this checkout, in a fresh folder, with two endpoints of one paced server."""
    with tempfile.TemporaryDirectory() as folder, PacedServer() as models:
        endpoints = Path(folder) / "results" / "endpoints"
        endpoints.mkdir(parents=True)
        for name in ("left", "right"):
            document = {"id": name, "wire": "openai", "model": pace, "base_url": models.base_url}
            (endpoints / f"{name}.yaml").write_text(json.dumps(document))
        if settings:
            (endpoints.parent / "arena.yaml").write_text(settings)
        port, log = free_port(), Path(folder) / "log"
        command = [sys.executable, "-m", "arena.cli", "up", "--port", str(port), "--results", str(endpoints.parent)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tree)}
        with log.open("wb") as chatter:
            process = subprocess.Popen(
                command, cwd=tree, stdout=chatter, stderr=chatter, env=environment,
                preexec_fn=lambda: os.sched_setaffinity(0, {server_core}),
            )  # fmt: skip
        try:
            url, limit = f"http://127.0.0.1:{port}", time.monotonic() + 60
            while not _answers(url):
                if process.poll() is not None or time.monotonic() > limit:
                    sys.exit(f"arena up did not answer: {log.read_text()[-2000:]}")
                time.sleep(0.1)
            yield House(url, process.pid, models, endpoints.parent)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/_stcore/health", timeout=2).read()
    except OSError:
        return False
    return True


class Watch:
    """When each side of a page first showed a word of the model's, on the clock of perf_counter_ns."""

    def __init__(self) -> None:
        self.first_ns: dict[tuple[int, ...], int] = {}

    def __call__(self, page: Page, message: Any) -> None:
        if message.WhichOneof("type") != "delta":
            return
        element = message.delta.new_element
        # Older checkouts leave the Markdown to the browser.
        if ">w0" in element.html.body or element.markdown.body.startswith("w0"):
            # The path up to the column: left or right, whatever lies below.
            self.first_ns.setdefault(tuple(message.metadata.delta_path)[:3], time.perf_counter_ns())


async def battle(page: Page, name: str, watch: Watch, *, models: PacedServer | None = None) -> Found:
    """One battle on an open page, up to the thanks."""
    watch.first_ns.clear()
    await page.until(Page.can_ask, patience_s=PATIENCE_S)
    await page.ask(f"#{name} Tell me a story")
    await page.until(Page.votable, patience_s=PATIENCE_S)
    shown = sorted(watch.first_ns.values())
    await page.press("tie")
    return Found(await page.until(Page.thanked, patience_s=PATIENCE_S), [float(at_ns) for at_ns in shown])


async def voter(
    house: House, number: int, battles: int, *, spread_s: float, new_page: bool, until_s: float = 1e18
) -> list[tuple[str, Found]]:
    """`battles` battles one after another, each from the loading of the page where `new_page` is set."""
    await asyncio.sleep(spread_s)
    found: list[tuple[str, Found]] = []
    browser = await arrive(house.url)
    watch = Watch()
    page: Page | None = None
    for turn in range(battles):
        if time.perf_counter() > until_s:
            break
        if page is None or new_page:
            if page is not None:
                await page.close()
            page = Page(browser, on_frame=watch)
            await page.connect()
            await page.rerun()
        else:
            # The thanks are drawn before what follows them.
            await page.until(lambda page: page.button("new") is not None, patience_s=PATIENCE_S)
            await page.press("new")
        name = f"{number}-{turn}"
        found.append((name, await battle(page, name, watch)))
    if page is not None:
        await page.close()
    return found


def lags_s(house: House, found: list[tuple[str, Found]]) -> list[float]:
    """First character on screen − first write of the model server, for each side of each battle."""
    wrote: dict[str, list[int]] = {}
    for request in house.models.stats(requests=True)["requests"]:
        # Write 0 is the head, 1 the role; the first token follows.
        first = next(at for at, tokens in zip(request["wrote_ns"], request["tokens"], strict=True) if tokens)
        wrote.setdefault(request["name"].lstrip("#"), []).append(first)
    return [(shown - first) / 1e9 for name, one in found for shown, first in zip(one.first_s, sorted(wrote[name]), strict=False)]


async def streams(house: House, sessions: int, battles: int) -> dict[str, float]:
    """`sessions` voters at once, begun evenly over one battle's length."""
    await voter(house, 10_000, 1, spread_s=0, new_page=True)
    house.models.clear()
    began_s, cpu_s = time.perf_counter(), house.cpu_s()
    runs = await asyncio.gather(
        *(voter(house, number, battles, spread_s=5.5 * number / sessions, new_page=True) for number in range(sessions))
    )
    cpu_s, wall_s = house.cpu_s() - cpu_s, time.perf_counter() - began_s
    found = [one for run in runs for one in run]
    votes, lags = [one.vote_s for _, one in found], await asyncio.to_thread(lags_s, house, found)
    return {
        "battles": len(found), "cpu_s_per_battle": cpu_s / len(found), "core_share": cpu_s / wall_s,
        "vote_s_p50": statistics.median(votes), "vote_s_p95": part(votes, 0.95),
        "first_character_s_p50": statistics.median(lags), "first_character_s_p95": part(lags, 0.95),
    }  # fmt: skip


async def memory(house: House) -> dict[str, float]:
    """Resident memory from 10 to 100 open pages, each with a battle fought and voted on."""
    pages: list[Page] = []

    async def grow(count: int) -> float:
        while len(pages) < count:
            page = Page(await arrive(house.url))
            await page.connect()
            await page.rerun()
            await battle(page, f"m{len(pages)}", Watch())
            pages.append(page)
        # Streamlit collects after each run; one more, now that nothing is under way.
        await pages[-1].rerun()
        await asyncio.sleep(1)
        return house.sizes()["rss_mb"]

    few, many = await grow(10), await grow(100)
    for page in pages:
        await page.close()
    return {"rss_mb_at_10": few, "rss_mb_at_100": many, "mb_per_session": (many - few) / 90}


async def soak(
    house: House, battles: int, *, warm_up: int, allowed_kb: float, allowed_store_kb: float, per_session: int, voters: int = 8
) -> dict[str, Any]:
    """Battles answered at once, each voter leaving for good after `per_session`; sizes sampled, and judged from battle `warm_up` on."""
    done, samples, began_s = 0, [], time.perf_counter()

    async def visitors(lane: int) -> None:
        nonlocal done
        while done < battles:
            found = await voter(house, lane * 100_000 + done, per_session, spread_s=0, new_page=False)
            done += len(found)

    async def sample() -> None:
        store_mb = await asyncio.to_thread(house.store_mb)
        samples.append({"battles": done, **house.sizes(), "store_mb": store_mb})

    async def look() -> None:
        while done < battles:
            await sample()
            await asyncio.sleep(1)

    cpu_s = house.cpu_s()
    await asyncio.gather(look(), *(visitors(lane) for lane in range(voters)))
    await sample()
    found = growth(samples, after=warm_up, allowed_kb=allowed_kb, allowed_store_kb=allowed_store_kb)
    sys.stderr.write(f"{found.told()}\n")
    told = {"battles": done, "sessions": done // per_session, "wall_s": time.perf_counter() - began_s}
    figures = asdict(found)
    store_kb = {f"store_kb {tag}": grown_kb for tag, grown_kb in figures.pop("store_kb").items()}
    told["cpu_s_per_battle"] = (house.cpu_s() - cpu_s) / done
    return {**told, **figures, **store_kb, "grows": found.grows, "samples": samples}


def part(values: list[float], share: float) -> float:
    """The value below which this share lies."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def measure(tree: Path, options: Any) -> dict[str, dict[str, Any]]:
    """All phases asked for, against one checkout's arena."""
    found: dict[str, dict[str, Any]] = {}
    for phase in options.phases.split(","):
        pace, settings = STREAMED if phase in ("cpu", "streams") else AT_ONCE, METRICS_OPEN if phase == "soak" else ""
        with house(tree, pace, server_core=options.server_core, settings=settings) as one:
            if phase == "cpu":
                found[phase] = asyncio.run(streams(one, 8, options.battles))
            elif phase == "streams":
                found[phase] = asyncio.run(streams(one, options.sessions, options.battles))
            elif phase == "memory":
                found[phase] = asyncio.run(memory(one))
            else:
                judged = {name: getattr(options, name) for name in ("warm_up", "allowed_kb", "allowed_store_kb", "per_session")}
                found[phase] = asyncio.run(soak(one, options.soak_battles, **judged))
        found[phase]["load_average"] = os.getloadavg()[0]
        told = {name: value for name, value in found[phase].items() if name != "samples"}
        sys.stderr.write(f"{tree.name} {phase}: {json.dumps(told)}\n")
    return found


def report(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Every figure as Markdown, a column for each checkout."""
    trees = list(found)
    lines = [f"| figure | {' | '.join(trees)} |", "|---|" + "---:|" * len(trees)]
    for phase, figures in found[trees[0]].items():
        for name in figures:
            if name != "samples":
                values = [found[tree][phase][name] for tree in trees]
                lines.append(f"| {phase}: {name} | {' | '.join('' if value is None else f'{value:.4g}' for value in values)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure in turn, print the table."""
    parser = ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--phases", default="cpu,streams,memory", help="also: soak")
    parser.add_argument("--sessions", type=int, default=40, help="voters at once in the phase streams")
    parser.add_argument("--battles", type=int, default=3, help="battles of each of them")
    parser.add_argument("--soak-battles", type=int, default=12_000)
    parser.add_argument("--warm-up", type=int, default=4_500, help="battles of the soak before memory is judged")
    parser.add_argument("--per-session", type=int, default=4, help="battles of each of the soak's visitors")
    parser.add_argument("--allowed-kb", type=float, default=1.0, help="kB a battle that the soak's memory may grow by")
    parser.add_argument("--allowed-store-kb", type=float, default=1.5, help="the same of each kind of what DuckDB says it holds")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=1)
    parser.add_argument("--against", type=Path, action="append", default=[], help="another checkout, measured first")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    # The model server inherits it.
    os.sched_setaffinity(0, {options.client_core})
    trees = {str(tree): tree.resolve() for tree in options.against} | {"this checkout": ROOT}
    found = {name: measure(tree, options) for name, tree in trees.items()}
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    sys.stdout.write(report(found) + "\n")
    if any(found[name].get("soak", {}).get("grows") for name in trees):
        sys.exit(1)


if __name__ == "__main__":
    main()
