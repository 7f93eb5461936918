"""Who fights whom: two different endpoints for one request, every pair as likely as any other, sides by the toss of a coin.

model_a, model_b, probability = choose_pair(["GPT 4", "command", "Dolly v2 (3B)"], random.Random())
"""

import random
from collections.abc import Iterable

from arena.errors import ArenaError


def choose_pair(candidates: Iterable[str], rng: random.Random) -> tuple[str, str, float]:
    """Two different ids (left, right) and the probability of this pair in this order.

    `candidates` are the endpoints able to answer the request; their order and repetitions do not matter, so that one seed gives one pair.
    Raises ArenaError when there are fewer than two.
    """
    ids = sorted(set(candidates))
    if len(ids) < 2:
        only = f"only '{ids[0]}' can" if ids else "no endpoint can"
        raise ArenaError(f"a battle needs two different endpoints, {only} answer this prompt: choose another prompt or add an endpoint")
    model_a, model_b = rng.sample(ids, 2)
    return model_a, model_b, 1 / (len(ids) * (len(ids) - 1))
