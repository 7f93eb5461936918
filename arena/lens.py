"""Categories on PostgreSQL: DuckDB, in memory, looks at the texts that PostgreSQL holds, with the same rules, expressions and results.

    look(connection, rule.sql, {"2": "finance"}, name="postgresql://…")      # the vote_order of the votes in a category

What a rule finds must not depend on where the votes lie, and the two databases' regular expressions differ (\\b, \\p{Han}, lower case).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from arena.errors import ArenaError
from arena.rows import Row

if TYPE_CHECKING:
    import psycopg

_TEXTS = {"votes": "vote_order, battle_id", "battles": "battle_id, messages", "judged": "prompt, category, belongs"}
_AT_ONCE = 20_000


def look(connection: "psycopg.Connection[Any]", sql: str, parameters: Mapping[str, Any], *, name: str) -> list[Row]:
    """What the statement finds in votes, battles and judged. Raises ArenaError, such as for an expression that is none."""
    import duckdb
    import psycopg
    import pyarrow as pa

    from arena.database import first_line, migrate

    with duckdb.connect() as lens:
        try:
            migrate(lambda text, values=(): lens.execute(text, values).fetchall(), "duckdb", name)
            with connection.transaction():
                for table, columns in _TEXTS.items():
                    # A temporary table stands before the one of the schema.
                    lens.execute(f"CREATE TEMP TABLE {table} AS SELECT {columns} FROM main.{table}")
                    with psycopg.RawServerCursor(connection, table) as rows:
                        rows.execute(f"SELECT {columns} FROM {table}")
                        while batch := rows.fetchmany(_AT_ONCE):
                            values = map(list, zip(*batch, strict=True))
                            lens.register("batch", pa.table(dict(zip(columns.split(", "), values, strict=True))))
                            lens.execute(f"INSERT INTO {table} SELECT * FROM batch")
            return lens.execute(sql, dict(parameters)).fetchall()
        except duckdb.Error as error:
            raise ArenaError(f"{name}: {first_line(error)}") from None
