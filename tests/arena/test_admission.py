"""Limits and budgets: one too many is told when to come back, nothing is asked or stored of it, and all processes share one count."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fights import ANSWER, arena_in, ended, two, until
from model_server import HANG, problem, sse

from arena import admission
from arena.admission import NotNow
from arena.battle import Arena
from arena.settings import load_settings
from arena.votes import now
from serving.endpoints import register
from serving.errors import DocumentError


@pytest.fixture
def arena(results: Path, database: Path | str) -> Iterator[Arena]:
    with two(results, ANSWER, ANSWER), arena_in(results, database) as opened:
        yield opened


def state(results: Path, text: str) -> None:
    (results / "arena.yaml").write_text(text)


def later(monkeypatch: pytest.MonkeyPatch, **time: float) -> None:
    monkeypatch.setattr(admission, "now", lambda: now() + timedelta(**time))


def spent(arena: Arena) -> float:
    return float(arena.store.rows("spent", "", None, now().replace(tzinfo=None) - timedelta(hours=30))[0][0])


def test_without_numbers_nothing_is_counted(arena: Arena):
    for _ in range(5):
        ended(arena.start("Why?", "v", address="203.0.113.7"))
    assert arena.store.rows("spent", "", None, now().replace(tzinfo=None) - timedelta(hours=1))[0][0] == 0


@pytest.mark.parametrize(
    ("window", "back"), [("minute", r"in \d\d seconds"), ("hour", r"in 60 minutes, at \d\d:\d\d UTC"), ("day", "in 24 hours")]
)
def test_a_voter_who_asked_too_often_is_told_when_to_come_back(
    arena: Arena, results: Path, window: str, back: str, monkeypatch: pytest.MonkeyPatch
):
    state(results, f"limits: {{voter_per_{window}: 2}}")
    for _ in range(2):
        ended(arena.start("Why?", "v"))
    with pytest.raises(NotNow, match=rf"you have asked 2 times within an? {window}, as often as one voter may; come back {back}"):
        arena.start("Why?", "v")
    assert len(arena.store.battles_of("v")) == 2
    ended(arena.start("Why?", "another"))
    later(monkeypatch, **{f"{window}s": 1})
    ended(arena.start("Why?", "v"))


def test_every_turn_and_every_new_answer_counts(arena: Arena, results: Path):
    state(results, "limits: {voter_per_hour: 3}")
    round_ = ended(arena.start("Why?", "v"))
    arena.go_on(round_, "v", "And then?")
    ended(round_)
    arena.regenerate(round_, "v")
    ended(round_)
    for step in (lambda: arena.go_on(round_, "v", "More?"), lambda: arena.regenerate(round_, "v")):
        with pytest.raises(NotNow, match="3 times within an hour"):
            step()
    assert len(round_.turns) == 2 and round_.turn.attempt == 1 and round_.votable
    assert arena.vote(round_, "v", "tie", token=arena.vote_form(round_, "v"))


def test_an_address_is_counted_over_its_voters_and_kept_only_as_a_hash(arena: Arena, results: Path):
    state(results, "limits: {address_per_hour: 2}")
    ended(arena.start("Why?", "one", address="2001:db8:1:2::7"))
    ended(arena.start("Why?", "two", address="2001:db8:1:2:ffff::8"))
    with pytest.raises(NotNow, match="your address has asked 2 times"):
        arena.start("Why?", "three", address="2001:db8:1:2::9")
    ended(arena.start("Why?", "three", address="2001:db8:1:3::9"))
    ended(arena.start("Why?", "three", address=None))
    kept = str(arena.store._database.read("SELECT * FROM admissions"))
    assert "2001" not in kept and "'one'" not in kept


def test_battles_at_once_are_limited_until_one_has_ended(results: Path):
    state(results, "limits: {voter_at_once: 1}")
    with two(results, [*ANSWER[:2], HANG], ANSWER), arena_in(results) as arena:
        round_ = arena.start("Why?", "v")
        with pytest.raises(NotNow, match="1 battle under way, as many as one voter may; wait until one has ended"):
            arena.start("Why?", "v")
        arena.start("Why?", "another")
        arena.stop(round_, "v")
        ended(round_)
        arena.start("Why?", "v")


def test_a_voters_dollars_are_what_the_answers_cost(arena: Arena, results: Path, monkeypatch: pytest.MonkeyPatch):
    # Two answers of 5 and 2 tokens at $1 and $2 a million; expected before: 1,000 tokens each.
    state(results, "budgets: {voter_usd_per_day: 0.0041}")
    round_ = ended(arena.start("Why?", "v"))
    assert round_.sides[0].completion is not None and round_.sides[0].completion.cost_usd == pytest.approx(9e-6)
    assert spent(arena) == pytest.approx(18e-6)
    state(results, "budgets: {voter_usd_per_day: 0.0040}")
    with pytest.raises(NotNow, match=r"has spent what it can in a day on one voter; come back in .* at 00:00 UTC"):
        arena.start("Why?", "v")
    later(monkeypatch, days=1)
    state(results, "budgets: {voter_usd_per_day: 0.0041}")
    ended(arena.start("Why?", "v"))


def test_what_is_under_way_counts_as_expected(results: Path):
    state(results, "budgets: {arena_usd_per_day: 0.006}")
    with two(results, [*ANSWER[:2], HANG], [*ANSWER[:2], HANG]), arena_in(results) as arena:
        arena.start("Why?", "v")
        with pytest.raises(NotNow, match="on all its voters"):
            arena.start("Why?", "another")


@pytest.mark.parametrize(("unknown_usd", "counted"), [(0.01, 0.02), (0, 0)])
def test_an_unknown_price_counts_as_stated(results: Path, unknown_usd: float, counted: float):
    state(results, f"budgets: {{arena_usd_per_day: 1, unknown_usd: {unknown_usd}}}")
    with two(results, ANSWER, ANSWER) as servers, arena_in(results) as arena:
        for name, server in zip(("one", "two"), servers, strict=True):
            register(server.endpoint(name), results)
        ended(arena.start("Why?", "v"))
        assert spent(arena) == pytest.approx(counted)


def test_a_failure_without_a_word_costs_nothing_and_a_cut_answer_what_was_expected(results: Path):
    state(results, "budgets: {arena_usd_per_day: 1}")
    cut: Any = sse("half ", usage=None, finish=None, done=False)
    with two(results, problem("500 Internal Server Error", "oops"), cut), arena_in(results) as arena:
        ended(arena.start("Why?", "v"))
        assert spent(arena) == pytest.approx(0.002, rel=0.01)


def test_a_recording_costs_nothing(results: Path):
    from arena.prompts import recorded_prompts
    from arena.store import Store

    state(results, "budgets: {arena_usd_per_day: 0.000001}")
    with Store(results / "a.duckdb") as store:
        arena = Arena(store, results=results, demo=True, speed=1000, secret="s")
        arena.open()
        try:
            for _ in range(2):
                ended(arena.start(recorded_prompts()[0].text, "v"))
        finally:
            arena.close()


def test_the_count_outlives_the_process(results: Path):
    state(results, "limits: {voter_per_day: 1}")
    with two(results, ANSWER, ANSWER):
        with arena_in(results) as arena:
            ended(arena.start("Why?", "v"))
        with arena_in(results) as arena, pytest.raises(NotNow):
            arena.start("Why?", "v")


def test_rows_leave_after_two_days(arena: Arena, results: Path, monkeypatch: pytest.MonkeyPatch):
    state(results, "limits: {voter_per_day: 5}")
    ended(arena.start("Why?", "v"))
    later(monkeypatch, days=3)
    ended(arena.start("Why?", "v"))
    assert arena.store._database.read("SELECT count(*) FROM admissions") == [(1,)]


def test_a_battle_lost_with_its_process_does_not_block_its_voter_for_good(results: Path, monkeypatch: pytest.MonkeyPatch):
    state(results, "limits: {voter_at_once: 1}")
    with two(results, [*ANSWER[:2], HANG], ANSWER):
        with arena_in(results) as arena:
            round_ = arena.start("Why?", "v")
            until(lambda: any(side.text for side in round_.sides))
        with arena_in(results) as arena:
            with pytest.raises(NotNow):
                arena.start("Why?", "v")
            later(monkeypatch, hours=1)
            arena.start("Why?", "v")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("limits: {voter_per_hour: 0}", "limits.voter_per_hour"),
        ("budgets: {voter_usd: 1}", "budgets.voter_usd"),
        ("trusted_proxies: [proxy.example]", "'proxy.example' is no address or network"),
    ],
)
def test_a_number_that_cannot_be_meant_is_refused(results: Path, text: str, told: str):
    state(results, text)
    with pytest.raises(DocumentError, match=re.escape(told)):
        load_settings(results)
