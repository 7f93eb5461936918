"""Votes health counts every vote once, tells no voter's id, and sets the draws against the policy."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from arena.audit import Findings, Flag
from arena.importers import seed_demo
from arena.pairing import UNIFORM, Policy, choose_pair
from arena.store import Record, Store
from arena.votes import Battle, Vote, Winner
from dashboards import votes_health
from dashboards.health_figures import buckets, drawn, gather, pseudonym, top_share
from serving.endpoints import Endpoint

WHEN = datetime(2026, 3, 1, 12, tzinfo=UTC)
MODELS = ("x", "y", "z")


def endpoint(name: str) -> Endpoint:
    return Endpoint(id=name, wire="openai", model=name, base_url="http://127.0.0.1:1/v1")


def fill(store: Store, n: int, policy: Policy = UNIFORM) -> None:
    """Battles drawn by the policy and voted on, the left side winning two of three; every tenth vote came after a stop."""
    rng = random.Random(5)
    records = []
    for number in range(n):
        draw = choose_pair(MODELS, rng, policy)
        battle = Battle(
            battle_id=f"b{number}", created_at=WHEN, messages=(), model_a=draw.model_a, model_b=draw.model_b,
            pairing_policy=policy.kind, pairing_probability=draw.probability,
        )  # fmt: skip
        winner: Winner = "model_b" if number % 3 == 0 else "model_a"
        stopped = number % 10 == 0
        vote = Vote(
            vote_id=f"v{number}", battle_id=f"b{number}", voter_id=f"person-{number % 7}", winner=winner,
            voted_at=WHEN + timedelta(hours=number),
            rated=not stopped, unrated_reason="stopped" if stopped else None,
        )  # fmt: skip
        records.append(Record(battle, None, vote))
    store.save_all(records)


def arena(store: Store, policy: Policy = UNIFORM, results: Path | None = None) -> Any:
    catalogue = {name: endpoint(name) for name in MODELS}
    return SimpleNamespace(store=store, results=results, secret="s" * 32, policy=policy, stated=policy, catalogue=catalogue)


@pytest.fixture
def store(database: Path | str) -> Iterator[Store]:
    with Store(database) as store:
        yield store


def test_every_vote_is_counted_once(store: Store):
    fill(store, 300)
    store.flag({"v1": "too_quick", "v2": "too_quick"}, WHEN)
    health = gather(store)
    assert (health.n_votes, health.n_unrated, health.n_voters, health.n_known, health.n_flagged) == (300, 32, 7, 300, 2)
    assert sum(n for _, n, _ in health.days) == 300 and sum(rated for *_, rated in health.days) == 268
    assert health.unrated == [("stopped", 30), ("flagged: too_quick", 2)]
    assert health.sources == [("arena", "blind", 300, 268)]
    assert sum(row["voters"] for row in health.sizes) == 7 and sum(row[1] for row in health.busiest) == 300
    assert sum(row[3] for row in health.busiest) == 2


def test_a_favoured_side_shows_with_its_interval(store: Store):
    fill(store, 300)
    health = gather(store)
    assert health.left is not None and health.position is not None
    share, lower, upper = health.left
    assert 0.6 < lower < share < upper < 0.75
    estimate, half = health.position
    assert estimate - half > 0


def test_draws_by_the_policy_lie_within_chance_and_others_do_not(store: Store):
    fill(store, 600)
    total, rows = drawn(arena(store))
    assert total == 600 and sum(row["n"] for row in rows) == 1200
    assert all(row["expected"] == pytest.approx(2 / 3) and row["lower"] <= row["share"] <= row["upper"] for row in rows)
    weighted = Policy(kind="weighted", weights={"x": 9.0})
    _, rows = drawn(arena(store, weighted))
    (x,) = (row for row in rows if row["model"] == "x")
    assert x["share"] < x["lower"]


def test_without_a_draw_of_our_own_there_is_nothing_to_compare(store: Store):
    assert drawn(arena(store)) == (0, [])


def test_voters_are_sorted_into_buckets_that_hold_them_all():
    rows = buckets([(1, 4), (3, 2), (7, 1), (25, 1)])
    assert rows == [
        {"votes each": "1", "voters": 4},
        {"votes each": "2–4", "voters": 2},
        {"votes each": "5–9", "voters": 1},
        {"votes each": "10–19", "voters": 0},
        {"votes each": "20–49", "voters": 1},
    ]
    assert buckets([]) == []


def test_the_busiest_tenth_is_counted_in_whole_voters():
    assert top_share([(1, 18), (10, 1), (30, 1)]) == 40 / 58
    assert top_share([(2, 3)]) == 1 / 3 and top_share([]) is None


def test_a_pseudonym_holds_within_an_arena_and_nowhere_else():
    assert pseudonym("one", "person-1") == pseudonym("one", "person-1") != pseudonym("two", "person-1")
    assert pseudonym("one", "person-1") != pseudonym("one", "person-2") and "person" not in pseudonym("one", "person-1")


def test_no_flag_tells_a_voter_or_a_prompt():
    found = Findings(
        [Flag("person-1", "side", "chooses left", ("v1",)), Flag(None, "frequent_prompt", "9 votes on 'my secret'", ("v2",))], 2, 1, 1
    )
    told = str(votes_health.flag_rows(found, "secret"))
    assert "person-1" not in told and "my secret" not in told and "chooses left" in told


@pytest.fixture
def open_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[Store], None]], str]]:
    """Opens the page on a store that was filled; its HTML, captions and charts' names as one text."""

    def app() -> None:
        from dashboards import votes_health

        votes_health.page()

    def opened(filled: Callable[[Store], None]) -> str:
        with Store(tmp_path / "arena.duckdb") as store:
            filled(store)
            monkeypatch.setattr(votes_health, "current", lambda: arena(store, results=tmp_path))
            page = AppTest.from_function(app, default_timeout=60).run()
            assert not page.exception
            captions = [caption.value for caption in page.caption]
            return "".join(element.proto.body for element in page.get("html")) + "".join(captions)

    yield opened


def test_the_page_shows_draws_voters_and_reasons(open_page: Callable[[Callable[[Store], None]], str]):
    shown = open_page(lambda store: fill(store, 300))
    assert "270 rated, 30 not" in shown and "300 draws" in shown and "300 of 300 votes say when" in shown
    assert "person-" not in shown and "voter " in shown


def test_the_demo_is_audited_and_says_what_its_votes_do_not_tell(open_page: Callable[[Callable[[Store], None]], str]):
    shown = open_page(seed_demo)
    assert "No vote says when it was cast." in shown and "No pair has been drawn here." in shown
    assert "of 8,931 votes are flagged" in shown and "llmfao-" not in shown


def test_an_empty_arena_says_what_to_do(open_page: Callable[[Callable[[Store], None]], str]):
    assert "arena import" in open_page(lambda store: None)


def test_a_large_store_leaves_the_audit_to_the_command(
    open_page: Callable[[Callable[[Store], None]], str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(votes_health, "AUDITED", 100)
    assert "<code>arena audit</code> looks anew" in open_page(lambda store: fill(store, 150))
