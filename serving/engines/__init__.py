"""Engines: servers for weights of one's own, as subprocesses that are started, waited for, registered and stopped whole.

    with up(Path("results/trainings/ID/merged"), results=Path("results")) as engine:
        engine.endpoint        # registered under results/endpoints/ while the with lasts

Each engine is a module with `command(...)` (what to run) and `READY` (the path that answers 200 when it can be asked).
"""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.command import say
from serving.documents import parse_document
from serving.endpoints import Endpoint, load_endpoints, register, unregister
from serving.engines import leash, transformers
from serving.errors import EngineFailed, did_you_mean
from serving.listening import claim_port

ENGINES = {"transformers": transformers}
# The leash needs its own grace and a little more.
_GRACE_S = leash.GRACE_S + 4.0


@dataclass(frozen=True)
class Engine:
    """A server that runs: its endpoint, where it logs, and the process (leader of a group of its own) that ends when the engine does."""

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

    However this process ends, also by SIGTERM or SIGKILL, the engine's processes end and the endpoint is unregistered (see leash.py).
    Raises EngineFailed when the folder holds no model, the engine is unknown or did not become ready (with its last words), or the id is
    in use; ServingError when the port is taken; DocumentError for an id that cannot be one.
    """
    _check(model, engine)
    module = ENGINES[engine]
    port = _free_port(port)
    endpoint = describe(model, engine=engine, endpoint_id=endpoint_id, port=port)
    _check_id(endpoint, results)
    log_path = results / "endpoints" / f"{endpoint.id}.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    held = [str(log_path.with_name(f"{endpoint.id}.yaml").resolve()), str(endpoint.base_url), *module.command(model.resolve(), port)]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-I", leash.__file__, *held], stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
            env={**os.environ, **module.ENVIRONMENT},
        )  # fmt: skip
    try:
        _wait_until_ready(process, f"http://127.0.0.1:{port}{module.READY}", log_path, timeout_s)
        _warm_up(endpoint, log_path)
        register(endpoint, results)
        yield Engine(endpoint, process, log_path)
    finally:
        # First, so that nobody asks what is about to stop.
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
    values = {
        "id": endpoint_id or training or folder.name,
        "wire": "openai",
        "model": ENGINES[engine].served_name(folder),
        "base_url": f"http://127.0.0.1:{port}/v1",
        "engine": engine,
        "open_weights": True,
        "data_leaves": False,
        "outputs_trainable": True if training else None,
        "capabilities": {"chat": _has_chat_template(folder), "completions": True, "usage": True, "logprobs": False},
        "training_id": training,
    }
    return parse_document(values, Endpoint, where="the endpoint to serve (choose another --id)")


def _has_chat_template(folder: Path) -> bool:
    config = folder / "tokenizer_config.json"
    return (folder / "chat_template.jinja").is_file() or (config.is_file() and '"chat_template"' in config.read_text(encoding="utf-8"))


def _check_id(endpoint: Endpoint, results: Path) -> None:
    """Raises EngineFailed when the id is another endpoint's, or is being served at this moment. What a crash left behind is replaced."""
    known = load_endpoints(results).get(endpoint.id)
    if known is None:
        return
    if known.engine != endpoint.engine or known.base_url is None:
        raise EngineFailed(f"'{endpoint.id}' is the id of another endpoint; choose one with --id")
    try:
        with urllib.request.urlopen(known.base_url.removesuffix("/v1") + ENGINES[str(endpoint.engine)].READY, timeout=5):
            pass
    except OSError:
        return
    raise EngineFailed(f"'{endpoint.id}' is being served already at {known.base_url}; stop that first, or choose another --id")


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
    from concurrent.futures import ThreadPoolExecutor

    from serving.client import Client
    from serving.completion import Request

    question = Request.user("Hello", max_tokens=4) if endpoint.capabilities.chat else Request(prompt="Hello", max_tokens=4)

    async def once() -> None:
        async with Client() as client:
            completion = await client.ask(endpoint, question)
        if not completion.answered:
            raise EngineFailed(f"the engine started but gave no answer ({completion.status}: {completion.error}): {_last_words(log_path)}")

    # In a thread of its own, because whoever calls may be inside a running loop.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(once())).result()


def _stop(process: "subprocess.Popen[bytes]") -> None:
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


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _last_words(log_path: Path) -> str:
    lines = [line.strip() for line in log_path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-3:])[-600:] or "it said nothing"
