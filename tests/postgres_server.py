"""A real PostgreSQL for tests: its own data directory, a loopback port and a password, fsync as it is; started as nobody's root."""

import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

import psycopg

from serving.listening import free_port

PASSWORD = "p@ss:w/rd"
_ESCAPED = "p%40ss%3Aw%2Frd"


def why_not() -> str | None:
    """Why no server can be started here; None when one can."""
    if _programs() is None:
        return "needs Debian's postgresql (/usr/lib/postgresql/*/bin)"
    return None


class PostgresServer:
    """Runs until `stop`; `url` names a fresh database."""

    def __init__(self) -> None:
        programs = _programs()
        assert programs is not None
        self._programs = programs
        # The server refuses root: there it runs as Debian's user for it, or nobody.
        self._as = {"user": _unprivileged(), "group": None, "extra_groups": []} if os.getuid() == 0 else {}
        self.folder = Path(tempfile.mkdtemp(prefix="bakeoff-postgres-"))
        if self._as:
            shutil.chown(self.folder, self._as["user"])
            self._as["group"] = self.folder.stat().st_gid
        self.port = free_port()
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        data = self.folder / "data"
        options = ["--username=bakeoff", f"--pwfile={password}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        self._run("initdb", f"--pgdata={data}", *options)
        with (data / "postgresql.conf").open("a") as settings:
            settings.write(f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{self.folder}'\n")
        self.start()

    def start(self) -> None:
        self._run("pg_ctl", "start", "--wait", f"--pgdata={self.folder / 'data'}", f"--log={self.folder / 'log'}")

    def stop(self, mode: str = "fast") -> None:
        """fast: as an operator does it; immediate: as a power cut does it."""
        self._run("pg_ctl", "stop", "--wait", f"--mode={mode}", f"--pgdata={self.folder / 'data'}")

    def end(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str, password: str = _ESCAPED) -> str:
        return f"postgresql://bakeoff:{password}@127.0.0.1:{self.port}/{database}"

    def create(self, settings: str = "") -> str:
        """The URL of a fresh database."""
        name = f"arena_{uuid.uuid4().hex[:12]}"
        self.execute("postgres", f"CREATE DATABASE {name} {settings}")
        return self.url(name)

    def drop(self, url: str) -> None:
        self.execute("postgres", f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    def execute(self, database: str, statement: str) -> None:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        # Not a pipe: the server would hold it open for as long as it runs.
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd="/", timeout=60, **self._as)
            said.seek(0)
            assert done.returncode == 0, f"{program}: {said.read().decode()}"


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return found[-1] if found and (found[-1] / "initdb").exists() else None


def _unprivileged() -> str:
    import pwd

    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)
