"""Holds an engine on a leash: when whoever started it is gone, however it went, its processes end and its endpoints are unregistered.

    python -I leash.py ENDPOINT_FILE BASE_URL COMMAND …

Standard input is the leash: the starter holds the other end of the pipe, which the kernel closes even when the starter is killed with
SIGKILL. Only the standard library is imported, so that the leash itself weighs next to nothing.
"""

import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

_POLL_S = 0.2
GRACE_S = 8.0


def hold(endpoint_file: Path, base_url: str, command: list[str]) -> int:
    """Run `command` until it ends, the leash is let go or a signal arrives; returns its exit code (128 + number for a signal)."""

    signals: list[int] = []
    # Noted rather than raised: an exception out of a handler could strike between any two lines, also of the tidying up.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: signals.append(number))
    starter = os.getppid()
    engine = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    while engine.poll() is None and not signals and os.getppid() == starter:
        # Nothing is ever written: readable means that the other end was closed.
        if select.select([0], [], [], _POLL_S)[0]:
            break
    _unregister(endpoint_file, base_url)
    code = _end(engine)
    return code if code >= 0 else 128 - code


def follow_stdin() -> None:
    """From now on this process gets SIGTERM when standard input is closed, which the kernel does when its starter is killed."""

    def follow() -> None:
        try:
            while os.read(0, 4096):
                pass
        except OSError:
            # Closed from the first.
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, daemon=True).start()


def _unregister(endpoint_file: Path, base_url: str) -> None:
    """The endpoint and its adapters, also those that were loaded later."""
    for path in endpoint_file.parent.glob("*.yaml"):
        try:
            text = path.read_text(encoding="utf-8")
            # Only what this engine registered: the same id may have been started again on another port.
            if base_url in text and (path == endpoint_file or "\nadapter_of: " in text):
                path.unlink()
        except OSError:
            pass


def _end(engine: "subprocess.Popen[bytes]") -> int:
    """End the whole group, of which this process is the leader: SIGTERM, then SIGKILL for what is left after the grace."""
    try:
        os.killpg(0, signal.SIGTERM)
        code = engine.wait(GRACE_S)
        # Workers of the engine that outlive it get a moment; the leash itself always counts as one of the group.
        time.sleep(_POLL_S)
    except subprocess.TimeoutExpired:
        os.killpg(0, signal.SIGKILL)
        raise
    return code


if __name__ == "__main__":
    sys.exit(hold(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
