"""Prompts that resemble each other are one cluster, and a split has neither prompts nor voters on both sides."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.clusters import PromptClusters
from arena.split import NEITHER, TEST, TRAIN, shared, split

LONG = "Write a letter to my landlord and explain that the heating in the kitchen has been broken since Monday"


def keys(*texts: str) -> list[int]:
    clusters = PromptClusters()
    codes = [clusters.add(text) for text in texts]
    return clusters.keys()[codes].tolist()


def test_rewordings_are_one_cluster_and_other_questions_are_not():
    one, two, three, other = keys(LONG + ".", LONG.replace("Monday", "Friday") + "!", LONG.upper(), "How do I bake bread for ten guests?")
    assert one == two == three != other


def test_short_and_empty_prompts_are_told_apart():
    assert len(set(keys("hi", "yo", "", "?", "3+4", "3+5"))) == 6
    assert len(set(keys("hi", "Hi!", " hi "))) == 1


def test_keys_do_not_depend_on_the_order():
    texts = [f"Question {number * 7919} about {number * 104729}" for number in range(4500)]
    some = dict(zip(texts, keys(*texts), strict=True))
    assert keys(*texts[::-1]) == [some[text] for text in texts[::-1]]
    assert 1 < len(set(some.values())) < 4500


def test_the_estimate_is_that_of_jaccard():
    def shingles(text: str) -> set[str]:
        return {text[place : place + 5] for place in range(len(text) - 4)}

    rng = np.random.default_rng(1)
    alike = apart = 0
    for _ in range(60):
        words = [f"w{number}" for number in rng.integers(0, 10**6, 40)]
        changed = [f"x{number}" if rng.random() < 0.03 else word for number, word in enumerate(words)]
        first, second = " ".join(words), " ".join(changed)
        real = len(shingles(first) & shingles(second)) / len(shingles(first) | shingles(second))
        same = len(set(keys(first, second))) == 1
        if real > 0.85:
            alike += 1
            assert same, real
        far = " ".join(word if rng.random() < 0.6 else "other" for word in words)
        real = len(shingles(first) & shingles(far)) / len(shingles(first) | shingles(far))
        if real < 0.5:
            apart += 1
            assert len(set(keys(first, far))) == 2, real
    assert alike > 20 and apart > 20


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=200), st.integers(0, 2**32))
def test_no_split_shares_a_prompt_or_a_voter(votes: list[tuple[int, int]], salt: int):
    hashed = np.random.default_rng(salt).integers(0, 2**63, 9).astype(np.uint64)
    prompts, voters = (hashed[[vote[part] for vote in votes]] for part in (0, 1))
    side = split(prompts, voters)
    assert shared(side, prompts) == shared(side, voters) == 0
    assert (side != NEITHER).any() or len(votes) < 20


def test_voters_with_prompts_of_their_own_lose_no_vote():
    voters = np.repeat(np.arange(1, 101, dtype=np.uint64) * np.uint64(7919), 10)
    prompts = np.arange(1, 1001, dtype=np.uint64) * np.uint64(104729)
    side = split(prompts, voters)
    assert (side == NEITHER).sum() == 0 and (side == TEST).sum() == 100


def test_where_everybody_votes_on_everything_both_are_held_out():
    voters, prompts = (
        np.array(grid.ravel(), dtype=np.uint64) * np.uint64(7919) for grid in np.meshgrid(np.arange(1, 51), np.arange(1, 21))
    )
    side = split(prompts, voters)
    assert [(side == which).mean().round(2) for which in (TRAIN, TEST, NEITHER)] == [0.64, 0.04, 0.32]
