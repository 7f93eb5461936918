"""Read the votes wherever they are: the file, or, while an arena holds the file, a snapshot that the arena gives out.

    with open_for_reading(Path("results/arena.duckdb"), results) as store:
        store.counts()

A snapshot is a folder of Parquet files under a store whose tables are views on them: nothing is loaded, and it goes with the `with`.
"""

import json
import os
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from arena.database import Location
from arena.duckdb_file import DuckFile, look_at
from arena.errors import ArenaError, StoreInUse
from arena.settings import load_settings
from arena.snapshots import is_table_name, notice_path, schema_number
from arena.store import Store
from serving.command import say

_PATIENCE_S = 120
_PREFIX = "bakeoff-snapshot-"


@dataclass(frozen=True)
class Running:
    """An arena that runs: where, and the token that opens its routes."""

    url: str
    token: str
    pid: int | None = None


@contextmanager
def open_for_reading(database: Location, results: Path) -> Iterator[Store]:
    """The store at `database`: a file, or the address of an arena (http://…). Raises StoreInUse when its holder is no arena, ArenaError."""
    running = remote(database, results)
    if running is None:
        try:
            store = Store(database, create=False)
        except StoreInUse:
            running = running_arena(database)
            if running is None:
                raise
        else:
            with store:
                yield store
            return
    with snapshot_of(running) as store:
        say(f"read from the arena at {running.url}")
        yield store


def open_for_writing(database: Location, results: Path, *, create: bool) -> Store:
    """The store at `database`, to be written to. Raises StoreInUse in one line that says who holds it and what to do."""
    if (running := remote(database, results)) is not None:
        raise ArenaError(
            f"{running.url}: an arena's address can be read, not written to; run this where its database is, with the arena down"
        )
    try:
        return Store(database, create=create)
    except StoreInUse:
        if (running := running_arena(database)) is None:
            raise
        raise StoreInUse(
            f"{database} is in use by process {running.pid}, the arena at {running.url}: stop it, write, and start it again "
            "(leaderboard, export and audit read while it is up)"
        ) from None


def remote(database: Location, results: Path) -> Running | None:
    """The arena that `database` names by its address, None for a file. Raises ArenaError when no token is at hand."""
    # Path folds the two slashes of an address into one.
    if (match := re.match(r"(https?):/+(.+)", str(database))) is None:
        return None
    url = f"{match[1]}://{match[2].rstrip('/')}"
    name = load_settings(results).snapshots.token_env
    if name is None:
        raise ArenaError(f"{url}: a token is needed; name its variable in {results / 'arena.yaml'}: 'snapshots: {{token_env: NAME}}'")
    if not (token := os.environ.get(name)):
        raise ArenaError(f"{url}: the environment variable {name} is not set; put that arena's token in it")
    return Running(url, token)


def running_arena(database: Location) -> Running | None:
    """The arena that holds this file; None when none said so, or the one that did is gone."""
    if isinstance(database, str):
        return None
    try:
        notice = json.loads(notice_path(database).read_text())
        running = Running(notice["url"], notice["token"], int(notice["pid"]))
        os.kill(int(notice["pid"]), 0)
    except PermissionError:
        raise StoreInUse(f"{database} is in use by another user's arena: read it as that user, or by its address (http://…)") from None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return running


@contextmanager
def snapshot_of(running: Running) -> Iterator[Store]:
    """A store on a fresh snapshot of that arena; its files are removed at the end, and those of killed commands at the next start."""
    _sweep()
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-") as name:
        folder = Path(name)
        with ask(running, "/snapshot") as answer:
            told = json.load(answer)
        if told["schema"] != schema_number():
            raise ArenaError(
                f"the arena at {running.url} is another version of bakeoff (schema {told['schema']}, this one {schema_number()})"
            )
        tables = [table for table in told["tables"] if is_table_name(table)]
        for table in tables:
            with ask(running, f"/snapshot/{told['snapshot']}/{table}.parquet") as answer, (folder / f"{table}.parquet").open("wb") as file:
                shutil.copyfileobj(answer, file, 1 << 20)
        database = DuckFile(folder / "arena.duckdb", create=True)
        with database.cursor() as cursor:
            look_at(cursor, folder, tables)
        database.close()
        with Store(folder / "arena.duckdb") as store:
            yield store


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The token is for this address only."""

    def redirect_request(self, *_: Any) -> None:
        return None


def ask(running: Running, path: str, body: dict[str, Any] | None = None) -> IO[bytes]:
    """The open answer of an arena's route. Raises ArenaError in one line."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {running.token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{running.url}{path}", data=data, headers=headers)
    # This machine's own arena is asked directly, whatever proxy the environment names.
    proxies = [urllib.request.ProxyHandler({})] if running.pid is not None else []
    try:
        answer: IO[bytes] = urllib.request.build_opener(_NoRedirect, *proxies).open(request, timeout=_PATIENCE_S)
    except urllib.error.HTTPError as error:
        with error:
            told = error.read(2000)
        remedy = "the token is not that arena's" if error.code == 401 else _reason(told) or f"HTTP {error.code}"
        raise ArenaError(f"the arena at {running.url} does not answer {path}: {remedy}") from None
    except (OSError, ValueError) as error:
        raise ArenaError(f"the arena at {running.url} cannot be reached: {getattr(error, 'reason', error)}; is it up?") from None
    return answer


def _reason(told: bytes) -> str | None:
    try:
        return str(json.loads(told)["error"])
    except (ValueError, KeyError, TypeError):
        return None


def _sweep() -> None:
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        pid = left.name.removeprefix(_PREFIX).partition("-")[0]
        try:
            if pid.isdigit() and left.stat().st_uid == os.getuid():
                os.kill(int(pid), 0)
        except ProcessLookupError:
            shutil.rmtree(left, ignore_errors=True)
        except OSError:
            continue
