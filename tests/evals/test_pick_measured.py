"""Errors are those that drawing votes, items and repeats anew would give; what a measurement is worth is what theory says."""

import math

import numpy as np
import pytest

from arena.ballots import ballots_of
from arena.intervals import bootstrap
from arena.leaderboard_command import published
from arena.ratings import POINTS, Method, rate
from arena.votes import Outcome
from evals.pick.advice import _expected
from evals.pick.certainty import DRAWS, best_of, chances_of, posterior
from evals.pick.evidence import rating_of
from evals.pick.front import on_front
from evals.pick.measured import Bill, Measured, Quantile, mean_bill, of_bills, of_items, of_levels, of_requests, steadied

ROUNDS = 4000


def test_the_errors_of_items_are_those_of_drawing_items_anew():
    draw = np.random.default_rng(1)
    hard = draw.standard_normal(300)
    right = (draw.standard_normal((2, 300)) - hard + np.array([[0.5], [0.0]]) > 0).astype(float)
    found = of_items(
        "quality:x", {name: {item: (value, None) for item, value in enumerate(row)} for name, row in zip("ab", right, strict=True)}
    )
    means = np.array([right[:, draw.integers(0, 300, 300)].mean(axis=1) for _ in range(ROUNDS)])
    assert found.values == pytest.approx(right.mean(axis=1))
    assert found.covariance == pytest.approx(np.cov(means, rowvar=False), rel=0.12)
    assert found.covariance[0, 1] > 0


def test_the_errors_of_clustered_items_are_those_of_drawing_clusters_anew():
    draw = np.random.default_rng(2)
    passages = draw.standard_normal(60)
    right = (draw.standard_normal((60, 5)) + passages[:, None] > 0).astype(float)
    items = {(p, q): (float(right[p, q]), str(p)) for p in range(60) for q in range(5)}
    found = of_items("quality:x", {"a": items})
    means = [right[draw.integers(0, 60, 60)].mean() for _ in range(ROUNDS)]
    assert math.sqrt(found.covariance[0, 0]) == pytest.approx(np.std(means), rel=0.08)


def test_what_was_not_answered_widens_and_a_clean_sheet_is_not_certain():
    whole = of_items("q", {"a": {item: (float(item % 2), None) for item in range(100)}})
    holes = of_items("q", {"a": {item: (float(item % 2) if item < 80 else None, None) for item in range(100)}})
    perfect = of_items("q", {"a": {item: (1.0, None) for item in range(50)}})
    assert holes.covariance[0, 0] > 0.2**2 / 12 > whole.covariance[0, 0]
    assert 0.01 < math.sqrt(perfect.covariance[0, 0]) < 0.05


def test_the_errors_of_ratings_are_those_of_drawing_votes_anew():
    draw = np.random.default_rng(3)
    strength = np.array([60.0, 0.0, -20.0, -40.0]) / POINTS
    outcomes = []
    for _ in range(1500):
        a, b = draw.choice(4, 2, replace=False)
        won = draw.random() < 1 / (1 + math.exp(strength[b] - strength[a]))
        outcomes.append(Outcome("abcd"[a], "abcd"[b], "model_a" if won else "model_b"))
    ballots, method = ballots_of(outcomes), Method(covariance=True)
    measured, note = rating_of(published(rate(ballots, method), method, ballots), {})
    thetas = bootstrap(ballots, 400)[:, [ballots.models.index(model) for model in measured.endpoints]] * POINTS
    assert note is None
    for i, j in ((0, 1), (0, 3), (2, 3)):
        variance = measured.covariance[i, i] + measured.covariance[j, j] - 2 * measured.covariance[i, j]
        assert math.sqrt(variance) == pytest.approx(np.std(thetas[:, i] - thetas[:, j]), rel=0.15)


def test_the_errors_of_a_percentile_are_those_of_drawing_requests_anew():
    draw = np.random.default_rng(4)
    seconds = np.exp(draw.normal(0, 0.5, 150))
    found = of_requests("latency_p95", {"a": seconds.tolist()}, 95)
    again = [np.log(np.sort(seconds[draw.integers(0, 150, 150)])[math.ceil(0.95 * 150) - 1]) for _ in range(ROUNDS)]
    assert math.sqrt(found.covariance[0, 0]) == pytest.approx(np.std(again), rel=0.05)
    assert not of_requests("latency_p95", {"a": seconds[:58].tolist()}, 95).endpoints


def test_repeats_borrow_from_each_other_and_one_run_alone_from_all():
    # Three repeats that happen to agree (interval ±.1 %) are not surer than their peers' spread allows.
    peers = {f"peer{n}": Quantile(1.0, 1 - 0.2 * spread, 1 + 0.2 * spread, 3, 300) for n, spread in enumerate((0.6, 0.9, 1.1, 1.4, 1.0))}
    found = of_levels("ttft_p95", {**peers, "lucky": Quantile(1.0, 0.999, 1.001, 3, 300), "once": Quantile(1.0, 0.995, 1.005, 1, 300)})
    error = dict(zip(found.endpoints, np.sqrt(np.diag(found.covariance)), strict=True))
    assert error["lucky"] > 0.002 and error["once"] > error["lucky"]


def test_a_price_is_certain_and_a_mean_of_costs_is_not():
    found = of_bills("usd_per_1000", {"price": Bill(2.0), "measured": mean_bill([0.001, 0.003] * 50)})
    assert found.covariance[0, 0] == 0 and math.sqrt(found.covariance[1, 1]) == pytest.approx(0.05, rel=0.05)
    assert posterior(found)[0][:, 0] == pytest.approx(np.log(2.0))


def test_correlations_that_few_voters_cannot_tell_are_dropped_and_those_of_many_stay():
    draw = np.random.default_rng(5)
    noise = np.cov(draw.standard_normal((40, 30)), rowvar=False)
    off = np.logical_not(np.eye(30, dtype=bool))
    assert np.abs(steadied(noise, 40)[off]).max() < 0.2 * np.abs(noise[off]).max()
    real = 0.5 + 0.5 * np.eye(5)
    assert steadied(real, 1000) == pytest.approx(real, rel=0.01)


def world(draw: np.random.Generator, spread: float, error: float, size: int = 12) -> tuple[np.ndarray, Measured]:
    truth = draw.normal(1000, spread, size)
    names = tuple(f"e{n}" for n in range(size))
    return truth, Measured("rating", names, draw.normal(truth, error), np.eye(size) * error**2, (100,) * size, "votes", ("",) * size)


def test_the_winners_luck_is_taken_off():
    draw = np.random.default_rng(6)
    raw, drawn_again = [], []
    for _ in range(150):
        truth, found = world(draw, 20, 20)
        first = int(found.values.argmax())
        raw.append(found.values[first] - truth[first])
        drawn_again.append(posterior(found, 500)[0][:, first].mean() - truth[first])
    # Measured as well as it varies, the best of twelve looks half its lead too good; its draws do not.
    assert np.mean(raw) > 12 and abs(np.mean(drawn_again)) < 4


def test_true_values_lie_within_their_intervals_as_often_as_said():
    draw = np.random.default_rng(7)
    inside = []
    for _ in range(150):
        truth, found = world(draw, 30, 20)
        low, high = np.quantile(posterior(found, 1000)[0], [0.05, 0.95], axis=0)
        inside += ((low < truth) & (truth < high)).tolist()
    assert 0.87 < np.mean(inside) < 0.93


def test_the_same_evidence_gives_the_same_draws():
    _, found = world(np.random.default_rng(8), 30, 20)
    assert (posterior(found)[0] == posterior(found)[0]).all() and len(posterior(found)[0]) == DRAWS


def test_the_value_of_a_measurement_is_what_theory_says():
    # a ~ N(0, 1) against a known 0: after measuring a with error variance v the right one is named with 1/2 + arcsin(√(1/(1+v)))/π.
    values = np.random.default_rng(9).standard_normal(20_000)
    winners = np.zeros((20_000, 3))
    winners[np.arange(20_000), np.where(values > 0, 0, 1)] = 1
    for variance in (0.25, 1.0, 4.0):
        expected = 0.5 + math.asin(math.sqrt(1 / (1 + variance))) / math.pi
        assert _expected(values, winners, variance) == pytest.approx(expected, abs=0.02)


def test_nobody_is_best_where_nobody_is_feasible():
    utility = np.array([[1.0, 2.0], [3.0, 1.0], [1.0, np.nan]])
    best = best_of(utility, np.array([[True, True], [False, False], [True, True]]))
    assert best.tolist() == [1, -1, 0] and chances_of(best, 2).tolist() == pytest.approx([1 / 3, 1 / 3])


def test_the_front_is_whoever_is_beaten_by_nobody():
    assert on_front(np.array([[1, 5], [3, 3], [2, 2], [5, 1], [5, 1]])).tolist() == [True, True, False, True, True]
