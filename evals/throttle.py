"""How many requests may be in flight: as many as the suite says, fewer while the server (or this machine) cannot keep up.

    async with throttle: ...        throttle.slower() when the server said 429, or when the event loop runs late

Additive increase, multiplicative decrease (Chiu and Jain 1989, the rule by which TCP shares a line): each answer adds 1 / limit, each
refusal halves the limit, once per answer time at most, so that one burst of 429s counts once.
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
        self._not_before_s = 0.0

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

    def slower(self, pause_s: float = 1.0) -> None:
        """Half as many from now on; further calls within `pause_s` are the same event and change nothing."""
        now_s = time.monotonic()
        if now_s >= self._not_before_s:
            self._not_before_s = now_s + pause_s
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
            throttle.slower()
