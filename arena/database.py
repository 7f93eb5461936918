"""Where votes lie: in a DuckDB file that one process holds, or in a PostgreSQL database that several share. One SQL text serves both.

    database = open_database(locate("postgresql://host/votes", results), create=True)
    database.read(statements()["counts"])

How the schema changes: a file sql/NNN_what.sql with a number that is free. Gaps do not matter; each file runs once, in the order of the
numbers, and one that others may have run is never changed. It is plain SQL that both databases take: TEXT, INTEGER, BIGINT, DOUBLE
PRECISION, BOOLEAN, TIMESTAMP, CHECK, UNIQUE, REFERENCES, no function that one of them lacks. So are the statements of sql/statements.sql,
which look into texts through functions that have one name and one result on both (answer_text, word_count, header_count, list_count,
bold_count, prompt_label). What cannot be one text lies in sql/duckdb/ or sql/postgres/: a file there runs on that database alone, and in
the place of the one of the same name in sql/. What needs DuckDB's regular expressions (categories) is asked through `read_texts`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar

from arena.errors import ArenaError
from arena.rows import Row

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from arena.categories import Rule

SQL = Path(__file__).parent / "sql"
Location = Path | str  # a DuckDB file, or the URL of a PostgreSQL database
Dialect = Literal["duckdb", "postgres"]
Execute = Callable[..., list[Row]]  # a statement's text, and its parameters
T = TypeVar("T")
_URL = re.compile(r"postgres(ql)?://")


class Database(Protocol):
    """What the store asks of either. `name` is the file, or the URL without its password: messages may hold it.

    Every method raises ArenaError; StoreUnreachable when the server is away, StoreUnwritable when nothing can be written (any more).
    """

    name: str
    closed: bool

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """The rows that a statement finds; from any thread."""

    def read_texts(self, sql: str, parameters: Mapping[str, Any], *, battles: Sequence[str] | None = None) -> list[Row]:
        """The same for a statement in DuckDB's own words on votes, battles (messages) and judged; parameters by number.

        It may see no more than these `battles`.
        """

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Row]:
        """The rows that a statement finds, some thousands at a time."""

    def write_tables(self, folder: Path) -> list[str]:
        """Every table as folder/<table>.parquet, all of one transaction and in bounded memory; returns their names."""

    def columns(self, sql: str, parameters: Sequence[Any]) -> "Mapping[str, NDArray[Any]]":
        """What a statement finds as columns of numbers, masked where NULL."""

    def among(self, rule: "Rule") -> tuple[str, list[Any]]:
        """A condition on s.vote_order that holds in a category, and its parameters from $2 on."""

    def write(self, work: Callable[[Execute], T]) -> T:
        """Run `work` in one transaction and return its result after the commit; it may be run again. From one thread at a time."""

    def memory(self) -> dict[str, int]:
        """Bytes that the database holds in this process, by what for; nothing for one that is a server of its own."""

    def secret(self) -> str:
        """What voters' cookies are signed with, made on first use; the same for every process on this database."""

    def close(self) -> None:
        """Let go of it. May be called twice."""


class SchemaFile(NamedTuple):
    """A numbered file of sql/."""

    number: int
    text: str


def locate(database: str | None, results: Path) -> Location:
    """Where `--database` says the votes lie: a file (arena.duckdb in the results folder by default), PostgreSQL, or an arena's address.

    Raises ArenaError.
    """
    if database is None:
        return results / "arena.duckdb"
    if _URL.match(database) or re.match(r"https?://", database):
        return database
    if "://" in database:
        from arena.postgres import masked

        raise ArenaError(f"--database {masked(database)}: name a file such as results/arena.duckdb, or postgresql://user@host/database")
    return Path(database)


def open_database(location: Location, *, create: bool, threads: int | None = None) -> Database:
    """The database, its schema brought up to date; `threads` bounds those of DuckDB.

    Raises StoreInUse, StoreUnreachable, or ArenaError for one that is none of ours.
    """
    if isinstance(location, str) and _URL.match(location):
        from arena.postgres import Postgres

        return Postgres(location, create=create)
    if "://" in str(location) or re.match(r"\w+:/\w", str(location)):
        raise ArenaError(
            f"database {location}: votes lie in a DuckDB file or a PostgreSQL database; name a file such as results/arena.duckdb"
        )
    from arena.duckdb_file import DuckFile

    return DuckFile(Path(location), create=create, threads=threads)


def schema_files(dialect: Dialect) -> list[SchemaFile]:
    """The numbered files that make up the schema on one of the two, in their order."""
    pattern = "[0-9][0-9][0-9]_*.sql"
    chosen = {path.name: path for folder in (SQL, SQL / dialect) for path in folder.glob(pattern)}
    return [SchemaFile(int(name[:3]), path.read_text(encoding="utf-8")) for name, path in sorted(chosen.items())]


def migrate(execute: Execute, dialect: Dialect, name: str) -> None:
    """Bring the schema up to date, in the caller's transaction. Raises ArenaError for a schema that is newer than this code."""
    files = schema_files(dialect)
    execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY)")
    for file in missing_files(execute, files, name):
        execute(file.text)
        execute("INSERT INTO schema_version VALUES ($1)", [file.number])


def missing_files(execute: Execute, files: Sequence[SchemaFile], name: str) -> list[SchemaFile]:
    """Those that this database has not run. Raises ArenaError when it has run one that is not known here."""
    done = {number for (number,) in execute("SELECT version FROM schema_version")}
    newest, known = max(done, default=0), max(file.number for file in files)
    if newest > known:
        raise ArenaError(f"{name} was written by a newer bakeoff (schema {newest}, this one knows {known}): update bakeoff")
    return [file for file in files if file.number not in done]


@cache
def statements() -> dict[str, str]:
    """The statements of sql/statements.sql by name."""
    parts = re.split(r"^-- name: (\w+)\n", (SQL / "statements.sql").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def first_line(error: Exception) -> str:
    """What a database says, without the hints below it."""
    return str(error).split("\n")[0]
