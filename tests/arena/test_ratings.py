"""Ratings equal what others published, obey their laws, and say nothing where nothing can be said."""

import json
import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ballot_box import demo_votes
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.ratings import POINTS, Rating, bradley_terry, head_to_head, online_elo, tally
from arena.store import Store
from arena.votes import WINNERS, Outcome, Tally

GOLDEN = json.loads((Path(__file__).parent / "golden_llmfao.json").read_text(encoding="utf-8"))
MIRROR = {"model_a": "model_b", "model_b": "model_a", "tie": "tie", "both_bad": "both_bad"}


@pytest.fixture(scope="module")
def llmfao(tmp_path_factory: pytest.TempPathFactory):
    with Store(demo_votes(tmp_path_factory.mktemp("llmfao") / "arena.duckdb")) as store:
        yield store


def by_model(ratings: list[Rating]) -> dict[str, float | None]:
    return {rating.model: rating.rating for rating in ratings}


def half_width(ratings: list[Rating]) -> float:
    return float(np.mean([rating.rating_upper - rating.rating for rating in ratings]))


def test_bradley_terry_equals_the_exact_fit_of_all_59_models(llmfao: Store):
    found = by_model(bradley_terry(llmfao.vote_counts()))
    assert found.keys() == GOLDEN["bradley_terry"].keys() and len(found) == 59
    assert max(abs(found[model] - rating) for model, rating in GOLDEN["bradley_terry"].items()) < 1e-9


def test_online_elo_equals_fastchats_of_all_59_models(llmfao: Store):
    found = by_model(online_elo(llmfao.outcomes()))
    assert found.keys() == GOLDEN["online_elo"].keys() and len(found) == 59
    assert max(abs(found[model] - rating) for model, rating in GOLDEN["online_elo"].items()) < 1e-9


def test_strengths_equal_evalicas_golden_file(llmfao: Store):
    strength = {rating.model: math.exp((rating.rating - 1000) / POINTS) for rating in bradley_terry(llmfao.vote_counts())}
    total = sum(strength.values())
    assert max(abs(strength[model] / total - score) for model, score in GOLDEN["evalica"].items()) < 1e-12


@pytest.mark.parametrize("cluster", ["none", "voter", "prompt"])
def test_interval_widths_equal_the_published_ones(llmfao: Store, cluster: str):
    assert half_width(bradley_terry(llmfao.vote_counts(cluster))) == pytest.approx(GOLDEN["half_width"][cluster], abs=0.05)


def test_evalica_agrees_on_the_same_votes(llmfao: Store):
    evalica = pytest.importorskip("evalica")
    winner = {"model_a": evalica.Winner.X, "model_b": evalica.Winner.Y, "tie": evalica.Winner.Draw}
    votes = llmfao.outcomes()
    theirs = evalica.bradley_terry(
        [vote.model_a for vote in votes],
        [vote.model_b for vote in votes],
        [winner[vote.winner] for vote in votes],
        tolerance=1e-12,
        limit=10_000,
    ).scores
    ours = {rating.model: (rating.rating - 1000) / POINTS for rating in bradley_terry(tally(votes))}
    logs = {model: math.log(score) for model, score in theirs.items()}
    mean = sum(logs.values()) / len(logs)
    assert max(abs(ours[model] - (logs[model] - mean)) for model in ours) < 1e-6


def test_the_textbook_example():
    games = {"AB": 2, "BA": 3, "AD": 1, "DA": 4, "BC": 5, "CB": 3, "CD": 1, "DC": 3}
    votes = [Outcome(pair[0], pair[1], "model_a") for pair, count in games.items() for _ in range(count)]
    strength = {rating.model: math.exp((rating.rating - 1000) / POINTS) for rating in bradley_terry(tally(votes))}
    assert {model: round(value, 3) for model, value in strength.items()} == {"A": 0.640, "B": 1.043, "C": 0.660, "D": 2.270}


def test_the_interval_of_two_models_is_the_delta_methods():
    # θ = ½ ln(w/l), so its standard error is ½ √(1/w + 1/l).
    a, b = bradley_terry([Tally("a", "b", 30, 10, 0)])
    assert a.rating - b.rating == pytest.approx(POINTS * math.log(3))
    assert a.rating_upper - a.rating == pytest.approx(1.959963984540054 * POINTS * 0.5 * math.sqrt(1 / 30 + 1 / 10))


def test_four_hundred_points_are_odds_of_ten_to_one():
    best, other = bradley_terry([Tally("a", "b", 100, 10, 0)])
    assert best.rating - other.rating == pytest.approx(400) and best.rating + other.rating == pytest.approx(2000)


outcomes = st.lists(
    st.tuples(st.sampled_from("abcde"), st.sampled_from("abcde"), st.sampled_from(WINNERS)).filter(lambda vote: vote[0] != vote[1]),
    min_size=1,
    max_size=60,
).map(lambda votes: [Outcome(*vote) for vote in votes])


@given(outcomes)
@settings(max_examples=60)
def test_swapping_the_sides_changes_no_rating(votes: list[Outcome]):
    swapped = [Outcome(b, a, MIRROR[winner]) for a, b, winner in votes]
    assert_alike(bradley_terry(tally(votes)), bradley_terry(tally(swapped)))
    assert_alike(online_elo(votes), online_elo(swapped))


@given(outcomes)
@settings(max_examples=60)
def test_reversing_every_verdict_mirrors_the_ratings_around_1000(votes: list[Outcome]):
    reverse = by_model(bradley_terry(tally([Outcome(a, b, MIRROR[winner]) for a, b, winner in votes])))
    comparable = {model: rating for model, rating in by_model(bradley_terry(tally(votes))).items() if rating is not None}
    for model, rating in comparable.items():
        assert reverse[model] is None or rating + reverse[model] == pytest.approx(2000, abs=1e-6)


@given(outcomes, st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_the_order_of_votes_does_not_matter_to_bradley_terry(votes: list[Outcome], rng: random.Random):
    shuffled = votes.copy()
    rng.shuffle(shuffled)
    assert_alike(bradley_terry(tally(votes)), bradley_terry(tally(shuffled)))


@given(outcomes, st.integers(2, 40))
@settings(max_examples=60)
def test_more_of_the_same_votes_moves_no_rating_and_narrows_intervals(votes: list[Outcome], times: int):
    few, many = bradley_terry(tally(votes)), bradley_terry(tally(votes * times))
    assert by_model(few) == pytest.approx(by_model(many), abs=1e-6)
    for rating, again in zip(sorted(few, key=lambda r: r.model), sorted(many, key=lambda r: r.model), strict=True):
        if rating.rating is not None:
            narrower = (rating.rating_upper - rating.rating_lower) / math.sqrt(times)
            assert again.rating_upper - again.rating_lower == pytest.approx(narrower, rel=1e-6)


@given(outcomes)
@settings(max_examples=60)
def test_ratings_average_1000_and_never_are_nan_or_endless(votes: list[Outcome]):
    rated = [rating for rating in bradley_terry(tally(votes)) if rating.rating is not None]
    if rated:
        assert np.mean([rating.rating for rating in rated]) == pytest.approx(1000)
    assert all(math.isfinite(value) for rating in rated for value in (rating.rating, rating.rating_lower, rating.rating_upper))
    assert all(rating.rank_lower <= rating.rank <= rating.rank_upper <= len(rated) for rating in rated)
    assert sum(rating.rating for rating in online_elo(votes) if rating.rating is not None) == pytest.approx(
        1000 * sum(rating.rating is not None for rating in online_elo(votes))
    )


def assert_alike(left: list[Rating], right: list[Rating]) -> None:
    lefts, rights = ({rating.model: rating for rating in ratings} for ratings in (left, right))
    assert lefts.keys() == rights.keys()
    for model, rating in lefts.items():
        for field in ("rating", "rating_lower", "rating_upper", "n_battles", "note"):
            assert getattr(rating, field) == pytest.approx(getattr(rights[model], field), abs=1e-6), (model, field)


def test_both_bad_moves_nothing_and_is_no_tie():
    votes = [Outcome("a", "b", "model_a"), Outcome("b", "a", "model_a"), Outcome("a", "b", "model_a")]
    spoiled = [*votes, *[Outcome("a", "b", "both_bad")] * 50]
    for rated in (lambda votes: bradley_terry(tally(votes)), online_elo):
        assert [rating.n_both_bad for rating in rated(spoiled)] == [50, 50] and rated(spoiled)[0].both_bad_share == 50 / 53
        assert [rating.model_copy(update={"n_both_bad": 0}) for rating in rated(spoiled)] == rated(votes)
    assert bradley_terry(tally([*votes, *[Outcome("a", "b", "tie")] * 50])) != bradley_terry(tally(votes))


def test_a_model_that_won_or_lost_every_battle_has_no_rating():
    votes = [Tally("a", "b", 3, 2, 1), Tally("always", "a", 9, 0, 0), Tally("b", "never", 4, 0, 0)]
    found = {rating.model: rating for rating in bradley_terry(votes)}
    assert found["always"].rating is None and "won every battle" in found["always"].note
    assert found["never"].rating is None and "lost every battle" in found["never"].note
    assert by_model(bradley_terry(votes[:1])) == {model: found[model].rating for model in "ab"}


def test_models_that_no_vote_connects_are_not_compared():
    found = {
        rating.model: rating for rating in bradley_terry([Tally("a", "b", 3, 2, 0), Tally("b", "c", 1, 1, 1), Tally("x", "y", 2, 2, 0)])
    }
    assert [model for model, rating in found.items() if rating.rating is None] == ["x", "y"]
    assert "no vote connects it" in found["x"].note and found["x"].n_battles == 4


def test_a_group_that_never_lost_to_the_others_is_not_compared_with_them():
    found = {
        rating.model: rating
        for rating in bradley_terry(
            [Tally("a", "b", 3, 2, 0), Tally("b", "c", 2, 1, 0), Tally("x", "y", 2, 2, 0), Tally("x", "a", 5, 0, 0)]
        )
    }
    assert found["y"].rating is None and found["x"].rating is None and found["x"].note
    assert "group" in found["x"].note


def test_a_single_decisive_vote_rates_nobody():
    assert [rating.rating for rating in bradley_terry([Tally("a", "b", 1, 0, 0)])] == [None, None]


def test_only_ties_do_not_make_an_interval_of_no_width():
    a, _ = bradley_terry([Tally("a", "b", 0, 0, 4)])
    assert a.rating == pytest.approx(1000) and a.rating_upper - a.rating > 100


def test_a_lopsided_pair_converges():
    a, b = bradley_terry([Tally("a", "b", 1_000_000, 1, 0)])
    assert a.rating - b.rating == pytest.approx(POINTS * math.log(1e6), rel=1e-9)


def test_ranks_are_shared_where_intervals_overlap():
    top, middle, bottom = bradley_terry(
        [Tally("top", "bottom", 400, 20, 0), Tally("top", "middle", 210, 200, 0), Tally("middle", "bottom", 400, 22, 0)]
    )
    assert [(rating.rank, rating.rank_lower, rating.rank_upper) for rating in (top, middle, bottom)] == [(1, 1, 2), (1, 1, 2), (3, 3, 3)]


def test_clusters_of_alike_votes_widen_the_interval():
    # Ten voters, each voting one way ten times: as informative as ten votes, not as a hundred.
    alone = [Tally("a", "b", 60, 40, 0)]
    clustered = [Tally("a", "b", 10 * (voter < 6), 10 * (voter >= 6), 0, cluster=f"v{voter}") for voter in range(10)]
    assert half_width(bradley_terry(clustered)) == pytest.approx(half_width(bradley_terry(alone)) * math.sqrt(10))


def test_a_vote_of_an_unknown_cluster_is_a_cluster_of_its_own():
    votes = [Outcome("a", "b", "model_a")] * 6 + [Outcome("a", "b", "model_b")] * 4
    assert_alike(bradley_terry(tally(votes, [None] * 10)), bradley_terry(tally(votes, [f"voter {number}" for number in range(10)])))


def test_head_to_head_counts_both_sides_and_leaves_both_bad_out():
    table = head_to_head([Tally("b", "a", 3, 1, 2, 9), Tally("a", "b", 5, 0, 0, 0)])
    assert table.models == ("a", "b")
    assert table.wins.tolist() == [[0, 6], [3, 0]] and table.ties.tolist() == [[0, 2], [2, 0]] and table.n.tolist() == [[0, 11], [11, 0]]


def test_the_stores_group_by_counts_as_python_does(llmfao: Store):
    counted = Counter()
    for row in llmfao.vote_counts("voter"):
        counted[row.model_a, row.model_b] += row.wins_a + row.wins_b + row.ties
    assert counted == Counter((vote.model_a, vote.model_b) for vote in llmfao.outcomes())
    assert sorted(llmfao.vote_counts()) == sorted(tally(llmfao.outcomes()))
