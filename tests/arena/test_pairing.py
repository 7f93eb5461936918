"""Pairs are fair: as likely as they say, sides by a coin, never a model against itself; adaptive pairing learns more from fewer votes."""

import random
import sys
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from arena.errors import ArenaError
from arena.pairing import Policy, WarmUp, choose_pair, information_gain, inverse_propensity, pair_probabilities, posterior, read_policy
from arena.ratings import bradley_terry
from arena.votes import Tally
from serving.documents import read_document
from serving.errors import DocumentError

TALLIES = [Tally("a", "b", 30, 10, 5), Tally("c", "a", 3, 4, 0), Tally("b", "c", 2, 2, 1)]


def test_every_ordered_pair_is_equally_likely_and_the_probability_says_so():
    rng, rounds = random.Random(7), 24_000
    shown = [choose_pair(["a", "b", "c", "d"], rng) for _ in range(rounds)]
    counts = Counter((left, right) for left, right, _ in shown)
    assert len(counts) == 12 and {probability for *_, probability in shown} == {1 / 12}
    # 2,000 expected each, standard deviation 43: five of them is a coin that is not fair.
    assert all(abs(count - rounds / 12) < 5 * 43 for count in counts.values())


def test_one_seed_gives_one_pair_whatever_the_order_of_the_candidates():
    assert choose_pair(["c", "a", "b", "a"], random.Random(3)) == choose_pair({"a", "b", "c"}, random.Random(3))


@pytest.mark.parametrize("candidates", [[], ["a"], ["a", "a"]])
def test_fewer_than_two_endpoints_are_no_battle(candidates: list[str]):
    with pytest.raises(ArenaError, match="needs two different endpoints"):
        choose_pair(candidates, random.Random(1))


POLICIES = [
    Policy(kind="weighted", weights={"a": 5, "b": 0.5}),
    Policy(boosts={"c": 4.0}),
    Policy(kind="adaptive", top=2),
    Policy(kind="adaptive", top=9, warmup_votes=10),
    Policy(warmup_votes=10),
    Policy(warmups={"d": WarmUp(votes=10)}),
]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_pair_comes_as_often_as_its_probability_says_with_sides_by_a_coin(policy: Policy):
    rng, rounds = random.Random(11), 4_000
    drawn = [choose_pair(["a", "b", "c", "d"], rng, policy, tallies=TALLIES) for _ in range(rounds)]
    counts = Counter((left, right) for left, right, _ in drawn)
    told = {(left, right): probability for left, right, probability in drawn}
    assert len(told) == 12 and sum(told.values()) == pytest.approx(1)
    for pair, probability in told.items():
        assert abs(counts[pair] - rounds * probability) < 5 * (rounds * probability * (1 - probability)) ** 0.5
        assert probability == pytest.approx(told[pair[1], pair[0]])


def test_weights_boosts_and_warm_up_draw_a_model_oftener():
    def share(policy: Policy, model: int) -> float:
        return float(pair_probabilities(["a", "b", "c", "d"], policy, TALLIES)[model].sum())

    assert share(Policy(kind="weighted", weights={"a": 4}), 0) > 1.5 * share(Policy(), 0)
    assert share(Policy(boosts={"b": 4}), 1) > 1.5 * share(Policy(), 1)
    # d has no vote yet, c has 12, a and b more.
    assert share(Policy(warmup_votes=5, warmup_boost=5), 3) > 1.5 * share(Policy(), 3)
    assert share(Policy(warmup_votes=5, warmup_boost=5), 2) < share(Policy(), 2)


def test_a_newcomers_warm_up_is_its_own_and_ends_with_its_votes():
    def shares(warmups: dict[str, WarmUp]) -> list[float]:
        return [float(share) for share in pair_probabilities(["a", "b", "c", "d"], Policy(warmups=warmups), TALLIES).sum(axis=1)]

    plain = shares({})
    assert shares({"d": WarmUp(votes=1, boost=5)})[3] > 1.5 * plain[3]
    # c has 12 votes; who is not here is not missed.
    assert shares({"c": WarmUp(votes=13, boost=5)})[2] > 1.5 * plain[2]
    assert shares({"c": WarmUp(votes=12, boost=5), "gone": WarmUp(votes=9)}) == pytest.approx(plain)
    both = Policy(warmup_votes=20, warmup_boost=2, warmups={"d": WarmUp(votes=1, boost=5), "c": WarmUp(votes=99, boost=1)})
    alone = Policy(boosts={"c": 2, "d": 5})
    assert pair_probabilities(["a", "b", "c", "d"], both, TALLIES) == pytest.approx(
        pair_probabilities(["a", "b", "c", "d"], alone, TALLIES)
    )


def test_a_newcomers_warm_up_ends_with_its_last_day(tmp_path: Path):
    (tmp_path / "warmups").mkdir()
    (tmp_path / "warmups" / "d.yaml").write_text("votes: 50\nboost: 4\nuntil: 2026-11-30\n")
    assert read_policy(tmp_path, date(2026, 11, 30)) == Policy(warmups={"d": WarmUp(votes=50, boost=4, until=date(2026, 11, 30))})
    assert read_policy(tmp_path, date(2026, 12, 1)) == Policy()
    # What the operator says goes before it.
    (tmp_path / "pairing.yaml").write_text("kind: adaptive\nwarmups: {d: {votes: 9}, e: {votes: 3, until: 2026-11-01}}\n")
    assert read_policy(tmp_path, date(2026, 11, 30)) == Policy(kind="adaptive", warmups={"d": WarmUp(votes=9)})
    (tmp_path / "warmups" / "d.yaml").write_text("votes: few\n")
    with pytest.raises(DocumentError, match=r"d\.yaml: votes: "):
        read_policy(tmp_path)


def test_outages_and_dead_endpoints_are_not_drawn_while_two_others_live():
    rng = random.Random(2)
    for policy in (Policy(outages={"a"}), Policy(kind="adaptive", outages={"a"})):
        assert not any("a" in choose_pair(["a", "b", "c"], rng, policy, tallies=TALLIES)[:2] for _ in range(200))
    assert not any("b" in choose_pair(["a", "b", "c"], rng, dead={"b"})[:2] for _ in range(200))
    assert set(choose_pair(["a", "b"], rng, dead={"a", "b"})[:2]) == {"a", "b"}
    with pytest.raises(ArenaError, match="only 'b' can"):
        choose_pair(["a", "b"], rng, Policy(outages={"a"}))


def test_adaptive_pairing_works_from_the_first_vote_and_explores_every_pair():
    chance = pair_probabilities(["a", "b", "c", "d"], Policy(kind="adaptive", explore=0.2), ())
    assert chance.sum() == pytest.approx(1) and (chance + np.eye(4) >= 0.2 / 12).all()
    assert len(set(choose_pair(["x", "y"], random.Random(1), Policy(kind="adaptive"))[:2])) == 2


def test_the_pair_that_teaches_most_is_about_the_border_and_little_known():
    # Two of four are wanted: a is far above, d far below, b and c are close and have few votes.
    score = np.array([[0, 30, 30, 39], [10, 0, 3, 9], [10, 3, 0, 9], [1, 1, 1, 0.0]])
    gain = information_gain(score, 2)
    assert np.unravel_index(gain.argmax(), gain.shape) in ((1, 2), (2, 1))


def test_the_gain_is_what_one_more_vote_brings():
    # Sherman and Morrison against plain inversion: the variance of one gap, before and after.
    rng = np.random.default_rng(3)
    score = rng.integers(1, 9, (5, 5)).astype(float)
    np.fill_diagonal(score, 0)
    theta, covariance = posterior(score)
    border = np.zeros(5)
    border[np.argsort(-theta)[1:3]] = 0.5
    gaps = np.eye(5) - border
    before = np.einsum("mi,ij,mj->m", gaps, covariance, gaps)
    openness = np.exp(-((theta - border @ theta) ** 2) / before / 2) / np.sqrt(before)
    x = np.zeros(5)
    x[1], x[4] = 1, -1
    p = 1 / (1 + np.exp(theta[4] - theta[1]))
    after = np.einsum("mi,ij,mj->m", gaps, np.linalg.inv(np.linalg.inv(covariance) + p * (1 - p) * np.outer(x, x)), gaps)
    assert information_gain(score, 2)[1, 4] == pytest.approx(openness @ (before - after), rel=1e-6)


def test_inverse_propensity_weights_undo_the_draw():
    rng = np.random.default_rng(4)
    chance = pair_probabilities(["a", "b", "c", "d"], Policy(kind="weighted", weights={"a": 6}), ())
    at = rng.choice(16, 40_000, p=chance.ravel())
    weights = np.array(inverse_propensity(chance.ravel()[at].tolist(), 4))
    assert weights.mean() == pytest.approx(1)
    counted = np.bincount(at, weights, minlength=16)[chance.ravel() > 0] / 40_000
    assert (
        np.abs(counted - 1 / 12).max() < 0.005 and np.abs(np.bincount(at, minlength=16)[chance.ravel() > 0] / 40_000 - 1 / 12).max() > 0.03
    )
    assert max(inverse_propensity([0.5] * 99 + [1e-9], 4)) <= 100


def test_the_policys_file_is_read_or_refused_by_key(tmp_path: Path):
    path = tmp_path / "pairing.yaml"
    path.write_text("kind: adaptive\ntop: 3\noutages: [a]\nboosts: {b: 2}\n")
    assert read_document(path, Policy) == Policy(kind="adaptive", top=3, outages={"a"}, boosts={"b": 2.0})
    for text, told in (("knd: adaptive\n", "knd"), ("kind: random\n", "kind"), ("weights: {a: 0}\n", "must be above zero")):
        path.write_text(text)
        with pytest.raises(DocumentError, match=told):
            read_document(path, Policy)


MODELS, TOP, BATCH, WORLDS = 30, 5, 150, 40


def play(seed: int, policy: Policy, budget: int) -> tuple[list[float], np.ndarray, np.ndarray]:
    """A world of 30 models voted on in batches: the share of the true top 5 found after each, the truth, and the wins."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(0, 0.6, MODELS)
    best = set(np.argsort(-theta)[:TOP].tolist())
    names = [f"m{number:02}" for number in range(MODELS)]
    score, shares, tallies = np.zeros((MODELS, MODELS)), [], []
    for _ in range(budget // BATCH):
        if policy.kind != "uniform":
            tallies = [Tally(names[i], names[j], int(score[i, j]), 0, 0) for i, j in np.argwhere(score)]
        chance = pair_probabilities(names, policy, tallies)
        a, b = np.divmod(rng.choice(MODELS * MODELS, BATCH, p=chance.ravel()), MODELS)
        won = rng.random(BATCH) < 1 / (1 + np.exp(theta[b] - theta[a]))
        np.add.at(score, (np.where(won, a, b), np.where(won, b, a)), 1)
        shares.append(len(best & set(np.argsort(-posterior(score)[0])[:TOP].tolist())) / TOP)
    return shares, theta - theta.mean(), score


def test_adaptive_pairing_finds_the_top_5_with_at_most_60_percent_of_the_votes(capsys: pytest.CaptureFixture[str]):
    curves = {
        kind: np.mean([play(seed, Policy(kind=kind, top=TOP), budget)[0] for seed in range(WORLDS)], axis=0)
        for kind, budget in (("uniform", 6000), ("adaptive", 3000))
    }
    lines = [f"share of the true top 5 found, {MODELS} models, {WORLDS} worlds", " votes  uniform  adaptive"]
    for i in range(1, 40, 3):
        adaptive = f"{curves['adaptive'][i]:9.3f}" if i < len(curves["adaptive"]) else ""
        lines.append(f"{(i + 1) * BATCH:6} {curves['uniform'][i]:8.3f} {adaptive}")
    ratio = {}
    for level in (0.75, 0.8, 0.85):
        uniform, adaptive = (int(np.argmax(curves[kind] >= level) + 1) * BATCH for kind in ("uniform", "adaptive"))
        assert all(curve.max() >= level for curve in curves.values())
        ratio[level] = adaptive / uniform
        lines.append(f"to find {level:.0%}: uniform {uniform} votes, adaptive {adaptive}: {ratio[level]:.0%}")
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")
    assert ratio[0.85] <= 0.6


def test_adaptive_pairing_does_not_bias_the_ratings():
    # Enough votes that the fit exists and its own bias at few votes is over; 400/ln 10 points are one unit of θ.
    errors, covered = {}, {}
    for kind in ("uniform", "adaptive"):
        worlds = [play(seed, Policy(kind=kind, top=TOP), 3000) for seed in range(12)]
        error, inside = [], []
        for _, theta, score in worlds:
            names = [f"m{number:02}" for number in range(MODELS)]
            tallies = [Tally(names[i], names[j], int(score[i, j]), 0, 0) for i, j in np.argwhere(score)]
            ratings = {rating.model: rating for rating in bradley_terry(tallies)}
            truth = {name: 1000 + 400 / np.log(10) * value for name, value in zip(names, theta, strict=True)}
            top = np.argsort(-theta)[:TOP]
            error.append(np.mean([ratings[names[i]].rating - truth[names[i]] for i in top]))
            inside += [ratings[name].rating_lower <= truth[name] <= ratings[name].rating_upper for name in names]
        errors[kind], covered[kind] = np.array(error), np.mean(inside)
    # Of the truly best five: the mean error over worlds is within three standard errors of none.
    for kind, error in errors.items():
        assert abs(error.mean()) < 3 * error.std(ddof=1) / len(error) ** 0.5 + 3, kind
    assert all(0.92 <= share <= 0.98 for share in covered.values()), covered
