"""What one DuckDB file keeps in memory does not grow with what was written to it."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from arena.duckdb_file import DuckFile

HELD = "SELECT sum(memory_usage_bytes) / 1e6 FROM duckdb_memory()"


@pytest.fixture
def file(tmp_path: Path) -> Iterator[DuckFile]:
    file = DuckFile(tmp_path / "arena.duckdb", create=True)
    file.write(lambda execute: execute("CREATE TABLE notes (note VARCHAR)"))
    # A checkpoint every two megabytes instead of sixteen.
    file.read("SET wal_autocheckpoint = '2MB'")
    yield file
    file.close()


def fill(file: DuckFile, megabytes: int) -> None:
    """Write that much which cannot be packed, a tenth at a time."""
    chance = random.Random(1)
    for _ in range(10 * megabytes):
        rows = [chance.randbytes(500).hex() for _ in range(100)]
        file.write(lambda execute, rows=rows: execute("INSERT INTO notes SELECT unnest(?)", [rows]))


def held_mb(file: DuckFile) -> float:
    return float(file.read(HELD)[0][0])


def test_pages_of_a_checkpoint_are_let_go(file: DuckFile):
    [(limit,)] = file.read("SELECT current_setting('memory_limit')")
    fill(file, 8)
    assert held_mb(file) < 4
    fill(file, 8)
    assert held_mb(file) < 4
    # And nothing else has changed: what is read may take as much room as before, all of it is there.
    assert file.read("SELECT current_setting('memory_limit')")[0][0][:3] == limit[:3]
    assert file.read("SELECT count(*), count(DISTINCT note || note) FROM notes")[0] == (16_000, 8_000)
    assert not file.path.with_suffix(".duckdb.tmp").exists()


def test_while_somebody_reads_they_are_kept(file: DuckFile):
    fill(file, 4)
    rows = file.stream("SELECT note FROM notes")
    first = next(rows)
    fill(file, 8)
    assert held_mb(file) > 6
    assert len([first, *rows]) == 4_000
    fill(file, 2)
    assert held_mb(file) < 4


def test_where_nothing_is_in_use_the_limit_is_what_it_was(file: DuckFile):
    file._pages_to_drop = True
    file.write(lambda execute: None)
    assert not file._pages_to_drop
    fill(file, 1)
    assert file.read("SELECT count(*) FROM notes")[0] == (1_000,)
