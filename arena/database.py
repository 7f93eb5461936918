"""The arena's DuckDB file: opened by one process, its schema brought up to date by the numbered files of sql/.

connection = open_database(Path("results/arena.duckdb"), create=True)
connection.cursor().execute(statements()["voted"])
"""

import re
from functools import cache
from pathlib import Path

import duckdb

from arena.errors import ArenaError, StoreInUse

SQL = Path(__file__).parent / "sql"


def open_database(path: Path, *, create: bool) -> duckdb.DuckDBPyConnection:
    """A connection to the file, its schema brought up to date. Raises StoreInUse, or ArenaError for a file that is none of ours."""
    if "://" in str(path) or re.match(r"\w+:/\w", str(path)):
        raise ArenaError(f"database {path}: votes are kept in a DuckDB file; name a file such as results/arena.duckdb")
    if not create and not path.exists():
        raise ArenaError(f"{path}: no votes yet: vote with 'arena up', or bring some in with 'arena import'")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One thread: a vote is too small to be shared out, and a second one that stands by took two fifths of the CPU.
        connection = duckdb.connect(path, config={"threads": 1})
    except (duckdb.Error, OSError) as error:
        if "lock" in str(error):
            holder = re.search(r"PID (\d+)", str(error))
            process = f"process {holder[1]}" if holder else "another process"
            raise StoreInUse(f"{path} is in use by {process}: stop it or use another --database") from None
        raise ArenaError(f"{path} cannot be opened as the arena's database: {first_line(error)}") from None
    try:
        _migrate(connection, path)
    except duckdb.Error as error:
        connection.close()
        raise ArenaError(f"{path} is not an arena's database: {first_line(error)}") from None
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    steps = sorted(SQL.glob("[0-9][0-9][0-9]_*.sql"))
    with connection.cursor() as cursor:
        # All of it in one transaction: a file of another program is refused without a trace of ours left in it.
        cursor.begin()
        cursor.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY)")
        version = cursor.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchall()[0][0]
        if version > len(steps):
            raise ArenaError(f"{path} was written by a newer bakeoff (schema {version}, this one knows {len(steps)}): update bakeoff")
        for number, step in enumerate(steps[version:], start=version + 1):
            cursor.execute(step.read_text(encoding="utf-8"))
            cursor.execute("INSERT INTO schema_version VALUES ($1)", [number])
        cursor.commit()


@cache
def statements() -> dict[str, str]:
    """The statements of sql/statements.sql by name."""
    parts = re.split(r"^-- name: (\w+)\n", (SQL / "statements.sql").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def first_line(error: Exception) -> str:
    """What DuckDB says, without the hints below it."""
    return str(error).split("\n")[0]
