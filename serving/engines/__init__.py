"""Engines: servers for weights of one's own, as subprocesses that are started, waited for, probed, registered and stopped whole.

    with up(Path("results/trainings/ID/merged"), results=Path("results")) as engine:
        engine.endpoint        # registered under results/endpoints/ while the with lasts

Each engine is a module of the shape in launch.py, in an environment of its own (environments.py).
"""

import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from serving.command import say
from serving.documents import parse_document
from serving.endpoints import Endpoint, load_endpoints, register, unregister
from serving.engines import leash, llamacpp, mlx, transformers, vllm
from serving.engines.environments import interpreter
from serving.engines.launch import Launch, Recipe
from serving.engines.process import Process, answers, last_words, start, stop, wait_until_ready
from serving.errors import EngineFailed, Unreachable, did_you_mean
from serving.listening import claim_port, free_port
from serving.probe import Probe, look_now

ENGINES: dict[str, Recipe] = {"vllm": vllm, "transformers": transformers, "llamacpp": llamacpp, "mlx": mlx}


@dataclass(frozen=True)
class Options:
    """How an engine is started: LoRA adapters by name, the engine's own settings, whether it may be installed, how long to wait.

    `force` also serves a training that its gate refused.
    """

    adapters: Mapping[str, Path] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    install: bool = False
    timeout_s: float | None = None
    force: bool = False


@dataclass(frozen=True)
class Engine:
    """A server that runs: its endpoints, what the probe saw, where it logs, and the process (leader of a group of its own)."""

    endpoint: Endpoint
    adapters: tuple[Endpoint, ...]
    probe: Probe
    process: Process
    log_path: Path


@contextmanager
def up(
    model: Path,
    *,
    results: Path,
    engine: str = "transformers",
    endpoint_id: str | None = None,
    port: int | None = None,
    options: Options | None = None,
) -> Iterator[Engine]:
    """Serve a model while the `with` lasts, registered as an endpoint once it answers, each adapter as one of its own.

    However this process ends, also by SIGTERM or SIGKILL, the engine's processes end and the endpoints are unregistered (see leash.py).
    Raises EngineFailed when there is no such model, the engine is unknown, not installed, or did not become ready (with its last words),
    or an id is in use; ServingError when the port is taken; DocumentError for an id that cannot be one.
    """
    options = options or Options()
    recipe = recipe_of(engine)
    recipe.check(model)
    _check_adapters(engine, options.adapters)
    for folder in (model, *options.adapters.values()):
        _check_gate(folder, force=options.force)
    port = _free_port(port)
    endpoint = describe(model, engine=engine, endpoint_id=endpoint_id, port=port)
    adapters = tuple(describe_adapter(endpoint, name, path) for name, path in options.adapters.items())
    for one in (endpoint, *adapters):
        _check_id(one, results)
    python = interpreter(recipe, engine, install=options.install)
    log_path = results / "endpoints" / f"{endpoint.id}.log"
    absolute = {name: path.resolve() for name, path in options.adapters.items()}
    process = start(
        recipe.command(Launch(model.resolve(), port, python, absolute, options.settings)),
        variables=recipe.environment(),
        endpoint_file=log_path.with_name(f"{endpoint.id}.yaml"),
        base_url=str(endpoint.base_url),
        log_path=log_path,
    )
    try:
        url = str(endpoint.base_url).removesuffix("/v1") + recipe.READY
        wait_until_ready(process, url, log_path=log_path, within_s=options.timeout_s or recipe.READY_WITHIN_S, dead=recipe.DEAD)
        probe = _probed(endpoint, process, log_path)
        endpoint = endpoint.model_copy(update={"capabilities": probe.capabilities})
        adapters = tuple(one.model_copy(update={"capabilities": probe.capabilities}) for one in adapters)
        for one in (endpoint, *adapters):
            register(one, results)
        yield Engine(endpoint, adapters, probe, process, log_path)
    finally:
        # First, so that nobody asks what is about to stop.
        for one in (endpoint, *adapters):
            unregister(one.id, results)
        stop(process)


def serve_forever(
    model: Path,
    *,
    results: Path,
    engine: str,
    endpoint_id: str | None = None,
    port: int | None = None,
    options: Options | None = None,
    leashed: bool = False,
) -> None:
    """`serving up`: in the foreground until Ctrl-C or SIGTERM, `leashed` also until standard input is closed.

    Raises EngineFailed when the engine ends by itself.
    """

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        if leashed:
            leash.follow_stdin()
        say(f"starting {engine} on {model}")
        with up(model, results=results, engine=engine, endpoint_id=endpoint_id, port=port, options=options) as running:
            say("probed: " + ", ".join(f"{name} {found}" for name, found in running.probe.checks.items()))
            for endpoint in (running.endpoint, *running.adapters):
                say(f"{endpoint.id} at {endpoint.base_url} (log: {running.log_path}); Ctrl-C stops it")
            code = running.process.wait()
            raise EngineFailed(f"engine '{engine}' ended by itself (exit code {code}): {last_words(running.log_path)}")
    except KeyboardInterrupt:
        say("stopped")
    finally:
        signal.signal(signal.SIGTERM, before)


def recipe_of(engine: str) -> Recipe:
    """The engine's module. Raises EngineFailed with the nearest name."""
    if engine not in ENGINES:
        raise EngineFailed(f"no engine '{engine}'.{did_you_mean(engine, list(ENGINES))} Known: {', '.join(ENGINES)}")
    return ENGINES[engine]


def describe(model: Path, *, engine: str, endpoint_id: str | None, port: int) -> Endpoint:
    """The endpoint that this model will be: open weights, nothing leaves the machine; a training of ours is linked by its id."""
    path = model.resolve()
    training = path.parent.name if path.name == "merged" and (path.parent / "training.json").is_file() else None
    values = {
        "id": endpoint_id or training or (path.stem if path.is_file() else path.name),
        "wire": "openai",
        "model": ENGINES[engine].served_name(path),
        "base_url": f"http://127.0.0.1:{port}/v1",
        "engine": engine,
        "open_weights": True,
        "data_leaves": False,
        "outputs_trainable": True if training else None,
        # What the engine is known for; the probe has the last word.
        "capabilities": {"completions": True, **ENGINES[engine].DIALECT},
        "training_id": training,
    }
    if (path / "tokenizer.json").is_file():
        values["tokenizer"] = path / "tokenizer.json"
    return parse_document(values, Endpoint, where="the endpoint to serve (choose another --id)")


def describe_adapter(base: Endpoint, name: str, path: Path) -> Endpoint:
    """The endpoint of a LoRA adapter on the server of `base`; a training of ours is linked by its id."""
    folder = path.resolve().parent
    training = folder.name if (folder / "training.json").is_file() else None
    values = base.model_dump(exclude_defaults=True) | {"id": name, "model": name, "adapter_of": base.id, "training_id": training}
    values["outputs_trainable"] = True if training else base.outputs_trainable
    return parse_document(values, Endpoint, where="the adapter to serve (choose another name: --lora NAME=PATH)")


def _check_adapters(engine: str, adapters: Mapping[str, Path]) -> None:
    if not adapters:
        return
    if not ENGINES[engine].LOADS_ADAPTERS:
        raise EngineFailed(
            f"engine '{engine}' loads no adapters: merge it first (trainers merge ID) and serve the merged folder, or --engine vllm"
        )
    for path in adapters.values():
        vllm.rank_of(path)


def _check_gate(folder: Path, *, force: bool) -> None:
    """Raises EngineFailed for a training that its gate refused: once registered, an arena would draw it."""
    record = folder.resolve().parent / "training.json"
    if force or not record.is_file():
        return
    try:
        gate = json.loads(record.read_text(encoding="utf-8")).get("gate") or {}
    except ValueError:
        return
    if gate.get("verdict") == "refused":
        raise EngineFailed(
            f"{folder}: its gate refused this training ({'; '.join(gate.get('reasons', []))}); --force serves it all the same"
        )


def _check_id(endpoint: Endpoint, results: Path) -> None:
    """Raises EngineFailed when the id is another endpoint's, or is being served at this moment. What a crash left behind is replaced."""
    known = load_endpoints(results).get(endpoint.id)
    if known is None:
        return
    # Only what was started here has a log: what was attached may be down for a while and is still another's.
    log_path = results / "endpoints" / f"{known.adapter_of or known.id}.log"
    if known.engine not in ENGINES or known.base_url is None or not log_path.is_file():
        raise EngineFailed(f"'{endpoint.id}' is the id of another endpoint; choose one with --id")
    if answers(known.base_url.removesuffix("/v1") + ENGINES[known.engine].READY):
        raise EngineFailed(f"'{endpoint.id}' is being served already at {known.base_url}; stop that first, or choose another --id")


def _free_port(port: int | None) -> int:
    if not port:
        return free_port()
    with claim_port("127.0.0.1", port) as listener:
        return int(listener.getsockname()[1])


def _probed(endpoint: Endpoint, process: Process, log_path: Path) -> Probe:
    """Also warms up: the first battle must not pay for what engines set up lazily, and a model that cannot answer is told now."""
    try:
        return look_now(endpoint)
    except Unreachable as error:
        ended = "" if process.poll() is None else " and ended"
        raise EngineFailed(f"the engine started{ended} but gave no answer: {error}: {last_words(log_path)} (log: {log_path})") from None
