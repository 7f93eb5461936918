"""/healthz says whether votes are taken, and why not; /metrics counts what happened and opens only to those who are named."""

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fights import ended
from model_server import ModelServer, problem, sse
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.testclient import TestClient

from arena import metrics
from arena.battle import Arena, Round, open_arena
from arena.errors import ArenaError
from arena.health import Health, Pulse, may_read
from arena.prompts import recorded_prompts
from arena.settings import Metrics, load_settings
from arena.store import Store
from arena.votes import now
from serving.endpoints import register
from serving.errors import DocumentError


@pytest.fixture
def arena(results: Path) -> Iterator[Arena]:
    (results / "arena.yaml").write_text("metrics: {token_env: ARENA_METRICS_TOKEN}\n")
    with Store(results / "arena.duckdb") as store, open_arena(Arena(store, results=results, demo=True, speed=1000, secret="s")) as opened:
        yield opened


@pytest.fixture
def client(arena: Arena) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=list(Health(arena).routes()))) as opened:
        yield opened


def test_a_sound_arena_is_ok_and_has_written(client: TestClient, arena: Arena):
    answer = client.get("/healthz")
    report = answer.json()
    assert answer.status_code == 200 and report["status"] == "ok" and report["reasons"] == []
    assert report["store"]["writable"] is True and report["store"]["write_s"] > 0
    assert report["generation"]["alive"] is True and report["endpoints"] == {"able": len(arena.endpoints), "resting": 0}
    assert len(arena.store.rows("heartbeats")) == 1


def test_asking_often_writes_once_a_second_at_most(client: TestClient, arena: Arena, monkeypatch: pytest.MonkeyPatch):
    written = []
    run = arena.store.run
    monkeypatch.setattr(arena.store, "run", lambda *steps: (written.append(steps), run(*steps)))
    started = time.monotonic()
    for _ in range(30):
        client.get("/healthz")
    assert 1 <= len(written) <= time.monotonic() - started + 1


def test_heartbeats_of_processes_that_went_long_ago_are_forgotten(client: TestClient, arena: Arena):
    for process, days in (("long ago", 2), ("a moment ago", 0)):
        arena.store.run(("touch", [process, now().replace(tzinfo=None) - timedelta(days=days)]))
    client.get("/healthz")
    assert len(rows := arena.store.rows("heartbeats")) == 2 and "a moment ago" in [process for process, _ in rows]


def test_a_store_that_cannot_be_written_is_503_with_the_reason_and_no_path(
    client: TestClient, arena: Arena, monkeypatch: pytest.MonkeyPatch
):
    def full(*steps: Any) -> None:
        raise ArenaError(f"{arena.store.file}: no space left on device")

    monkeypatch.setattr(arena.store, "run", full)
    answer = client.get("/healthz")
    assert answer.status_code == 503 and answer.json()["status"] == "down"
    assert answer.json()["reasons"] == ["the store takes no votes: a write failed (see the log)"]
    assert str(arena.store.file) not in answer.text


def test_a_writer_that_hangs_is_told_without_more_threads_behind_it(client: TestClient, arena: Arena, monkeypatch: pytest.MonkeyPatch):
    import threading

    release, calls = threading.Event(), []
    monkeypatch.setattr(arena.store, "run", lambda *steps: (calls.append(1), release.wait(20)))
    monkeypatch.setattr("arena.health.STUCK_S", 0.1)
    for _ in range(3):
        assert client.get("/healthz").status_code == 503
    assert len(calls) == 1
    release.set()
    limit = time.monotonic() + 10
    while client.get("/healthz").status_code != 200:
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_a_generation_loop_that_stopped_is_503(client: TestClient, arena: Arena, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("arena.health.SILENT_S", 0.0)
    answer = client.get("/healthz")
    assert answer.status_code == 503 and "the loop that generates answers has stopped" in answer.json()["reasons"]


def test_an_arena_without_two_endpoints_takes_votes_but_is_degraded(results: Path):
    with Store(results / "arena.duckdb") as store, open_arena(Arena(store, results=results, demo=False, speed=1, secret="s")) as arena:
        with TestClient(Starlette(routes=list(Health(arena).routes()))) as client:
            answer = client.get("/healthz")
    assert answer.status_code == 200 and answer.json()["status"] == "degraded"
    assert answer.json()["reasons"] == ["0 endpoints can answer, a battle needs two"]


def test_a_loop_that_is_blocked_is_late():
    async def blocked() -> float:
        pulse = Pulse()
        task = asyncio.create_task(pulse.beat())
        await asyncio.sleep(0.01)
        time.sleep(0.6)
        await asyncio.sleep(0.01)
        task.cancel()
        return pulse.lateness_s()

    assert asyncio.run(blocked()) > 0.3


def figures(client: TestClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = client.get("/metrics", headers={"Authorization": "Bearer open sesame"})
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for family in families for sample in family.samples}


def test_battles_votes_failures_and_dollars_are_counted(results: Path, client: TestClient, arena: Arena, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ARENA_METRICS_TOKEN", "open sesame")
    before = figures(client)

    def grown(name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return after.get(key, 0.0) - before.get(key, 0.0)

    with ModelServer(sse("Hello"), pace_s=0.01) as good, ModelServer(problem("500 Oops", "no")) as bad:
        register(good.endpoint("good", price={"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}), results)
        register(bad.endpoint("bad"), results)
        ended(arena.start("What is new?", "v"))
        votable = next(
            round_ for round_ in (ended(arena.start(recorded_prompts()[0].text, "v")) for _ in range(20)) if round_.votable
        )  # the draw may meet the two above: that battle is then counted too
        forms = [arena.vote_form(votable, "v") for _ in range(2)]
        assert arena.vote(votable, "v", "model_a", token=forms[0]) and not arena.vote(votable, "v", "model_b", token=forms[1])
        after = figures(client)
    assert grown("bakeoff_battles_started_total", mode="blind") == grown("bakeoff_battles_ended_total") >= 2
    assert grown("bakeoff_battles_voided_total") >= 1
    assert grown("bakeoff_votes_total", winner="model_a", rated="true") == 1
    assert grown("bakeoff_votes_total", winner="model_b", rated="true") == 0
    assert grown("bakeoff_vote_acknowledgement_seconds_count") == 1
    assert grown("bakeoff_answers_failed_total", endpoint="bad", status="api_error") >= 1
    assert grown("bakeoff_time_to_first_token_seconds_count", endpoint="good") >= 1
    assert grown("bakeoff_answer_latency_seconds_sum", endpoint="good") >= 0.01
    assert grown("bakeoff_cost_dollars_total", endpoint="good") == pytest.approx(
        (7 * 1.0 + 3 * 2.0) / 1e6 * grown("bakeoff_answers_total", endpoint="good")
    )
    costs = [dict(labels)["endpoint"] for name, labels in after if name == "bakeoff_cost_dollars_total"]
    spent_on = {endpoint for endpoint in costs if grown("bakeoff_cost_dollars_total", endpoint=endpoint)}
    assert spent_on <= {"good"}, "a recording costs nothing again"
    assert after[("bakeoff_store_memory_bytes", (("tag", "ART_INDEX"),))] > 0
    assert after[("bakeoff_rounds_under_way", ())] == 0 and after[("bakeoff_store_queue_length", ())] == 0


def test_a_store_that_cannot_be_read_leaves_the_other_figures(client: TestClient, arena: Arena, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ARENA_METRICS_TOKEN", "open sesame")
    assert any(name == "bakeoff_store_memory_bytes" for name, _ in figures(client))

    def unreadable() -> dict[str, int]:
        raise ArenaError("the disk is gone")

    monkeypatch.setattr(arena.store, "memory", unreadable)
    names = {name for name, _ in figures(client)}
    assert "bakeoff_store_memory_bytes" not in names and "bakeoff_votes_total" in names and "bakeoff_store_queue_length" in names


def test_metrics_are_closed_without_their_token(client: TestClient, monkeypatch: pytest.MonkeyPatch):
    for _ in ("the variable is not set", "the variable is empty"):
        assert client.get("/metrics").status_code == 403
        assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 403
        monkeypatch.setenv("ARENA_METRICS_TOKEN", "")
    monkeypatch.setenv("ARENA_METRICS_TOKEN", "open sesame")
    refused = client.get("/metrics", headers={"Authorization": "Bearer open sesam"})
    assert refused.status_code == 403 and "endpoint" not in refused.text
    assert client.get("/metrics", headers={"Authorization": "Bearer open sesame"}).status_code == 200


def test_metrics_may_open_to_addresses():
    allowed = Metrics(addresses=("127.0.0.1", "10.0.0.0/8"))
    assert may_read(allowed, "127.0.0.1", "") and may_read(allowed, "10.1.2.3", "")
    assert not may_read(allowed, "192.0.2.1", "") and not may_read(allowed, None, "") and not may_read(allowed, "testclient", "")
    assert not may_read(None, "127.0.0.1", "Bearer x") and not may_read(Metrics(), "127.0.0.1", "Bearer ")


def test_an_address_that_is_none_is_refused(results: Path):
    (results / "arena.yaml").write_text("metrics: {addresses: [localhost]}\n")
    with pytest.raises(DocumentError, match=r"arena\.yaml: metrics\.addresses: 'localhost' is no address"):
        load_settings(results)


def test_a_battle_is_counted_before_it_is_seen_to_have_ended(results: Path, arena: Arena, monkeypatch: pytest.MonkeyPatch):
    begun, rounds, counted = threading.Event(), list[Round](), list[tuple[bool, bool]]()

    def counts(*, voided: bool) -> None:
        assert begun.wait(30)
        counted.append((voided, rounds[0].ended))

    monkeypatch.setattr(metrics, "battle_ended", counts)
    with ModelServer(sse("Hello")) as good, ModelServer(problem("500 Oops", "no")) as bad:
        for name, server in (("good", good), ("bad", bad)):
            register(server.endpoint(name), results)
        rounds.append(arena.start("What is new?", "v"))
        begun.set()
        assert not ended(rounds[0]).votable
    assert counted == [(True, False)]
