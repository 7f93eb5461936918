"""Load from processes that do nothing else: each makes its part, the parent only counts and merges.

    outcome = asyncio.run(make_load(Part(endpoint=endpoint, load=load), processes=2, folder=folder))

The parts' schedules are disjoint and start at one moment of the machine's monotonic clock, which all its processes share; raw samples are
merged, never percentiles. A part stops when its standard input ends, so that no load outlives the command that asked for it, however that
died.

    python -m evals.load.shards      what a part runs: a Part on stdin, then `go NANOSECONDS`; progress and the result on stdout, one JSON
    a line
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.errors import LoadError
from evals.load.loop import Progress, drive
from evals.load.plan import append_samples
from evals.load.turns import Part
from serving.errors import BakeoffError

# How long a part may take to say that it is ready (imports, warm-up) beyond its requests' own patience, and to parse what it measured.
START_S = 120.0
LEAD_NS = 50_000_000
OnCounts = Callable[[Progress], None]


@dataclass
class Outcome:
    """One load level's run: where its samples lie, and how the processes that made it kept time."""

    files: list[Path]
    loop_lateness_s: list[float]
    cpu_s: float
    cpu_share: float
    stopped: bool


@dataclass
class _Child:
    process: asyncio.subprocess.Process
    file: Path
    counts: dict[str, Any]
    result: dict[str, Any]
    ready: asyncio.Event
    errors: asyncio.Task[bytes]


async def make_load(part: Part, processes: int, *, folder: Path, stop: asyncio.Event, on_progress: OnCounts | None = None) -> Outcome:
    """Make the load with so many processes. Raises LoadError when one of them could not (its reason, in one line)."""
    places = part.load.concurrency or part.load.requests or processes
    shards = max(min(processes, places), 1)
    children: list[_Child] = []
    readers: list[asyncio.Task[None]] = []
    try:
        for shard in range(shards):
            file = folder / f".part-{part.point}-{part.repeat}-{shard}.jsonl"
            children.append(await _start(part.model_copy(update={"shard": shard, "shards": shards}), file))
        readers = [asyncio.ensure_future(_read(child, children, on_progress)) for child in children]
        together = asyncio.ensure_future(_go_together(children))
        stopping = asyncio.ensure_future(_stop_when(stop, children))
        await asyncio.gather(*readers)
        for task in (together, stopping):
            task.cancel()
        for child in children:
            await _check(child)
    finally:
        for task in readers:
            task.cancel()
        for child in children:
            if child.process.returncode is None:
                with suppress(ProcessLookupError):
                    child.process.kill()
                await child.process.wait()
            child.errors.cancel()
    results = [child.result for child in children]
    return Outcome(
        files=[child.file for child in children],
        loop_lateness_s=[late for result in results for late in result["loop_lateness_s"]],
        cpu_s=sum(result["cpu_s"] for result in results),
        cpu_share=max(result["cpu_s"] / max(result["wall_s"], 1e-9) for result in results),
        stopped=stop.is_set(),
    )


async def _start(part: Part, file: Path) -> _Child:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "evals.load.shards", stdin=-1, stdout=-1, stderr=-1, start_new_session=True, limit=2**26
    )
    assert process.stdin and process.stderr
    file.unlink(missing_ok=True)
    process.stdin.write(json.dumps({"part": part.model_dump(mode="json"), "file": str(file)}).encode() + b"\n")
    errors = asyncio.ensure_future(process.stderr.read())
    return _Child(process, file, {}, {}, asyncio.Event(), errors)


async def _read(child: _Child, children: list[_Child], on_progress: OnCounts | None) -> None:
    """Take in what a part says until it ends."""
    assert child.process.stdout
    try:
        async for line in child.process.stdout:
            said = json.loads(line)
            if "counts" in said:
                child.counts = said["counts"]
                if on_progress is not None:
                    on_progress(_total(children))
            elif "ready" in said:
                child.ready.set()
            else:
                child.result = said
    finally:
        child.ready.set()
    await child.process.wait()


async def _go_together(children: list[_Child]) -> None:
    """When every part has warmed up, tell them all the moment to start."""
    for child in children:
        await child.ready.wait()
    moment = time.perf_counter_ns() + LEAD_NS
    for child in children:
        _tell(child, f"go {moment}\n".encode())


async def _stop_when(stop: asyncio.Event, children: list[_Child]) -> None:
    await stop.wait()
    for child in children:
        if child.process.stdin:
            child.process.stdin.close()


def _tell(child: _Child, line: bytes) -> None:
    with suppress(ConnectionError, RuntimeError):
        assert child.process.stdin
        child.process.stdin.write(line)


async def _check(child: _Child) -> None:
    if "error" in child.result:
        raise LoadError(str(child.result["error"]))
    if "cpu_s" not in child.result:
        text = (await child.errors).decode("utf-8", "replace").strip()
        last = text.splitlines()[-1] if text else f"exit code {child.process.returncode}"
        raise LoadError(f"a process that made the load ended before its time: {last}")


def _total(children: list[_Child]) -> Progress:
    total = Progress(phase="load" if all(child.counts.get("phase") == "load" for child in children) else "warmup")
    for name in ("sent", "ended", "failed", "in_flight"):
        setattr(total, name, sum(child.counts.get(name, 0) for child in children))
    return total


async def _serve_part() -> None:
    """The child's life: read the part, warm up, wait for the moment, make the load, write the samples, tell the result."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    order = json.loads(await reader.readline())
    part, file = Part.model_validate(order["part"]), Path(order["file"])
    stop, go = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def listen() -> None:
        while line := await reader.readline():
            if line.startswith(b"go ") and not go.done():
                go.set_result(int(line[3:]))
        stop.set()
        if not go.done():
            go.set_result(time.perf_counter_ns())

    async def start_ns() -> int:
        _say({"ready": True})
        return int(await go)

    listening = asyncio.ensure_future(listen())
    try:
        driven = await drive(part, start_ns=start_ns, stop=stop, on_progress=lambda progress: _say({"counts": vars(progress)}))
    except BakeoffError as error:
        _say({"error": str(error)})
        return
    finally:
        listening.cancel()
    append_samples(file, driven.samples)
    _say({"loop_lateness_s": [round(late, 6) for late in driven.loop_lateness_s], "cpu_s": driven.cpu_s, "wall_s": driven.wall_s})


def _say(what: dict[str, Any]) -> None:
    with suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()


def _allow_sockets() -> None:
    """As many open sockets as the system grants: the usual soft limit of 1,024 would read as the server's."""
    try:
        import resource
    except ImportError:
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    """Entry of a part's process."""
    _allow_sockets()
    try:
        import uvloop
    except ImportError:
        asyncio.run(_serve_part())
    else:
        uvloop.run(_serve_part())


if __name__ == "__main__":
    main()
