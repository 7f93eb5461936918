"""An audit finds those who rig, leaves honest people alone, says why, and can be taken back."""

import math
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ballot_box import demo_votes
from rigging import World, simulate

from arena.audit import REASONS, AuditVote, Findings, audit, audit_votes_of
from arena.leaks import leaked
from arena.ratings import bradley_terry, tally
from arena.store import Record, Store
from arena.suspicion import beta_binomial_tail, step_up
from arena.votes import Battle, Outcome, Vote
from serving.completion import Completion, Request

SEEDS = range(6)
ATTACKS = [("target-only", 1), ("target-only", 10), ("omnipresent", 1), ("omnipresent", 10)]
QUICK = [("target-only", 10), ("omnipresent", 1)]


@cache
def world(seed: int, attack: str | None, identities: int, rigged: int = 300) -> tuple[World, Findings]:
    made = simulate(seed=seed, attack=attack, identities=identities, rigged=rigged)
    return made, audit(made.ballots)


def caught(made: World, findings: Findings) -> float:
    rigged = {ballot.vote_id for ballot in made.ballots if ballot.voter_id in made.riggers}
    return len(rigged & findings.vote_ids) / len(rigged)


def false_positives(made: World, findings: Findings) -> float:
    honest = {ballot.voter_id for ballot in made.ballots} - made.riggers
    return len(set(findings.voters) & honest) / len(honest)


def place(ballots: list[AuditVote], model: str) -> int:
    ratings = bradley_terry(tally(Outcome(ballot.model_a, ballot.model_b, ballot.winner) for ballot in ballots))
    return [rating.model for rating in ratings].index(model)


@pytest.mark.parametrize(("attack", "identities"), [pytest.param(*one, marks=[] if one in QUICK else pytest.mark.slow) for one in ATTACKS])
def test_300_rigged_votes_are_caught_and_the_target_falls_back(attack: str, identities: int):
    worlds = [world(seed, attack, identities) for seed in SEEDS]
    assert np.mean([caught(*one) for one in worlds]) >= 0.9
    assert np.mean([false_positives(*one) for one in worlds]) <= 0.02
    for made, findings in worlds:
        counted = [ballot for ballot in made.ballots if ballot.vote_id not in findings.vote_ids]
        assert abs(place(counted, made.target) - place(made.honest(), made.target)) <= 1


def test_without_the_audit_the_attack_works():
    made, _ = world(0, "target-only", 10)
    assert place(made.honest(), made.target) - place(made.ballots, made.target) >= 5


@pytest.mark.slow
def test_the_detection_curve(capsys: pytest.CaptureFixture[str]):
    lines = ["attack        identities  votes  caught  honest voters flagged  rank moved before, after"]
    shares = {}
    for attack, identities in [*ATTACKS, ("target-only", 30), ("omnipresent", 30)]:
        for rigged in (30, 100, 300, 1000):
            worlds = [world(seed, attack, identities, rigged) for seed in SEEDS]
            share, wrong = np.mean([caught(*one) for one in worlds]), np.mean([false_positives(*one) for one in worlds])
            moved = np.zeros(2)
            for made, findings in worlds:
                counted = [ballot for ballot in made.ballots if ballot.vote_id not in findings.vote_ids]
                moved += [abs(place(votes, made.target) - place(made.honest(), made.target)) for votes in (made.ballots, counted)]
            shares[attack, identities, rigged] = share
            before, after = moved / len(worlds)
            lines.append(f"{attack:13} {identities:10} {rigged:6} {share:7.0%} {wrong:22.1%} {before:18.1f}, {after:.1f}")
            assert wrong <= 0.02
    with capsys.disabled():
        import sys

        sys.stdout.write("\n" + "\n".join(lines) + "\n")
    assert all(shares[attack, identities, 300] >= 0.9 for attack, identities in ATTACKS)


def test_a_crowd_without_riggers_is_left_alone():
    assert np.mean([false_positives(*world(seed, None, 0)) for seed in SEEDS]) <= 0.01


def test_of_the_124_real_workers_at_most_a_tenth_is_flagged_each_with_a_reason(tmp_path: Path):
    with Store(demo_votes(tmp_path / "arena.duckdb")) as store:
        findings = audit(audit_votes_of(store))
    assert findings.n_voters == 124 and len(findings.voters) <= 12
    assert all(flag.reason in REASONS and flag.why for flag in findings.flags)
    # Worker 15 let Weaver 12k win 106 of 110 battles; everybody else together 554 of 2,652.
    assert findings.voters[0] == "llmfao-15" and "favours Weaver 12k" in findings.flags[0].why and "110 battles" in findings.flags[0].why


def test_whoever_always_chooses_the_left_is_flagged_for_that():
    made, _ = world(0, None, 0)
    rng = np.random.default_rng(5)
    models = sorted(made.strength)
    locked = [AuditVote(f"x{i}", "lefty", *map(str, rng.choice(models, 2, replace=False)), "model_a") for i in range(60)]
    findings = audit([*made.ballots, *locked])
    assert [(flag.voter_id, flag.reason) for flag in findings.flags] == [("lefty", "side")] and len(findings.flags[0].vote_ids) == 60


def test_a_rigger_with_most_votes_of_a_model_does_not_hide_himself():
    made, _ = world(1, None, 0)
    rng = np.random.default_rng(6)
    models = sorted(made.strength)
    rigged = [AuditVote(f"x{i}", "owner", "new", str(rng.choice(models)), "model_a") for i in range(80)]
    others = [
        AuditVote(f"y{i}", f"h{i % 40}", str(rng.choice(models)), "new", str(rng.choice(["model_a", "model_b"], p=[0.7, 0.3])))
        for i in range(60)
    ]
    findings = audit([*made.ballots, *rigged, *others])
    assert findings.voters == ["owner"] and "new" in findings.flags[0].why


def vote(number: int, **values: object) -> AuditVote:
    return AuditVote(f"v{number}", **({"voter_id": "ada", "model_a": "a", "model_b": "b", "winner": "model_a"} | values))


def test_votes_that_came_too_quickly_for_the_length_of_the_answers():
    votes = [vote(0, dwell_s=0.4), vote(1, dwell_s=3.0, characters=5000), vote(2, dwell_s=3.0, characters=200), vote(3)]
    (flag,) = audit(votes).flags
    assert flag.reason == "too_quick" and flag.vote_ids == ("v0", "v1") and "after 0.4 s" in flag.why


def test_votes_beyond_a_readers_hour():
    votes = [vote(i, voted_at_s=1e9 + 10 * i) for i in range(150)] + [
        vote(200 + i, voter_id="eve", voted_at_s=1e9 + 60 * i) for i in range(150)
    ]
    (flag,) = audit(votes).flags
    assert (flag.voter_id, flag.reason, flag.vote_ids) == ("ada", "too_many", tuple(f"v{i}" for i in range(120, 150)))


def test_voting_again_on_the_same_pair_and_prompt():
    votes = [vote(0, prompt="Why?"), vote(1, prompt=" why? ", model_a="b", model_b="a"), vote(2, prompt="How?"), vote(3), vote(4)]
    (flag,) = audit(votes).flags
    assert flag.reason == "repeated" and flag.vote_ids == ("v1",)


def test_a_prompt_far_more_frequent_than_all_others_counts_no_more_than_they_do():
    votes = [vote(i, voter_id=f"p{i}", prompt=f"prompt {i}") for i in range(10_000)]
    votes += [vote(20_000 + i, voter_id=f"q{i}", prompt="hi") for i in range(50)]
    (flag,) = audit(votes).flags
    assert flag.reason == "frequent_prompt" and len(flag.vote_ids) == 49


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("I am ChatGPT, a large language model.", "ChatGPT"),
        ("As an AI language model developed by OpenAI, I cannot.", "OpenAI"),
        ("Hello! My name is GPT 4.", "GPT 4"),
        ("I'm Claude.", "Claude"),
        ("I am sitting under a palm tree.", None),
        ("I am a palm tree", None),
        ("The command line; I am at your command.", None),
        ("I am Claudette.", None),
        ("Models such as Claude and ChatGPT were trained by Anthropic and OpenAI.", None),
        ("An opening on llamas. I am fond of them.", None),
    ],
)
def test_a_leak_is_a_name_said_of_oneself_as_a_word(text: str, name: str | None):
    assert leaked("GPT 4", text) == name


def test_a_name_that_the_prompt_holds_gives_nothing_away():
    assert leaked("x", "I am Claude.", asked="Are you Claude?") is None and leaked("x", "I am Claude.", asked="Who?") == "Claude"


def test_step_up_is_benjamini_and_hochbergs():
    # Their paper's example (1995, section 3.2): at .05 the four smallest of fifteen are rejected.
    p = np.array([0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0])
    assert (step_up(p) <= 0.05).sum() == 4 and step_up(p[::-1])[-1] == pytest.approx(0.0015)


def test_flagged_votes_are_kept_unrated_and_come_back(database: Path | str):
    request = Request.user("Who are you?")
    with Store(database) as store:
        for number, text in enumerate(("I am ChatGPT.", "Nobody.")):
            battle = Battle(battle_id=f"b{number}", created_at=None, messages=request.messages, model_a="a", model_b="b")
            pair = (Completion(endpoint="a", request=request, text=text), Completion(endpoint="b", request=request, text="A friend."))
            cast = Vote(vote_id=f"v{number}", battle_id=f"b{number}", voter_id=f"ada{number}", winner="model_a", voted_at=None)
            store.save_all([Record(battle, pair, cast)])
        off = Battle(battle_id="b9", created_at=None, messages=(), model_a="a", model_b="b")
        store.save_all([Record(off, None, Vote(vote_id="v9", battle_id="b9", voter_id=None, winner="tie", voted_at=None, rated=False))])
        first = audit(audit_votes_of(store))
        assert first.vote_ids == {"v0"} and "ChatGPT" in first.flags[0].why
        store.flag(dict.fromkeys(first.vote_ids, "leak"), datetime(2026, 11, 24, tzinfo=UTC))
        assert store.flags() == {"v0": "leak"} and store.counts() == (3, 2, 0)
        # An audit sees what it unrated before, so that auditing twice changes nothing; what was never rated stays out.
        assert audit(audit_votes_of(store)).vote_ids == {"v0"}
        store.flag({}, datetime(2026, 11, 24, tzinfo=UTC))
        assert store.flags() == {} and store.counts() == (3, 1, 0) and store.vote_of("b9").rated is False


def test_the_tail_of_the_beta_binomial_is_scipys_and_exact_where_scipys_ends():
    from scipy.stats import betabinom

    draw = np.random.default_rng(0)
    n = draw.integers(1, 200, 4000).astype(float)
    k, a, b = np.floor(draw.random(4000) * (n + 1)) - 1, draw.random(4000) * 5 + 0.01, draw.random(4000) * 50 + 0.1
    assert beta_binomial_tail(k, n, a, b) == pytest.approx(betabinom.sf(k, n, a, b), abs=1e-12)
    # Polya's urn: 40 of 40 drawn, with a = 1: n! Γ(b + 1) / Γ(b + 1 + n) by hand.
    by_hand = math.prod((1 + i) / (31 + i) for i in range(40))
    assert by_hand < 1e-15
    assert beta_binomial_tail(*(np.array([value]) for value in (39.0, 40.0, 1.0, 30.0))) == pytest.approx(by_hand, rel=1e-12)


def test_a_long_sum_is_taken_in_parts(monkeypatch: pytest.MonkeyPatch):
    n, k = np.array([50.0, 3.0, 80.0, 80.0]), np.array([10.0, 3.0, -1.0, 4.0])
    whole = beta_binomial_tail(k, n, np.full(4, 2.0), np.full(4, 9.0))
    monkeypatch.setattr("arena.suspicion._AT_ONCE", 30)
    assert beta_binomial_tail(k, n, np.full(4, 2.0), np.full(4, 9.0)).tolist() == whole.tolist()
    assert whole[1] == 0 and whole[2] == pytest.approx(1, rel=1e-12)
