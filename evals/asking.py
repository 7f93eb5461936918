"""Ask many requests of one endpoint: what is held already is not asked again, what failed in passing is, nothing exceeds the budget.

    asker = Asker(endpoint, record, held=Held.of(completions), budget=Budget(5.0))
    completions = asker.ask_all(requests)

Every completion is recorded before anything is done with it, so that a crash loses nothing that was paid for. A failure that may pass (no
connection, 429, 5xx, a stream cut or garbled on its way, a timeout) is asked again up to `attempts` times; what the server refuses for
good, and what a model says, is not.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from evals.budget import Budget
from evals.errors import TaskError
from evals.local_scorer import score_locally, scores_locally
from evals.throttle import Throttle, heartbeat
from serving.client import Client, Exchange, completion_of, prepare
from serving.completion import Completion, Request
from serving.endpoints import Endpoint
from serving.errors import CannotAsk
from serving.retrying import wait_s, worth_retrying

Record = Callable[[Completion], None]
# The waits between them double from half a second: a server that is away for ten seconds loses no request.
ATTEMPTS = 5


@dataclass
class Held:
    """Completions that are there already, by request_hash; each is given once, so that repeated samples stay different ones."""

    by_hash: dict[str, deque[Completion]] = field(default_factory=dict)
    taken: int = 0

    @classmethod
    def of(cls, completions: Iterable[Completion], *, failures: bool = False) -> "Held":
        """The answered ones, in order (with `failures`, a request's failure where it has no answer)."""
        held = cls()
        failed: dict[str, Completion] = {}
        for completion in completions:
            if completion.answered:
                held.by_hash.setdefault(completion.request_hash, deque()).append(completion)
            else:
                failed[completion.request_hash] = completion
        if failures:
            for request_hash, completion in failed.items():
                held.by_hash.setdefault(request_hash, deque([completion]))
        return held

    def take(self, request: Request) -> Completion | None:
        """The next one that answers `request`, or None."""
        waiting = self.by_hash.get(request.request_hash)
        if not waiting:
            return None
        self.taken += 1
        return waiting.popleft()


@dataclass
class Asker:
    """How one endpoint is asked. `lateness_s` is how late this process's event loop ran, `slowed` how often fewer were put in flight."""

    endpoint: Endpoint
    record: Record
    held: Held = field(default_factory=Held)
    budget: Budget | None = None
    concurrency: int = 16
    attempts: int = ATTEMPTS
    copy_held: bool = False
    on_done: Callable[[Completion], None] | None = None
    lateness_s: list[float] = field(default_factory=list)
    slowed: int = 0

    def ask_all(self, requests: Sequence[Request]) -> list[Completion]:
        """A completion for each request, in order. A failed request raises nothing; a missing key raises MissingKey."""
        answers: dict[int, Completion] = {}
        for index, request in enumerate(requests):
            if (found := self.held.take(request)) is not None:
                if self.copy_held:
                    self.record(found)
                answers[index] = found
                self._done(found)
        left = [(index, request) for index, request in enumerate(requests) if index not in answers]
        if left:
            self._ask_left(left, answers)
        return [answers[index] for index in range(len(requests))]

    def _ask_left(self, left: Sequence[tuple[int, Request]], answers: dict[int, Completion]) -> None:
        """Fill `answers` with a completion for each of the numbered requests."""
        if left[0][1].continuation is None or self.endpoint.capabilities.logprobs or not scores_locally(self.endpoint):
            asyncio.run(self._ask(left, answers))
            return
        scored = score_locally(self.endpoint, [request for _, request in left], self.record)
        for (index, _), completion in zip(left, scored, strict=True):
            answers[index] = completion
            self._done(completion)

    async def _ask(self, requests: Sequence[tuple[int, Request]], answers: dict[int, Completion]) -> None:
        throttle = Throttle(self.concurrency)
        waiting = iter(requests)

        async def work(client: Client) -> None:
            for index, request in waiting:
                answers[index] = completion = await self._one(client, throttle, request)
                self._done(completion)

        beats = asyncio.create_task(heartbeat(throttle, self.lateness_s))
        async with Client(speed=math.inf, max_retries=0) as client:
            workers = [asyncio.create_task(work(client)) for _ in range(min(self.concurrency, len(requests)))]
            try:
                await asyncio.gather(*workers)
            finally:
                self.slowed += throttle.slowed
                for task in (*workers, beats):
                    task.cancel()
                await asyncio.gather(*workers, beats, return_exceptions=True)

    async def _one(self, client: Client, throttle: Throttle, request: Request) -> Completion:
        """One request until it is answered or given up; recorded, unless the budget forbade to ask it."""
        for retries in range(self.attempts):
            async with throttle:
                if (reserved_usd := await self._reserve(request)) is None:
                    assert self.budget is not None
                    return Completion(endpoint=self.endpoint.id, request=request, status="api_error", error=self.budget.refuse())
                sent_s = time.monotonic()
                completion, exchange = await self._attempt(client, request, retries)
                if self.budget:
                    self.budget.settle(reserved_usd, completion, self.endpoint)
                if exchange is None or completion.answered:
                    throttle.faster()
                elif exchange.status == 429:
                    throttle.slower(sent_s)
            if exchange is None or retries + 1 == self.attempts or not may_pass(completion, exchange):
                break
            # Outside the throttle: a request that waits leaves its place to another.
            await asyncio.sleep(wait_s(retries, exchange.headers))
        self.record(completion)
        return completion

    async def _reserve(self, request: Request) -> float | None:
        """Dollars for this request's worst case; None when there are not enough left."""
        if self.budget is None:
            return 0.0
        while (reserved_usd := self.budget.reserve(self.endpoint, request)) is None and self.budget.in_flight:
            await asyncio.sleep(0.01)
        return reserved_usd

    async def _attempt(self, client: Client, request: Request, retries: int) -> tuple[Completion, Exchange | None]:
        """What came, and the exchange it came by: None where there was none that asking again could change."""
        if self.endpoint.wire == "recorded":
            return await client.ask(self.endpoint, request), None
        try:
            prepared = prepare(self.endpoint, request)
        except CannotAsk as error:
            return Completion(endpoint=self.endpoint.id, request=request, status="api_error", error=f"CannotAsk: {error}"), None
        started_at = datetime.now(UTC)
        exchange = await client.exchange(prepared)
        exchange.retries = retries
        return completion_of(prepared, exchange, started_at), exchange

    def _done(self, completion: Completion) -> None:
        if self.on_done is not None:
            self.on_done(completion)


@dataclass
class HeldOnly(Asker):
    """Asks nobody. What is not held is an error, because its answer would be one to another question; with `some_missing` (a run that its
    budget ended) it is a failure like any other."""

    some_missing: bool = False

    def _ask_left(self, left: Sequence[tuple[int, Request]], answers: dict[int, Completion]) -> None:
        for index, request in left:
            if not self.some_missing:
                shown = (request.prompt or (request.messages or ())[-1].content)[:80]
                raise TaskError(
                    f"endpoint '{self.endpoint.id}' was not asked {shown!r} in that run, so there is no answer to score; "
                    "the task's prompts or parameters have changed: run the suite anew"
                )
            answers[index] = Completion(endpoint=self.endpoint.id, request=request, status="api_error", error="not asked in that run")


def may_pass(completion: Completion, exchange: Exchange) -> bool:
    """Whether this failure may be gone the next time: the server was busy or away, or the answer was lost on its way."""
    if completion.status == "filtered":
        return False
    if exchange.status == 0 or worth_retrying(exchange.status):
        return True
    return 200 <= exchange.status < 300 and not completion.answered
