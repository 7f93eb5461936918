"""The statistics equal published numbers, and hold what they promise on simulated models whose accuracies are known."""

import pytest

from evals.stats import missing_bounds, wilson


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
    low, high = missing_bounds(answered, 20)
    assert (low, high) == (wilson(50, 100)[0], wilson(70, 100)[1])
    assert missing_bounds([], 5) == (0.0, 1.0)
    # Grades from 1 to 10: worst when the missing one is a 1, best when it is a 10.
    low, high = missing_bounds([6.0, 7.0, 8.0, 7.0], 1, low=1, high=10)
    assert low < (28 + 1) / 5 < (28 + 10) / 5 < high
    with pytest.raises(ValueError, match="do not lie between"):
        missing_bounds([7.0], 1)
