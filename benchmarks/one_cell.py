"""One cell of the accuracy table: one client, one workload, one server of its own, and what the client's account is worth.

figures = streams("aiohttp", 64, setup)          # {"ttft_error_p50_ms": …, "gap_error_p99_ms": …, "cpu_us_per_token": …, …}
figures = one_token("aiohttp", setup)            # {"requests_per_s": …, "cpu_us_per_request": …}
"""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paced_server import PacedServer
from whole_tools import COMMANDS, RECORDS, Requests, Size

CLIENTS = ("ours", "evals load", "aiohttp", "httpx", "openai", "aiperf", "floor")
OWN = ("ours", "evals load", "floor")
TTFT_MS, GAP_MS, TOKENS = 50.0, 10.0, 100
ANSWER_S = (TTFT_MS + GAP_MS * (TOKENS - 1)) / 1e3
RATE_CONCURRENCY, RATE_S = 64, 3.0
# A tool is told how many requests, not how long: about RATE_S worth of them.
RATE_REQUESTS = {"aiperf": 1500, "evals load": 15_000}
PATIENCE_S = 120

Figures = dict[str, float]


@dataclass(frozen=True)
class Setup:
    """Interpreters for our own and for the peers' clients, the two cores, and how many answers each stream asks for."""

    peers: Path
    own: Path = Path(sys.executable)
    server_core: int = 0
    client_core: int = 1
    rounds: int = 3
    priority: bool = False

    def python(self, client: str) -> Path:
        return self.own if client in OWN else self.peers

    def server(self, **pace: float) -> PacedServer:
        """A server of this pace, in its place."""
        return PacedServer(before=self.place(self.server_core), **pace)

    def place(self, core: int) -> Callable[[], None]:
        """What a child process does first: take its core, and with `priority` go before everybody else on it.

        Linux weighs sessions before processes (autogroup), so that a nice value alone says nothing to another session's processes.
        """

        def take() -> None:
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(0, {core})
            if self.priority:
                os.nice(-20)
                with suppress(FileNotFoundError):
                    Path("/proc/self/autogroup").write_text("-20", encoding="ascii")

        return take


class ClientFailed(Exception):
    """The client under test did not do its job; says the last line it wrote."""


def streams(client: str, concurrency: int, setup: Setup) -> Figures:
    """100 tokens at 100 tokens/s on so many connections at once: errors in ms, CPU in µs a token, seconds to the first request."""
    rounds = setup.rounds if concurrency > 1 else setup.rounds * 3
    with setup.server(ttft_ms=TTFT_MS, gap_ms=GAP_MS, tokens=TOKENS) as server, tempfile.TemporaryDirectory() as folder:
        if client in COMMANDS:
            # What a tool spends on starting and reporting is no token's: a run with a third of the rounds tells how much that is.
            few = Size(concurrency, concurrency * max(rounds // 3, 1), TOKENS)
            first, _, few_cpu_s, _ = _tool(client, server, few, setup, Path(folder) / "few")
            server.clear()
            size = Size(concurrency, concurrency * rounds, TOKENS)
            requests, wall_s, cpu_s, launched_ns = _tool(client, server, size, setup, Path(folder) / "all")
            cpu_s, kernel_s = cpu_s[0] - few_cpu_s[0], cpu_s[1] - few_cpu_s[1]
            paid_for, rate = len(requests) - len(first), len(requests) / wall_s
        else:
            job = {"kind": "streams", "concurrency": concurrency, "rounds": rounds, "spread_s": ANSWER_S}
            told, launched_ns = _bare(client, server, job, setup, Path(folder))
            requests = {name: ((seen[0] - sent) / 1e9, _gaps_s(seen)) for name, (sent, seen) in told["requests"].items()}
            cpu_s, kernel_s, paid_for, rate = told["cpu_s"], told["kernel_s"], len(requests), told["requests_per_s"]
        stats = server.stats(requests=True)
    answers = sorted((one for one in stats["requests"] if sum(one["tokens"])), key=lambda one: one["arrived_ns"])
    return {
        **_errors(requests, answers),
        "cpu_us_per_token": cpu_s / (paid_for * TOKENS) * 1e6,
        "kernel_us_per_token": kernel_s / (paid_for * TOKENS) * 1e6,
        "requests_per_s": rate,
        "first_request_s": (answers[0]["arrived_ns"] - launched_ns) / 1e9,
        "server_late_p99_ms": stats["lateness_ms"]["p99"],
        "load_average": os.getloadavg()[0],
    }


def one_token(client: str, setup: Setup) -> Figures:
    """Answers of one token, at once, to 64 loops: how many a second, everything included."""
    with setup.server(ttft_ms=0, gap_ms=0, tokens=1) as server, tempfile.TemporaryDirectory() as folder:
        if client in COMMANDS:
            size = Size(RATE_CONCURRENCY, RATE_REQUESTS[client], 1)
            requests, wall_s, (cpu_s, _), _ = _tool(client, server, size, setup, Path(folder) / "rate")
            count, window_s = len(requests), wall_s
        else:
            job = {"kind": "rate", "concurrency": RATE_CONCURRENCY, "seconds": RATE_S}
            told, _ = _bare(client, server, job, setup, Path(folder))
            count, wall_s, window_s, cpu_s = told["count"], told["wall_s"], told["window_s"], told["cpu_s"]
        stats = server.stats()
    if stats["outcomes"].get("complete", 0) < count:
        raise ClientFailed(f"claims {count} answers where the server gave {stats['outcomes']}")
    return {
        "requests_per_s": count / wall_s,
        "sent_per_s": count / window_s,
        "cpu_us_per_request": cpu_s / count * 1e6,
        "server_cpu_share": stats["cpu_s"] / window_s,
        "load_average": os.getloadavg()[0],
    }


def _bare(client: str, server: PacedServer, job: dict[str, Any], setup: Setup, folder: Path) -> tuple[dict[str, Any], int]:
    """What stream_clients.py told, and when it was launched."""
    out = folder / "told.json"
    job = {**job, "client": client, "base_url": server.base_url, "out": str(out)}
    script = str(Path(__file__).with_name("stream_clients.py"))
    launched_ns = _run([str(setup.python(client)), script, json.dumps(job)], setup, folder)
    return json.loads(out.read_text(encoding="utf-8")), launched_ns


def _tool(client: str, server: PacedServer, size: Size, setup: Setup, folder: Path) -> tuple[Requests, float, tuple[float, float], int]:
    """What a whole tool measured, over how many seconds, its CPU from start to end (all, and the kernel's), and when it was launched."""
    command = COMMANDS[client](f"http://127.0.0.1:{server.port}", size, folder, setup.python(client))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    launched_ns = _run(command, setup, folder.parent)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    requests, wall_s = RECORDS[client](folder)
    user_s, kernel_s = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return requests, wall_s, (user_s + kernel_s, kernel_s), launched_ns


def _run(command: list[str], setup: Setup, folder: Path) -> int:
    """Run on the client's core to the end; returns when it was started. Raises ClientFailed."""
    log = folder / "log"
    launched_ns = time.perf_counter_ns()
    with log.open("wb") as written:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=written, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=setup.place(setup.client_core),
        )  # fmt: skip
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise ClientFailed(f"did not end within {PATIENCE_S} s") from None
        finally:
            # Whole tools are many processes; none of them outlives its cell.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise ClientFailed(f"exit {process.returncode}: {lines[-1][:200] if lines else 'no word'}")
    return launched_ns


def _errors(requests: Requests, answers: list[dict[str, Any]]) -> Figures:
    """The client's account against the server's: request by request by name, else in the order of sending."""
    by_name = {answer["name"]: answer for answer in answers if answer["name"]}
    # Tools that let us name no request: the last to arrive are those measured, in the order in which they were sent.
    in_order = dict(zip(requests, answers[-len(requests) :], strict=True))
    ttft_ms, gaps_ms, wrong = [], [], 0
    for name, (ttft_s, gaps_s) in requests.items():
        answer = by_name.get(name) or in_order[name]
        wrote_ns = [at_ns for at_ns, tokens in zip(answer["wrote_ns"], answer["tokens"], strict=True) if tokens]
        ttft_ms.append(abs(ttft_s * 1e3 - (wrote_ns[0] - answer["arrived_ns"]) / 1e6))
        true_s = _gaps_s(wrote_ns)
        if len(true_s) != len(gaps_s):
            wrong += 1
            continue
        gaps_ms += [abs(seen - true) * 1e3 for seen, true in zip(gaps_s, true_s, strict=True)]
    return {
        "ttft_error_p50_ms": percentile(ttft_ms, 50),
        "ttft_error_p99_ms": percentile(ttft_ms, 99),
        "gap_error_p99_ms": percentile(gaps_ms, 99),
        "requests": len(requests),
        "wrong_chunk_counts": wrong,
    }


def percentile(values: list[float], part: float) -> float:
    """The value below which `part` percent lie; nan of nothing."""
    return sorted(values)[min(int(len(values) * part / 100), len(values) - 1)] if values else float("nan")


def _gaps_s(moments_ns: list[int]) -> list[float]:
    return [(after - before) / 1e9 for before, after in zip(moments_ns, moments_ns[1:], strict=False)]
