"""One process that makes load: requests leave when they are due, bytes are stamped as they arrive, and everything else waits until the end.

    samples = uvloop.run(drive(Part(endpoint=endpoint, load=Load(concurrency=8, requests=100), shape=Shape())))

Prompts are built and encoded before the window where they can be, answers are parsed after it, the garbage collector rests in between. An
open loop hands each request to the client at its moment: a timer (whose grain is 1 ms) until shortly before, then turns of the event
loop, which go on reading. How late that still was is in every sample (`lateness_s`); a heartbeat measures the loop between sends.
"""

import asyncio
import gc
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from statistics import fmean
from typing import Any

from evals.load.arrivals import arrivals, trace
from evals.load.plan import MOST_IN_FLIGHT, Phase, Sample, Shape
from evals.load.turns import Part, Turn, prepared, sample_of
from serving.client import Client, Prepared, Timeouts

# A timer fires up to its grain late: it is set this much early, and the rest is passed in turns of the loop.
TIMER_GRAIN_S = 0.0015
HEARTBEAT_S = 0.1
# Prompts made before the window. Beyond it they are made when they are due, which costs .1 ms each at 1,000 tokens.
AHEAD_BYTES = 256 * 2**20
AHEAD_REQUESTS = 50_000


@dataclass
class Progress:
    """Counts so far, of the measured requests."""

    sent: int = 0
    ended: int = 0
    failed: int = 0
    in_flight: int = 0
    phase: str = "warmup"


@dataclass
class Driven:
    """What came of a part. `loop_lateness_s`: how late the heartbeat was, each time; `cpu_s`: of this process in the window."""

    samples: list[Sample] = field(default_factory=list)
    loop_lateness_s: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    wall_s: float = 0.0
    stopped: bool = False


OnProgress = Callable[[Progress], None]
StartNs = Callable[[], Awaitable[int]]


async def drive(
    part: Part, *, start_ns: StartNs | None = None, stop: asyncio.Event | None = None, on_progress: OnProgress | None = None
) -> Driven:
    """Warm up, make the load, wait for every answer (at most `timeout_s`), then parse. Never raises for a request that fails.

    `start_ns` is called after the warm-up and gives the perf_counter_ns at which the load starts (so that several processes start
    together; it may block). Setting `stop` ends the sending and drops what is in flight: what has been measured is kept.
    """
    driven, progress = Driven(), Progress()
    schedule = _schedule(part)
    limits = Timeouts(first_s=part.timeout_s, between_s=part.timeout_s, total_s=part.timeout_s)
    async with Client(timeouts=limits, max_retries=0) as client:
        loop = _Loop(part, client, progress)
        stopping = asyncio.ensure_future(_halt_when(stop or asyncio.Event(), loop))
        beats = asyncio.ensure_future(_heartbeat(driven, progress, on_progress))
        try:
            warm = await loop.warm_up()
            loop.build_ahead(_numbers_expected(part, schedule, warm))
            gc.collect()
            gc.freeze()
            gc.disable()
            begin_ns = await start_ns() if start_ns else time.perf_counter_ns() + 2_000_000
            progress.phase = "load"
            cpu_s, wall_s = time.process_time(), time.perf_counter()
            turns = await (loop.open(begin_ns, schedule) if part.load.open_loop else loop.closed(begin_ns))
            driven.cpu_s, driven.wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
        finally:
            for task in (stopping, beats):
                task.cancel()
            gc.enable()
            gc.unfreeze()
    driven.stopped = stop is not None and stop.is_set()
    driven.samples = _parsed(part, warm, turns, begin_ns)
    return driven


def _parsed(part: Part, warm: list[Turn], turns: list[Turn], begin_ns: int) -> list[Sample]:
    """Every request as a Sample: the warm-up's, then the load's as they were due. Each response is let go when it has been read."""
    # A million small objects and not one cycle among them: collecting would only take time.
    gc.disable()
    anchor = datetime.now(UTC) - timedelta(seconds=time.perf_counter_ns() / 1e9)
    first_ns = min((turn.due_ns for turn in warm), default=begin_ns)
    like = prepared(part.model_copy(update={"shape": Shape(input_tokens=1)}), 0, warmup=True)
    found = [sample_of(part, turn, "warmup", first_ns, anchor, like=like) for turn in warm]
    turns.sort(key=lambda turn: turn.due_ns, reverse=True)
    while turns:
        turn = turns.pop()
        phase: Phase = "ramp" if (turn.due_ns - begin_ns) / 1e9 < part.load.ramp_in_s else "steady"
        found.append(sample_of(part, turn, phase, begin_ns, anchor, like=like))
    gc.enable()
    return found


class _Loop:
    """The state of one part while it runs: who is in flight, who waits, what came back."""

    def __init__(self, part: Part, client: Client, progress: Progress) -> None:
        self.part, self.client, self.progress = part, client, progress
        self._halt: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ahead: dict[int, Prepared] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns: list[Turn] = []

    def halt(self) -> None:
        """Send nothing more and drop what is in flight."""
        if not self._halt.done():
            self._halt.set_result(None)

    def build_ahead(self, requests: list[int]) -> None:
        """Encode the first requests now, within AHEAD_BYTES."""
        size = 0
        for number in requests:
            made = prepared(self.part, number, warmup=False)
            size += len(made.payload)
            if size > AHEAD_BYTES or len(self._ahead) >= AHEAD_REQUESTS:
                break
            self._ahead[number] = made

    async def warm_up(self) -> list[Turn]:
        """The part's share of the warm-up, as many at once as the load will have, with prompts of their own."""
        load, part = self.part.load, self.part
        numbers = deque(range(part.shard, load.warmups, part.shards))

        async def worker() -> None:
            while numbers:
                due_ns = time.perf_counter_ns()
                await self._one(numbers.popleft(), due_ns, due_ns, warmup=True)

        at_once = min(_share(load.concurrency or load.warmups, part), len(numbers))
        await self._all(worker() for _ in range(at_once))
        return self._take()

    async def open(self, begin_ns: int, schedule: list[tuple[int, int]]) -> list[Turn]:
        """Send request `number` at `begin_ns + offset_ns`, whatever has been answered; above the limit in flight they wait in a queue."""
        limit = _share(self.part.load.concurrency or MOST_IN_FLIGHT, self.part)
        waiting: deque[tuple[int, int]] = deque()
        in_flight, all_sent = 0, False
        drained = asyncio.get_running_loop().create_future()

        async def run(number: int, due_ns: int, ready_ns: int) -> None:
            nonlocal in_flight
            await self._one(number, due_ns, ready_ns)
            in_flight -= 1
            if waiting:
                launch(*waiting.popleft(), time.perf_counter_ns())
            elif all_sent and not in_flight and not drained.done():
                drained.set_result(None)

        def launch(number: int, due_ns: int, ready_ns: int) -> None:
            nonlocal in_flight
            in_flight += 1
            self._start(run(number, due_ns, ready_ns))

        for number, offset_ns in schedule:
            due_ns = begin_ns + offset_ns
            if not await self._until(due_ns):
                break
            if in_flight < limit:
                launch(number, due_ns, due_ns)
            else:
                waiting.append((number, due_ns))
        all_sent = True
        if in_flight:
            await self._or_halt(drained)
        return self._take()

    async def closed(self, begin_ns: int) -> list[Turn]:
        """`concurrency` workers, each sending its next request when its last is answered (and thought about), until requests or time are
        up.
        """
        part, load = self.part, self.part.load
        mine = range(part.shard, load.concurrency or 1, part.shards)
        end_ns = None if load.duration_s is None else begin_ns + int(load.duration_s * 1e9)
        numbers = count(part.shard, part.shards)
        last = math.inf if load.requests is None else load.requests - 1

        async def worker(first: int) -> None:
            # Spread over the ramp, so that the window does not open on a wave of prefills that no users would make.
            due_ns = begin_ns + int(load.ramp_in_s * 1e9 * first / (load.concurrency or 1))
            while (end_ns is None or due_ns < end_ns) and await self._until(due_ns) and (number := next(numbers)) <= last:
                due_ns = await self._one(number, due_ns, due_ns) + int(load.think_s * 1e9)

        await self._all(worker(first) for first in mine)
        return self._take()

    async def _one(self, number: int, due_ns: int, ready_ns: int, *, warmup: bool = False) -> int:
        """Send one request and keep its turn; returns when it ended. `ready_ns`: from when on nothing but ourselves could delay it."""
        made = (None if warmup else self._ahead.pop(number, None)) or prepared(self.part, number, warmup=warmup)
        progress = self.progress
        progress.sent += not warmup
        progress.in_flight += 1
        began_ns = time.perf_counter_ns()
        try:
            exchange = await self.client.exchange(made)
        finally:
            progress.in_flight -= 1
        self._turns.append(Turn(number, due_ns, max(began_ns - max(due_ns, ready_ns), 0), exchange))
        if not warmup:
            progress.ended += 1
            progress.failed += exchange.failure is not None or exchange.status >= 400
        return exchange.ended_ns or time.perf_counter_ns()

    async def _until(self, due_ns: int) -> bool:
        """Wait for the moment; False when we were stopped before it."""
        while (left_s := (due_ns - time.perf_counter_ns()) / 1e9) > 0 and not self._halt.done():
            # Long waits are cut, so that stopping does not take as long as the longest gap.
            await asyncio.sleep(min(left_s - TIMER_GRAIN_S, 0.5) if left_s > 2 * TIMER_GRAIN_S else 0)
        return not self._halt.done()

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        # What a request cannot raise (a missing key, a bug) ends the load.
        if not task.cancelled() and (error := task.exception()) and not self._halt.done():
            self._halt.set_exception(error)

    async def _all(self, coroutines: Iterable[Coroutine[Any, Any, None]]) -> None:
        tasks = [self._start(coroutine) for coroutine in coroutines]
        if tasks:
            await self._or_halt(asyncio.gather(*tasks, return_exceptions=True))

    async def _or_halt(self, everything: asyncio.Future[Any]) -> None:
        """Wait for everything, or until somebody stops us: then what is in flight is dropped."""
        await asyncio.wait({everything, self._halt}, return_when=asyncio.FIRST_COMPLETED)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._halt.done():
            self._halt.result()

    def _take(self) -> list[Turn]:
        turns, self._turns = self._turns, []
        return turns


async def _halt_when(stop: asyncio.Event, loop: _Loop) -> None:
    await stop.wait()
    loop.halt()


async def _heartbeat(driven: Driven, progress: Progress, on_progress: OnProgress | None) -> None:
    """Every 100 ms of the load: how late the loop is. Late here is late for every byte that arrived meanwhile."""
    beat = 0
    due = time.perf_counter()
    while True:
        due, counts = max(due + HEARTBEAT_S, time.perf_counter()), progress.phase == "load"
        while (left_s := due - time.perf_counter()) > 0:
            await asyncio.sleep(left_s - TIMER_GRAIN_S if left_s > 2 * TIMER_GRAIN_S else 0)
        if counts:
            driven.loop_lateness_s.append(time.perf_counter() - due)
        beat += 1
        if on_progress is not None and beat % 3 == 0:
            on_progress(progress)


def _schedule(part: Part) -> list[tuple[int, int]]:
    """(number, offset_ns) of this part's requests of an open loop; the same draw in every shard, each taking its own."""
    load = part.load
    if not load.open_loop:
        return []
    if load.arrivals.startswith("trace:"):
        due = trace(Path(load.arrivals.removeprefix("trace:")))
        due = due if load.duration_s is None else due[due < load.duration_s]
        due = due if load.requests is None else due[: load.requests]
    else:
        assert load.rate is not None
        seed = part.seed + 1000 * part.repeat + part.point
        due = arrivals(load.arrivals, load.rate, requests=load.requests, duration_s=load.duration_s, seed=seed)
    return [(number, round(due[number] * 1e9)) for number in range(part.shard, len(due), part.shards)]


def _numbers_expected(part: Part, schedule: list[tuple[int, int]], warm: list[Turn]) -> list[int]:
    """The numbers of the requests in the order in which they will be due; of a closed loop as many as the warm-up suggests."""
    if schedule:
        return [number for number, _ in schedule]
    load, places = part.load, part.load.concurrency or 1
    took_s = [(turn.exchange.ended_ns - turn.exchange.sent_ns) / 1e9 for turn in warm if turn.exchange.complete]
    guess = 16 * places
    if took_s and load.duration_s is not None:
        guess = math.ceil(1.3 * places * load.duration_s / max(fmean(took_s), 1e-4))
    return list(range(part.shard, min(guess, load.requests or guess), part.shards))


def _share(count: int, part: Part) -> int:
    """This part's share of `count` places, at least one."""
    return max(len(range(part.shard, count, part.shards)), 1)
