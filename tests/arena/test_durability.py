"""kill -9, a full disk, a read-only file: what was acknowledged is there, once, and the store says in one line what is the matter."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from ballot_box import ASKED, fought

from arena.errors import ArenaError, StoreUnwritable
from arena.store import Store
from arena.votes import Battle, Vote, new_id
from serving.completion import Completion

TESTS = Path(__file__).parents[1]
VOTE = """
import os, sys, threading
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from ballot_box import fought
from arena.store import Store

store = Store(sys.argv[1] if "://" in sys.argv[1] else Path(sys.argv[1]))
if sys.argv[3]:
    store._database.read(f"SET wal_autocheckpoint = '{sys.argv[3]}'")

def cast(voter):
    while True:
        vote = fought(store, voter)
        assert store.save_vote(vote)
        # One write of less than a pipe's buffer is never cut.
        os.write(1, f"{vote.battle_id}\\n".encode())
        assert not store.save_vote(vote), "the same form sent again"

for number in range(16):
    threading.Thread(target=cast, args=(f"voter {number}",), daemon=True).start()
threading.Event().wait()
"""


def killed_while_voting(database: Path | str, after: int, checkpoint: str = "") -> list[str]:
    """16 threads vote in a process that is killed once so many votes were acknowledged; the battles of all that were.

    DuckDB puts its log into the file whenever it is as long as `checkpoint`.
    """
    command = [sys.executable, "-c", VOTE, str(database), str(TESTS), checkpoint]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as voter:
        heard = [voter.stdout.readline() for _ in range(after)]
        voter.send_signal(signal.SIGKILL)
        heard += voter.communicate()[0].splitlines(keepends=True)
    assert all(line.endswith("\n") for line in heard), "the process ended by itself"
    return [line.strip() for line in heard]


def check(database: Path | str, acknowledged: list[str]) -> None:
    """Every acknowledged vote is there, none twice, and what is kept beside the votes agrees with them."""
    with Store(database) as store:
        rows = store._database.read("SELECT battle_id, vote_order FROM votes")
        kept = [battle_id for battle_id, _ in rows]
        assert set(acknowledged) <= set(kept) and len(kept) == len(set(kept)) == store.count_votes()
        assert len({order for _, order in rows}) == len(rows) == len(store.ballots())
        assert store.ballots().cells().sum() == sum(sum(tally[2:6]) for tally in store.vote_counts())
        assert store.save_vote(fought(store)), "it goes on"


def rounds(database: Path | str, counts: list[int], checkpoint: str = "") -> int:
    acknowledged: list[str] = []
    for after in counts:
        acknowledged += killed_while_voting(database, after, checkpoint)
        check(database, acknowledged)
    assert len(set(acknowledged)) == len(acknowledged) >= sum(counts)
    return len(acknowledged)


def test_acknowledged_votes_survive_kill_9(database: Path | str):
    rounds(database, [1, 33, 150])


def test_a_kill_amid_checkpoints_costs_no_vote(tmp_path: Path):
    rounds(tmp_path / "arena.duckdb", [200], checkpoint="50KB")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_kills_amid_checkpoints_cost_no_vote(tmp_path: Path):
    rounds(tmp_path / "arena.duckdb", [150 + 13 * number for number in range(20)], checkpoint="50KB")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_acknowledged_votes_survive_kill_9_fifty_times(database: Path | str, capsys: pytest.CaptureFixture[str]):
    n_votes = rounds(database, [1 + 7 * number % 180 for number in range(50)])
    with capsys.disabled():
        sys.stdout.write(f"\n50 rounds of kill -9 with 16 voting threads: {n_votes:,} acknowledged votes, 0 lost, none twice\n")


@contextmanager
def full_disk(at_bytes: int) -> Iterator[None]:
    """No file of this process grows beyond this size, as on a disk without room (EFBIG for ENOSPC)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (at_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def voted(store: Store, characters: int) -> str:
    """A battle with answers of this length, and a vote on it, acknowledged."""
    battle = Battle(battle_id=new_id(), created_at=None, messages=ASKED.messages, model_a="left", model_b="right")
    texts = os.urandom(characters // 2).hex(), os.urandom(characters // 2).hex()
    store.save_battle(battle, tuple(Completion(endpoint=e, request=ASKED, text=t) for e, t in zip(("left", "right"), texts, strict=True)))
    assert store.save_vote(Vote(vote_id=new_id(), battle_id=battle.battle_id, voter_id=None, winner="tie", voted_at=None))
    return battle.battle_id


def vote_until_full(store: Store, characters: int, attempts: int) -> tuple[list[str], list[ArenaError]]:
    acknowledged, refused = [], []
    for _ in range(attempts):
        try:
            acknowledged.append(voted(store, characters))
        except ArenaError as error:
            refused.append(error)
        if len(refused) == 3:
            break
    return acknowledged, refused


@pytest.mark.parametrize(("room", "characters"), [(400_000, 20_000), (20_000_000, 200_000)], ids=["log", "checkpoint"])
def test_a_full_disk_refuses_votes_and_loses_none(tmp_path: Path, room: int, characters: int):
    # The first disk is full when the write-ahead log grows, the second when DuckDB moves the log into the file: then DuckDB gives the whole
    # file up until it is opened anew.
    path = tmp_path / "arena.duckdb"
    with Store(path) as store:
        acknowledged = [voted(store, 100)]
        with full_disk(room):
            more, refused = vote_until_full(store, characters, attempts=80)
            acknowledged += more
            assert len(more) > 2 and len(refused) == 3
            for error in refused:
                assert isinstance(error, StoreUnwritable) and "\n" not in str(error)
                assert str(error).startswith(f"{path}: nothing can be stored: File too large; make room")
            # It is still read, and from several threads.
            with ThreadPoolExecutor(8) as pool:
                assert all(pool.map(lambda battle_id: store.vote_of(battle_id) is not None, acknowledged))
        acknowledged += [voted(store, characters) for _ in range(3)]
        assert store.count_votes() == len(acknowledged)
    with Store(path) as store:
        assert store.count_votes() == len(acknowledged) and all(store.vote_of(battle_id) for battle_id in acknowledged)


# Root may write to what is read-only, unless it gives that right away.
BOUND = ["setpriv", "--bounding-set=-dac_override"] if os.getuid() == 0 else []


def ask(monkeypatch: pytest.MonkeyPatch, refused: Path) -> None:
    """As if this path were on a disk that is mounted read-only, which root cannot write to either."""
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not (Path(path) == refused and mode == os.W_OK) and real(path, mode))


@pytest.mark.parametrize("what", ["the file", "the folder"])
def test_a_read_only_database_is_said_in_one_line_before_anything_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str):
    path = tmp_path / "arena.duckdb"
    with Store(path) as store:
        voted(store, 10)
    ask(monkeypatch, path if what == "the file" else tmp_path)
    with pytest.raises(StoreUnwritable) as told:
        Store(path)
    assert str(told.value).startswith(f"{path}: no vote can be stored here: {what}") and "\n" not in str(told.value)


@pytest.mark.parametrize("what", ["the file", "the folder"])
def test_arena_up_on_a_read_only_database_is_one_line(tmp_path: Path, what: str):
    folder = tmp_path / "results"
    with Store(folder / "arena.duckdb") as store:
        voted(store, 10)
    place = folder / "arena.duckdb" if what == "the file" else folder
    place.chmod(0o555)
    command = [*BOUND, sys.executable, "-m", "arena.cli", "up", "--port", "0", "--results", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    finally:
        place.chmod(0o755)
    assert done.returncode == 1 and f"no vote can be stored here: {what}" in done.stderr and len(done.stderr.splitlines()) == 1


LOCKED = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from ballot_box import fought
from arena.errors import StoreUnwritable
from arena.store import Store

path = Path(sys.argv[1])
store = Store(path)
assert store.save_vote(fought(store))
store._database.read("CHECKPOINT")  # the log is gone: a new one cannot be made
path.parent.chmod(0o555)
try:
    fought(store)
    sys.exit("a battle was stored")
except StoreUnwritable as error:
    sys.stdout.write(f"{error}\\n")
assert store.count_votes() == 1
path.parent.chmod(0o755)
assert store.save_vote(fought(store)) and store.count_votes() == 2
store.close()
"""


def test_a_folder_that_becomes_read_only_refuses_votes_and_goes_on_once_it_is_not(tmp_path: Path):
    path = tmp_path / "house" / "arena.duckdb"
    done = subprocess.run([*BOUND, sys.executable, "-c", LOCKED, str(path), str(TESTS)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{path}: nothing can be stored: Permission denied; make room or make it writable, then try again\n"


def test_closing_waits_for_every_vote_that_was_taken(database: Path | str):
    store = Store(database)
    votes = [fought(store) for _ in range(200)]
    with ThreadPoolExecutor(64) as pool:
        futures = [pool.submit(store.save_vote, vote) for vote in votes]
        while not any(future.done() for future in futures):
            pass
        store.close()
    acknowledged = [vote for vote, future in zip(votes, futures, strict=True) if future.exception() is None and future.result()]
    assert acknowledged and all(isinstance(future.exception(), ArenaError | type(None)) for future in futures)
    with Store(database) as again:
        assert again.count_votes() == len(acknowledged) and all(again.vote_of(vote.battle_id) == vote for vote in acknowledged)
