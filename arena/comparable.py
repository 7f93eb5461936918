"""Which models can be compared at all. A rating of the others would be made up, so they get a reason instead of a number.

A maximum of the likelihood exists only among models that beat (or tie) each other in both directions, however indirectly (Ford 1957).
"""

import numpy as np
from numpy.typing import NDArray

from arena.ballots import Array, Ints

NO_BATTLE = "not comparable: no vote but 'both bad'"


def largest_group(score: Array) -> Ints:
    """Indices of the largest group of models in which each reaches each through wins and ties; empty when every group is a single model.

    `score` is K × K: what i won against j, a tie as half a win of each.
    """
    reach = reachable(score > 0)
    mutual = reach & reach.T
    sizes, votes = mutual.sum(axis=1), mutual @ (score + score.T).sum(axis=1)
    best = max(range(len(score)), key=lambda i: (sizes[i], votes[i], -i), default=None)
    return np.flatnonzero(mutual[best]) if best is not None and sizes[best] > 1 else np.zeros(0, dtype=np.int64)


def reasons(score: Array, chosen: Ints) -> dict[int, str]:
    """Why each model outside the chosen group has no rating."""
    played = score + score.T
    connected = reachable(played > 0)
    notes = {}
    for i in sorted(set(range(len(score))) - set(chosen.tolist())):
        if not played[i].any():
            notes[i] = NO_BATTLE
        elif len(chosen) and not connected[i, chosen[0]]:
            notes[i] = "not comparable: no vote connects it with the rated models"
        elif not score[:, i].any():
            notes[i] = "not comparable: it won every battle, so no finite rating fits"
        elif not score[i].any():
            notes[i] = "not comparable: it lost every battle, so no finite rating fits"
        else:
            notes[i] = "not comparable: its group has only won, or only lost, against the others"
    return notes


def reachable(edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which node reaches which (itself included): the transitive closure, by squaring."""
    reach: NDArray[np.bool_] = edges | np.eye(len(edges), dtype=bool)
    while not reach.all():
        # float32 because a product of booleans does not go through the fast matrix product.
        further = (reach.astype(np.float32) @ reach.astype(np.float32)) > 0
        if (further == reach).all():
            break
        reach = further
    return reach
