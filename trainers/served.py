"""Other rooms at work for a training, each by its command: `serving up` in a process of its own, `evals run`, `arena export`.

with served(folder, "candidate", results=room) as endpoint: ...
report = command("evals", "run", "demo", "--json", results=results)
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from serving.documents import stamp
from serving.endpoints import Endpoint, load_endpoints
from trainers.errors import CommandFailed

# A model of many gigabytes is read from a disk before it answers.
_READY_WITHIN_S = 1800.0
_STOPPED_WITHIN_S = 60.0


def command(room: str, *arguments: str, results: Path) -> str:
    """What a room's command says on stdout. Raises CommandFailed with its own last words."""
    done = subprocess.run([*_start(room), *arguments, "--results", str(results)], capture_output=True, text=True)
    if done.returncode != 0:
        raise CommandFailed(f"'{room} {' '.join(arguments[:2])}' failed: {_last_words(done.stderr)}")
    return done.stdout


def document(room: str, *arguments: str, results: Path) -> Any:
    """The JSON document that a room's command prints as the last line of stdout. Raises CommandFailed."""
    return json.loads(command(room, *arguments, "--json", results=results).strip().splitlines()[-1])


@contextmanager
def served(model: Path, endpoint_id: str, *, results: Path, engine: str = "transformers", more: Sequence[str] = ()) -> Iterator[Endpoint]:
    """`serving up` on a folder while the `with` lasts; registered under `results` once it answers. Raises CommandFailed."""
    process, endpoint = start_serving(model, endpoint_id, results=results, engine=engine, more=more)
    try:
        yield endpoint
    finally:
        stop_serving(process)


def start_serving(
    model: Path, endpoint_id: str, *, results: Path, engine: str = "transformers", more: Sequence[str] = ()
) -> tuple["subprocess.Popen[bytes]", Endpoint]:
    """`serving up` in a session of its own, once it is registered: (process, endpoint). Raises CommandFailed when it ends before.

    It ends with this process, however that ends: it reads from a pipe whose other end is here alone.
    """
    path = results / "endpoints" / f"{endpoint_id}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    # A crash may have left the file of an engine that is gone.
    before = stamp(path)
    line = ["up", str(model), "--engine", engine, "--id", endpoint_id, "--results", str(results), "--leashed", *more]
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen([*_start("serving"), *line], stdin=subprocess.PIPE, stdout=words, stderr=words, start_new_session=True)
        limit = time.monotonic() + _READY_WITHIN_S
        try:
            while stamp(path) in (before, ()):
                if process.poll() is not None:
                    raise CommandFailed(f"'serving up {model}' ended: {_last_words(_read(words))}")
                if time.monotonic() > limit:
                    raise CommandFailed(f"'serving up {model}' did not answer within {_READY_WITHIN_S:g} s")
                time.sleep(0.1)
            return process, load_endpoints(results)[endpoint_id]
        except BaseException:
            stop_serving(process)
            raise


def stop_serving(process: "subprocess.Popen[bytes]") -> None:
    """End `serving up` as Ctrl-C does: its endpoint goes before its engine."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _start(room: str) -> list[str]:
    return [sys.executable, "-m", f"{room}.cli"]


def _read(words: IO[bytes]) -> str:
    words.seek(0, os.SEEK_SET)
    return words.read().decode("utf-8", "replace")


def _last_words(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return (lines[-1] if lines else "it said nothing").removeprefix("\x1b[31m").removesuffix("\x1b[0m").removeprefix("error: ")
