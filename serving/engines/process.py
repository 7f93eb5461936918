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


def wait_until_ready(process: Process, url: str, *, log_path: Path, within_s: float, dead: str | None = None) -> None:
    """Until `url` answers 200. `dead` is what a log says of an engine that lives on without its model.

    Raises EngineFailed with the log's last lines when the engine ends before, takes too long, or another process took its port.
    """
    started = time.monotonic()
    while True:
        if (code := process.poll()) is not None:
            raise EngineFailed(f"the engine ended at its start (exit code {code}): {last_words(log_path)} (log: {log_path})")
        if answers(url):
            if not listens(process.pid, urlsplit(url).port or 0):
                raise EngineFailed(f"another process took the port while the engine started ({url} answers); choose another with --port")
            return
        waited_s = time.monotonic() - started
        if dead is not None and dead in log_path.read_text(encoding="utf-8", errors="replace"):
            raise EngineFailed(f"the engine could not load the model: {last_words(log_path)} (log: {log_path})")
        if waited_s > within_s:
            raise EngineFailed(f"the engine was not ready within {within_s:g} s: {last_words(log_path)} (log: {log_path})")
        # Often at first; a big model that loads for minutes need not be asked ten times a second.
        time.sleep(min(0.1 + waited_s / 30, 1.0))


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
    said = [line.strip() for line in log_path.read_text(encoding="utf-8", errors="replace").splitlines()]
    # Our own questions are no words of the engine's.
    lines = [line for line in said if line and '"GET /' not in line]
    errors = [line[found.start() :][:300] for line in lines[-300:] if (found := re.search(r"\b\w*(Error|Exception): |Value error, ", line))]
    rest = [line[-200:] for line in lines[-2:] if not any(error in line for error in errors)]
    return " | ".join(dict.fromkeys([*errors[-2:], *rest])) or "it said nothing"


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
