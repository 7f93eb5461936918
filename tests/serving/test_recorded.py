"""A recording answers what it holds, as it was, and nothing else."""

import asyncio
import gzip
import math
import time
from pathlib import Path

import pytest
from timing import again_if_late, timely

from serving.client import Client
from serving.completion import Completion, Request, Usage
from serving.endpoints import Endpoint
from serving.errors import DocumentError, NotRecorded
from serving.recorded import holds, load_recording

FACT = Request.user("Capital of France?")
WARM = Request.user("Tell a joke.", temperature=0.7, max_tokens=64)
LINES = [
    Completion(endpoint="m", request=FACT, status="api_error", error="HTTP 503"),
    Completion(
        endpoint="m", request=FACT, text="Paris, of course.", latency_s=0.4, ttft_s=0.1, usage=Usage(input_tokens=4, output_tokens=5)
    ),
    Completion(endpoint="m", request=WARM, text="No."),
]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "completions.jsonl"
    path.write_text("".join(line.to_line() + "\n" for line in LINES))
    return path


def endpoint_of(path: Path) -> Endpoint:
    return Endpoint(id="again", wire="recorded", model="m", recording=path)


def ask(path: Path, request: Request, speed: float = math.inf) -> tuple[Completion, list[tuple[float, str]]]:
    pieces: list[tuple[float, str]] = []

    async def once() -> Completion:
        async with Client(speed=speed) as client:
            start = time.perf_counter()
            return await client.ask(endpoint_of(path), request, on_text=lambda text: pieces.append((time.perf_counter() - start, text)))

    return asyncio.run(once()), pieces


def test_the_recorded_answer_comes_back_under_the_new_id_with_its_own_times(recording: Path):
    answer, _ = ask(recording, FACT)
    assert answer.endpoint == "again" and answer.text == "Paris, of course."
    assert (answer.latency_s, answer.usage.output_tokens, answer.status) == (0.4, 5, "ok")


def test_what_the_recording_does_not_state_it_does_not_constrain(recording: Path):
    asked = FACT.model_copy(update={"max_tokens": 999, "temperature": 0.2})
    answer, _ = ask(recording, asked)
    assert answer.text == "Paris, of course." and answer.request_hash == asked.request_hash


def test_what_it_states_must_agree(recording: Path):
    assert holds(endpoint_of(recording), WARM)
    colder = WARM.model_copy(update={"temperature": 0.0})
    assert not holds(endpoint_of(recording), colder)
    with pytest.raises(NotRecorded, match="only with {'temperature': 0.7}"):
        load_recording(recording).find("m", colder)


def test_a_recorded_failure_is_held_but_is_no_answer(tmp_path: Path):
    path = tmp_path / "failed.jsonl"
    path.write_text(LINES[0].to_line() + "\n")
    assert ask(path, FACT)[0].status == "api_error" and not holds(endpoint_of(path), FACT)


def test_what_it_does_not_hold_is_an_error_and_never_an_invention(recording: Path):
    answer, pieces = ask(recording, Request.user("Capital of Spain?"))
    assert answer.status == "api_error" and answer.text == "" and not pieces
    assert "NotRecorded" in (answer.error or "") and "one of its 2 prompts" in (answer.error or "")


@again_if_late
def test_text_is_revealed_at_the_recorded_pace_or_faster(recording: Path):
    _, natural = ask(recording, FACT, speed=1)
    assert [text for _, text in natural] == ["Paris,", " of", " course."]
    assert natural[0][0] > 0.05 and natural[-1][0] > 0.35
    timely(natural[0][0] < 0.15 and natural[-1][0] < 0.45, natural)
    _, quick = ask(recording, FACT, speed=10)
    assert quick[-1][0] > 0.01
    timely(quick[-1][0] < 0.07, quick)
    assert len(ask(recording, FACT)[1]) == 1


def test_gzip_is_read_and_a_line_cut_by_a_crash_is_passed_over(recording: Path, tmp_path: Path):
    packed = tmp_path / "completions.jsonl.gz"
    packed.write_bytes(gzip.compress(recording.read_bytes() + b'{"endpoint": "m", "requ'))
    assert ask(packed, FACT)[0].text == "Paris, of course."


@pytest.mark.parametrize(
    ("content", "told"),
    [("", "holds no completion"), ("not json\n\n", ":1: not JSON"), ('{"endpoint": "m"}\n\n', ":1: request: missing")],
)
def test_a_file_that_is_no_recording_is_told_by_line(tmp_path: Path, content: str, told: str):
    path = tmp_path / "broken.jsonl"
    path.write_text(content)
    with pytest.raises(DocumentError, match=told):
        load_recording(path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(DocumentError, match="nowhere.jsonl: no such recording"):
        load_recording(tmp_path / "nowhere.jsonl")


def test_an_empty_hash_is_told_rather_than_kept(tmp_path: Path):
    path = tmp_path / "completions.jsonl"
    path.write_text('{"endpoint": "m", "request": {"prompt": "Why?"}, "request_hash": "", "text": "So."}\n')
    with pytest.raises(DocumentError, match=r"completions\.jsonl:1: request_hash"):
        load_recording(path)
