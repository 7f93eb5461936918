"""Votes, ratings and the ledger as tables for other tools: Parquet or CSV, by the file's name.

    arena export --format votes --out votes.parquet
    arena export --format ratings --out ratings.csv
    arena export --format ledger --out ledger.csv

A CSV of votes has the columns that `arena import --format csv` reads, and more. Times are UTC.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena.errors import ExportRefused, NothingToRate

if TYPE_CHECKING:
    from arena.store import Store

VOTES = (
    "vote_id", "battle_id", "model_a", "model_b", "winner", "voter_id", "prompt_id", "voted_at", "dwell_s", "reasons", "rated",
    "unrated_reason", "flag", "source", "mode", "pairing_policy", "pairing_probability",
)  # fmt: skip


def votes_table(store: "Store") -> list[dict[str, Any]]:
    """Every vote, rated or not; `flag` is the reason for which an audit keeps it from counting."""
    return [dict(zip(VOTES, row, strict=True)) for row in store.vote_rows()]


def ratings_table(store: "Store") -> list[dict[str, Any]]:
    """The Bradley-Terry ratings as they are now."""
    from arena.ratings import bradley_terry

    return [rating.model_dump() for rating in bradley_terry(store.vote_counts())]


def ledger_table(store: "Store") -> list[dict[str, Any]]:
    """See arena/ledger.py."""
    from arena.ledger import ledger_rows

    return ledger_rows(store)


TABLES: dict[str, Callable[["Store"], list[dict[str, Any]]]] = {"votes": votes_table, "ratings": ratings_table, "ledger": ledger_table}


def export_table(store: "Store", format: str, out: Path, *, force: bool = False) -> int:
    """Write a table of TABLES to a .parquet or .csv file, whole or not at all; returns its rows. Raises ExportRefused, NothingToRate."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    if out.suffix not in (".parquet", ".csv"):
        raise ExportRefused(f"{out}: --format {format} writes one file; give --out a name that ends in .parquet or .csv")
    if out.exists() and (out.is_dir() or not force):
        raise ExportRefused(f"{out} exists: choose another --out{'' if out.is_dir() else ', or --force to replace it'}")
    rows = TABLES[format](store)
    if not rows:
        raise NothingToRate(f"there is nothing to export as {format}: vote with 'arena up', or bring some in with 'arena import'")
    table = pa.Table.from_pylist(rows)
    # A column that is null throughout has no type that Parquet's readers agree on.
    columns = [column.cast(pa.string()) if pa.types.is_null(column.type) else column for column in table.columns]
    table = pa.table(dict(zip(table.column_names, columns, strict=True)))
    fresh = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".parquet":
            pa.parquet.write_table(table, fresh, compression="zstd")
        else:
            pa.csv.write_csv(table, fresh)
        os.replace(fresh, out)
    except OSError as error:
        raise ExportRefused(f"{out} cannot be written: {error.strerror}; choose another --out") from None
    finally:
        fresh.unlink(missing_ok=True)
    return len(rows)
