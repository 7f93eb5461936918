"""Votes in a PostgreSQL database, which several arena processes share (pip install -e '.[postgres]').

    arena up --database postgresql://user@host/votes         # the password: in the URL, PGPASSWORD or ~/.pgpass

Whoever writes holds one advisory lock from the start of the transaction to the commit, so that vote_order and the numbers of labels grow in
one line however many processes write. A lost connection is replaced: what was not asked to be committed yet runs again by itself; where
the connection broke in the commit, the caller is told that nobody knows. No message holds the password.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from arena.database import Execute, T, first_line, migrate, missing_files, schema_files, statements
from arena.errors import ArenaError, StoreUnreachable, StoreUnwritable, UnknownBattle
from arena.rows import Row

if TYPE_CHECKING:
    import psycopg
    from numpy.typing import NDArray

    from arena.categories import Rule

    Connection = psycopg.Connection[Any]

_READERS = 8  # connections of one process for reading; PostgreSQL allows 100 in all by default
_PATIENCE_S = 5.0  # a server that restarts is waited for
_RETRIES = 5
# A process that is stopped or cut off in mid-transaction does not hold the lock for ever; a million unrated votes fit into a hash table,
# without which NOT IN compares each with each.
_SETTINGS = "SET idle_in_transaction_session_timeout = '60s'; SET work_mem = '64MB'"
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('bakeoff arena'), hashtext(current_schema()))"


class Postgres:
    """A Database (arena/database.py). Raises StoreUnreachable when the server is away, ArenaError when the database is none of ours."""

    def __init__(self, url: str, *, create: bool) -> None:
        self.name, self.closed = masked(url), False
        self._url = url
        _check_url(url, self.name)
        self._gate = threading.Semaphore(_READERS)
        self._idle: list[Connection] = []
        self._writer: Connection | None = None
        connection = self._connect(patience_s=0)
        try:
            self._prepare(connection, create)
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)

    def close(self) -> None:
        """Let go of every connection."""
        self.closed = True
        while self._idle:
            self._idle.pop().close()
        if self._writer is not None:
            self._writer.close()

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """See Database."""
        return self._reading(lambda connection: _execute(connection, sql, parameters))

    def read_texts(self, sql: str, parameters: Mapping[str, Any], *, battles: Sequence[str] | None = None) -> list[Row]:
        """See Database: DuckDB, in memory, looks at the rows that PostgreSQL holds."""
        from arena.lens import look

        return self._reading(lambda connection: look(connection, sql, parameters, battles=battles, name=self.name))

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Row]:
        """See Database. On a connection of its own, row by row as the server finds them."""
        import psycopg

        connection = self._connect()
        try:
            yield from connection.cursor().stream(sql, parameters or None)
        except psycopg.Error as error:
            raise self._translated(error) from error
        finally:
            connection.close()

    def write_tables(self, folder: Path) -> list[str]:
        """Not needed: many processes may read. Raises ArenaError."""
        raise ArenaError(f"{self.name}: a PostgreSQL database is read directly: name it as --database")

    def columns(self, sql: str, parameters: Sequence[Any]) -> "Mapping[str, NDArray[Any]]":
        """See Database: each column comes as one value, its numbers packed by the server, so that no row becomes a Python object."""
        return self._reading(lambda connection: _columns(connection, sql, parameters))

    def among(self, rule: "Rule") -> tuple[str, list[Any]]:
        """See Database."""
        orders = self.read_texts(rule.sql, {str(number): value for number, value in enumerate(rule.parameters, start=2)})
        return "s.vote_order IN (SELECT unnest($2::BIGINT[]))", [[order for (order,) in orders]]

    def memory(self) -> dict[str, int]:
        """See Database."""
        return {}

    def secret(self) -> str:
        """See Database: it lies in a table."""
        import secrets

        def make(execute: Execute) -> list[Row]:
            execute(statements()["insert_secret"], ["voters", secrets.token_urlsafe(32)])
            return execute(statements()["secret"], ["voters"])

        return str((self.read(statements()["secret"], ["voters"]) or self.write(make))[0][0])

    def write(self, work: Callable[[Execute], T]) -> T:
        """See Database."""
        import psycopg

        for attempt in range(_RETRIES):
            connection = self._writer = self._writer or self._connect()
            committing = False
            try:
                connection.execute(f"BEGIN ISOLATION LEVEL READ COMMITTED; {_LOCK}", prepare=False)
                result = work(partial(_execute, connection))
                committing = True
                if connection.execute("COMMIT").statusmessage != "COMMIT":
                    raise ArenaError(f"{self.name}: the server rolled back instead of committing; try again")
                return result
            except psycopg.Error as error:
                if not self._survives(connection):
                    self._writer = None
                    if committing:
                        told = "lost while it committed; whether this was written is not known: look before you repeat it"
                        raise StoreUnreachable(f"{self.name}: the connection was {told}") from None
                    if attempt < _RETRIES - 1:
                        continue
                elif isinstance(error, psycopg.errors.DeadlockDetected | psycopg.errors.SerializationFailure) and attempt < _RETRIES - 1:
                    continue
                raise self._translated(error) from error
            except BaseException:
                self._survives(connection)
                raise
        raise AssertionError("unreachable")

    def _survives(self, connection: "Connection") -> bool:
        """Roll back what failed; False when the connection is lost."""
        import psycopg

        try:
            connection.rollback()
        except psycopg.Error:
            connection.close()
        return not connection.closed

    def _reading(self, work: "Callable[[Connection], T]") -> T:
        import psycopg

        with self._gate:
            for again in (True, False):
                connection = self._take()
                try:
                    result = work(connection)
                except psycopg.Error as error:
                    if not connection.closed:
                        self._idle.append(connection)
                        raise self._translated(error) from error
                    # Whatever broke this connection has broken those that lie idle.
                    while self._idle:
                        self._idle.pop().close()
                    if not again:
                        raise self._translated(error) from error
                except BaseException:
                    connection.close()
                    raise
                else:
                    self._idle.append(connection)
                    if self.closed:
                        self.close()
                    return result
        raise AssertionError("unreachable")

    def _take(self) -> "Connection":
        if self.closed:
            raise ArenaError(f"{self.name} is closed: open a new Store")
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect()

    def _connect(self, *, patience_s: float | None = None) -> "Connection":
        try:
            import psycopg
        except ImportError:
            raise ArenaError(f"{self.name}: PostgreSQL needs psycopg: pip install -e '.[postgres]'") from None
        deadline_s = time.monotonic() + (_PATIENCE_S if patience_s is None else patience_s)
        while True:
            try:
                connection = psycopg.connect(
                    self._url, autocommit=True, connect_timeout=5, client_encoding="utf8", fallback_application_name="bakeoff arena",
                    cursor_factory=psycopg.RawCursor,
                )  # fmt: skip
                # A vote is acknowledged once it is on disk, whatever the server's default.
                if _execute(connection, "SHOW synchronous_commit") == [("off",)]:
                    connection.execute("SET synchronous_commit = on")
                connection.execute(_SETTINGS)
                return connection
            except psycopg.Error as error:
                if time.monotonic() >= deadline_s:
                    raise StoreUnreachable(f"{self.name} cannot be reached: {self._said(error)}; is the server up?") from None
            time.sleep(0.1)

    def _prepare(self, connection: "Connection", create: bool) -> None:
        import psycopg

        try:
            if (encoding := _execute(connection, "SHOW server_encoding")[0][0]) != "UTF8":
                raise ArenaError(f"{self.name}: its encoding is {encoding}, which cannot hold every text; make one with ENCODING 'UTF8'")
            known = _execute(connection, "SELECT to_regclass('schema_version') IS NOT NULL")[0][0]
            if not known and not create:
                raise ArenaError(f"{self.name}: no votes yet: vote with 'arena up', or bring some in with 'arena import'")
            if create and _execute(connection, "SHOW transaction_read_only") == [("on",)]:
                raise StoreUnwritable(f"{self.name}: no vote can be stored here: the server is read-only; name its primary")

            def execute(sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
                return _execute(connection, sql, parameters)

            if not known or missing_files(execute, schema_files("postgres"), self.name):
                # All of it in one transaction, and by one process at a time.
                with connection.transaction():
                    execute(_LOCK)
                    migrate(execute, "postgres", self.name)
        except psycopg.Error as error:
            raise ArenaError(f"{self.name} is not an arena's database: {self._said(error)}") from None

    def _said(self, error: Exception) -> str:
        """What the server or its library says, in one line and without a password."""
        text = first_line(error)
        for secret in _secrets(self._url):
            text = text.replace(secret, "***")
        return text

    def _translated(self, error: "psycopg.Error") -> ArenaError:
        import psycopg

        told = self._said(error)
        if isinstance(error, psycopg.errors.ForeignKeyViolation) and error.diag.constraint_name == "votes_battle_id_fkey":
            unknown = (error.diag.message_detail or "").partition("=(")[2].partition(")")[0]
            return UnknownBattle(f"{self.name} holds no battle '{unknown}': save the battle before its vote")
        unwritable = (psycopg.errors.DiskFull, psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.InsufficientPrivilege)
        if isinstance(error, unwritable):
            return StoreUnwritable(f"{self.name}: nothing can be stored: {told}")
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return StoreUnreachable(f"{self.name}: the connection was lost, and what was asked was not done: {told}; try again")
        return ArenaError(f"{self.name}: {told}")


def _execute(connection: "Connection", sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
    # Without parameters a text may hold several statements.
    cursor = connection.execute(sql, parameters or None)
    return cursor.fetchall() if cursor.description else []


# By the type's number: how the server packs it, what stands for NULL, how numpy reads it.
_PACKED = {20: ("int8send", "-1", ">i8"), 23: ("int4send", "-1", ">i4"), 701: ("float8send", "'NaN'", ">f8")}


def _columns(connection: "Connection", sql: str, parameters: Sequence[Any]) -> "Mapping[str, NDArray[Any]]":
    """Non-negative integers and floats; NULL is masked, or NaN."""
    import numpy as np

    described = connection.execute(f"SELECT * FROM ({sql}) AS found LIMIT 0", parameters).description or ()
    packed = []
    for column in described:
        send, null, _ = _PACKED[column.type_code]
        packed.append(f"string_agg({send}(coalesce({column.name}, {null})), '')")
    cursor = connection.execute(f"SELECT {', '.join(packed)} FROM ({sql}) AS found", parameters, binary=True)
    values = cursor.fetchall()[0]
    found: dict[str, NDArray[Any]] = {}
    for column, value in zip(described, values, strict=True):
        kind = np.dtype(_PACKED[column.type_code][2])
        numbers = np.frombuffer(value or b"", kind).astype(kind.newbyteorder("="))
        found[column.name] = numbers if kind.kind == "f" else np.ma.masked_less(numbers, 0)
    return found


def masked(url: str) -> str:
    """The URL without its passwords."""
    url = re.sub(r"(?<=://)([^:/@?#]*):.*@", r"\1:***@", url, flags=re.DOTALL)
    return re.sub(r"(?i)\b((?:ssl)?password=)[^&]*", r"\1***", url)


def _check_url(url: str, name: str) -> None:
    """Refuse a URL whose password would be taken for something else, and shown. Raises ArenaError."""
    try:
        beyond = urlsplit(url)
    except ValueError as error:
        raise ArenaError(f"--database {name}: is no URL: {error}") from None
    userinfo, _, _ = url.partition("://")[2].rpartition("@")
    if re.search(r"[/?#@\s]", userinfo) or "@" in f"{beyond.path}{beyond.fragment}":
        raise ArenaError(f"--database {name}: what stands before the host holds a sign that must be escaped: @ as %40, / as %2F, # as %23")


def _secrets(url: str) -> list[str]:
    parts = urlsplit(url)
    found = [value for key, value in parse_qsl(parts.query) if "password" in key.lower()]
    userinfo = parts.netloc.rpartition("@")[0].partition(":")[2]
    return sorted({text for text in (userinfo, unquote(userinfo), *found) if text}, key=len, reverse=True)
