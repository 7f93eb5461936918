"""The process of an engine: started on a leash in a group of its own, waited for, listened to when it dies, stopped whole."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from serving.engines import leash
from serving.errors import EngineFailed

# The leash needs its own grace and a little more.
_GRACE_S = leash.GRACE_S + 4.0

Process = subprocess.Popen[bytes]


def start(command: list[str], *, variables: dict[str, str], endpoint_file: Path, base_url: str, log_path: Path) -> Process:
    """The command on a leash (leash.py), everything it says in the log."""
    log_path.parent.mkdir(parents=True, exist_ok=True)
    # The folder that the person stands in must not lend its modules to an engine: other distributions have an `evals`, too.
    fixed = {"PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
    environment = {**variables, **os.environ, **fixed}
    for name in ("PYTHONPATH", "VIRTUAL_ENV"):
        environment.pop(name, None)
    held = [sys.executable, "-I", leash.__file__, str(endpoint_file.resolve()), base_url, *command]
    with log_path.open("wb") as log:
        return subprocess.Popen(held, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True, env=environment)


def wait_until_ready(process: Process, url: str, *, log_path: Path, within_s: float) -> None:
    """Until `url` answers 200. Raises EngineFailed with the log's last lines when the engine ends before, or takes too long."""
    limit = time.monotonic() + within_s
    while True:
        if (code := process.poll()) is not None:
            raise EngineFailed(f"the engine ended at its start (exit code {code}): {last_words(log_path)} (log: {log_path})")
        if answers(url):
            if not listens(process.pid, urlsplit(url).port or 0):
                raise EngineFailed(f"another process took the port while the engine started ({url} answers); choose another with --port")
            return
        if time.monotonic() > limit:
            raise EngineFailed(f"the engine was not ready within {within_s:g} s: {last_words(log_path)} (log: {log_path})")
        time.sleep(0.1)


def answers(url: str) -> bool:
    """Whether `url` (on loopback, so no proxy is asked) answers 200."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as response:
            return bool(response.status == 200)
    except (OSError, ValueError):
        return False


def listens(group: int, port: int) -> bool:
    """Whether a process of this group listens on the port; True where that cannot be known (no /proc)."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            return True
        # Fields: number, local address:port in hexadecimal, remote, state (0A listens), … and tenth the inode.
        inodes |= {fields[9] for fields in map(str.split, lines) if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port}
    wanted = {f"socket:[{inode}]" for inode in inodes}
    return any(wanted & _open_files(folder) for folder in Path("/proc").iterdir() if folder.name.isdigit() and _group_of(folder) == group)


def _open_files(folder: Path) -> set[str]:
    found = set()
    try:
        for entry in (folder / "fd").iterdir():
            try:
                found.add(os.readlink(entry))
            except OSError:
                # Closed meanwhile.
                continue
    except OSError:
        pass
    return found


def _group_of(folder: Path) -> int | None:
    try:
        return int((folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[2])
    except (OSError, ValueError, IndexError):
        return None


def stop(process: Process) -> None:
    """Let the leash go, then end what is left of the process group: SIGTERM, and SIGKILL after the grace."""
    if process.stdin is not None:
        process.stdin.close()
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            continue
        if number is signal.SIGTERM and not _group_lives(process.pid):
            return


def last_words(log_path: Path) -> str:
    """What a log ends with, on one line: the last two errors in it, which tidying up may have buried, and its last two lines."""
    lines = [line.strip() for line in log_path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines[-300:] if re.search(r"\b\w*(Error|Exception): ", line)]
    told = dict.fromkeys([*errors[-2:], *lines[-2:]])
    return " | ".join(line[-250:] for line in told) or "it said nothing"


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
