"""A run's answers, a page at a time, straight from its files: DuckDB reads samples.jsonl, and of completions.jsonl what the page shows.

    found = select(folder, Wanted(endpoint="gpt-4", verdict="wrong"), offset=20, count=10)

Nothing is kept in memory between two pages, so that a run of 200,000 answers is looked through as one of 200.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.errors import UnknownRun

_SAMPLES = {
    "endpoint": "VARCHAR", "task": "VARCHAR", "doc_id": "BIGINT", "filter": "VARCHAR", "status": "VARCHAR", "verdict": "VARCHAR",
    "target": "JSON", "extracted": "JSON", "metrics": "JSON", "request_hash": "VARCHAR", "error": "VARCHAR",
}  # fmt: skip
_COMPLETIONS = {
    "endpoint": "VARCHAR", "request": "JSON", "request_hash": "VARCHAR", "text": "VARCHAR", "finish_reason": "VARCHAR", "usage": "JSON",
    "usage_source": "VARCHAR", "started_at": "VARCHAR", "ttft_s": "DOUBLE", "latency_s": "DOUBLE", "chunk_times_s": "DOUBLE[]",
    "cost_usd": "DOUBLE", "status": "VARCHAR", "error": "VARCHAR", "retries": "BIGINT",
}  # fmt: skip
# Of a request that was asked again after a failure, the answer counts.
_PAGE = """
    SELECT endpoint, request_hash, COLUMNS(* EXCLUDE (endpoint, request_hash, status)), coalesce(status, 'ok') AS status
    FROM read_json($file, format = 'newline_delimited', columns = {columns})
    WHERE (endpoint, request_hash) IN (SELECT unnest($endpoints), unnest($hashes))
"""
VERDICTS = ("correct", "wrong", "unparsed", "failed")


@dataclass(frozen=True)
class Wanted:
    """Which answers: None is any. `verdict` is one of VERDICTS; `failed` has no answer at all."""

    endpoint: str | None = None
    task: str | None = None
    status: str | None = None
    verdict: str | None = None


@dataclass(frozen=True)
class Found:
    """`n` match; `rows` are those of the page: the sample's fields, with its completion's under `answer` (None: it is not in the file)."""

    n: int
    rows: tuple[dict[str, Any], ...]


def select(folder: Path, wanted: Wanted, *, offset: int = 0, count: int = 10) -> Found:
    """The answers from `offset` on, in the order of the run. Raises UnknownRun for files that are missing or cannot be read."""
    import duckdb

    path = folder / "samples.jsonl"
    if not path.is_file():
        raise UnknownRun(f"{path}: missing, though the run says that it finished; run the suite again")
    conditions, values = _conditions(wanted)
    source = f"read_json($file, format = 'newline_delimited', columns = {_struct(_SAMPLES)})"
    with duckdb.connect() as connection:
        try:
            values["file"] = str(path)
            counted = connection.execute(f"SELECT count(*) FROM {source} WHERE {conditions}", values).fetchone()  # noqa: S608
            page = f"SELECT * FROM {source} WHERE {conditions} LIMIT {int(count)} OFFSET {int(offset)}"  # noqa: S608
            samples = _rows(connection.execute(page, values))
            answers = _answers(connection, folder / "completions.jsonl", samples)
        except duckdb.Error as error:
            raise UnknownRun(f"{folder}: its answers cannot be read: {str(error).splitlines()[0]}") from None
    rows = [{**_decoded(sample), "answer": answers.get((sample["endpoint"], sample["request_hash"]))} for sample in samples]
    return Found(int(counted[0]) if counted else 0, tuple(rows))


def _conditions(wanted: Wanted) -> tuple[str, dict[str, Any]]:
    stated = {name: value for name in ("endpoint", "task", "status") if (value := getattr(wanted, name)) is not None}
    parts = [f"{name} = ${name}" for name in stated]
    if wanted.verdict == "failed":
        parts.append("status NOT IN ('ok', 'truncated', 'refused')")
    elif wanted.verdict is not None:
        stated["verdict"] = wanted.verdict
        parts.append("verdict = $verdict")
    return " AND ".join(parts) or "true", stated


def _answers(connection: Any, path: Path, samples: Sequence[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    if not samples or not path.is_file():
        return {}
    values = {
        "file": str(path), "endpoints": [one["endpoint"] for one in samples], "hashes": [one["request_hash"] for one in samples]
    }  # fmt: skip
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in _rows(connection.execute(_PAGE.replace("{columns}", _struct(_COMPLETIONS)), values)):
        key = (row["endpoint"], row["request_hash"])
        if key not in found or row["status"] in ("ok", "truncated", "refused"):
            found[key] = {**row, "request": json.loads(row["request"] or "{}"), "usage": json.loads(row["usage"] or "{}")}
    return found


def _decoded(sample: dict[str, Any]) -> dict[str, Any]:
    return {
        name: json.loads(value) if name in ("target", "extracted", "metrics") and value is not None else value
        for name, value in sample.items()
    }


def _rows(executed: Any) -> list[dict[str, Any]]:
    names = [column[0] for column in executed.description]
    return [dict(zip(names, row, strict=True)) for row in executed.fetchall()]


def _struct(columns: dict[str, str]) -> str:
    return "{" + ", ".join(f"'{name}': '{kind}'" for name, kind in columns.items()) + "}"
