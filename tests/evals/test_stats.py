"""The statistics equal published numbers, and hold what they promise on simulated models whose accuracies are known."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from evals.stats import (
    benjamini_hochberg,
    difference_bounds,
    items_needed,
    mcnemar_exact,
    minimum_detectable_effect,
    missing_bounds,
    paired_bootstrap,
    paired_difference,
    paired_ks,
    wilson,
)

Array = np.ndarray[Any, Any]


def models(accuracy_a: float, accuracy_b: float, n: int, worlds: int, *, alike: float = 0.7, seed: int = 1) -> tuple[Array, Array]:
    """(worlds, n) right answers of two models of known accuracies; an item's difficulty is `alike` of what decides."""
    draw = np.random.default_rng(seed)
    difficulty = draw.normal(size=(worlds, n)) * alike**0.5
    a, b = (
        difficulty + draw.normal(size=(worlds, n)) * (1 - alike) ** 0.5 < scipy_stats.norm.ppf(accuracy)
        for accuracy in (accuracy_a, accuracy_b)
    )
    return a, b


def flipped(a: Array, b: Array) -> Iterator[tuple[int, int]]:
    return zip((a & ~b).sum(axis=1).tolist(), (~a & b).sum(axis=1).tolist(), strict=True)


def unpaired_z(a: Array, b: Array) -> Array:
    """p of the test that other tools use: two shares, their standard errors added as if each had items of its own."""
    n, x, y = a.shape[1], a.mean(axis=1), b.mean(axis=1)
    return np.asarray(2 * scipy_stats.norm.sf(abs(x - y) / np.sqrt((x * (1 - x) + y * (1 - y)) / n)))


def test_wilsons_interval_is_the_textbooks():
    # Newcombe 1998, table I (method 3): 81/263, 15/148, 0/20, 1/29.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(20, 20)[1] == 1.0


def test_what_is_missing_widens_the_interval_by_all_that_it_may_have_been():
    answered = [1.0] * 50 + [0.0] * 30
    assert missing_bounds(answered, 0) == wilson(50, 80)
    assert missing_bounds(answered, 20) == (wilson(50, 100)[0], wilson(70, 100)[1])
    assert missing_bounds([], 5) == (0.0, 1.0)
    # Grades from 1 to 10: worst when the missing one is a 1, best when it is a 10.
    low, high = missing_bounds([6.0, 7.0, 8.0, 7.0], 1, low=1, high=10)
    assert low < (28 + 1) / 5 < (28 + 10) / 5 < high
    with pytest.raises(ValueError, match="do not lie between"):
        missing_bounds([7.0], 1)


def test_bounds_cover_the_accuracy_even_when_only_the_wrong_answers_go_missing():
    draw = np.random.default_rng(3)
    for right in draw.random((200, 300)) < 0.7:
        lost = ~right & (draw.random(300) < 0.5)
        low, high = missing_bounds(right[~lost].astype(float), int(lost.sum()))
        assert low <= right.mean() <= high


def test_bounds_of_a_difference_take_each_missing_value_at_its_worst_and_best():
    a, b = [1.0, 1.0, None, 0.0] * 25, [0.0, None, 1.0, 0.0] * 25
    low, high = difference_bounds(a, b)
    # Worst: -1, -1, 0, 0; best: -1, 0, 1, 0.
    assert low < -0.5 and high > 0.0
    assert difference_bounds([1.0] * 9, [1.0] * 9) == (0.0, 0.0)


def test_mcnemars_exact_p_is_the_binomials():
    assert mcnemar_exact(476, 147) == pytest.approx(2.1e-41, rel=0.01)
    assert mcnemar_exact(5, 21) == pytest.approx(scipy_stats.binomtest(5, 26).pvalue)
    assert mcnemar_exact(0, 0) == mcnemar_exact(7, 7) == 1.0


def test_the_standard_error_is_the_paired_t_tests_and_clusters_widen_it():
    draw = np.random.default_rng(2)
    a, b = draw.normal(size=80), draw.normal(0.3, size=80)
    found, theirs = paired_difference(a, b), scipy_stats.ttest_rel(b, a)
    assert found.p == pytest.approx(theirs.pvalue)
    interval = theirs.confidence_interval()
    assert (found.lower, found.upper) == pytest.approx((interval.low, interval.high))
    # Each item five times over says no more than once: the standard error of 80 clusters is that of 80 items.
    copied = paired_difference(np.repeat(a, 5), np.repeat(b, 5), clusters=np.repeat(np.arange(80), 5).tolist())
    assert (copied.stderr, copied.p, copied.n, copied.n_clusters) == pytest.approx((found.stderr, found.p, 400, 80))
    assert paired_difference(np.repeat(a, 5), np.repeat(b, 5)).stderr < 0.5 * copied.stderr


def test_where_nothing_differs_the_interval_is_not_a_point():
    same = paired_difference([1.0] * 50, [1.0] * 50)
    assert (same.value, same.p) == (0.0, 1.0)
    assert same.lower < -0.02 < 0.02 < same.upper


def test_one_cluster_says_nothing_about_the_spread():
    found = paired_difference([0.0, 1.0], [1.0, 1.0], clusters=["x", "x"])
    assert found.value == 0.5 and math.isnan(found.stderr) and math.isnan(found.p)
    with pytest.raises(ValueError, match="1 clusters for 2 items"):
        paired_difference([0.0, 1.0], [1.0, 1.0], clusters=["x"])
    with pytest.raises(ValueError, match="one value of each side"):
        paired_difference([], [])


@given(values=st.lists(st.tuples(st.floats(-10, 10), st.floats(-10, 10)), min_size=3, max_size=30))
def test_swapping_the_sides_mirrors_the_difference(values: list[tuple[float, float]]):
    a, b = [pair[0] for pair in values], [pair[1] for pair in values]
    one, other = paired_difference(a, b), paired_difference(b, a)
    assert (one.value, one.lower, one.upper) == pytest.approx((-other.value, -other.upper, -other.lower))
    assert paired_ks(a, b, permutations=50)[0] == pytest.approx(paired_ks(b, a, permutations=50)[0])


def test_benjamini_and_hochbergs_own_example():
    # Benjamini and Hochberg 1995, section 3: fifteen p-values, four discoveries at 5 %.
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000]
    q = benjamini_hochberg(p)
    assert sum(value <= 0.05 for value in q) == 4
    assert q == pytest.approx(scipy_stats.false_discovery_control(p))
    assert benjamini_hochberg([]) == []


@pytest.mark.parametrize(("n", "a", "b"), [(200, 0.8, 0.8), (200, 0.5, 0.6), (500, 0.8, 0.85), (1000, 0.95, 0.97), (1000, 0.3, 0.36)])
def test_95_percent_intervals_cover_94_to_96_percent(n: int, a: float, b: float):
    worlds = 5000
    from evals.stats import _bonett_price

    right_a, right_b = models(a, b, n, worlds)
    inside = [low <= b - a <= high for low, high in (_bonett_price(lost, gained, n, 0.95) for lost, gained in flipped(right_a, right_b))]
    assert 0.94 <= sum(inside) / worlds <= 0.96
    # The function that `evals compare` calls gives just these intervals.
    found = paired_difference(right_a[0], right_b[0])
    assert (found.lower, found.upper) == _bonett_price(*next(flipped(right_a, right_b)), n, 0.95)


def test_clustered_intervals_cover_too_and_naive_ones_do_not():
    draw = np.random.default_rng(5)
    clustered, naive, worlds, groups, size = 0, 0, 1500, 60, 8
    names = np.repeat(np.arange(groups), size).tolist()
    for _ in range(worlds):
        passage = draw.normal(size=(2, groups, 1))
        a, b = (passage + draw.normal(size=(2, groups, size))).reshape(2, -1)
        one, other = paired_difference(a, b, clusters=names), paired_difference(a, b)
        clustered += one.lower <= 0 <= one.upper
        naive += other.lower <= 0 <= other.upper
    assert 0.94 <= clustered / worlds <= 0.96
    assert naive / worlds < 0.75


def test_bootstrap_intervals_cover_on_skewed_values_of_few_items():
    draw = np.random.default_rng(6)
    worlds, covered, false = 600, 0, 0
    for _ in range(worlds):
        seconds = draw.lognormal(0, 1, size=(2, 60))
        found = paired_bootstrap(seconds[0], seconds[1], rounds=400, seed=int(draw.integers(1 << 30)))
        covered += found.lower <= 0 <= found.upper
        false += found.p <= 0.05
    # A little wide on tails as heavy as these, never narrow.
    assert 0.94 <= covered / worlds <= 0.98
    assert false / worlds <= 0.05


@pytest.mark.parametrize("n", [50, 200, 1000])
def test_compares_false_positives_stay_below_5_percent(n: int):
    worlds = 5000
    a, b = models(0.75, 0.75, n, worlds, seed=n)
    assert np.mean([mcnemar_exact(lost, gained) <= 0.05 for lost, gained in flipped(a, b)]) <= 0.05


@pytest.mark.parametrize(("n", "gain"), [(200, 0.06), (500, 0.05), (1000, 0.03)])
def test_its_power_beats_the_unpaired_z_test(n: int, gain: float):
    a, b = models(0.75, 0.75 + gain, n, 2000, seed=n)
    paired = np.mean([mcnemar_exact(lost, gained) <= 0.05 for lost, gained in flipped(a, b)])
    unpaired = np.mean(unpaired_z(a, b) <= 0.05)
    assert paired > unpaired + 0.1


def test_the_items_needed_give_the_power_promised():
    a, b = models(0.75, 0.78, 400, 1, seed=9)
    pilot = paired_difference(a[0], b[0])
    exact = paired_difference(*(side.ravel() for side in models(0.75, 0.78, 400_000, 1, seed=10)))
    per_item = exact.stderr * 400_000**0.5
    n = items_needed(0.03, per_item / 400**0.5, 400)
    assert n is not None and 500 < n < 3000
    assert minimum_detectable_effect(per_item / n**0.5) == pytest.approx(0.03, rel=0.01)
    a, b = models(0.75, 0.78, n, 2000, seed=11)
    found = np.mean([mcnemar_exact(lost, gained) <= 0.05 for lost, gained in flipped(a, b)])
    assert 0.76 <= found <= 0.84
    assert items_needed(0.0, pilot.stderr, 400) is None


def test_the_ks_distance_is_kolmogorovs_and_its_p_holds_for_pairs():
    draw = np.random.default_rng(7)
    a, b = draw.integers(0, 6, 90), draw.integers(2, 8, 90)
    distance, p = paired_ks(a, b)
    assert distance == pytest.approx(scipy_stats.ks_2samp(a, b).statistic)
    assert p <= 0.05
    false, seen, unseen = 0, 0, 0
    for _ in range(300):
        item = draw.normal(size=100)
        x, y = item + 0.5 * draw.normal(size=100), item + 0.5 * draw.normal(size=100)
        false += paired_ks(x, y, permutations=200)[1] <= 0.05
        seen += paired_ks(x, y + 0.25, permutations=200)[1] <= 0.05
        unseen += scipy_stats.ks_2samp(x, y + 0.25).pvalue <= 0.05
    assert false / 300 <= 0.08
    # What the two values of an item share hides a shift from Kolmogorov's own p.
    assert seen > 2 * unseen
