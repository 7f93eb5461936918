"""Votes files read row by row, each row with the place it stands at, so that what is wrong can be named by file and line.

    for where, row in rows_of(Path("clean_battle.json"), ("model_a", "model_b", "winner")):
        ...

CSV, JSON lines, a JSON list and Parquet, the first three plain or .gz. Only what the importers share is here: arena/importers.py and
arena/foreign.py say what the columns mean.
"""

import csv
import gzip
import io
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from arena.errors import VotesFileError
from arena.votes import WINNERS, Winner
from serving.errors import did_you_mean

CSV_WINNERS: dict[str, Winner] = {winner: winner for winner in WINNERS}


def csv_lines(path: Path, columns: tuple[str, ...], optional: tuple[str, ...] = ()) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV with their line numbers; every column of `columns` must be there and filled."""
    # Whole conversations stand in one field: the module's own limit is 131,072 characters.
    csv.field_size_limit(sys.maxsize)
    reader = csv.DictReader(io.StringIO(_text(path, "a CSV of votes"), newline=""), strict=True)
    try:
        found = list(reader.fieldnames or [])
        _check_columns(f"{path}:1", columns, found, optional)
        for values in reader:
            where = f"{path}:{reader.line_num}"
            if None in values or None in values.values():
                raise VotesFileError(f"{where}: not {len(found)} values like the header; is a quote or a comma missing?")
            for column in columns:
                if not values[column].strip():
                    raise VotesFileError(f"{where}: {column}: is empty; give it a value or remove the line")
            yield reader.line_num, values
    except csv.Error as error:
        raise VotesFileError(f"{path}:{reader.reader.line_num}: not CSV: {error}; is a quote missing?") from None


def rows_of(path: Path, columns: tuple[str, ...] = ()) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a CSV, JSON, JSON lines or Parquet file, each with `file:line` (Parquet has no lines: `file:row N`, the first is 1).

    `columns` must be there in every row; what lies in them is for the caller to check. Raises VotesFileError.
    """
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix == ".csv":
        for line, values in csv_lines(path, columns):
            yield f"{path}:{line}", dict(values)
    elif suffix == ".parquet":
        yield from _parquet_rows(path, columns)
    else:
        for where, row in _json_rows(path):
            if not isinstance(row, dict):
                raise VotesFileError(f"{where}: a row must be an object, found {type(row).__name__}; remove the line")
            _check_columns(where, columns, list(row))
            yield where, row


def two_models(where: str, values: dict[str, Any], columns: tuple[str, str]) -> tuple[str, str]:
    """The two models of a row: filled, and not the same."""
    for column in columns:
        if not isinstance(values[column], str) or not values[column].strip():
            raise VotesFileError(f"{where}: {column}: {values[column]!r} is no model's name; give it a value or remove the line")
    left, right = values[columns[0]], values[columns[1]]
    if left == right:
        raise VotesFileError(f"{where}: {columns[1]}: '{right}' battles itself; {columns[0]} and {columns[1]} must differ: remove the line")
    return left, right


def winner_of(where: str, label: Any, known: dict[str, Winner], column: str = "winner") -> Winner:
    """The winner that a label stands for; a label that is not in `known` is refused, never taken for a tie."""
    if not isinstance(label, str) or label not in known:
        raise VotesFileError(f"{where}: {column}: unknown label '{label}'; use one of {', '.join(known)}")
    return known[label]


def moment_of(where: str, value: Any, column: str = "voted_at") -> datetime | None:
    """A time written as ISO 8601 (without an offset it is UTC) or as seconds since 1970; None where nothing is said."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, datetime):
            moment = value
        elif isinstance(value, int | float) or value.replace(".", "", 1).isdigit():
            return datetime.fromtimestamp(float(value), UTC)
        else:
            moment = datetime.fromisoformat(value)
    except (ValueError, OverflowError, OSError, AttributeError):
        raise VotesFileError(f"{where}: {column}: '{value}' is no ISO 8601 time; write it like 2026-11-23T14:05:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _check_columns(where: str, columns: tuple[str, ...], found: list[str], optional: tuple[str, ...] = ()) -> None:
    for column in columns:
        if column not in found:
            near = did_you_mean(column, [name for name in found if name not in columns])
            raise VotesFileError(
                f"{where}: no column '{column}'.{near} A votes file of this format has {', '.join(columns + optional)}; found "
                + (", ".join(found) or "an empty file")
            )


def _text(path: Path, what: str) -> str:
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
    except FileNotFoundError:
        raise VotesFileError(f"{path}: no such file; name a file of votes") from None
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise VotesFileError(f"{path}: cannot be read as {what}: {error}") from None


def _json_rows(path: Path) -> Iterator[tuple[str, Any]]:
    text = _text(path, "JSON")
    if text.lstrip().startswith("["):
        yield from _json_list(path, text)
        return
    # Not splitlines(): it also breaks at characters that JSON strings may hold (U+2028).
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield f"{path}:{number}", json.loads(line)
            except json.JSONDecodeError as error:
                raise VotesFileError(f"{path}:{number}: not JSON: {error.msg}; repair or remove the line") from None


def _json_list(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    """The items of a JSON list, each with the line it begins in."""
    decoder = json.JSONDecoder()
    at, line, counted, first = text.index("[") + 1, 1, 0, True
    while True:
        at = _skip_blank(text, at)
        if text[at : at + 1] == "]":
            return
        if not first:
            at = _skip_blank(text, at + 1) if text[at : at + 1] == "," else len(text)
        line, counted, first = line + text.count("\n", counted, at), at, False
        try:
            row, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise VotesFileError(
                f"{path}:{line + text.count(chr(10), counted, error.pos)}: not JSON: {error.msg}; is it cut off?"
            ) from None
        yield f"{path}:{line}", row


def _skip_blank(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _parquet_rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        raise VotesFileError(f"{path}: no such file; name a file of votes")
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(str(path), columns, file.schema_arrow.names)
            number = 0
            for batch in file.iter_batches(batch_size=1000):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}:row {number}", row
    except (OSError, pa.ArrowException) as error:
        raise VotesFileError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from None
