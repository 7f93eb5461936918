"""Fragility: the published numbers on real votes, each shown by dropping that many votes and fitting again."""

import itertools

import numpy as np
import pytest
from ballot_box import demo_votes

from arena.ballots import Ballots, ballots_of
from arena.fragility import fragility
from arena.ratings import Method, rate
from arena.store import Store
from arena.votes import Outcome


@pytest.fixture(scope="module")
def llmfao(tmp_path_factory: pytest.TempPathFactory):
    with Store(demo_votes(tmp_path_factory.mktemp("llmfao") / "arena.duckdb")) as store:
        yield store.ballots()


def test_thirteen_one_and_three_votes_decide_the_first_places(llmfao: Ballots):
    board = rate(llmfao, Method(fragility=True))
    found = [row.n_to_flip for row in board.ratings]
    assert board.fragility_by == "refit" and found[-1] is None
    assert found[0] <= 13 and found[1] <= 1 and found[2] <= 3 and min(found[:-1]) >= 1


def test_influence_alone_comes_close_to_the_refits(llmfao: Ballots):
    shown, predicted = fragility(llmfao), fragility(llmfao, refit=False)
    assert np.mean([abs(one - other) <= 1 for one, other in zip(shown[:-1], predicted[:-1], strict=True)]) > 0.9


def test_on_a_small_board_no_smaller_set_of_votes_would_do():
    cast = [Outcome("a", "b", "model_a")] * 7 + [Outcome("a", "b", "model_b")] * 4 + [Outcome("b", "c", "model_a")] * 3
    cast += [Outcome("b", "c", "model_b")] * 2 + [Outcome("a", "c", "model_a")] * 2 + [Outcome("c", "a", "model_a")] * 2
    board = rate(ballots_of(cast), Method(fragility=True))
    order = [row.model for row in board.ratings]
    for above, below, found in zip(order, order[1:], [row.n_to_flip for row in board.ratings], strict=False):
        assert found == next(n for n in range(1, 9) if flips(cast, n, above, below))


def flips(cast: list[Outcome], n: int, above: str, below: str) -> bool:
    """Whether any n votes, dropped, put `below` above `above`: by trying all of them."""
    for gone in set(itertools.combinations(sorted(cast), n)):
        left = list(cast)
        for vote in gone:
            left.remove(vote)
        rating = {row.model: row.rating for row in rate(ballots_of(left)).ratings}
        if None not in (rating.get(above), rating.get(below)) and rating[below] > rating[above] + 1e-9:
            return True
    return False
