"""One client under test, alone in its process: streams of known pace, or one-token requests as fast as they go. load_accuracy.py starts it.

    python benchmarks/stream_clients.py '{"client": "aiohttp", "kind": "rate", "base_url": "http://127.0.0.1:PORT/v1", "concurrency": 64,
                                          "seconds": 3, "out": "rate.json"}'

Every client is used as its own documentation would have it (aiohttp as vLLM's benchmark does), takes the clock just before the request and
at each content chunk once it has it, and gets what is known to help: uvloop, no garbage collection in the window, pools without a limit.
What it found is written to `out` as JSON. Runs in any interpreter that has the client; only `ours` needs this checkout.
"""

import asyncio
import gc
import json
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

# What a request brought: when it was sent and when each content chunk was there, perf_counter_ns.
Times = tuple[int, list[int]]
Ask = Callable[[str], Awaitable[Any]]
Read = Callable[[Any], Times]

PROMPT = " ".join(f"word{number}" for number in range(100))
_now = time.perf_counter_ns


def body_of(name: str) -> dict[str, Any]:
    """The request of this name; the server's record of it bears the same."""
    body = {"model": "paced", "stream": True, "stream_options": {"include_usage": True}, "messages": [{"role": "user", "content": PROMPT}]}
    return body | ({"user": name} if name else {})


def has_content(event: dict[str, Any]) -> bool:
    """Whether the event brings text (the role, closing and usage events do not)."""
    return bool(event["choices"] and event["choices"][0]["delta"].get("content"))


@asynccontextmanager
async def ours(job: dict[str, Any]) -> AsyncIterator[tuple[Ask, Read]]:
    from datetime import UTC, datetime

    from serving.client import Client, completion_of, prepare
    from serving.completion import Request
    from serving.endpoints import Endpoint

    endpoint = Endpoint(id="paced", wire="openai", model="paced", base_url=job["base_url"])
    # As a load generator does it: everything is encoded before the clock starts, and parsed after the window.
    same = prepare(endpoint, Request.user(PROMPT))
    async with Client(max_retries=0) as client:

        async def ask(name: str) -> Any:
            prepared = prepare(endpoint, Request.user(PROMPT, extra={"user": name})) if name else same
            return prepared, datetime.now(UTC), await client.exchange(prepared)

        def read(answer: Any) -> Times:
            prepared, started_at, exchange = answer
            completion = completion_of(prepared, exchange, started_at)
            if not completion.answered:
                raise RuntimeError(f"{completion.status}: {completion.error}")
            return exchange.sent_ns, [exchange.sent_ns + round(at_s * 1e9) for at_s in completion.chunk_times_s]

        yield ask, read


@asynccontextmanager
async def over_aiohttp(job: dict[str, Any]) -> AsyncIterator[tuple[Ask, Read]]:
    import aiohttp

    url = job["base_url"] + "/chat/completions"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(name: str) -> Times:
            arrivals, rest, sent_ns = [], b"", _now()
            async with session.post(url, json=body_of(name)) as response:
                response.raise_for_status()
                async for piece in response.content.iter_any():
                    *events, rest = (rest + piece).split(b"\n\n")
                    for event in events:
                        data = event.removeprefix(b"data: ")
                        if data != b"[DONE]" and has_content(json.loads(data)):
                            arrivals.append(_now())
            return sent_ns, arrivals

        yield ask, _as_it_is


@asynccontextmanager
async def over_httpx(job: dict[str, Any]) -> AsyncIterator[tuple[Ask, Read]]:
    import httpx

    url = job["base_url"] + "/chat/completions"
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=None) as client:

        async def ask(name: str) -> Times:
            arrivals, sent_ns = [], _now()
            async with client.stream("POST", url, json=body_of(name)) as response:
                response.raise_for_status()
                async for line in response.aiter_lines():
                    if line.startswith("data: ") and line != "data: [DONE]" and has_content(json.loads(line[6:])):
                        arrivals.append(_now())
            return sent_ns, arrivals

        yield ask, _as_it_is


@asynccontextmanager
async def over_openai(job: dict[str, Any]) -> AsyncIterator[tuple[Ask, Read]]:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(api_key="none", base_url=job["base_url"], max_retries=0, timeout=600) as client:

        async def ask(name: str) -> Times:
            arrivals, sent_ns = [], _now()
            async for chunk in await client.chat.completions.create(**body_of(name)):
                if chunk.choices and chunk.choices[0].delta.content:
                    arrivals.append(_now())
            return sent_ns, arrivals

        yield ask, _as_it_is


@asynccontextmanager
async def floor(job: dict[str, Any]) -> AsyncIterator[tuple[Ask, Read]]:
    """No client at all: a protocol that keeps bytes and moments and finds the end by its last five. What asyncio and the kernel cost."""
    host, port = job["base_url"].split("/")[2].split(":")
    idle: list[Any] = []

    def encoded(name: str) -> bytes:
        data = json.dumps(body_of(name)).encode()
        return b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(data) + data

    same = encoded("")

    class Bare(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.pieces.append((_now(), data))
            if data.endswith(b"0\r\n\r\n"):
                self.done.set_result(None)

    async def ask(name: str) -> Any:
        bare = idle.pop() if idle else (await asyncio.get_running_loop().create_connection(Bare, host, int(port)))[1]
        request = encoded(name) if name else same
        bare.pieces, bare.done, sent_ns = [], asyncio.get_running_loop().create_future(), _now()
        bare.transport.write(request)
        await bare.done
        idle.append(bare)
        return sent_ns, bare.pieces

    def read(answer: Any) -> Times:
        return answer[0], [at_ns for at_ns, piece in answer[1] for _ in range(piece.count(b'"content":"w'))]

    yield ask, read


def _as_it_is(times: Times) -> Times:
    return times


CLIENTS = {"floor": floor, "ours": ours, "aiohttp": over_aiohttp, "httpx": over_httpx, "openai": over_openai}


async def streams(job: dict[str, Any]) -> dict[str, Any]:
    """`concurrency` streams, each asking `rounds` times one after another, begun evenly over the `spread_s` that one answer takes."""
    count, rounds = job["concurrency"], job["rounds"]
    async with CLIENTS[job["client"]](job) as (ask, read):
        for answer in await asyncio.gather(*(ask(f"warm-{number}") for number in range(count))):
            # What a client loads at its first answer is its start, and no token's.
            read(answer)
        _no_collections()

        async def stream(number: int) -> tuple[list[tuple[str, Any]], float]:
            await asyncio.sleep(job["spread_s"] * number / count)
            began_ns = _now()
            answers = [(name, await ask(name)) for name in (f"{number}-{turn}" for turn in range(rounds))]
            return answers, (_now() - began_ns) / 1e9

        before = cpu_now()
        found = await asyncio.gather(*(stream(number) for number in range(count)))
        requests = {name: read(answer) for answers, _ in found for name, answer in answers}
        # All streams at once, each at its own rate: the staggered start and end are not the client's.
        rate = sum(len(answers) / wall_s for answers, wall_s in found)
        user_s, kernel_s = (after - start for start, after in zip(before, cpu_now(), strict=True))
        return {"requests_per_s": rate, "cpu_s": user_s + kernel_s, "kernel_s": kernel_s, "requests": requests}


async def rate(job: dict[str, Any]) -> dict[str, Any]:
    """One-token requests from `concurrency` loops for `seconds`; reading the answers is part of the time."""
    async with CLIENTS[job["client"]](job) as (ask, read):
        for answer in await asyncio.gather(*(ask("") for _ in range(job["concurrency"]))):
            read(answer)
        _no_collections()
        answers: list[Any] = []
        began_ns = _now()
        until_ns = began_ns + int(job["seconds"] * 1e9)

        async def loop() -> None:
            while _now() < until_ns:
                answers.append(await ask(""))

        cpu_s = time.process_time()
        await asyncio.gather(*(loop() for _ in range(job["concurrency"])))
        window_s = (_now() - began_ns) / 1e9
        if sum(len(read(answer)[1]) for answer in answers) != len(answers):
            raise RuntimeError("not every answer had one token")
        cpu_s, wall_s = time.process_time() - cpu_s, (_now() - began_ns) / 1e9
    return {"count": len(answers), "window_s": window_s, "wall_s": wall_s, "cpu_s": cpu_s}


def cpu_now() -> tuple[float, float]:
    """Seconds of CPU so far, in this process and in the kernel for it."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime, usage.ru_stime


def _no_collections() -> None:
    gc.collect()
    gc.freeze()
    gc.disable()


def main() -> None:
    """Do the job that the first argument describes."""
    job = json.loads(sys.argv[1])
    work = streams if job["kind"] == "streams" else rate
    try:
        import uvloop as loops
    except ImportError:
        loops = asyncio
    Path(job["out"]).write_text(json.dumps(loops.run(work(job))), encoding="utf-8")


if __name__ == "__main__":
    main()
