"""Votes in one DuckDB file, which one process holds: no other can even read it meanwhile.

    database = DuckFile(Path("results/arena.duckdb"), create=True)

A full disk does not end it: a commit that could not be written is refused, and where a checkpoint failed, after which DuckDB wants to be
opened anew, it is opened anew, so that reading goes on and writing too once there is room.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import duckdb

from arena.database import Execute, T, first_line, migrate
from arena.errors import ArenaError, StoreInUse, StoreUnwritable, UnknownBattle
from arena.rows import Row

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from arena.categories import Rule

_RETRIES, _READERS = 5, 8
_STREAMED = 5_000
_COUNTED = "(SELECT * FROM votes WHERE vote_order <= (SELECT coalesce(max(s.vote_order), 0) FROM ballots AS s))"
_TABLES = """
SELECT table_name FROM information_schema.tables
WHERE table_schema = 'main' AND table_type = 'BASE TABLE' AND table_name <> 'schema_version' ORDER BY table_name
"""


class DuckFile:
    """A Database (arena/database.py). Raises StoreInUse when another process holds the file, ArenaError when it cannot be opened."""

    def __init__(self, path: Path, *, create: bool, threads: int | None = None) -> None:
        if not create and not path.exists():
            raise ArenaError(f"{path}: no votes yet: vote with 'arena up', or bring some in with 'arena import'")
        self.path, self.name, self.closed, self._threads = path, str(path), False, threads
        self._gate = threading.Condition()
        self._busy = 0
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="duckdb-reading")
        self._root: duckdb.DuckDBPyConnection | None = _open(path, threads)
        self._log, self._log_bytes = path.with_name(f"{path.name}.wal"), 0
        self._pages_to_drop, self._limit = False, ""

    def close(self) -> None:
        """Let go of the file."""
        with self._gate:
            root, self._root, self.closed = self._root, None, True
        self._readers.shutdown()
        if root is not None:
            root.close()

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """See Database."""
        return self._reading(lambda cursor: cursor.execute(sql, parameters).fetchall())

    def read_texts(self, sql: str, parameters: Mapping[str, Any], *, battles: Sequence[str] | None = None) -> list[Row]:
        """See Database."""
        return self._reading(lambda cursor: cursor.execute(sql, dict(parameters)).fetchall())

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Row]:
        """See Database."""
        try:
            with self.cursor() as cursor:
                found = cursor.execute(sql, parameters)
                while rows := found.fetchmany(_STREAMED):
                    yield from rows
        except duckdb.Error as error:
            raise translated(self.path, error) from error

    def write_tables(self, folder: Path) -> list[str]:
        """See Database."""
        return self._reading(lambda cursor: write_tables(cursor, folder))

    def columns(self, sql: str, parameters: Sequence[Any]) -> "Mapping[str, NDArray[Any]]":
        """See Database."""
        return self._reading(lambda cursor: cast("Mapping[str, NDArray[Any]]", cursor.execute(sql, parameters).fetchnumpy()))

    def among(self, rule: "Rule") -> tuple[str, list[Any]]:
        """See Database."""
        return f"s.vote_order IN ({rule.sql})", list(rule.parameters)

    def write(self, work: Callable[[Execute], T]) -> T:
        """See Database."""
        for attempt in range(_RETRIES):
            try:
                with self.cursor() as cursor:
                    written = _commit(cursor, work)
            except duckdb.TransactionException as error:
                # The same key in another open transaction fails at the commit, whatever ON CONFLICT says: ask again.
                if attempt == _RETRIES - 1 or (said := translated(self.path, error)).__class__ is not ArenaError:
                    raise said from error
                time.sleep(0.01 * 2**attempt)
            except duckdb.Error as error:
                raise translated(self.path, error) from error
            else:
                self._drop_pages()
                return written
        raise AssertionError("unreachable")

    def memory(self) -> dict[str, int]:
        """See Database: by DuckDB's own tags, those that hold nothing left out."""
        return dict(self.read("SELECT tag, memory_usage_bytes FROM duckdb_memory() WHERE memory_usage_bytes > 0"))

    def secret(self) -> str:
        """See Database: it lies beside the file."""
        from arena.voters import load_secret

        return load_secret(self.path.with_suffix(".secret"))

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor of one's own. Lets duckdb.Error through; after a fatal one the file is opened anew."""
        with self._gate:
            if self.closed:
                raise ArenaError(f"{self.path} is closed: open a new Store")
            if self._root is None:
                self._root = _open(self.path, self._threads)
            root = self._root
            self._busy += 1
        try:
            with root.cursor() as cursor:
                yield cursor
        except duckdb.FatalException:
            self._retire(root)
            raise
        finally:
            with self._gate:
                self._busy -= 1
                self._gate.notify_all()

    def _reading(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """In one of few threads that stay, whoever asks: DuckDB keeps a kilobyte for each thread that ever read, also when that has ended,
        and a page is made in a new one each time. The main thread stays, too, and can be interrupted.
        """
        if threading.current_thread() is threading.main_thread():
            return self._read_here(work)
        try:
            reading = self._readers.submit(self._read_here, work)
        except RuntimeError:
            raise ArenaError(f"{self.path} is closed: open a new Store") from None
        return reading.result()

    def _read_here(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        for again in (True, False):
            try:
                with self.cursor() as cursor:
                    return work(cursor)
            except duckdb.FatalException as error:
                if not again:
                    raise translated(self.path, error) from error
            except duckdb.Error as error:
                if self.closed:
                    raise ArenaError(f"{self.path} is closed: open a new Store") from None
                raise translated(self.path, error) from error
        raise AssertionError("unreachable")

    def _drop_pages(self) -> None:
        """Once a checkpoint has put the log into the file, let go of the pages that it wrote: DuckDB would keep them all, up to its limit.

        Only while nobody reads, whose pages they might be. A limit below what is in use is refused, but only after all that can be
        dropped was. The one that counts is still the old one then, yet `current_setting` would show the refused one.
        """
        try:
            size = self._log.stat().st_size
        except OSError:
            size = 0
        self._pages_to_drop |= size < self._log_bytes
        self._log_bytes = size
        if not self._pages_to_drop:
            return
        with self._gate:
            if self._busy or self._root is None:
                return
            self._pages_to_drop = False
            # What was committed is committed, whatever comes of this.
            with suppress(duckdb.Error):
                # Asked once: it is told in GiB, rounded down.
                self._limit = self._limit or str(self._root.execute("SELECT current_setting('memory_limit')").fetchall()[0][0])
                with suppress(duckdb.OutOfMemoryException):
                    self._root.execute("SET memory_limit = '1B'")
                self._root.execute(f"SET memory_limit = '{self._limit}'")

    def _retire(self, root: duckdb.DuckDBPyConnection) -> None:
        """Close a connection that DuckDB has given up; whoever comes next opens the file anew, once nobody holds the old one."""
        with self._gate:
            self._busy -= 1
            self._gate.notify_all()
            self._gate.wait_for(lambda: self._busy == 0 or self._root is not root)
            self._busy += 1
            if self._root is root:
                root.close()
                self._root = None


def _open(path: Path, threads: int | None) -> duckdb.DuckDBPyConnection:
    for place in (path, path.parent):
        if place.exists() and not os.access(place, os.W_OK):
            what = "the file" if place == path else f"the folder {place}"
            raise StoreUnwritable(f"{path}: no vote can be stored here: {what} is read-only; make it writable, or use another --database")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = duckdb.connect(path, config={} if threads is None else {"threads": threads})
    except (duckdb.Error, OSError) as error:
        if "lock" in str(error):
            holder = re.search(r"PID (\d+)", str(error))
            process = f"process {holder[1]}" if holder else "another process"
            raise StoreInUse(f"{path} is in use by {process}: stop it or use another --database") from None
        raise ArenaError(f"{path} cannot be opened as the arena's database: {first_line(error)}") from None
    try:
        with connection.cursor() as cursor:
            # All of it in one transaction: a file of another program is refused without a trace of ours left in it.
            _commit(cursor, lambda execute: migrate(execute, "duckdb", str(path)))
    except duckdb.Error as error:
        connection.close()
        raise ArenaError(f"{path} is not an arena's database: {first_line(error)}") from None
    except BaseException:
        connection.close()
        raise
    return connection


def _commit(cursor: duckdb.DuckDBPyConnection, work: Callable[[Execute], T]) -> T:
    def execute(sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return cursor.execute(sql, parameters).fetchall()

    cursor.begin()
    try:
        result = work(execute)
        cursor.commit()
    except BaseException:
        try:
            cursor.rollback()
        except duckdb.Error:
            # A failed commit has ended the transaction by itself.
            pass
        raise
    return result


def write_tables(cursor: duckdb.DuckDBPyConnection, folder: Path) -> list[str]:
    """Every table as folder/<table>.parquet, all of one transaction and in bounded memory; returns their names.

    A vote that came in this very moment and has no ballot yet is left to the next snapshot: whoever reads this one can write none.
    """
    cursor.begin()
    try:
        tables = [name for (name,) in cursor.execute(_TABLES).fetchall()]
        for table in tables:
            rows = _COUNTED if table == "votes" else f'"{table}"'
            cursor.execute(f"COPY {rows} TO {_quoted(folder / table)} (FORMAT parquet, COMPRESSION snappy)")
    finally:
        cursor.rollback()
    return tables


def look_at(cursor: duckdb.DuckDBPyConnection, folder: Path, tables: Sequence[str]) -> None:
    """Put views on the Parquet files of `folder` in the place of these tables."""
    left = list(tables)
    # A table goes only after those that refer to it: each round takes one at least.
    for _ in tables:
        for table in list(left):
            try:
                cursor.execute(f'DROP TABLE IF EXISTS "{table}"')
            except duckdb.CatalogException:
                continue
            cursor.execute(f'CREATE VIEW "{table}" AS SELECT * FROM read_parquet({_quoted(folder / table)})')
            left.remove(table)


def _quoted(path: Path) -> str:
    return "'" + f"{path}.parquet".replace("'", "''") + "'"


def translated(path: Path, error: duckdb.Error) -> ArenaError:
    """What DuckDB says, in one line of ours."""
    text = first_line(error)
    if isinstance(error, duckdb.ConstraintException) and '"battle_id:' in text and "foreign key" in text:
        unknown = text.partition('"battle_id:')[2].partition('"')[0].strip()
        return UnknownBattle(f"{path} holds no battle '{unknown}': save the battle before its vote")
    if "has been invalidated" in text:
        return StoreUnwritable(f"{path}: had to be opened anew after an error before this; try again")
    if re.search(r"Could not (write|truncate|sync)|Cannot open file|No space left|Read-only|Permission denied", text):
        reason = text.rpartition(": ")[2]
        return StoreUnwritable(f"{path}: nothing can be stored: {reason}; make room or make it writable, then try again")
    return ArenaError(f"{path}: {text}")
