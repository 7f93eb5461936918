"""Engines: servers for weights of one's own, as subprocesses that are started, waited for, registered and stopped whole.

    with up(Path("results/trainings/ID/merged"), results=Path("results")) as engine:
        engine.endpoint        # registered under results/endpoints/ while the with lasts

Each engine is a module with `command(...)` (what to run) and `READY` (the path that answers 200 when it can be asked).
"""

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.command import say
from serving.endpoints import Capabilities, Endpoint, register, unregister
from serving.engines import transformers
from serving.errors import EngineFailed, did_you_mean
from serving.listening import claim_port

ENGINES = {"transformers": transformers}
_GRACE_S = 10.0


@dataclass(frozen=True)
class Engine:
    """A server that runs: its endpoint, its process (leader of a group of its own) and where it logs."""

    endpoint: Endpoint
    process: "subprocess.Popen[bytes]"
    log_path: Path


@contextmanager
def up(
    model: Path,
    *,
    engine: str = "transformers",
    endpoint_id: str | None = None,
    port: int | None = None,
    results: Path,
    timeout_s: float = 180.0,
) -> Iterator[Engine]:
    """Serve a model folder while the `with` lasts, registered as an endpoint once it answers.

    Raises EngineFailed when the folder holds no model, the engine is unknown or did not become ready (with its last words), ServingError
    when the port is taken.
    """
    _check(model, engine)
    module = ENGINES[engine]
    port = _free_port(port)
    endpoint = describe(model, engine=engine, endpoint_id=endpoint_id, port=port)
    log_path = results / "endpoints" / f"{endpoint.id}.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            module.command(model.resolve(), port), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env={**os.environ, **module.ENVIRONMENT},
        )  # fmt: skip
    try:
        _wait_until_ready(process, f"http://127.0.0.1:{port}{module.READY}", log_path, timeout_s)
        _warm_up(endpoint, log_path)
        register(endpoint, results)
        yield Engine(endpoint, process, log_path)
    finally:
        unregister(endpoint.id, results)
        _stop(process)


def serve_forever(model: Path, *, engine: str, endpoint_id: str | None, port: int | None, results: Path) -> None:
    """`serving up`: in the foreground until Ctrl-C or SIGTERM. Raises EngineFailed when the engine ends by itself."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with up(model, engine=engine, endpoint_id=endpoint_id, port=port, results=results) as running:
            say(f"{running.endpoint.id} at {running.endpoint.base_url} (log: {running.log_path}); Ctrl-C stops it")
            code = running.process.wait()
            raise EngineFailed(f"engine '{engine}' ended by itself (exit code {code}): {_last_words(running.log_path)}")
    except KeyboardInterrupt:
        say("stopped")
    finally:
        signal.signal(signal.SIGTERM, before)


def describe(model: Path, *, engine: str, endpoint_id: str | None, port: int) -> Endpoint:
    """The endpoint that this model will be: open weights, nothing leaves the machine; a training of ours is linked by its id."""
    folder = model.resolve()
    training = folder.parent.name if folder.name == "merged" and (folder.parent / "training.json").is_file() else None
    return Endpoint(
        id=endpoint_id or training or folder.name,
        wire="openai",
        model=ENGINES[engine].served_name(folder),
        base_url=f"http://127.0.0.1:{port}/v1",
        engine=engine,
        open_weights=True,
        data_leaves=False,
        outputs_trainable=True if training else None,
        capabilities=Capabilities(chat=True, completions=True, usage=True, logprobs=False),
        training_id=training,
    )


def _check(model: Path, engine: str) -> None:
    if engine not in ENGINES:
        raise EngineFailed(f"no engine '{engine}'.{did_you_mean(engine, list(ENGINES))} Known: {', '.join(ENGINES)}")
    if not (model / "config.json").is_file():
        what = "no such folder" if not model.exists() else "holds no config.json"
        raise EngineFailed(f"{model}: {what}; name a folder with a model's weights, config and tokenizer")
    ENGINES[engine].check()


def _free_port(port: int | None) -> int:
    with claim_port("127.0.0.1", port or 0) as listener:
        return int(listener.getsockname()[1])


def _wait_until_ready(process: "subprocess.Popen[bytes]", url: str, log_path: Path, timeout_s: float) -> None:
    limit = time.monotonic() + timeout_s
    while True:
        if (code := process.poll()) is not None:
            raise EngineFailed(f"the engine ended at its start (exit code {code}): {_last_words(log_path)}")
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                if response.status == 200:
                    return
        except (OSError, urllib.error.URLError):
            pass
        if time.monotonic() > limit:
            raise EngineFailed(f"the engine was not ready within {timeout_s:g} s: {_last_words(log_path)} (log: {log_path})")
        time.sleep(0.1)


def _warm_up(endpoint: Endpoint, log_path: Path) -> None:
    """One short question: the first battle must not pay for what engines set up lazily, and a model that cannot answer is told now."""
    import asyncio

    from serving.client import Client
    from serving.completion import Request

    async def once() -> None:
        async with Client() as client:
            completion = await client.ask(endpoint, Request.user("Hello", max_tokens=4))
        if not completion.answered:
            raise EngineFailed(f"the engine started but gave no answer ({completion.status}: {completion.error}): {_last_words(log_path)}")

    asyncio.run(once())


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End the whole process group: SIGTERM, then SIGKILL for what is left after the grace."""
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


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _last_words(log_path: Path) -> str:
    lines = [line.strip() for line in log_path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-3:])[-600:] or "it said nothing"
