"""A round from prompt to vote: both sides at once, stored before it can be voted on, one vote, its own voter's only."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fights import ended
from model_server import ModelServer, problem, sse

from arena.battle import Arena, Round, current, open_arena
from arena.errors import ArenaError
from arena.prompts import recorded_prompts
from arena.store import Store
from arena.votes import Winner
from serving.endpoints import register


@pytest.fixture
def arena(results: Path) -> Iterator[Arena]:
    with Store(results / "arena.duckdb") as store, open_arena(Arena(store, results=results, demo=True, speed=1000, secret="s")) as opened:
        yield opened


def cast(arena: Arena, round_: Round, winner: Winner, voter: str = "v") -> bool:
    return arena.vote(round_, voter, winner, token=arena.vote_form(round_, voter))


def votable(arena: Arena, voter: str = "v") -> Round:
    """A round that both recorded models answered (some recordings are empty answers)."""
    for _ in range(20):
        round_ = ended(arena.start(recorded_prompts()[0].text, voter))
        if round_.votable:
            return round_
    raise AssertionError("twenty battles in a row failed")


def test_two_different_models_answer_and_one_vote_is_stored(arena: Arena):
    round_ = votable(arena)
    first, second = round_.sides
    assert first.model != second.model and first.text and second.text
    assert cast(arena, round_, "model_a") is True
    assert cast(arena, round_, "model_b") is False
    stored = arena.store.vote_of(round_.battle_id)
    assert stored is not None and stored.winner == "model_a" and stored.dwell_s is not None
    assert arena.store.count_votes() == 1


def test_a_battle_belongs_to_its_voter(arena: Arena):
    round_ = votable(arena)
    assert arena.find(round_.battle_id, "somebody else") is None
    with pytest.raises(ArenaError, match="belongs to another voter"):
        cast(arena, round_, "tie", "somebody else")
    assert arena.store.count_votes() == 0


def test_a_battle_outlives_the_process_that_fought_it(results: Path):
    path = results / "arena.duckdb"
    with Store(path) as store, open_arena(Arena(store, results=results, demo=True, speed=1000, secret="s")) as arena:
        fought = votable(arena)
    with Store(path) as store, open_arena(Arena(store, results=results, demo=True, speed=1000, secret="s")) as arena:
        again = arena.find(fought.battle_id, "v")
        assert again is not None and again is not fought and again.votable
        assert [side.text for side in again.sides] == [side.text for side in fought.sides]
        assert cast(arena, again, "both_bad") is True


def test_both_sides_stream_at_the_same_time(results: Path):
    pieces = ["word "] * 20
    with ModelServer(sse(*pieces), pace_s=0.02) as one, ModelServer(sse(*pieces), pace_s=0.02) as two:
        register(one.endpoint("one"), results)
        register(two.endpoint("two"), results)
        with Store(results / "a.duckdb") as store, open_arena(Arena(store, results=results, demo=False, speed=1, secret="s")) as arena:
            round_ = arena.start("anything", "v")
            together = set()
            while not round_.ended:
                together.add(tuple(0 < len(side.pieces) < len(pieces) for side in round_.sides))
                time.sleep(0.005)
            assert (True, True) in together
            assert {side.model for side in round_.sides} == {"one", "two"}


def test_a_side_that_fails_voids_the_battle_and_is_kept(results: Path):
    with ModelServer(sse("fine")) as one, ModelServer(problem("500 Internal Server Error", "oops")) as two:
        register(one.endpoint("one"), results)
        register(two.endpoint("two"), results)
        with Store(results / "a.duckdb") as store, open_arena(Arena(store, results=results, demo=False, speed=1, secret="s")) as arena:
            round_ = ended(arena.start("anything", "v"))
            assert not round_.votable
            with pytest.raises(ArenaError, match="not both sides have answered"):
                cast(arena, round_, "model_a")
            completions = store.completions_of(round_.battle_id)
            assert completions is not None and {completion.status for completion in completions} == {"ok", "api_error"}


def test_an_endpoint_that_joins_later_takes_part_without_a_restart(arena: Arena, results: Path):
    with ModelServer(sse("new here")) as server:
        register(server.endpoint("newcomer"), results)
        arena.start(recorded_prompts()[0].text, "v")
        assert "newcomer" in arena.live()


def test_a_typo_in_an_endpoints_file_does_not_close_the_arena(arena: Arena, results: Path):
    (results / "endpoints").mkdir()
    (results / "endpoints" / "typo.yaml").write_text("id: typo\nwire: openai\nmodle: m\n")
    before = dict(arena.endpoints)
    arena.refresh()
    assert arena.endpoints == before and arena.start(recorded_prompts()[0].text, "v")


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("  ", "prompt is empty"),
        ("x" * 8001, "8,001 characters; at most 8,000"),
        ("never recorded", "needs two endpoints.*recorded prompts"),
    ],
)
def test_a_prompt_that_cannot_be_fought_is_told(arena: Arena, prompt: str, told: str):
    with pytest.raises(ArenaError, match=told):
        arena.start(prompt, "v")


def test_shipped_recordings_stay_out_of_a_real_arena(results: Path):
    with Store(results / "a.duckdb") as store, open_arena(Arena(store, results=results, demo=False, speed=1, secret="s")) as arena:
        assert arena.endpoints == {} and arena.prompts == ()


def test_a_page_without_an_arena_says_how_to_start_one():
    with pytest.raises(ArenaError, match="start it with 'arena up' or 'dashboards up'"):
        current()


def test_a_battle_is_drawn_by_the_policys_file_and_stores_its_probability(arena: Arena, results: Path):
    first = ended(arena.start(recorded_prompts()[0].text, "v"))
    assert arena.store.battle(first.battle_id).pairing_policy == "uniform"
    (results / "pairing.yaml").write_text("kind: adaptive\ntop: 3\n")
    second = arena.store.battle(ended(arena.start(recorded_prompts()[0].text, "v")).battle_id)
    assert second.pairing_policy == "adaptive" and 0 < second.pairing_probability < 1
    (results / "pairing.yaml").write_text("kind: adaptiv\n")
    assert arena.start(recorded_prompts()[0].text, "v") and arena.policy.kind == "adaptive"


def test_an_endpoint_that_failed_rests_while_two_others_live(results: Path):
    with ModelServer(sse("fine")) as one, ModelServer(sse("good")) as two, ModelServer(problem("500 Internal Server Error", "oops")) as bad:
        for name, server in (("one", one), ("two", two), ("bad", bad)):
            register(server.endpoint(name), results)
        with Store(results / "a.duckdb") as store, open_arena(Arena(store, results=results, demo=False, speed=1, secret="s")) as arena:
            for _ in range(60):
                if arena.resting():
                    break
                ended(arena.start("anything", "v"))
            assert arena.resting() == {"bad"}
            assert all("bad" not in {side.model for side in ended(arena.start("anything", "v")).sides} for _ in range(10))


def test_who_takes_part_is_written_into_the_ledger(results: Path):
    with ModelServer(sse("fine")) as one, ModelServer(sse("good")) as two:
        register(one.endpoint("one"), results)
        register(two.endpoint("two"), results)
        with Store(results / "a.duckdb") as store, open_arena(Arena(store, results=results, demo=False, speed=1, secret="s")) as arena:
            ended(arena.start("anything", "v"))
            (results / "endpoints" / "two.yaml").unlink()
            arena.refresh()
            arena.refresh()
            assert [(entry.model, entry.event) for entry in store.ledger()] == [("one", "joined"), ("two", "joined"), ("two", "withdrawn")]
