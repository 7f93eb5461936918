"""One vote per battle: its own voter's, with a form that holds once and for one stage; unrated, with the reason, where it was not blind."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fights import ANSWER, arena_in, ended, two
from model_server import ModelServer, sse

from arena.battle import Arena
from arena.casting import REASONS, explain
from arena.errors import ArenaError
from arena.votes import now
from serving.endpoints import register


@pytest.fixture
def arena(results: Path, database: Path | str) -> Iterator[Arena]:
    with two(results, ANSWER, ANSWER), arena_in(results, database) as opened:
        yield opened


def test_a_form_is_good_for_one_vote_and_the_first_one_stands(arena: Arena):
    round_ = ended(arena.start("Why?", "v"))
    first, second = arena.vote_form(round_, "v"), arena.vote_form(round_, "v")
    assert arena.vote(round_, "v", "model_a", token=first) is True
    for token in (first, second, "forged"):
        assert arena.vote(round_, "v", "model_b", token=token) is False
    assert arena.store.vote_of(round_.battle_id).winner == "model_a" and arena.store.count_votes() == 1


@pytest.mark.parametrize("token", ["", "forged"])
def test_without_a_form_of_this_battle_there_is_no_vote(arena: Arena, token: str):
    round_, other = ended(arena.start("Why?", "v")), ended(arena.start("Why?", "v"))
    for bad in (token, arena.vote_form(other, "v")):
        with pytest.raises(ArenaError, match="spent"):
            arena.vote(round_, "v", "tie", token=bad)
    assert arena.store.count_votes() == 0


def test_nobody_else_gets_a_form_or_votes_with_a_stolen_one(arena: Arena):
    round_ = ended(arena.start("Why?", "v"))
    with pytest.raises(ArenaError, match="another voter"):
        arena.vote_form(round_, "w")
    with pytest.raises(ArenaError, match="another voter"):
        arena.vote(round_, "w", "tie", token=arena.vote_form(round_, "v"))
    assert arena.store.count_votes() == 0


def test_a_form_from_before_the_next_turn_is_spent(arena: Arena):
    round_ = ended(arena.start("Why?", "v"))
    old = arena.vote_form(round_, "v")
    arena.go_on(round_, "v", "And then?")
    ended(round_)
    with pytest.raises(ArenaError, match="spent"):
        arena.vote(round_, "v", "model_a", token=old)


def test_of_many_votes_at_once_one_is_stored(arena: Arena):
    round_ = ended(arena.start("Why?", "v"))
    forms = [arena.vote_form(round_, "v") for _ in range(8)]
    told: list[bool] = []
    threads = [threading.Thread(target=lambda form=form: told.append(arena.vote(round_, "v", "tie", token=form))) for form in forms]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [False] * 7 + [True] and arena.store.count_votes() == 1


def test_a_vote_on_named_models_is_stored_unrated(arena: Arena):
    round_ = ended(arena.start("Why?", "v", mode="side_by_side", models=["two", "one"]))
    assert round_.models == ("two", "one")
    arena.vote(round_, "v", "model_a", token=arena.vote_form(round_, "v"))
    vote, battle = arena.store.vote_of(round_.battle_id), arena.store.battle(round_.battle_id)
    assert (vote.rated, vote.unrated_reason) == (False, "names shown")
    assert (battle.mode, battle.pairing_policy, battle.pairing_probability) == ("side_by_side", "chosen", None)
    assert arena.store.vote_counts() == []


def test_an_answer_that_says_who_wrote_it_makes_the_vote_unrated(results: Path):
    with ModelServer(sse("I am ChatGPT, trained by OpenAI.")) as one, ModelServer(sse("No name here.")) as two:
        register(one.endpoint("one"), results)
        register(two.endpoint("two"), results)
        with arena_in(results) as arena:
            round_ = ended(arena.start("Who are you?", "v"))
            arena.vote(round_, "v", "tie", token=arena.vote_form(round_, "v"))
            assert arena.store.vote_of(round_.battle_id).unrated_reason == "leak"
            (row,) = arena.store.vote_rows()
            assert "leak" in row
            named = ended(arena.start("Are you ChatGPT of OpenAI?", "v"))
            assert named.unrated_reason is None


def test_a_voter_is_told_that_an_audit_keeps_the_vote_from_counting(arena: Arena, monkeypatch: pytest.MonkeyPatch):
    from streamlit.testing.v1 import AppTest

    from arena.views import frame

    def script() -> None:
        from arena.views import battle

        battle.page()

    round_ = ended(arena.start("Why?", "v"))
    assert arena.vote(round_, "v", "model_a", token=arena.vote_form(round_, "v"))
    vote = arena.store.vote_of(round_.battle_id)
    assert vote is not None
    arena.store.flag({vote.vote_id: "too_quick"}, now())
    monkeypatch.setattr(frame, "voter_id", lambda: "v")
    page = AppTest.from_function(script)
    page.query_params["battle"] = round_.battle_id
    page.run(timeout=30)
    told = [element.proto.body for element in page.get("html") if 'class="verdict"' in element.proto.body]
    assert not page.exception and len(told) == 1 and "not rated: an audit keeps it from counting" in told[0]


def test_a_blind_vote_is_rated_and_its_reasons_are_the_voters_alone(arena: Arena):
    round_ = ended(arena.start("Why?", "v"))
    arena.vote(round_, "v", "model_a", token=arena.vote_form(round_, "v"))
    vote = arena.store.vote_of(round_.battle_id)
    assert vote.rated and vote.unrated_reason is None and vote.dwell_s is not None
    explain(arena.store, round_, "v", REASONS[:2])
    explain(arena.store, round_, "v", REASONS[1:2])
    with pytest.raises(ArenaError, match="another voter"):
        explain(arena.store, round_, "w", REASONS[:1])
    with pytest.raises(ArenaError, match="no reason 'pretty'"):
        explain(arena.store, round_, "v", ["pretty"])
    assert arena.store.vote_of(round_.battle_id).reasons == REASONS[1:2]
