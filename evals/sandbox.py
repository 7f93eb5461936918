"""Run code that a model wrote, in a process that can do no harm; off unless a person says so (`evals run SUITE --allow-code`).

    with allowing_code(True):
        (outcome,) = run_programs(["assert 1 + 1 == 2"])        # outcome.passed, outcome.says

Each program gets a Python process of its own (evals/confined.py) with an empty environment, no site-packages, a temporary folder that is
removed afterwards, limits on processor time, memory, file size and open files, no network, no child processes, no file outside its folder.
What the system cannot enforce is refused inside Python instead, and said in the log. It stops accidents and the usual mischief; it is no
virtual machine, and a program that sets out to cheat its own test can: both run in one process.
"""

import json
import logging
import math
import os
import secrets
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from evals.errors import TaskError

log = logging.getLogger(__name__)

CHILD = Path(__file__).parent / "confined.py"
# What a child may say about itself; whatever comes after that is not read.
MAX_REPORT_BYTES = 8192
START_S = 30.0
# Each refuses by itself what it can; tests look at them one by one.
LAYERS = ("kernel", "hook")
_ALLOWED: ContextVar[bool] = ContextVar("allowed", default=False)


@dataclass(frozen=True)
class Limits:
    """`wall_s` counts from the moment the program starts, not its interpreter; `memory_mb` is address space."""

    cpu_s: float = 3.0
    wall_s: float = 6.0
    memory_mb: int = 1024
    file_mb: int = 16
    open_files: int = 64


@dataclass(frozen=True)
class Outcome:
    """`passed` when the program ran to its end without an exception; `says` is "passed", "timed out" or "failed: …" in one line.

    `confinement` tells how each thing was refused: by the kernel ("namespace", "landlock", "system-call filter", "limit") or "audit hook".
    """

    passed: bool
    says: str
    confinement: dict[str, str]


@contextmanager
def allowing_code(allowed: bool) -> Iterator[None]:
    """Within this block generated code may be run, if `allowed`; nowhere else."""
    token = _ALLOWED.set(allowed)
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def require_allowed(what: str) -> None:
    """Raises TaskError about `what`, naming the flag, where nobody has allowed generated code to run; and on systems without the means."""
    if not _ALLOWED.get():
        raise TaskError(f"{what} runs code that the model writes, in a sandbox on this machine; allow it with --allow-code")
    if os.name != "posix":
        raise TaskError(f"{what} runs code that the model writes, and this system cannot confine it; use Linux or macOS")


def run_programs(sources: Sequence[str], limits: Limits | None = None) -> list[Outcome]:
    """Run each program to its end or its limit, as many at once as there are processors; outcomes in order.

    Raises TaskError (see require_allowed).
    """
    require_allowed("one of these tasks")
    chosen = limits or Limits()
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as threads:
        outcomes = list(threads.map(lambda source: _run(source, chosen), sources))
    weak = sorted({what for outcome in outcomes for what, how in outcome.confinement.items() if how == "audit hook"})
    if weak:
        log.warning("sandbox: this system's kernel does not refuse generated code %s; Python's audit hook does", ", ".join(weak))
    return outcomes


def _run(source: str, limits: Limits, layers: Sequence[str] = LAYERS) -> Outcome:
    nonce = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="bakeoff-code-", ignore_cleanup_errors=True) as folder:
        reading, writing = os.pipe()
        try:
            config = {
                "nonce": nonce,
                "report": writing,
                "cpu_s": math.ceil(limits.cpu_s),
                "memory_bytes": limits.memory_mb << 20,
                "file_bytes": limits.file_mb << 20,
                "open_files": limits.open_files,
                "layers": list(layers),
            }
            child = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", str(CHILD), json.dumps(config)],
                cwd=folder,
                env={},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=(writing,),
            )
        finally:
            os.close(writing)
        try:
            _feed(child, source)
            report, in_time = _listen(reading, limits.wall_s)
        finally:
            os.close(reading)
            _end(child)
    return _outcome(report, nonce, in_time, child.returncode)


def _feed(child: "subprocess.Popen[bytes]", source: str) -> None:
    assert child.stdin is not None
    try:
        # A lone surrogate in a model's answer is no program either.
        child.stdin.write(source.encode(errors="replace"))
        child.stdin.close()
    except BrokenPipeError:
        pass


def _listen(reading: int, wall_s: float) -> tuple[bytes, bool]:
    """What the child reports until it ends, and whether that came in time: START_S for the first line, then wall_s for the rest."""
    report = b""
    deadline = time.monotonic() + START_S
    started = False
    with selectors.DefaultSelector() as waiting:
        waiting.register(reading, selectors.EVENT_READ)
        while len(report) < MAX_REPORT_BYTES:
            if not waiting.select(max(0.0, deadline - time.monotonic())):
                return report, False
            piece = os.read(reading, 4096)
            if not piece:
                break
            report += piece
            if not started and b"\n" in report:
                started, deadline = True, time.monotonic() + wall_s
    return report, True


def _end(child: "subprocess.Popen[bytes]") -> None:
    """The whole process group, whatever it still does."""
    try:
        # The report's end may come a moment before the process's own.
        child.wait(timeout=0.2)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def _outcome(report: bytes, nonce: str, in_time: bool, code: int) -> Outcome:
    first, _, rest = report.decode(errors="replace").partition("\n")
    confinement: dict[str, str] = json.loads(first) if first.startswith("{") else {}
    if not confinement:
        raise TaskError(f"the sandbox did not start (exit code {code}): {first or 'it said nothing'}; generated code was not run")
    if rest.startswith(f"{nonce} passed"):
        return Outcome(True, "passed", confinement)
    if not in_time or -code == signal.SIGXCPU:
        return Outcome(False, "timed out", confinement)
    said = rest.removeprefix(f"{nonce} ").strip() if rest.startswith(nonce) else f"ended early ({_ending(code)})"
    return Outcome(False, f"failed: {' '.join(said.split())[:300]}", confinement)


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
