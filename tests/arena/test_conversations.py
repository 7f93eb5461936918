"""A battle outlives its process: stored before it is asked, taken up where it was left, gone on with, and read by a share's token alone."""

import hashlib
from pathlib import Path

import pytest
from fights import ANSWER, arena_in, ended, text_of, two, until
from model_server import HANG, ModelServer, sse

from arena.battle import Arena
from arena.database import statements
from arena.errors import ArenaError
from arena.store import Store
from serving.endpoints import register


def test_a_battle_is_stored_before_anything_is_asked_with_all_that_is_known(results: Path):
    with two(results, sse("so ")[:3] + [HANG], sse("and ")[:3] + [HANG]), arena_in(results) as arena:
        round_ = arena.start("Why?", "v")
        battle = arena.store.battle(round_.battle_id)
        assert (battle.model_a, battle.model_b) == round_.models and battle.voter_id == "v" and battle.completions is None
        assert [message.content for message in battle.messages] == ["Why?"] and battle.created_at is not None
        assert (battle.mode, battle.pairing_policy, battle.pairing_probability) == ("blind", "uniform", 0.5)
        with pytest.raises(ArenaError, match="not both sides"):
            arena.vote(round_, "v", "tie", token=arena.vote_form(round_, "v"))


def test_what_was_whole_is_kept_and_what_was_not_is_asked_again_of_the_same_models(results: Path):
    with two(results, ANSWER, sse("half ")[:3] + [HANG]) as (one, other):
        with arena_in(results) as arena:
            fought = arena.start("Why?", "v")
            until(lambda: text_of(fought, "one") == "one two " and text_of(fought, "two") == "half ")
            until(lambda: arena.store.rows("answers", fought.battle_id))
        other.script = sse("whole ")
        with arena_in(results) as arena:
            assert arena.find(fought.battle_id, "somebody else") is None
            again = ended(arena.find(fought.battle_id, "v"))
            assert again.resumed and again.models == fought.models and again.pairing_probability == 0.5
            assert text_of(again, "one") == "one two " and text_of(again, "two") == "whole "
            assert len(one.requests) == 1 and len(other.requests) == 2
            assert arena.vote(again, "v", "model_a", token=arena.vote_form(again, "v")) is True
            assert arena.store.vote_of(again.battle_id).rated


def test_a_battle_whose_model_has_left_is_void_after_a_restart(results: Path):
    with two(results, ANSWER, sse("half ")[:3] + [HANG]):
        with arena_in(results) as arena:
            fought = arena.start("Why?", "v")
            until(lambda: arena.store.rows("answers", fought.battle_id))
        (results / "endpoints" / "two.yaml").unlink()
        with arena_in(results) as arena:
            again = ended(arena.find(fought.battle_id, "v"))
            assert not again.votable
            assert {side.completion.error for side in again.sides} == {None, "this endpoint is no longer here"}


def echo(body: dict) -> list[bytes]:
    return sse(f"{body['model']} after {len(body['messages'])} ", usage=(3, 4))


def test_a_conversation_gives_each_side_its_own_history_and_keeps_every_answer(results: Path):
    with ModelServer(echo) as server:
        for name in ("one", "two"):
            register(server.endpoint(name, model=name, price={"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}), results)
        with arena_in(results) as arena:
            round_ = ended(arena.start("First?", "v"))
            arena.go_on(round_, "v", "Second?")
            ended(round_)
            assert text_of(round_, "one") == "one after 3 " and text_of(round_, "two") == "two after 3 "
            for body in server.requests[2:]:
                said = [message["content"] for message in body["messages"]]
                assert said == ["First?", f"{body['model']} after 1 ", "Second?"]
            costs = [cost for (cost,) in [(row[3],) for row in arena.store.rows("answers", round_.battle_id)]]
            assert len(costs) == 4 and all('"cost_usd"' in document for document in costs)
            battle = arena.store.battle(round_.battle_id)
            assert [message.content for message in battle.messages] == ["First?", "Second?"]
            assert [completion.text for completion in arena.store.completions_of(round_.battle_id)] == [side.text for side in round_.sides]
            assert arena.vote(round_, "v", "model_b", token=arena.vote_form(round_, "v")) is True
            with pytest.raises(ArenaError, match="the vote ended this battle"):
                arena.go_on(round_, "v", "Third?")
        with arena_in(results) as arena:
            again = arena.find(round_.battle_id, "v")
            assert [turn.asked for turn in again.turns] == ["First?", "Second?"]
            assert [[side.text for side in turn.sides] for turn in again.turns] == [
                [side.text for side in turn.sides] for turn in round_.turns
            ]
            assert again.sides[0].history == round_.sides[0].history


def test_equal_histories_are_kept_whole(results: Path):
    with two(results, ANSWER, ANSWER), arena_in(results) as arena:
        round_ = ended(arena.start("First?", "v"))
        arena.go_on(round_, "v", "Second?")
        ended(round_)
        assert [message.content for message in arena.store.battle(round_.battle_id).messages] == ["First?", "one two ", "Second?"]


def test_a_conversation_has_a_limit_and_does_not_go_on_over_an_answer_that_is_being_written(results: Path):
    (results / "arena.yaml").write_text("limits: {turns: 2, answer_tokens: 77}\n")
    with two(results, ANSWER, ANSWER) as (one, _), arena_in(results) as arena:
        round_ = ended(arena.start("First?", "v"))
        assert one.requests[0]["max_tokens"] == 77
        with pytest.raises(ArenaError, match="another voter"):
            arena.go_on(round_, "w", "Second?")
        arena.go_on(round_, "v", "Second?")
        ended(round_)
        with pytest.raises(ArenaError, match="at most 2 turns"):
            arena.go_on(round_, "v", "Third?")
        one.script = sse("so ")[:3] + [HANG]
        running = arena.start("First?", "v")
        with pytest.raises(ArenaError, match="still being written"):
            arena.go_on(running, "v", "Second?")


def test_of_two_processes_the_second_to_go_on_is_refused(results: Path):
    with two(results, ANSWER, ANSWER), arena_in(results) as arena:
        round_ = ended(arena.start("First?", "v"))
        elsewhere = Arena(arena.store, results=results, demo=False, speed=1, secret="s")
        elsewhere.open()
        try:
            other = elsewhere.find(round_.battle_id, "v")
            form = elsewhere.vote_form(other, "v")
            arena.go_on(round_, "v", "Second?")
            with pytest.raises(ArenaError):
                elsewhere.go_on(other, "v", "Another second?")
            assert len(other.turns) == 1
            ended(round_)
            with pytest.raises(ArenaError, match="went on elsewhere"):
                elsewhere.vote(other, "v", "tie", token=form)
            fresh = elsewhere.find(round_.battle_id, "v")
            assert [turn.asked for turn in fresh.turns] == ["First?", "Second?"]
            assert elsewhere.vote(fresh, "v", "tie", token=elsewhere.vote_form(fresh, "v")) is True
            assert arena.vote(round_, "v", "model_a", token=arena.vote_form(round_, "v")) is False
        finally:
            elsewhere.close()


def test_a_stop_keeps_what_came_and_the_vote_is_unrated(results: Path):
    with two(results, ANSWER, sse("half ")[:3] + [HANG]), arena_in(results) as arena:
        round_ = arena.start("Why?", "v")
        until(lambda: text_of(round_, "one") == "one two " and text_of(round_, "two") == "half ")
        with pytest.raises(ArenaError, match="another voter"):
            arena.stop(round_, "w")
        arena.stop(round_, "v")
        ended(round_)
        assert text_of(round_, "two") == "half " and round_.votable
        assert arena.vote(round_, "v", "model_a", token=arena.vote_form(round_, "v")) is True
        vote = arena.store.vote_of(round_.battle_id)
        assert not vote.rated and vote.unrated_reason == "stopped"
        assert "two" not in arena.resting()


def test_stopped_before_a_word_was_written_there_is_nothing_to_vote_on(results: Path):
    with two(results, [HANG], [HANG]) as (one, other), arena_in(results) as arena:
        round_ = arena.start("Why?", "v")
        until(lambda: one.requests and other.requests)
        arena.stop(round_, "v")
        assert not ended(round_).votable


def test_answers_asked_for_anew_come_from_the_same_pair_and_are_not_rated(results: Path):
    with two(results, ANSWER, ANSWER), arena_in(results) as arena:
        round_ = ended(arena.start("Why?", "v"))
        models, old = round_.models, arena.vote_form(round_, "v")
        arena.regenerate(round_, "v")
        ended(round_)
        assert round_.models == models and len(arena.store.rows("answers", round_.battle_id)) == 4
        with pytest.raises(ArenaError, match="spent"):
            arena.vote(round_, "v", "tie", token=old)
        assert arena.vote(round_, "v", "tie", token=arena.vote_form(round_, "v")) is True
        assert arena.store.vote_of(round_.battle_id).unrated_reason == "regenerated"
    with arena_in(results) as arena:
        assert arena.find(round_.battle_id, "v").unrated_reason == "regenerated"


def test_a_direct_chat_has_one_model_survives_and_is_no_battle(results: Path):
    with two(results, ANSWER, ANSWER):
        with arena_in(results) as arena:
            round_ = ended(arena.start("Hello", "v", mode="direct", models=["one"]))
            arena.go_on(round_, "v", "More")
            ended(round_)
            assert not round_.votable and arena.store.battle(round_.battle_id) is None
        with arena_in(results) as arena:
            again = arena.find(round_.battle_id, "v")
            assert again.mode == "direct" and [turn.asked for turn in again.turns] == ["Hello", "More"]
            assert [side.text for side in again.sides] == ["one two "]


@pytest.mark.parametrize(
    ("mode", "models", "told"),
    [
        ("side_by_side", ["one", "one"], "two different models"),
        ("side_by_side", ["one"], "two different models"),
        ("side_by_side", ["one", "gone"], "'gone' is no longer here"),
        ("direct", [], "choose one model"),
        ("duel", [], "mode 'duel' is not on offer"),
    ],
)
def test_a_choice_that_cannot_be_fought_is_told(results: Path, mode: str, models: list[str], told: str):
    with two(results, ANSWER, ANSWER), arena_in(results) as arena, pytest.raises(ArenaError, match=told):
        arena.start("Hello", "v", mode=mode, models=models)


def test_a_share_is_read_by_its_token_after_the_vote_only(results: Path):
    with two(results, ANSWER, ANSWER), arena_in(results) as arena:
        round_ = ended(arena.start("Why?", "v"))
        with pytest.raises(ArenaError, match="after the vote"):
            arena.share(round_, "v")
        arena.vote(round_, "v", "tie", token=arena.vote_form(round_, "v"))
        with pytest.raises(ArenaError, match="its own voter"):
            arena.share(round_, "w")
        token = arena.share(round_, "v")
        assert token == arena.share(round_, "v") and token != round_.battle_id
        assert arena.shared(token).battle_id == round_.battle_id
        assert arena.shared(round_.battle_id) is None and arena.shared("made up") is None


def test_memory_keeps_no_more_rounds_than_it_is_told(results: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("arena.battle._KEPT_ROUNDS", 2)
    with two(results, ANSWER, ANSWER), arena_in(results) as arena:
        rounds = [ended(arena.start("Why?", "v")) for _ in range(5)]
        assert len(arena.rounds) <= 3
        assert arena.find(rounds[0].battle_id, "v").votable
        assert all(not side.pieces for side in rounds[-1].sides)


def test_a_battle_that_was_voted_on_leaves_memory_before_one_that_may_yet_be(results: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("arena.battle._KEPT_VOTED", 1)
    with two(results, ANSWER, ANSWER), arena_in(results) as arena:
        open_one, *voted = [ended(arena.start("Why?", "v")) for _ in range(4)]
        form = arena.vote_form(open_one, "v")
        for round_ in voted:
            arena.vote(round_, "v", "tie", token=arena.vote_form(round_, "v"))
        ended(arena.start("Why?", "v"))
        assert [one.battle_id in arena.rounds for one in (open_one, *voted)] == [True, False, False, True]
        assert arena.vote(open_one, "v", "model_a", token=form)


def test_a_votes_look_at_its_conversation_does_not_read_all_of_them(results: Path):
    with Store(results / "arena.duckdb") as store:
        file = store._database
        file.write(lambda execute: execute("INSERT INTO turns SELECT md5(i::VARCHAR), 1, 0, 'Why?', now() FROM range(20000) AS r(i)"))
        file.write(lambda execute: execute("INSERT INTO answers SELECT md5(i::VARCHAR), 1, 0, 'a', 'c' || i FROM range(20000) AS r(i)"))
        one = hashlib.md5(b"777", usedforsecurity=False).hexdigest()
        assert store.rows("turns_with_answers", one) == [(1, 0, None, None), (1, 0, "a", "c777")]
        [(_, plan)] = file.read(f"EXPLAIN ANALYZE {statements()['turns_with_answers']}", [one])
        assert plan.count("Index Scan") == 2 and "Sequential Scan" not in plan
