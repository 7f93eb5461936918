"""Head to head says what the votes say, from both sides."""

import pytest

from arena.ballots import ballots_of_tallies
from arena.ratings import head_to_head, rate
from arena.votes import Tally
from dashboards.standings import cards, cells, pair_figures, rival, sentence

TABLE = head_to_head([Tally("a", "b", 3, 1, 2), Tally("b", "a", 1, 0, 0), Tally("b", "c", 0, 0, 0, 5)])


def test_each_pair_is_seen_from_both_sides():
    rows = {(row["model"], row["opponent"]): row for row in cells(TABLE, ["a", "b"])}
    assert rows["a", "b"] == {"model": "a", "opponent": "b", "share": 4 / 7, "wins": 3, "ties": 2, "losses": 2}
    assert rows["b", "a"]["share"] == 3 / 7
    assert len(rows) == 2


def test_a_pair_that_never_met_has_no_cell_and_a_sentence():
    assert cells(TABLE, ["b", "c"]) == []
    assert "have never met" in sentence(TABLE, "a", "c")
    assert sentence(TABLE, "a", "b") == "**a** against **b**: 3 won, 2 tied, 2 lost (57% of 7)."
    assert sentence(TABLE, "a", "a") == "Choose two different models."


def test_the_figures_of_a_pair_mirror_when_its_sides_are_swapped():
    ratings = rate(ballots_of_tallies([Tally("a", "b", 3, 1, 2), Tally("b", "a", 1, 0, 0)])).ratings
    one, other = pair_figures(TABLE, ratings, "a", "b"), pair_figures(TABLE, ratings, "b", "a")
    assert (one["wins"], one["losses"], one["ties"]) == (3, 2, 2) and one["won"] == 0.6
    assert one["lower"] == pytest.approx(1 - other["upper"]) and one["lower"] < 0.6 < one["upper"]
    assert one["expected"] == pytest.approx(4 / 7) and one["expected"] + other["expected"] == pytest.approx(1)


def test_a_pair_that_never_met_has_no_figures_but_what_the_ratings_expect():
    assert pair_figures(TABLE, (), "a", "c")["won"] is None
    assert "no vote decides" in cards(TABLE, (), "a", "c") and "not comparable" in cards(TABLE, (), "a", "c")


def test_the_first_model_is_set_against_the_best_that_it_has_met():
    assert rival(TABLE, ["a", "c", "b"]) == "b" and rival(TABLE, ["c", "a"]) == "a"
