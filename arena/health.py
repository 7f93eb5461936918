"""Whether this arena can take votes, for whoever watches it: `curl localhost:8501/healthz`, and `/metrics` for Prometheus.

    {"status": "ok", "reasons": [], "store": {"writable": true, "write_s": 0.004, "queued": 0},
     "generation": {"alive": true, "lateness_s": 0.001}, "endpoints": {"able": 12, "resting": 1}, "rounds_under_way": 3, "up_s": 5321.0}

`ok` and `degraded` (battles fail or are few, votes are taken) answer 200; `down`, when a vote could not be stored or no answer be
generated, answers 503 with the reason. Anybody may ask; nothing in it tells who fights whom. /metrics counts by endpoint, and whoever
polls it during a battle could learn who answers. So it is closed unless results/arena.yaml says who may read:

    metrics: {token_env: ARENA_METRICS_TOKEN}      # Authorization: Bearer <what that variable holds>
    metrics: {addresses: [127.0.0.1, 10.0.0.0/8]}  # direct peers; behind a proxy that does not set X-Forwarded-For, use a token
"""

import asyncio
import logging
import os
import secrets
import socket
import time
from collections import deque
from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from arena import metrics
from arena.votes import now
from serving.errors import BakeoffError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from arena.battle import Arena
    from arena.settings import Metrics
    from arena.writer import Step

log = logging.getLogger("arena")
# A loop that has been silent for so long is taken for dead, a write that takes so long for stuck.
SILENT_S, STUCK_S = 5.0, 3.0
# Whoever asks more often gets the last answer about the store: asking must not become work.
_KEPT_S = 1.0
_BEAT_S, _REMEMBERED = 0.25, 40
# Each start of an arena writes a row of its own; rows of processes that long ago went are removed at the first write, and hourly.
_FORGET_AFTER, _FORGET_EVERY_S = timedelta(days=1), 3600.0


class Pulse:
    """A loop's own heartbeat: how late it woke, and when it last did. Start `beat` as a task of that loop."""

    def __init__(self) -> None:
        self._late: deque[float] = deque(maxlen=_REMEMBERED)
        self._last = time.monotonic()

    async def beat(self) -> None:
        """Beat until cancelled."""
        while True:
            due = time.monotonic() + _BEAT_S
            await asyncio.sleep(_BEAT_S)
            self._last = time.monotonic()
            self._late.append(max(self._last - due, 0.0))

    def lateness_s(self) -> float:
        """The latest it has been in the last ten seconds, a beat that is missing now included."""
        return max([*self._late, time.monotonic() - self._last - _BEAT_S, 0.0])

    def alive(self) -> bool:
        """Whether it has beaten lately."""
        return time.monotonic() - self._last < SILENT_S


class Health:
    """The two routes of one process. `pulse` is that of the loop that serves pages; it beats from the first question on."""

    def __init__(self, arena: "Arena") -> None:
        self.arena = arena
        self.pulse = Pulse()
        self._beat: asyncio.Task[None] | None = None
        self._process = f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(3)}"
        self._opened = time.monotonic()
        self._write: asyncio.Task[float] | None = None
        self._asked = 0.0
        self._store: dict[str, Any] = {}
        self._forget_at = 0.0

    def routes(self) -> "list[Route]":
        """What arena/server.py mounts."""
        from starlette.routing import Route

        return [Route("/healthz", self.healthz), Route("/metrics", self.metrics)]

    async def healthz(self, request: "Request") -> "Response":
        """200 while votes are taken, else 503 and why."""
        from starlette.responses import JSONResponse

        self._keep_beating()
        report = await self.report()
        return JSONResponse(report, 503 if report["status"] == "down" else 200, headers={"Cache-Control": "no-store"})

    async def metrics(self, request: "Request") -> "Response":
        """Prometheus' text for those who may have it."""
        from prometheus_client import CONTENT_TYPE_LATEST
        from starlette.responses import PlainTextResponse, Response

        self._keep_beating()
        peer = request.client.host if request.client else None
        if "x-forwarded-for" in request.headers and not self.arena.settings.trusted_proxies:
            # From a proxy that nobody told us to believe: the peer is the proxy, not who asks.
            peer = None
        if not may_read(self.arena.settings.metrics, peer, request.headers.get("authorization", "")):
            return PlainTextResponse("metrics are closed: see 'metrics' in results/arena.yaml\n", 403)
        return Response(await asyncio.to_thread(metrics.exposition, self.arena, self), media_type=CONTENT_TYPE_LATEST)

    async def report(self) -> dict[str, Any]:
        """The document of /healthz."""
        arena = self.arena
        store = await self._probe_store()
        able, resting = arena.endpoints.keys(), arena.resting() & arena.endpoints.keys()
        alive = arena.pulse.alive()
        down = [] if store["writable"] else [f"the store takes no votes: {store['error']}"]
        down += [] if alive else ["the loop that generates answers has stopped"]
        poor = [] if len(able) > 1 else [f"{len(able)} endpoints can answer, a battle needs two"]
        poor += ["all endpoints but one rest because they failed"] if len(able) > 1 and len(able - resting) < 2 else []
        return {
            "status": "down" if down else "degraded" if poor else "ok",
            "reasons": down + poor,
            "store": {key: value for key, value in store.items() if key != "error"} | {"queued": arena.store.queue_length()},
            "generation": {"alive": alive, "lateness_s": round(arena.pulse.lateness_s(), 4)},
            "endpoints": {"able": len(able), "resting": len(resting)},
            "rounds_under_way": sum(not round_.ended for round_ in list(arena.rounds.values())),
            "up_s": round(time.monotonic() - self._opened, 1),
        }

    def _keep_beating(self) -> None:
        if self._beat is None:
            self._beat = asyncio.get_running_loop().create_task(self.pulse.beat())

    async def _probe_store(self) -> dict[str, Any]:
        """Whether one small row gets through the writer to the disk: the only proof that votes do."""
        if self._write is None and time.monotonic() - self._asked < _KEPT_S:
            return self._store
        if self._write is None:
            self._asked = time.monotonic()
            self._write = asyncio.get_running_loop().create_task(asyncio.to_thread(self._touch))
        write = self._write
        try:
            write_s = await asyncio.wait_for(asyncio.shield(write), STUCK_S)
        except TimeoutError:
            # The same write is waited for again by the next who asks: threads must not pile up behind a disk that hangs.
            self._store = {"writable": False, "write_s": None, "error": f"a write takes longer than {STUCK_S:g} s"}
            return self._store
        except BakeoffError as error:
            # The path and the database's words are for the log; the public learns what it means.
            log.error("the store cannot be written: %s", error)
            self._store = {"writable": False, "write_s": None, "error": "a write failed (see the log)"}
        else:
            self._store = {"writable": True, "write_s": round(write_s, 4)}
        if self._write is write:
            self._write = None
        return self._store

    def _touch(self) -> float:
        start = time.perf_counter()
        seen_at = now().replace(tzinfo=None)
        steps: list[Step] = [("touch", [self._process, seen_at])]
        if tidy := time.monotonic() >= self._forget_at:
            steps.append(("forget_heartbeats", [seen_at - _FORGET_AFTER]))
        self.arena.store.run(*steps)
        if tidy:
            self._forget_at = time.monotonic() + _FORGET_EVERY_S
        return time.perf_counter() - start


def may_read(allowed: "Metrics | None", peer: str | None, authorization: str) -> bool:
    """Whether a request from `peer` with this Authorization header may see the metrics. Tokens are compared in constant time."""
    if allowed is None:
        return False
    token = os.environ.get(allowed.token_env or "", "").strip()
    given = authorization.removeprefix("Bearer ").strip()
    if token and secrets.compare_digest(given.encode(), token.encode()):
        return True
    try:
        address = ip_address(peer or "")
    except ValueError:
        return False
    return any(address in ip_network(network) for network in allowed.addresses)
