"""Real engines on a real (tiny) model: ready, probed, registered, conforming, stopped whole however their starter ends.

transformers always; vLLM, llama.cpp and MLX are slow tests, skipped where their environment is not there (`serving up … --install`
makes it, BAKEOFF_ENGINES says where).
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conformance import CASES, DRIVERS
from engine_models import build_adapter, build_plain_llama, write_gguf

from serving.client import Client
from serving.completion import Request
from serving.endpoints import Endpoint, find_endpoint, load_endpoints, register
from serving.engines import ENGINES, Engine, Options, leash, up
from serving.engines.attach import Server, attach, load_adapter
from serving.engines.environments import installed
from serving.engines.process import listens
from serving.errors import DocumentError, EngineFailed, ServingError

pytestmark = pytest.mark.timeout(300)

# What an engine is known to do wrong; where one is mended, the test says so.
DEVIATES = {"llamacpp": {"refuses_a_wrong_model"}}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with one training in it, whose merged weights are a random tiny Llama."""
    results = tmp_path_factory.mktemp("house") / "results"
    merged = build_plain_llama(results / "trainings" / "20261123-060000-dpo-tiny" / "merged")
    (merged.parent / "training.json").write_text("{}")
    return results


@pytest.fixture(scope="module")
def merged(house: Path) -> Path:
    return house / "trainings" / "20261123-060000-dpo-tiny" / "merged"


@pytest.fixture(scope="module")
def running(house: Path, merged: Path) -> Iterator[Engine]:
    with up(merged, results=house) as engine:
        yield engine


@pytest.fixture
def own_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder of environments: nothing is installed there."""
    monkeypatch.setenv("BAKEOFF_ENGINES", str(tmp_path / "engines"))


@pytest.fixture
def openai_client(running: Engine) -> Iterator[Any]:
    """The independent client: it shares no line with ours."""
    from openai import OpenAI

    with OpenAI(base_url=running.endpoint.base_url, api_key="none", max_retries=0, timeout=60) as client:
        yield client


def group_of(leader: int) -> set[int]:
    """Pids of the processes in a group, defunct ones left out."""
    members = set()
    for folder in Path("/proc").iterdir():
        try:
            state, _, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if int(group) == leader and state != "Z":
            members.add(int(folder.name))
    return members


def wait_until(true: Any, within_s: float) -> bool:
    limit = time.monotonic() + within_s
    while not true():
        if time.monotonic() > limit:
            return False
        time.sleep(0.05)
    return True


def test_a_training_of_ours_is_registered_under_its_id(running: Engine, house: Path):
    found = find_endpoint("20261123-060000-dpo-tiny", house)
    assert found == running.endpoint
    assert found.training_id == "20261123-060000-dpo-tiny" and found.outputs_trainable is True
    assert found.open_weights is True and found.data_leaves is False and found.engine == "transformers" and found.price is None


def test_the_probe_decided_what_it_can(running: Engine):
    can = running.endpoint.capabilities
    assert can.chat and can.completions and can.streaming and can.usage
    # transformers 5.23 ignores both without a word.
    assert not can.logprobs and not can.stop and not can.done
    assert running.probe.checks["logprobs"] == "ignored"


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("case", CASES)
def test_transformers_conforms(running: Engine, case: str, driver: str):
    CASES[case](DRIVERS[driver](running.endpoint))


def test_openai_chats_without_a_stream(openai_client: Any, running: Engine):
    answer = openai_client.chat.completions.create(
        model=running.endpoint.model, messages=[{"role": "user", "content": "How are you?"}], max_tokens=6, temperature=0
    )
    assert isinstance(answer.choices[0].message.content, str) and answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.completion_tokens <= 6 and answer.usage.prompt_tokens > 3


def test_an_id_that_is_being_served_is_not_taken_over(running: Engine, merged: Path, house: Path):
    with pytest.raises(EngineFailed, match="is being served already at http://127.0.0.1"), up(merged, results=house):
        pass
    assert find_endpoint(running.endpoint.id, house) == running.endpoint


def test_an_id_of_another_endpoint_is_not_taken_over(merged: Path, house: Path):
    mine = Endpoint(id="mine", wire="openai", model="m", base_url="http://127.0.0.1:9/v1")
    register(mine, house)
    for taken in ("mine", "GPT 4"):
        with pytest.raises(EngineFailed, match=f"'{taken}' is the id of another endpoint"), up(merged, endpoint_id=taken, results=house):
            pass
    assert find_endpoint("mine", house) == mine


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        ({"engine": "transformer"}, EngineFailed, "no engine 'transformer'. Did you mean 'transformers'?"),
        ({"engine": "mlx"}, EngineFailed, "engine 'mlx' is not installed: add --install (makes "),
        ({"engine": "llamacpp"}, EngineFailed, "llama.cpp reads GGUF; convert with its own script (python convert_hf_to_gguf.py "),
        ({"options": Options(settings={"port": "1"})}, EngineFailed, "--set port=1: bakeoff sets this itself"),
        ({"options": Options(adapters={"style": Path("x")})}, EngineFailed, "'transformers' loads no adapters: merge it first"),
        ({"engine": "vllm", "options": Options(adapters={"style": Path("/none")})}, EngineFailed, "/none: no LoRA adapter"),
        ({"endpoint_id": "a/b"}, DocumentError, "choose another --id"),
    ],
)
def test_what_cannot_be_started_is_told(
    merged: Path, house: Path, own_environments: None, changes: dict[str, Any], error: type[Exception], told: str
):
    with pytest.raises(error) as caught, up(merged, results=house, **{"endpoint_id": "unused", **changes}):
        pass
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_without_a_model_is_told(tmp_path: Path, results: Path):
    for folder, told in ((tmp_path / "none", "no such folder"), (results, "holds no config.json")):
        with pytest.raises(EngineFailed, match=told), up(folder, results=results):
            pass


def test_a_port_that_is_taken_is_told(merged: Path, house: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServingError, match=f"port {port} .* choose another"), up(merged, endpoint_id="x", port=port, results=house):
            pass


def test_a_port_that_another_process_took_meanwhile_is_not_taken_for_the_engine(running: Engine):
    with socket.socket() as mine:
        mine.bind(("127.0.0.1", 0))
        mine.listen()
        port = mine.getsockname()[1]
        assert listens(os.getpgrp(), port) and not listens(running.process.pid, port)
    own = int(str(running.endpoint.base_url).rpartition(":")[2].removesuffix("/v1"))
    assert listens(running.process.pid, own) and not listens(os.getpgrp(), own)


def test_an_engine_that_cannot_start_is_told_with_its_last_words(tmp_path: Path, results: Path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text(json.dumps({"model_type": "no-such-architecture"}))
    with pytest.raises(EngineFailed, match=r"ended at its start \(exit code 1\): .*ValueError: ") as caught:
        with up(broken, results=results):
            pass
    assert "\n" not in str(caught.value)
    assert not list((results / "endpoints").glob("*.yaml"))


def test_an_engine_that_is_not_ready_in_time_is_stopped_and_told(merged: Path, results: Path):
    before = children()
    with (
        pytest.raises(EngineFailed, match="was not ready within 0.5 s"),
        up(merged, endpoint_id="slow", options=Options(timeout_s=0.5), results=results),
    ):
        pass
    assert children() == before and "slow" not in load_endpoints(results)


@pytest.mark.slow
def test_a_model_without_a_chat_template_is_offered_for_completions_only(tmp_path: Path, results: Path):
    plain = build_plain_llama(tmp_path / "plain")
    (plain / "chat_template.jinja").unlink()
    with up(plain, results=results) as engine:
        can = engine.endpoint.capabilities
        assert can.completions and not can.chat and engine.probe.checks["chat"].startswith("no: HTTP ")
        assert engine.endpoint.training_id is None and engine.endpoint.outputs_trainable is None


@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGTERM, id="terminated", marks=pytest.mark.slow), pytest.param(signal.SIGKILL, id="killed")],
)
def test_no_process_and_no_endpoint_outlives_the_starter(tmp_path: Path, results: Path, number: signal.Signals):
    model = build_plain_llama(tmp_path / "tiny")
    script = (
        "import sys, time; from pathlib import Path; from serving.engines import up\n"
        f"with up(Path({str(model)!r}), results=Path({str(results)!r})) as engine:\n"
        "    print(engine.process.pid, flush=True); time.sleep(600)\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert starter.stdout is not None
        leader = int(starter.stdout.readline())
        assert "tiny" in load_endpoints(results) and len(group_of(leader)) >= 2
    finally:
        starter.send_signal(number)
        starter.communicate(timeout=60)
    assert wait_until(lambda: not group_of(leader), within_s=30)
    assert "tiny" not in load_endpoints(results)


def test_with_the_engine_its_adapters_are_unregistered_and_nothing_else(results: Path):
    url = "http://127.0.0.1:9/v1"
    for name, values in {
        "base": {},
        "style": {"adapter_of": "base"},
        "attached": {},
        "far": {"adapter_of": "base", "base_url": "http://far/v1"},
    }.items():
        register(Endpoint(**{"id": name, "wire": "openai", "model": name, "base_url": url, **values}), results)
    command = [sys.executable, "-I", leash.__file__, str(results / "endpoints" / "base.yaml"), url, "sleep", "600"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as held:
        assert held.stdin is not None
        held.stdin.close()
        held.wait(30)
    assert sorted(path.stem for path in (results / "endpoints").glob("*.yaml")) == ["attached", "far"]


def test_what_follows_its_standard_input_ends_when_whoever_holds_the_other_end_is_killed():
    script = (
        "import signal, time; from serving.engines import leash\n"
        "signal.signal(signal.SIGTERM, lambda *_: exit('let go'))\n"
        "leash.follow_stdin(); print('follows', flush=True); time.sleep(600)\n"
    )
    starts = (
        "import subprocess, sys, time\n"
        f"held = subprocess.Popen([sys.executable, '-c', {script!r}], stdin=subprocess.PIPE, start_new_session=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", starts], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None and starter.stderr is not None
        assert starter.stdout.readline() == "follows\n"
        starter.kill()
        # The held process has both open, too: they end only with it.
        assert starter.stdout.read() == "" and starter.stderr.read() == "let go\n"


def test_serving_up_ends_cleanly_on_sigterm_and_what_a_crash_left_is_replaced(merged: Path, tmp_path: Path, results: Path):
    stale = Endpoint(id="again", wire="openai", model="m", base_url="http://127.0.0.1:9/v1", engine="transformers")
    register(stale, results)
    (results / "endpoints" / "again.log").touch()
    command = [sys.executable, "-m", "serving.cli", "up", str(merged), "--id", "again", "--results", str(results)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline().startswith("starting transformers on ")
            assert process.stderr.readline().startswith("probed: ")
            assert "again at http://127.0.0.1:" in process.stderr.readline()
            assert find_endpoint("again", results).base_url != stale.base_url
        finally:
            process.send_signal(signal.SIGTERM)
            _, told = process.communicate(timeout=60)
    assert process.returncode == 0 and told.strip() == "stopped"
    assert "again" not in load_endpoints(results)


def children() -> set[int]:
    """Pids of this process's children, defunct ones left out."""
    mine = set()
    for folder in Path("/proc").iterdir():
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if int(parent) == os.getpid() and state != "Z":
            mine.add(int(folder.name))
    return mine


def test_what_is_attached_is_not_taken_for_what_a_crash_left(merged: Path, results: Path):
    attached = Endpoint(id="mine", wire="openai", model="m", base_url="http://127.0.0.1:9/v1", engine="vllm")
    register(attached, results)
    with pytest.raises(EngineFailed, match="'mine' is the id of another endpoint"), up(merged, endpoint_id="mine", results=results):
        pass
    assert find_endpoint("mine", results) == attached


def test_a_running_engine_can_be_attached_under_another_name(running: Engine, results: Path):
    server = Server(str(running.endpoint.base_url), running.endpoint.model, "again")
    endpoint, probe = attach(server, results=results)
    assert find_endpoint("again", results) == endpoint and endpoint.capabilities.usage and not endpoint.capabilities.logprobs
    assert probe.checks["chat"] == "yes"


@pytest.mark.slow
def test_a_setting_that_the_engine_does_not_know_is_told_in_its_words(merged: Path, results: Path):
    options = Options(settings={"cb-num-block": "9"})
    with pytest.raises(EngineFailed, match="ended at its start .*cb-num-block"), up(merged, results=results, options=options):
        pass


@pytest.mark.slow
def test_what_lies_in_the_folder_where_one_stands_is_not_lent_to_the_engine(
    merged: Path, tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "fastapi.py").write_text("raise RuntimeError('the wrong fastapi')")
    monkeypatch.chdir(tmp_path)
    with up(merged, results=results) as engine:
        assert engine.endpoint.capabilities.chat


@pytest.fixture(scope="module", params=["mlx", "llamacpp", "vllm"])
def other(request: pytest.FixtureRequest, house: Path, merged: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Each of the other engines on the same weights; vLLM with an adapter."""
    name = request.param
    if not installed(ENGINES[name]):
        pytest.skip(f"engine '{name}' is not installed: serving up MODEL --engine {name} --install")
    folder = tmp_path_factory.mktemp(name)
    model = write_gguf(merged, folder / "plain.gguf") if name == "llamacpp" else merged
    options = Options()
    if name == "vllm":
        options = Options({"style": build_adapter(merged, folder / "style")}, {"max-model-len": "512", "max-num-seqs": "16"})
    with up(model, results=house, engine=name, endpoint_id=f"on-{name}", options=options) as engine:
        yield engine


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_other_engines_conform_but_where_they_are_known_not_to(other: Engine):
    broken = {}
    for name, case in CASES.items():
        for how, driver in DRIVERS.items():
            try:
                case(driver(other.endpoint))
            except AssertionError as error:
                broken[name, how] = str(error)
    known = DEVIATES.get(str(other.endpoint.engine), set())
    assert {name for name, _ in broken} == known, broken


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_echoed_logprobs_are_believed_on_vllm_only(other: Engine):
    assert other.endpoint.capabilities.logprobs is (other.endpoint.engine == "vllm"), other.probe.checks["logprobs"]
    if other.endpoint.engine == "llamacpp":
        assert other.probe.checks["logprobs"].startswith("wrong: 4 tokens sum to ")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_adapters_are_endpoints_of_their_own_also_those_loaded_later(other: Engine, house: Path, merged: Path, tmp_path: Path):
    if other.endpoint.engine != "vllm":
        pytest.skip("only vLLM loads adapters")
    second = build_adapter(merged, tmp_path / "second", seed=2)
    load_adapter(other.endpoint, "second", second, results=house)

    async def ask(endpoint: Endpoint) -> str:
        async with Client() as client:
            done = await client.ask(endpoint, Request(prompt="One, two, three,", max_tokens=16, temperature=0))
        assert done.answered, done.error
        return done.text

    answers = [asyncio.run(ask(find_endpoint(name, house))) for name in ("on-vllm", "style", "second")]
    # An adapter that is silently not applied would answer as its base.
    assert len(set(answers)) == 3
    assert find_endpoint("second", house).adapter_of == "on-vllm"
    with pytest.raises(EngineFailed, match="did not load"):
        load_adapter(other.endpoint, "third", build_adapter(merged, tmp_path / "third", rank=64), results=house)
    assert "third" not in load_endpoints(house)
