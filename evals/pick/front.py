"""What is worth having at all: the utility of each endpoint, and the Pareto front of those that nobody beats in everything.

on = on_front(values)                 # values: … × endpoints × objectives, more is better
"""

import math
from typing import TYPE_CHECKING, Any

from evals.pick.scope import measures_for
from evals.pick.wishes import Objective, Weights, Wishes

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    Array = np.ndarray[Any, Any]

# One unit of an objective on its working scale, and whether more of it is better: 100 points, 10 points of quality, a halving.
UNITS: dict[Objective, float] = {"rating": 100.0, "quality": 0.1, "latency": -math.log(2), "cost": -math.log(2)}


def in_units(objective: Objective, columns: "Mapping[str, Array]", tasks: tuple[str, ...], wishes: Wishes) -> "Array | None":
    """An objective in units, more is better, from its measures' columns (mean of several); None where one of them is not there."""
    names = measures_for(objective, tasks, wishes)
    if not names or any(name not in columns for name in names):
        return None
    total: Array = sum((columns[name] for name in names[1:]), columns[names[0]]) / (len(names) * UNITS[objective])
    return total


def utility_of(weigh: Weights, columns: "Mapping[str, Array]", tasks: tuple[str, ...], wishes: Wishes) -> "Array | None":
    """Σ weight · value in units over the objectives that count (additive: Keeney and Raiffa 1976); None where one is wholly unknown."""
    parts = [(getattr(weigh, name), in_units(name, columns, tasks, wishes)) for name in weigh.asked]
    if any(part is None for _, part in parts):
        return None
    total: Array | None = None
    for weight, part in parts:
        total = weight * part if total is None else total + weight * part
    return total


def on_front(values: "Array") -> "Array":
    """Which rows of … × endpoints × objectives no other row of the same draw beats: at least as good in all, better in one."""
    import numpy as np

    left, right = values[..., :, None, :], values[..., None, :, :]
    beaten = (right >= left).all(axis=-1) & (right > left).any(axis=-1)
    return np.logical_not(beaten.any(axis=-1))
