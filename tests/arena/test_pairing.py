"""Pairs are fair: every pair as likely as any other, sides by a coin, and never a model against itself."""

import random
from collections import Counter

import pytest

from arena.errors import ArenaError
from arena.pairing import choose_pair


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
