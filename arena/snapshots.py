"""The arena's tables as Parquet over HTTP: DuckDB lets no second process read a file that the arena holds, so the arena reads it out.

    GET /snapshot                          makes one: {"snapshot": id, "schema": number, "tables": [...]}
    GET /snapshot/<id>/<table>.parquet     each of its tables, all as of one moment

Both ask for `Authorization: Bearer TOKEN`: the token that lies beside the database in arena.running (0600, for as long as the arena runs),
or the one in the environment variable that results/arena.yaml names. arena/reading.py is the other end.
"""

import hmac
import json
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from arena.database import Location
from arena.errors import ArenaError
from arena.settings import load_settings

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from arena.store import Store

# A client that fetches slowly keeps its snapshot through the next two.
_KEPT = 3
_SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class Snapshot:
    """All tables as of one moment, as files of one folder."""

    id: str
    began_s: float  # time.monotonic()
    folder: Path
    tables: tuple[str, ...]


class Snapshots:
    """Makes snapshots of a store, one at a time, and keeps the last few; none outlives the process, even a killed one."""

    def __init__(self, store: "Store") -> None:
        self.store = store
        self.folder = folder_of(store)
        self._gate = threading.Lock()
        self._kept: list[Snapshot] = []
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def take(self) -> Snapshot:
        """A snapshot that holds all that was acknowledged before this call; whoever waited together shares one."""
        asked_s = time.monotonic()
        if self.folder is None:
            raise ArenaError(f"{self.store.name}: a PostgreSQL database is read directly: name it as --database")
        with self._gate:
            if not self._kept or self._kept[-1].began_s < asked_s:
                key, began_s = secrets.token_hex(8), time.monotonic()
                folder = self.folder / key
                self.folder.mkdir(mode=0o700, exist_ok=True)
                folder.mkdir(mode=0o700)
                try:
                    tables = self.store.write_tables(folder)
                except BaseException:
                    shutil.rmtree(folder, ignore_errors=True)
                    raise
                self._kept.append(Snapshot(key, began_s, folder, tuple(tables)))
                while len(self._kept) > _KEPT:
                    shutil.rmtree(self._kept.pop(0).folder, ignore_errors=True)
            return self._kept[-1]

    def find(self, key: str, table: str) -> Path | None:
        """The file of a table in a snapshot that is kept."""
        with self._gate:
            return next((one.folder / f"{table}.parquet" for one in self._kept if one.id == key and table in one.tables), None)

    def forget(self) -> None:
        """Remove every snapshot: what was deleted from the store must not live on here."""
        with self._gate:
            self._kept.clear()
            if self.folder is not None:
                shutil.rmtree(self.folder, ignore_errors=True)


def folder_of(store: "Store") -> Path | None:
    """Where the snapshots of this store lie; None where none are made."""
    return None if store.file is None else store.file.with_suffix(".snapshots")


def schema_number() -> int:
    """How many schema files this checkout knows; both ends of a snapshot must know the same."""
    from arena.database import SQL

    return len(list(SQL.glob("[0-9][0-9][0-9]_*.sql")))


def tokens(results: Path, own: str) -> tuple[str, ...]:
    """The tokens that open the routes: the process's own, and the operator's where arena.yaml names a variable. Raises ArenaError."""
    name = load_settings(results).snapshots.token_env
    if name is None:
        return (own,)
    value = os.environ.get(name, "")
    if len(value) < _SHORTEST_TOKEN:
        what = "is not set" if not value else f"has {len(value)} characters"
        raise ArenaError(f"{results / 'arena.yaml'}: snapshots.token_env: {name} {what}; set it to {_SHORTEST_TOKEN} characters or more")
    return own, value


def authorised(headers: Mapping[str, str], accepted: tuple[str, ...]) -> bool:
    """Whether the request bears one of the tokens; takes as long for a near miss as for any other."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    matches = [hmac.compare_digest(token.strip().encode(), one.encode()) for one in accepted]
    return scheme.lower() == "bearer" and any(matches)


def routes(snapshots: Snapshots, accepted: tuple[str, ...]) -> "list[BaseRoute]":
    """The two routes. Their functions are plain ones, which Starlette runs in threads: the loop that streams answers never waits."""
    from starlette.responses import FileResponse, JSONResponse
    from starlette.routing import Route

    def take(request: "Request") -> "Response":
        if not authorised(request.headers, accepted):
            return refusal()
        try:
            one = snapshots.take()
        except (ArenaError, OSError) as error:
            return JSONResponse({"error": f"no snapshot could be made: {error}"}, 503)
        return JSONResponse({"snapshot": one.id, "schema": schema_number(), "tables": one.tables}, headers=PRIVATE)

    def table(request: "Request") -> "Response":
        if not authorised(request.headers, accepted):
            return refusal()
        found = snapshots.find(request.path_params["key"], request.path_params["table"])
        if found is None or not found.exists():
            return JSONResponse({"error": "there is no such table in a snapshot that is kept: take a new one"}, 404)
        return FileResponse(found, media_type="application/vnd.apache.parquet", headers=PRIVATE)

    return [Route("/snapshot", take), Route("/snapshot/{key}/{table}.parquet", table)]


PRIVATE = {"Cache-Control": "no-store"}


def refusal() -> "Response":
    """401: without a token that fits, not even the names of the tables are told."""
    from starlette.responses import JSONResponse

    return JSONResponse({"error": "a bearer token is needed"}, 401, headers={"WWW-Authenticate": "Bearer", **PRIVATE})


@contextmanager
def announced(database: Location, url: str, token: str) -> Iterator[None]:
    """While the `with` lasts, tell the owner's commands where this arena is: arena.running, beside arena.duckdb (0600)."""
    if isinstance(database, str):
        # PostgreSQL is read directly.
        yield
        return
    path = notice_path(database)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump({"url": url, "pid": os.getpid(), "token": token}, file)
        os.replace(fresh, path)
        yield
    finally:
        fresh.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        shutil.rmtree(database.with_suffix(".snapshots"), ignore_errors=True)


def notice_path(database: Path) -> Path:
    """Where the arena that holds this file says so."""
    return database.with_suffix(".running")


def is_table_name(name: str) -> bool:
    """Whether a name can be taken into a statement and a path as it is."""
    return re.fullmatch(r"[a-z_][a-z0-9_]*", name) is not None
