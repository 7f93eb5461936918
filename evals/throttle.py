"""How many requests may be in flight: as many as the suite says, fewer while the server (or this machine) cannot keep up.

    async with throttle: ...        throttle.slower(sent_s) when the server said 429, or when the event loop runs late

Additive increase, multiplicative decrease (Chiu and Jain 1989, the rule by which TCP shares a line): each answer adds 1 / limit, each
refusal halves the limit. Refusals of requests that were sent before the last halving change nothing: one burst of 429s counts once.
"""

import asyncio
import time
from collections import deque

LATE_S = 0.05
_BEAT_S = 0.05


class Throttle:
    """A semaphore whose limit moves between 1 and `most`. Belongs to one event loop."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(most)
        self.in_flight = 0
        self.slowed = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._cut_s = 0.0

    async def __aenter__(self) -> "Throttle":
        while self.in_flight >= int(self.limit):
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._next()
                raise
        self.in_flight += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self.in_flight -= 1
        self._next()

    def faster(self) -> None:
        """An answer came: a little more is allowed."""
        self.limit = min(self.most, self.limit + 1 / self.limit)
        self._next()

    def slower(self, sent_s: float) -> None:
        """Half as many from now on, unless what was sent at `sent_s` (time.monotonic) did not know yet of the last halving."""
        if sent_s >= self._cut_s:
            self._cut_s = time.monotonic()
            self.limit = max(1.0, self.limit / 2)
            self.slowed += 1

    def _next(self) -> None:
        free = int(self.limit) - self.in_flight
        while self._waiting and free > 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1


async def heartbeat(throttle: Throttle, lateness_s: list[float]) -> None:
    """Until cancelled: how late this event loop runs, every 50 ms; a late one is asked less of, because its times would be wrong."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _BEAT_S
        await asyncio.sleep(_BEAT_S)
        lateness_s.append(loop.time() - due)
        if lateness_s[-1] > LATE_S:
            throttle.slower(time.monotonic() - _BEAT_S)
