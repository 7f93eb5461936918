"""Head to head says what the votes say, from both sides."""

from arena.ratings import head_to_head
from arena.votes import Tally
from dashboards.standings import cells, sentence

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
