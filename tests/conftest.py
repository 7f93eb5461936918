"""Shared fixtures: every test has its own results folder and no key or catalogue of the person's environment."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from postgres_server import PostgresServer

# How long an example takes is the machine's matter, and no property of what is tested.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BAKEOFF_RESULTS", "BAKEOFF_CATALOGUE", "BAKEOFF_PRICES", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """An empty results folder."""
    folder = tmp_path / "results"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator["PostgresServer"]:
    """A PostgreSQL server of these tests' own; skips where it is not installed."""
    from postgres_server import PostgresServer, why_not

    if reason := why_not():
        pytest.skip(reason)
    server = PostgresServer()
    yield server
    server.end()


@pytest.fixture(params=["duckdb", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | str]:
    """Where votes lie: a file that is not there yet, then a fresh PostgreSQL database."""
    if request.param == "duckdb":
        yield tmp_path / "results" / "arena.duckdb"
        return
    server = request.getfixturevalue("postgres")
    url = server.create()
    yield url
    server.drop(url)
