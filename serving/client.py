"""The one client: every answer that the arena shows, the harness scores and the load generator times comes through it.

    async with Client() as client:
        completion = await client.ask(endpoint, Request.user("Why is the sky blue?"), on_text=show)

`ask` is three steps that a load generator takes apart: `prepare` (encode), `Client.exchange` (send, wait), `completion_of` (parse).

A request that fails raises nothing: its Completion has a status and an error text. Configuration that is wrong (a missing key) raises.
The clock starts when the request is written to an open connection: connecting is not part of TTFT. A request that is asked again
starts a new clock.
"""

import asyncio
import math
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType

from serving.completion import Completion, Request
from serving.connection import Connection, Exchange
from serving.endpoints import Endpoint
from serving.errors import CannotAsk, NotRecorded, Unreachable
from serving.pool import Pool, connect_problem
from serving.prepared import Prepared, address_of, prepare
from serving.reading import Reader, completion_of
from serving.recorded import ask_recording, load_recording
from serving.retrying import wait_s, worth_retrying

__all__ = ["Client", "Exchange", "OnText", "Prepared", "Timeouts", "check_reachable", "completion_of", "prepare"]

OnText = Callable[[str], None]


@dataclass(frozen=True)
class Timeouts:
    """Seconds to wait: for the connection, the first token, between two tokens, and for the whole of one attempt.

    Comments, pings and the empty role chunk are no tokens: a server that only says it lives is not answering.
    """

    connect_s: float = 10.0
    first_s: float = 300.0
    between_s: float = 120.0
    total_s: float = 1800.0


class Client:
    """Asks endpoints over pooled keep-alive connections; belongs to the event loop it is entered in.

    `speed` is the pace at which recorded endpoints reveal their text (1: as recorded, inf: at once). `max_retries` bounds how often a
    request is asked again that the server did not begin to answer (serving/retrying.py says when); 0 for measuring.
    """

    def __init__(self, *, speed: float = math.inf, timeouts: Timeouts | None = None, max_retries: int = 2) -> None:
        self.speed = speed
        self.timeouts = timeouts or Timeouts()
        self.max_retries = max_retries
        self._pool = Pool(self.timeouts.connect_s)

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.close()

    async def ask(self, endpoint: Endpoint, request: Request, on_text: OnText | None = None) -> Completion:
        """One request, its text handed to `on_text` as it arrives.

        `on_text` runs on the event loop: while it works nothing is read, the server is held back by TCP, and memory does not grow; but
        the moments of what arrives meanwhile, for every request on this loop, are read late. What it raises ends the request and is
        raised here. Cancelling closes the connection at once. Raises MissingKey, and DocumentError for an unreadable recording.
        """
        if endpoint.wire == "recorded":
            try:
                return await ask_recording(endpoint, request, speed=self.speed, on_text=on_text)
            except NotRecorded as error:
                return Completion(endpoint=endpoint.id, request=request, status="api_error", error=f"NotRecorded: {error}")
        try:
            prepared = prepare(endpoint, request)
        except CannotAsk as error:
            return Completion(endpoint=endpoint.id, request=request, status="api_error", error=f"CannotAsk: {error}")
        reader: Reader | None = None

        def watch(exchange: Exchange) -> None:
            nonlocal reader
            if reader is None or reader.exchange is not exchange:
                reader = Reader(endpoint.wire, exchange)
            assert on_text is not None
            for text in reader.read():
                on_text(text)

        asked_at, asked_ns = datetime.now(UTC), time.perf_counter_ns()
        exchange = await self.exchange(prepared, on_change=watch if on_text is not None else None)
        if on_text is not None:
            # A body that the closing of the connection ended may hold one last event.
            watch(exchange)
        waited_us = max(exchange.sent_ns - asked_ns, 0) // 1000
        return completion_of(prepared, exchange, asked_at + timedelta(microseconds=waited_us), reader=reader)

    async def exchange(self, prepared: Prepared, *, on_change: Callable[[Exchange], None] | None = None) -> Exchange:
        """Send one request and wait for the whole response; `on_change` is called after each arrival.

        Raises nothing for a request that failed: `failure` and `status` say what happened. Retried at most `max_retries` times.
        """
        retries = 0
        while True:
            exchange, again = await self._attempt(prepared, on_change)
            exchange.retries = retries
            if not again or retries >= self.max_retries:
                return exchange
            await asyncio.sleep(wait_s(retries, exchange.headers))
            retries += 1

    async def _attempt(self, prepared: Prepared, on_change: Callable[[Exchange], None] | None) -> tuple[Exchange, bool]:
        """One exchange, and whether the server did not begin to answer it, so that it may be asked again."""
        address, pool = prepared.address, self._pool
        while True:
            connection = pool.idle(address)
            used = connection is not None
            if connection is None:
                try:
                    connection = await pool.connect(address)
                except (OSError, TimeoutError) as error:
                    return _unconnected(prepared, error, self.timeouts), not isinstance(error, ssl.SSLError)
            try:
                exchange = connection.send(prepared.payload, on_change)
                patience = _Patience(self.timeouts, prepared.endpoint.wire, connection)
                try:
                    await connection.finished()
                finally:
                    patience.end()
            except BaseException:
                connection.close()
                raise
            pool.give_back(address, connection)
            if used and exchange.failure is not None and not exchange.status and not exchange.timed_out:
                # The server closed an idle connection just as we wrote to it: nothing was answered, so ask anew, with a new clock.
                continue
            return exchange, worth_retrying(exchange.status) and not exchange.timed_out


class _Patience:
    """Ends an exchange that takes too long. What has come is read only when the time might be up: never while all goes well."""

    __slots__ = ("_timeouts", "_wire", "_connection", "_reader", "_timer")

    def __init__(self, timeouts: Timeouts, wire: str, connection: Connection) -> None:
        self._timeouts = timeouts
        self._wire = wire
        self._connection = connection
        self._reader: Reader | None = None
        shortest_s = min(timeouts.first_s, timeouts.between_s, timeouts.total_s)
        self._timer = asyncio.get_running_loop().call_later(shortest_s, self._look)

    def end(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        exchange, timeouts = self._connection.exchange, self._timeouts
        assert exchange is not None
        if exchange.ended:
            return
        if self._reader is None:
            self._reader = Reader(self._wire, exchange)
        last_ns = self._reader.last_token_ns()
        now_s = (time.perf_counter_ns() - exchange.sent_ns) / 1e9
        if last_ns is None:
            limit_s, why = timeouts.first_s, f"no token came within {timeouts.first_s:g} s"
        else:
            limit_s = (last_ns - exchange.sent_ns) / 1e9 + timeouts.between_s
            why = f"no further token came within {timeouts.between_s:g} s"
        if timeouts.total_s < limit_s:
            limit_s, why = timeouts.total_s, f"the answer was not whole within {timeouts.total_s:g} s"
        if now_s >= limit_s:
            self._connection.fail(f"{why} (after {len(exchange.body)} pieces)", timed_out=True)
            return
        # A first token may come at any time, and from then on the shorter patience holds.
        wait_s = min(limit_s - now_s, timeouts.between_s)
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._look)


async def check_reachable(endpoint: Endpoint) -> None:
    """Before a run: raises MissingKey, Unreachable (nobody listens at base_url) or DocumentError (recording unreadable)."""
    if endpoint.wire == "recorded":
        assert endpoint.recording is not None
        load_recording(endpoint.recording)
        return
    endpoint.api_key()
    address = address_of(endpoint)
    pool = Pool(Timeouts().connect_s)
    try:
        connection = await pool.connect(address)
    except TimeoutError:
        reason = f"no connection within {Timeouts().connect_s:g} s"
    except OSError as error:
        reason = connect_problem(error)
    else:
        connection.close()
        return
    what = f"endpoint '{endpoint.id}' does not answer at {endpoint.base_url}"
    raise Unreachable(f"{what}: {reason}; start its server or correct base_url")


def _unconnected(prepared: Prepared, error: Exception, timeouts: Timeouts) -> Exchange:
    address = prepared.address
    where, now_ns = f"{address.host}:{address.port}", time.perf_counter_ns()
    if isinstance(error, TimeoutError):
        return Exchange(ended_ns=now_ns, timed_out=True, failure=f"no connection to {where} within {timeouts.connect_s:g} s")
    return Exchange(ended_ns=now_ns, failure=f"no connection to {where}: {connect_problem(error)}")
