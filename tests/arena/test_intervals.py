"""Intervals are as wide as published, cover what they promise, and a bootstrap says the same by other means."""

import math

import numpy as np
import pytest
from ballot_box import demo_votes
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.ballots import Ballots, ballots_of
from arena.bradley_terry import fit
from arena.errors import ArenaError
from arena.intervals import bootstrap, ranks, refit
from arena.ratings import POINTS, Method, rate
from arena.store import Store
from arena.votes import WINNERS, Outcome


@pytest.fixture(scope="module")
def llmfao(tmp_path_factory: pytest.TempPathFactory):
    with Store(demo_votes(tmp_path_factory.mktemp("llmfao") / "arena.duckdb")) as store:
        yield store.ballots()


def half_width(ballots: Ballots, **options) -> float:
    return float(np.mean([(row.rating_upper - row.rating_lower) / 2 for row in rate(ballots, Method(**options)).ratings]))


@pytest.mark.parametrize(("cluster", "published"), [("none", 36.4), ("voter", 41.5), ("prompt", 59.8), ("item", 44.4)])
def test_half_widths_equal_the_published_ones(llmfao: Ballots, cluster: str, published: float):
    assert round(half_width(llmfao, cluster=cluster), 1) == published


def test_two_way_clusters_are_what_their_parts_add_up_to(llmfao: Ballots):
    crossed = np.unique(llmfao.voter.astype(int) * 1000 + llmfao.prompt, return_inverse=True)[1]
    parts = {}
    for name, member in (("voter", llmfao.voter), ("prompt", llmfao.prompt), ("crossed", crossed)):
        ballots = Ballots(llmfao.models, llmfao.a, llmfao.b, llmfao.winner, voter=member)
        parts[name] = np.array([(row.rating_upper - row.rating) ** 2 for row in rate(ballots, Method(cluster="voter")).ratings])
    both = np.array([(row.rating_upper - row.rating) ** 2 for row in rate(llmfao, Method(cluster="both")).ratings])
    # The meat is made positive semi-definite, which may only add.
    assert (both >= (parts["voter"] + parts["prompt"] - parts["crossed"]) * (1 - 1e-9)).all()
    assert both.mean() <= (parts["voter"] + parts["prompt"]).mean()


@pytest.mark.parametrize("cluster", ["none", "voter"])
def test_a_bootstrap_says_what_the_closed_form_says(llmfao: Ballots, cluster: str):
    theta = bootstrap(llmfao, 200, cluster=cluster)
    spread = 1.96 * POINTS * theta.std(axis=0).mean()
    assert len(theta) == 200 and spread == pytest.approx(half_width(llmfao, cluster=cluster), rel=0.08)
    assert np.abs(theta.mean(axis=1)).max() < 1e-9


def test_each_round_is_an_exact_fit():
    rng = np.random.default_rng(5)
    scores = rng.integers(3, 40, (12, 6, 6)).astype(float)
    scores[:, range(6), range(6)] = 0
    found = refit(scores, fit(scores.mean(axis=0)))
    assert np.abs(found - np.array([fit(score) for score in scores])).max() < 1e-8


def test_a_draw_that_cuts_a_model_off_is_left_out():
    score = np.array([[0.0, 5, 5], [5, 0, 5], [5, 5, 0]])
    lost = score.copy()
    lost[2] = 0
    assert len(refit(np.stack([score, lost]), fit(score))) == 1


def test_ranks_count_whole_intervals():
    lower, upper = np.array([5.0, 4.0, 0.0]), np.array([7.0, 6.0, 3.0])
    assert ranks(lower, upper) == ([1, 1, 3], [2, 2, 3])


def world(seed: int, *, shared: bool) -> tuple[np.ndarray, Ballots]:
    """1,600 votes of 80 voters on eight models of known strength; where bias is shared, each voter adds likings of his own."""
    rng = np.random.default_rng(seed)
    theta = np.linspace(0.8, -0.8, 8)
    voter = np.repeat(np.arange(80), 20)
    a = rng.integers(0, 8, 1600)
    b = (a + rng.integers(1, 8, 1600)) % 8
    liking = rng.normal(0, 0.9, (80, 8)) if shared else np.zeros((80, 8))
    eta = theta[a] - theta[b] + liking[voter, a] - liking[voter, b]
    winner = np.where(rng.random(1600) < 1 / (1 + np.exp(-eta)), 0, 1)
    return theta, Ballots(tuple("abcdefgh"), a, b, winner, voter=voter)


def covered(cluster: str, *, shared: bool) -> float:
    """The share of 200 worlds' intervals that hold the truth; with shared likings, what a million votes of a million voters would give."""
    truth = None
    hits = []
    for seed in range(200):
        theta, ballots = world(seed, shared=shared)
        truth = theta if not shared else limit() if truth is None else truth
        rows = sorted(rate(ballots, Method(cluster=cluster)).ratings, key=lambda row: row.model)
        hits += [row.rating_lower <= 1000 + POINTS * value <= row.rating_upper for row, value in zip(rows, truth, strict=True)]
    return float(np.mean(hits))


def limit() -> np.ndarray:
    """The Bradley-Terry fit of infinitely many votes with likings: win probabilities averaged over N(0, 2 · .9²), by Gauss-Hermite."""
    theta = np.linspace(0.8, -0.8, 8)
    node, weight = np.polynomial.hermite_e.hermegauss(40)
    gap = theta[:, None, None] - theta[None, :, None] + math.sqrt(2) * 0.9 * node
    chance = (weight / weight.sum() / (1 + np.exp(-gap))).sum(axis=2)
    np.fill_diagonal(chance, 0)
    return fit(chance)


def test_intervals_cover_95_percent_of_200_worlds_of_independent_votes():
    assert 0.94 <= covered("none", shared=False) <= 0.96


def test_clustered_intervals_cover_95_percent_of_200_worlds_whose_voters_share_a_bias():
    assert 0.94 <= covered("voter", shared=True) <= 0.96
    assert covered("none", shared=True) < 0.93


votes = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd"), st.sampled_from(WINNERS)).filter(lambda vote: vote[0] != vote[1]),
    min_size=4,
    max_size=60,
).map(lambda votes: [Outcome(*vote) for vote in votes])


@given(votes, st.sampled_from("abcd"), st.sampled_from("abcd"))
@settings(max_examples=60)
def test_a_further_win_never_lowers_the_winner(cast: list[Outcome], winner: str, loser: str):
    before = {row.model: row.rating for row in rate(ballots_of(cast)).ratings}
    if winner == loser or before.get(winner) is None or before.get(loser) is None:
        return
    after = {row.model: row.rating for row in rate(ballots_of([*cast, Outcome(winner, loser, "model_a")])).ratings}
    assert after[winner] - after[loser] >= before[winner] - before[loser] - 1e-6
    assert after[winner] >= before[winner] - 1e-6


@given(votes)
@settings(max_examples=40)
def test_twice_the_votes_narrow_the_interval_by_the_root_of_two(cast: list[Outcome]):
    once, twice = (rate(ballots_of(cast * times)).ratings for times in (1, 2))
    for few, many in zip(once, twice, strict=True):
        if few.rating is not None and many.model == few.model:
            assert few.rating_upper - few.rating_lower == pytest.approx(math.sqrt(2) * (many.rating_upper - many.rating_lower), rel=1e-6)


@given(votes)
@settings(max_examples=40)
def test_swapping_sides_mirrors_the_position_term(cast: list[Outcome]):
    mirror = {"model_a": "model_b", "model_b": "model_a", "tie": "tie", "both_bad": "both_bad"}
    # Each pair on both sides with both outcomes, so that every maximum exists.
    pairs = [Outcome(a, b, winner) for a in "abcd" for b in "abcd" if a != b for winner in ("model_a", "model_b")]
    cast = cast + pairs
    swapped = [Outcome(vote.model_b, vote.model_a, mirror[vote.winner]) for vote in cast]
    one, other = (rate(ballots_of(which), Method(name="davidson", position=True)) for which in (cast, swapped))
    assert one.terms[0].estimate == pytest.approx(-other.terms[0].estimate, abs=1e-6)
    for left, right in zip(sorted(one.ratings, key=str), sorted(other.ratings, key=str), strict=False):
        assert left.model != right.model or left.rating == pytest.approx(right.rating, abs=1e-6)


def test_an_unknown_label_never_becomes_a_tie():
    for label in ("draw", "Tie", "", "invalid"):
        with pytest.raises(ValueError, match="not in tuple"):
            ballots_of([Outcome("a", "b", label)])


def test_clusters_that_the_votes_do_not_name_are_asked_for():
    with pytest.raises(ArenaError, match="no prompt_id"):
        rate(ballots_of([Outcome("a", "b", "model_a"), Outcome("a", "b", "model_b")]), Method(cluster="prompt"))
