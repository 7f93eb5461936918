"""Ballots: votes as columns of numbers, all that a rating needs of them. A million take 30 MB and no Python object each.

    ballots = store.ballots()                             # integers as the store wrote them, no text is touched
    ballots = ballots_of(outcomes, voters=…, prompts=…)   # for votes that are in no store

A row is a vote, or `count` equal ones. Models, voters and prompts are numbers: models in alphabetical order, -1 for an unknown cluster.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arena.votes import WINNERS, Outcome, Tally

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

WIN_A, WIN_B, TIE, BOTH_BAD = range(len(WINNERS))
# What a vote gives the left side. "Both bad" has no share; it is left out, or made a tie where somebody asks for that.
SHARE_A = np.array([1.0, 0.0, 0.5, np.nan])


@dataclass(frozen=True)
class Ballots:
    """Votes by column, in the order they were cast where that is known.

    `a` and `b` (left, right) index `models`, `winner` indexes WINNERS. `columns` holds further numbers of both sides, n × 2 each.
    `probability` is that of the pair when it was drawn, `time_s` the second since 1970 of the vote, NaN where not recorded.
    """

    models: tuple[str, ...]
    a: Ints
    b: Ints
    winner: Ints
    count: Array | None = None
    voter: Ints | None = None
    prompt: Ints | None = None
    probability: Array | None = None
    time_s: Array | None = None
    columns: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.a)

    @property
    def counts(self) -> Array:
        """How many votes each row stands for."""
        return np.ones(len(self)) if self.count is None else self.count

    def where(self, keep: NDArray[Any]) -> "Ballots":
        """The rows of a mask or of indices; models keep their numbers."""
        rows: dict[str, Any] = {name: getattr(self, name) for name in ("count", "voter", "prompt", "probability", "time_s")}
        rows = {name: None if column is None else column[keep] for name, column in rows.items()}
        columns = {name: column[keep] for name, column in self.columns.items()}
        return replace(self, a=self.a[keep], b=self.b[keep], winner=self.winner[keep], columns=columns, **rows)

    def among(self, chosen: Ints) -> "Ballots":
        """The votes between the chosen models, which are renumbered in the order given."""
        number = np.full(len(self.models), -1, dtype=np.int64)
        number[chosen] = np.arange(len(chosen))
        everybody = len(chosen) == len(self.models)
        inside = self if everybody else self.where((number[self.a] >= 0) & (number[self.b] >= 0))
        return replace(inside, models=tuple(self.models[i] for i in chosen), a=number[inside.a], b=number[inside.b])

    def counted(self) -> "Ballots":
        """Equal votes as one row: who voted, on what and when is forgotten."""
        cells = self.cells()
        a, b, winner = np.nonzero(cells)
        return Ballots(self.models, a, b, winner, count=cells[a, b, winner])

    def cells(self, weight: Array | None = None) -> Array:
        """Votes counted (or their weights summed) as K × K × 4: left model, right model, winner."""
        size = len(self.models)
        key = (self.a * size + self.b) * len(WINNERS) + self.winner
        weights = weight if weight is not None else self.count
        return np.bincount(key, weights, minlength=size * size * len(WINNERS)).reshape(size, size, len(WINNERS)).astype(float)


def ballots_of(
    outcomes: Iterable[Outcome],
    *,
    voters: Sequence[str | None] | None = None,
    prompts: Sequence[str | None] | None = None,
    columns: Mapping[str, Array] | None = None,
) -> Ballots:
    """The columns of votes that are in no store. Raises ValueError at a winner that is none of WINNERS."""
    outcomes = list(outcomes)
    models, sides = number([outcome.model_a for outcome in outcomes] + [outcome.model_b for outcome in outcomes])
    winner = np.array([WINNERS.index(outcome.winner) for outcome in outcomes], dtype=np.int64)
    return Ballots(
        models=models,
        a=sides[: len(outcomes)],
        b=sides[len(outcomes) :],
        winner=winner,
        voter=None if voters is None else number(voters)[1],
        prompt=None if prompts is None else number(prompts)[1],
        columns=columns or {},
    )


def ballots_from_columns(found: Mapping[str, Any], codes: Mapping[str, int]) -> Ballots:
    """The store's columns (masked where NULL) as ballots; `codes` numbers the models there. Models without a vote here are left out."""
    order = found.get("vote_order", ())
    if len(order) and (order[1:] < order[:-1]).any():
        at = np.argsort(order, kind="stable")
        found = {name: column[at] for name, column in found.items()}
    present = np.zeros(max(codes.values(), default=-1) + 1, dtype=bool)
    present[found["model_a"]] = present[found["model_b"]] = True
    models = tuple(sorted(label for label, code in codes.items() if present[code]))
    place = np.zeros(len(present), dtype=np.int32)
    place[[codes[model] for model in models]] = np.arange(len(models))
    names = [name[:-2] for name in found if name.endswith("_a") and name != "model_a"]
    return Ballots(
        models=models,
        a=place[found["model_a"]].astype(np.int64),
        b=place[found["model_b"]].astype(np.int64),
        winner=found["winner"],
        count=found["votes"].astype(np.float64) if "votes" in found else None,
        voter=np.ma.filled(found["voter"], -1) if "voter" in found else None,
        prompt=np.ma.filled(found["prompt"], -1) if "prompt" in found else None,
        probability=_numbers(found["probability"]) if "probability" in found else None,
        time_s=_numbers(found["time"]) if "time" in found else None,
        columns={name: np.column_stack([_numbers(found[name + side]) for side in ("_a", "_b")]) for name in names},
    )


def _numbers(column: Any) -> Array:
    """A column as floats, NaN where NULL."""
    return np.ma.filled(np.ma.asarray(column, dtype=np.float64), np.nan)


def ballots_of_tallies(tallies: Iterable[Tally]) -> Ballots:
    """Counted votes as ballots; the cluster they were counted by stands as `voter`."""
    tallies = list(tallies)
    models, sides = number([row.model_a for row in tallies] + [row.model_b for row in tallies])
    counts = np.array([row[2:6] for row in tallies], dtype=float).reshape(len(tallies), len(WINNERS))
    row, winner = np.nonzero(counts)
    return Ballots(
        models=models,
        a=sides[: len(tallies)][row],
        b=sides[len(tallies) :][row],
        winner=winner.astype(np.int64),
        count=counts[row, winner],
        voter=number([tally.cluster for tally in tallies])[1][row],
    )


def number(labels: Sequence[str | None]) -> tuple[tuple[str, ...], Ints]:
    """The different labels in alphabetical order, and each one's place among them (-1 for None)."""
    known = tuple(sorted({label for label in labels if label is not None}))
    index: dict[str | None, int] = {label: place for place, label in enumerate(known)}
    return known, np.array([index.get(label, -1) for label in labels], dtype=np.int64)
