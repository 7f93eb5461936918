"""A real engine on a real (tiny) model: ready, registered, asked by the `openai` package, stopped whole however its starter ends."""

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
from tiny_llama import build_tiny_llama

from serving.client import Client
from serving.completion import Completion, Request
from serving.endpoints import Endpoint, find_endpoint, load_endpoints, register
from serving.engines import Engine, describe, up
from serving.errors import DocumentError, EngineFailed, ServingError

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with one training in it, whose merged weights are a random tiny Llama."""
    results = tmp_path_factory.mktemp("house") / "results"
    merged = build_tiny_llama(results / "trainings" / "20261123-060000-dpo-tiny" / "merged", texts=["How are you? Gladly, thank you."])
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


def test_our_client_streams_an_answer_with_usage(running: Engine):
    async def once() -> Completion:
        async with Client() as client:
            return await client.ask(running.endpoint, Request.user("How are you?", max_tokens=8, temperature=0))

    answer = asyncio.run(once())
    assert answer.answered, answer.error
    assert answer.usage.output_tokens is not None and 1 <= answer.usage.output_tokens <= 8
    assert answer.usage.input_tokens and answer.latency_s


def test_openai_chats(openai_client: Any, running: Engine):
    answer = openai_client.chat.completions.create(
        model=running.endpoint.model, messages=[{"role": "user", "content": "How are you?"}], max_tokens=6, temperature=0
    )
    assert isinstance(answer.choices[0].message.content, str) and answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.completion_tokens <= 6 and answer.usage.prompt_tokens > 3


def test_openai_streams_the_same_text_and_the_usage(openai_client: Any, running: Engine):
    asked = {"model": running.endpoint.model, "messages": [{"role": "user", "content": "How are you?"}], "max_tokens": 12, "temperature": 0}
    whole = openai_client.chat.completions.create(**asked)
    chunks = list(openai_client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    # A random model may stop in the middle of a character, which only the whole answer shows as U+FFFD.
    assert text and text.rstrip("\ufffd") == whole.choices[0].message.content.rstrip("\ufffd")
    usage = [chunk.usage for chunk in chunks if chunk.usage]
    assert usage and usage[-1].completion_tokens == whole.usage.completion_tokens


def test_openai_completes_text(openai_client: Any, running: Engine):
    answer = openai_client.completions.create(model=running.endpoint.model, prompt="How are", max_tokens=4, temperature=0)
    assert isinstance(answer.choices[0].text, str)


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
        ({"endpoint_id": "a/b"}, DocumentError, "choose another --id"),
    ],
)
def test_what_cannot_be_started_is_told(merged: Path, house: Path, changes: dict[str, Any], error: type[Exception], told: str):
    with pytest.raises(error) as caught, up(merged, results=house, **changes):
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
    with pytest.raises(EngineFailed, match="was not ready within 0.5 s"), up(merged, endpoint_id="slow", timeout_s=0.5, results=results):
        pass
    assert children() == before and "slow" not in load_endpoints(results)


def test_a_model_without_a_chat_template_is_offered_for_completions_only(tmp_path: Path):
    plain = build_tiny_llama(tmp_path / "plain")
    assert describe(plain, engine="transformers", endpoint_id=None, port=1).capabilities.chat is True
    (plain / "chat_template.jinja").unlink()
    described = describe(plain, engine="transformers", endpoint_id=None, port=1)
    assert described.capabilities.chat is False and described.training_id is None and described.outputs_trainable is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["terminated", "killed"])
def test_no_process_and_no_endpoint_outlives_the_starter(tmp_path: Path, results: Path, number: signal.Signals):
    model = build_tiny_llama(tmp_path / "tiny")
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


def test_serving_up_ends_cleanly_on_sigterm_and_what_a_crash_left_is_replaced(merged: Path, tmp_path: Path, results: Path):
    stale = Endpoint(id="again", wire="openai", model="m", base_url="http://127.0.0.1:9/v1", engine="transformers")
    register(stale, results)
    command = [sys.executable, "-m", "serving.cli", "up", str(merged), "--id", "again", "--results", str(results)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
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
