"""The process that makes load, against a real server on loopback that knows its own lateness: on time, from the schedule, nothing lost."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator

import pytest
import uvloop
from model_server import CUT, ModelServer, http, problem, sse
from paced_server import PacedServer
from timing import again_if_late, timely

from evals.load.figures import summarise
from evals.load.loop import Driven, drive
from evals.load.plan import Load, Shape
from evals.load.turns import Part
from serving.endpoints import Endpoint

pytestmark = pytest.mark.alone
SHORT = Shape(input_tokens=20, output_tokens=8)


@pytest.fixture(scope="module")
def server() -> Iterator[PacedServer]:
    with PacedServer(ttft_ms=20, gap_ms=5, tokens=8) as running:
        yield running


def made(endpoint: Endpoint, load: Load, **values: object) -> Driven:
    return uvloop.run(drive(Part.model_validate({"endpoint": endpoint, "load": load, "shape": SHORT, "timeout_s": 0.5, **values})))


def test_latency_counts_from_the_schedule_when_the_server_is_busy(server: PacedServer):
    # 500 ms of service, one connection, ten requests a second: request k waits .4 k s for its k predecessors.
    load = Load(rate=10, arrivals="constant", concurrency=1, requests=8, warmup=1)
    for _ in range(3):
        server.clear()
        driven = made(server.endpoint("ttft=500,tokens=1"), load, timeout_s=10)
        waits = [sample.latency_from_schedule_s or 0 for sample in driven.samples if sample.phase == "steady"]
        served = server.stats(requests=True)["requests"][-8:]
        # What the server's own record says: on a machine that others use, eight answers in a row come to be late, and are truly so.
        ended_s = [(one["wrote_ns"][-1] - served[0]["arrived_ns"]) / 1e9 for one in served]
        truth = [ended - 0.1 * number for number, ended in enumerate(ended_s)]
        late_s = max(abs(true - (0.5 + 0.4 * number)) for number, true in enumerate(truth))
        wrong = [abs(wait - true) for wait, true in zip(waits, truth, strict=True)]
        if max(wrong) < 0.020 and late_s < 0.020:
            break
    assert max(wrong) < 0.020
    level = summarise(driven.samples, load)
    assert level.figures["latency_from_schedule_s"].mean.value == pytest.approx(1.9, abs=0.02 + late_s)
    assert level.figures["latency_s"].mean.value == pytest.approx(0.5, abs=0.02 + late_s)
    # That they waited was the server's doing: our own code was on time.
    assert sorted(sample.lateness_s for sample in driven.samples)[4] < 0.005


@again_if_late
def test_an_open_loop_sends_by_the_clock_whatever_is_answered(server: PacedServer):
    driven = made(server.endpoint("ttft=300,tokens=2"), Load(rate=100, arrivals="constant", requests=50, warmup=4))
    steady = [sample for sample in driven.samples if sample.phase == "steady"]
    assert [sample.scheduled_s for sample in steady] == pytest.approx([number / 100 for number in range(50)])
    assert all(sample.sent_s is not None and sample.sent_s >= sample.scheduled_s for sample in steady)
    assert Counter(sample.phase for sample in driven.samples) == {"warmup": 4, "steady": 50}
    timely(sorted(sample.lateness_s for sample in steady)[25] < 0.002)


def test_a_closed_loop_holds_its_concurrency_and_thinks(server: PacedServer):
    busy = made(server.endpoint(), Load(concurrency=4, requests=40))
    assert summarise(busy.samples, Load(concurrency=4, requests=40)).in_flight == pytest.approx(4, abs=0.7)
    driven = made(server.endpoint(), Load(concurrency=1, duration_s=2, think_s=0.1, warmup=0))
    gaps = [later.scheduled_s - (earlier.ended_s or 0) for earlier, later in zip(driven.samples, driven.samples[1:], strict=False)]
    assert len(gaps) >= 5 and gaps == pytest.approx([0.1] * len(gaps), abs=1e-6)
    assert max(sample.scheduled_s for sample in driven.samples) < 2


def test_every_prompt_is_new_and_warm_up_prompts_are_others():
    with ModelServer(sse("a", "b")) as scripted:
        endpoint, shape = scripted.endpoint(), Shape(input_tokens=40, output_tokens=8, shared_prefix_tokens=10)
        for repeat in range(2):
            made(endpoint, Load(concurrency=3, requests=12, warmup=3), shape=shape, repeat=repeat, seed=5)
        first = [body["messages"][0]["content"].split() for body in scripted.requests]
        made(endpoint, Load(concurrency=3, requests=12, warmup=3), shape=shape, repeat=0, seed=5)
        again = [body["messages"][0]["content"].split() for body in scripted.requests][30:]
    assert len({tuple(words) for words in first}) == 30
    assert len({tuple(words[:8]) for words in first}) == 1, "the shared prefix is shared"
    assert len({tuple(words[8:14]) for words in first}) == 30, "what follows differs from its first words on"
    assert sorted(map(tuple, again)) == sorted(map(tuple, first[:15])), "the same seed asks the same"
    assert {body["max_tokens"] for body in scripted.requests} == {8}
    assert not any("ignore_eos" in body for body in scripted.requests)


def test_only_an_engine_that_can_is_told_to_ignore_the_end_of_the_text():
    with ModelServer(sse("a")) as scripted:
        made(scripted.endpoint(capabilities={"ignore_eos": True}), Load(concurrency=1, requests=1, warmup=0))
    assert scripted.requests[0]["ignore_eos"] is True


@pytest.mark.parametrize(
    ("pace", "status"),
    [
        ("fault=cut", "malformed"),
        ("fault=garbage", "malformed"),
        ("fault=no_finish", "malformed"),
        ("fault=error", "api_error"),
        ("status=429,retry_after=60", "api_error"),
        ("status=503", "api_error"),
        ("fault=comments", "timeout"),
        ("fault=never", "timeout"),
        ("head=2000", "timeout"),
    ],
)
def test_every_fault_has_its_status_and_none_a_latency(server: PacedServer, pace: str, status: str):
    started, load = time.perf_counter(), Load(concurrency=2, requests=2, warmup=0)
    driven = made(server.endpoint(f"ttft=5,gap=2,tokens=8,{pace}"), load)
    assert time.perf_counter() - started < 5
    assert [(sample.status, sample.latency_s, sample.ttft_s, sample.retries) for sample in driven.samples] == [(status, None, None, 0)] * 2
    assert all(sample.error for sample in driven.samples)
    level = summarise(driven.samples, load)
    assert (level.failures, level.figures) == ({status: 2}, {})


def test_faults_among_answers_leave_the_answers_figures_alone():
    def script(body: dict[str, object]) -> list[bytes]:
        number = next(turns) % 4
        return [
            sse("one", "two"),
            problem("429 Too Many Requests", "slow down", "Retry-After: 30\r\n"),
            [*sse("one")[:3], CUT],
            http([b"data: [\n\n"]),
        ][number]

    turns = iter(range(100))
    with ModelServer(script) as scripted:
        load = Load(concurrency=1, requests=20, warmup=0)
        level = summarise(made(scripted.endpoint(), load).samples, load)
    assert level.failures == {"malformed": 10, "api_error": 5}
    assert level.figures["latency_s"].n == 5
    assert level.n_requests == 20


def test_a_server_that_is_gone_fails_each_request_and_ends(server: PacedServer):
    driven = made(Endpoint(id="gone", wire="openai", model="m", base_url="http://127.0.0.1:9/v1"), Load(concurrency=2, requests=6))
    assert {sample.status for sample in driven.samples} == {"api_error"}
    assert all(sample.sent_s is None for sample in driven.samples)


def test_stopping_keeps_what_was_measured_and_drops_what_is_in_flight(server: PacedServer):
    async def interrupted(load: Load) -> Driven:
        stop = asyncio.Event()
        before = server.stats()["outcomes"].get("complete", 0)

        async def soon() -> None:
            await asyncio.sleep(0.4)
            # By then the first of them has come back.
            while (await asyncio.to_thread(server.stats))["outcomes"].get("complete", 0) < before + 3:
                await asyncio.sleep(0.05)
            stop.set()

        stopping = asyncio.create_task(soon())
        driven = await drive(Part(endpoint=server.endpoint("ttft=100,tokens=2,gap=1"), load=load, shape=SHORT), stop=stop)
        await stopping
        return driven

    for load in (Load(concurrency=2, requests=1000), Load(rate=50, requests=1000), Load(rate=50, concurrency=1, requests=1000)):
        started = time.perf_counter()
        driven = uvloop.run(interrupted(load))
        assert time.perf_counter() - started < 3
        assert driven.stopped and 1 <= sum(sample.answered for sample in driven.samples) < 100


def test_raw_times_hold_what_peers_need(server: PacedServer):
    driven = made(server.endpoint("ttft=20,gap=5,tokens=8"), Load(concurrency=1, requests=1, warmup=0))
    (sample,) = driven.samples
    # A role chunk before the first text, the finish reason with the last.
    assert len(sample.chunk_times_s) == 8 and len(sample.empty_times_s) == 2
    assert sample.empty_times_s[0] < sample.chunk_times_s[0] and sample.usage_time_s is not None
    assert (sample.output_tokens, sample.tokens_from) == (8, "server")
