"""Style control: what a rating is when length and decoration are held equal. The votes say how much each counts; nothing is shrunk.

    arena leaderboard --style-control
    arena leaderboard --votes votes.csv --style-control --style-columns tokens,latency_s     # columns tokens_a, tokens_b, latency_s_a, …

Of each answer the store keeps its words, Markdown headers, list items and bold passages outside code fences, counted once when it is
written (sql/002_ballots.sql). A vote's column is d = (a − b) / (a + b + 1), z-scored over the votes, as FastChat publishes it.
"""

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from arena.ballots import Array, Ballots
from arena.errors import ArenaError, VotesFileError
from serving.errors import did_you_mean

STYLE = ("tokens", "headers", "lists", "bold")


def differences(ballots: Ballots, columns: Sequence[str]) -> Array:
    """The normalised difference d of each column, n × f, NaN where a side is not known. Raises ArenaError at a column that is not there."""
    for column in columns:
        if column not in ballots.columns:
            near = did_you_mean(column, list(ballots.columns))
            raise ArenaError(
                f"style column '{column}': these votes have {', '.join(ballots.columns) or 'no columns of their answers'}.{near}"
            )
    sides = [ballots.columns[column] for column in columns]
    return np.column_stack([(side[:, 0] - side[:, 1]) / (side.sum(axis=1) + 1) for side in sides]) if sides else np.zeros((len(ballots), 0))


def z_scores(values: Array, count: Array, columns: Sequence[str]) -> Array:
    """Each column less its mean, over its standard deviation; rows stand for `count` votes. Raises ArenaError at a constant column."""
    mean = np.average(values, axis=0, weights=count)
    spread = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=count))
    for column, width in zip(columns, spread, strict=True):
        if width < 1e-12:
            raise ArenaError(f"style column '{column}' is the same in every vote, so the votes say nothing of it: leave it out")
    scores: Array = (values - mean) / spread
    return scores


def read_columns(path: Path, columns: Sequence[str]) -> dict[str, Array]:
    """Of the named columns of a votes file, those that are there as a pair NAME_a, NAME_b (n × 2, NaN where empty).

    Raises VotesFileError at a value that is no number; the file itself is checked by `read_votes`.
    """
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    found = reader.fieldnames or []
    names = [name for name in columns if f"{name}_a" in found and f"{name}_b" in found]
    values: dict[str, list[tuple[float, ...]]] = {name: [] for name in names}
    for row in reader:
        for name in names:
            values[name].append(tuple(_number(f"{path}:{reader.line_num}", key, row[key]) for key in (f"{name}_a", f"{name}_b")))
    return {name: np.array(pairs, dtype=float).reshape(-1, 2) for name, pairs in values.items()}


def _number(where: str, column: str, text: str) -> float:
    try:
        value = float(text) if text else np.nan
    except ValueError:
        raise VotesFileError(f"{where}: {column}: '{text}' is no number; leave it empty where it is not known") from None
    if np.isinf(value) or value < 0:
        raise VotesFileError(f"{where}: {column}: '{text}' is not a finite number of at least 0")
    return value
