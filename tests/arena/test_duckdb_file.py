"""What one DuckDB file keeps in memory does not grow with what was written to it."""

import ctypes
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from arena.duckdb_file import DuckFile
from arena.errors import ArenaError

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


def test_what_a_checkpoint_left_free_goes_back_to_the_machine(file: DuckFile):
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "malloc_trim"):
        pytest.skip("not glibc")
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    taken = [libc.malloc(2_000) for _ in range(32_000)]
    for block in taken:
        ctypes.memset(block, 1, 2_000)
    # The last one is in the way: what lies below it stays with the process by itself.
    for block in taken[:-1]:
        libc.free(block)
    held = own_mb()
    file.write(lambda execute: None)
    assert own_mb() > held - 5
    file._pages_to_drop = True
    file.write(lambda execute: None)
    assert own_mb() < held - 50
    libc.free(taken[-1])


def own_mb() -> float:
    """The process's own memory."""
    return int(Path("/proc/self/smaps_rollup").read_text().split("Anonymous:")[1].split()[0]) * 1024 / 1e6


def test_of_many_threads_that_come_and_go_none_reads_itself(file: DuckFile):
    asked, read = set[threading.Thread](), set[threading.Thread]()

    def look(cursor: Any) -> int:
        read.add(threading.current_thread())
        return int(cursor.execute("SELECT count(*) FROM notes").fetchall()[0][0])

    def ask() -> None:
        asked.add(threading.current_thread())
        assert file._reading(look) == 0

    for _ in range(40):
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    # The threads themselves: one that has ended gives its number to another.
    assert asked and not asked & read and len(read) <= 8


def test_the_main_thread_reads_itself_so_that_it_can_be_interrupted(file: DuckFile):
    assert file._reading(lambda cursor: threading.current_thread()) is threading.main_thread()


def test_what_cannot_be_read_is_told_in_every_thread(file: DuckFile):
    with ThreadPoolExecutor(1) as others:
        with pytest.raises(ArenaError, match="no_such_table"):
            others.submit(file.read, "SELECT * FROM no_such_table").result()
        file.close()
        with pytest.raises(ArenaError, match="is closed: open a new Store"):
            others.submit(file.read, "SELECT 1").result()
