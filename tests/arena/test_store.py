"""What was acknowledged is on disk, a bad vote cannot be stored, and the first vote on a battle stands."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from ballot_box import fought

from arena.database import Location
from arena.errors import ArenaError, StoreInUse, StoreUnwritable, UnknownBattle
from arena.importers import SHIPPED_VOTES, read_records
from arena.store import Record, Store
from arena.votes import Battle, Tally, Vote, new_id, now
from serving.completion import Completion, Request, Usage

ASKED = Request.user("Why is the sky “blue”?\u2028Say.", temperature=0.5)


def answer(endpoint: str, text: str = "Scattering.") -> Completion:
    return Completion(endpoint=endpoint, request=ASKED, text=text, latency_s=1.25, chunk_times_s=(0.5, 1.25), usage=Usage(output_tokens=3))


def battle(**changes: object) -> Battle:
    values = {
        "battle_id": new_id(),
        "created_at": now(),
        "messages": ASKED.messages,
        "model_a": "left",
        "model_b": "right",
        "voter_id": "ada",
    }
    return Battle(**(values | changes))


def vote(battle_id: str, **changes: object) -> Vote:
    values = {"vote_id": new_id(), "battle_id": battle_id, "voter_id": "ada", "winner": "model_a", "voted_at": now(), "dwell_s": 4.5}
    return Vote(**(values | changes))


PAIR = (answer("left"), answer("right", "Magic."))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results" / "arena.duckdb"


@pytest.fixture
def store(database: Location):
    with Store(database) as opened:
        yield opened


def raw(database: Location) -> Any:
    """A connection without the store."""
    return psycopg.connect(database) if isinstance(database, str) else duckdb.connect(database)


def test_what_was_stored_comes_back_after_a_restart(database: Location):
    fought = battle(prompt_id="sky", pairing_probability=0.5, mode="blind", parent_battle_id="before")
    cast = vote(fought.battle_id, reasons=("clear", "shörter"), winner="model_b")
    with Store(database) as store:
        assert store.save_battle(fought, PAIR) and store.save_vote(cast)
    with Store(database) as store:
        assert store.vote_of(fought.battle_id) == cast
        found = store.battle(fought.battle_id)
        assert found is not None and found.model_copy(update={"completions": None}) == fought
        assert store.completions_of(fought.battle_id) == PAIR
        assert list(store.voted()) == [Record(found, PAIR, cast)]


def test_what_was_never_stored_is_none(store: Store):
    assert (store.battle("x"), store.vote_of("x"), store.completions_of("x"), store.battles_of("x"), store.count_votes()) == (
        None,
        None,
        None,
        [],
        0,
    )


def test_the_first_vote_on_a_battle_stands(store: Store):
    fought = battle()
    store.save_battle(fought, PAIR)
    first = vote(fought.battle_id, winner="tie")
    assert store.save_vote(first) is True
    assert store.save_vote(vote(fought.battle_id, winner="model_b")) is False
    assert store.save_vote(first) is False
    assert store.vote_of(fought.battle_id) == first and store.count_votes() == 1


def test_of_many_votes_at_once_on_one_battle_exactly_one_stands(store: Store):
    for _ in range(5):
        fought = battle()
        store.save_battle(fought, PAIR)
        cast = [vote(fought.battle_id, voter_id=f"voter {number}") for number in range(16)]
        together = threading.Barrier(16)

        def send(one: Vote, together: threading.Barrier = together) -> bool:
            together.wait()
            return store.save_vote(one)

        with ThreadPoolExecutor(16) as pool:
            stored = list(pool.map(send, cast))
        assert stored.count(True) == 1
        assert store.vote_of(fought.battle_id) == cast[stored.index(True)]


def test_a_battle_that_was_stored_stays_as_it_was(store: Store):
    fought = battle()
    assert store.save_battle(fought, PAIR) is True
    assert store.save_battle(fought.model_copy(update={"model_b": "other"}), (PAIR[0], answer("other"))) is False
    assert store.battle(fought.battle_id).model_b == "right" and store.completions_of(fought.battle_id) == PAIR


def test_a_vote_without_its_battle_is_refused_and_its_neighbours_are_not(store: Store):
    known = [battle() for _ in range(8)]
    for one in known:
        store.save_battle(one, PAIR)
    cast = [vote("made up"), *(vote(one.battle_id) for one in known)]
    with ThreadPoolExecutor(9) as pool:
        futures = [pool.submit(store.save_vote, one) for one in cast]
    with pytest.raises(UnknownBattle, match="holds no battle 'made up': save the battle before its vote"):
        futures[0].result()
    assert all(future.result() for future in futures[1:]) and store.count_votes() == 8


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE votes SET winner = 'left'",
        "UPDATE votes SET winner = NULL",
        "UPDATE votes SET dwell_s = -1",
        "UPDATE battles SET model_b = model_a",
        "UPDATE battles SET pairing_probability = 1.5",
        "UPDATE battles SET completion_b = 'nothing'",
        "INSERT INTO votes SELECT 'again', battle_id, 2, voter_id, winner, reasons, voted_at, dwell_s, rated, source, NULL FROM votes",
        "DELETE FROM battles",
        "UPDATE completions SET status = 'fine'",
    ],
)
def test_the_schema_itself_refuses_what_is_no_vote(database: Location, statement: str):
    fought = battle()
    with Store(database) as store:
        store.save_battle(fought, PAIR)
        store.save_vote(vote(fought.battle_id))
    with raw(database) as connection, pytest.raises((duckdb.ConstraintException, psycopg.IntegrityError)):
        connection.execute(statement)


def test_times_are_utc_whatever_zone_they_came_in(store: Store, database: Location):
    fought = battle(created_at=datetime(2026, 11, 23, 9, 30, tzinfo=timezone(timedelta(hours=9))))
    store.save_battle(fought, PAIR)
    store.save_vote(vote(fought.battle_id, voted_at=datetime(2026, 11, 22, 19, 31, tzinfo=timezone(timedelta(hours=-5)))))
    assert store.battle(fought.battle_id).created_at.isoformat() == "2026-11-23T00:30:00+00:00"
    assert store.vote_of(fought.battle_id).voted_at == datetime(2026, 11, 23, 0, 31, tzinfo=UTC)
    store.close()
    with raw(database) as connection:
        assert connection.execute("SELECT created_at::TEXT FROM battles").fetchone() == ("2026-11-23 00:30:00",)


def test_votes_keep_the_order_in_which_they_were_cast(store: Store):
    models = [f"m{number:02}" for number in range(20)]
    for model in models:
        fought = battle(model_b=model)
        store.save_battle(fought, (PAIR[0], answer(model)))
        store.save_vote(vote(fought.battle_id, voted_at=None))
    assert [outcome.model_b for outcome in store.outcomes()] == models


def test_unrated_votes_are_counted_and_move_nothing(store: Store):
    for winner, rated in (("model_a", True), ("both_bad", True), ("model_b", False)):
        fought = battle()
        store.save_battle(fought, PAIR)
        store.save_vote(vote(fought.battle_id, winner=winner, rated=rated))
    assert store.counts() == (3, 1, 1)
    assert store.vote_counts() == [Tally("left", "right", 1, 0, 0, 1)] and len(store.outcomes()) == 2


def test_votes_are_counted_per_voter_and_per_prompt(store: Store):
    for voter, prompt, winner in (("ada", "p", "model_a"), ("ada", "q", "tie"), ("bob", "q", "model_a")):
        fought = battle(voter_id=voter, prompt_id=prompt)
        store.save_battle(fought, PAIR)
        store.save_vote(vote(fought.battle_id, voter_id=voter, winner=winner))
    assert {(row.cluster, row.wins_a, row.ties) for row in store.vote_counts("voter")} == {("ada", 1, 1), ("bob", 1, 0)}
    assert {(row.cluster, row.wins_a, row.ties) for row in store.vote_counts("prompt")} == {("p", 1, 0), ("q", 1, 1)}


def test_a_voters_battles_come_newest_first(store: Store):
    old, new, other = battle(created_at=datetime(2026, 1, 1, tzinfo=UTC)), battle(), battle(voter_id="bob")
    for one in (old, new, other):
        store.save_battle(one, PAIR)
    assert [one.battle_id for one in store.battles_of("ada")] == [new.battle_id, old.battle_id]


def test_a_batch_is_stored_whole_or_not_at_all(store: Store):
    fought = [battle() for _ in range(300)]
    records = [Record(one, PAIR, vote(one.battle_id)) for one in fought]
    broken = [*records, Record(battle(), PAIR, vote("made up"))]
    with pytest.raises(UnknownBattle):
        store.save_all(broken)
    assert store.count_votes() == 0 and store.battle(fought[0].battle_id) is None
    assert store.save_all(records) == 300 and store.save_all(records) == 0 and store.count_votes() == 300


def test_of_two_votes_on_one_battle_in_one_batch_the_first_stands(store: Store):
    fought = battle()
    first, second = vote(fought.battle_id, winner="tie"), vote(fought.battle_id, winner="model_b")
    assert store.save_all([Record(fought, PAIR, first), Record(fought, PAIR, second)]) == 1
    assert store.vote_of(fought.battle_id) == first


def test_reads_and_writes_from_many_threads_do_not_meet(store: Store):
    def take_part(number: int) -> int:
        for _ in range(5):
            fought = battle(voter_id=f"voter {number}")
            store.save_battle(fought, PAIR)
            assert store.save_vote(vote(fought.battle_id, voter_id=f"voter {number}"))
            assert store.vote_of(fought.battle_id) is not None
        return len(store.battles_of(f"voter {number}"))

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(take_part, range(12))) == [5] * 12
    assert store.count_votes() == 60


def test_closing_writes_what_is_queued_and_refuses_what_comes_later(database: Location):
    store = Store(database)
    fought = [battle() for _ in range(40)]
    for one in fought:
        store.save_battle(one, PAIR)
    with ThreadPoolExecutor(40) as pool:
        futures = [pool.submit(store.save_vote, vote(one.battle_id)) for one in fought]
        store.close()
    acknowledged = sum(future.exception() is None for future in futures)
    assert all(isinstance(future.exception(), ArenaError) for future in futures if future.exception())
    with pytest.raises(ArenaError, match="is closed"):
        store.save_vote(vote("x"))
    with pytest.raises(ArenaError, match="is closed"):
        store.count_votes()
    store.close()
    with Store(database) as again:
        assert again.count_votes() == acknowledged


KEEP = """
import sys, time
from pathlib import Path
from arena.store import Store
store = Store(Path(sys.argv[1]))
sys.stdout.write("open\\n"); sys.stdout.flush()
time.sleep(60)
"""


def test_a_second_process_is_told_who_holds_the_file(path: Path):
    holder = subprocess.Popen([sys.executable, "-c", KEEP, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(StoreInUse) as told:
            Store(path)
        assert str(told.value) == f"{path} is in use by process {holder.pid}: stop it or use another --database"
    finally:
        holder.kill()
        holder.communicate()
    with Store(path) as store:
        assert store.count_votes() == 0


def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path: Path):
    path = tmp_path / "notes.duckdb"
    path.write_text("my notes")
    with pytest.raises(ArenaError, match="cannot be opened as the arena's database"):
        Store(path)
    assert path.read_text() == "my notes"


def test_another_programs_database_is_not_taken_over(tmp_path: Path):
    path = tmp_path / "other.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE votes (mine INTEGER)")
    with pytest.raises(ArenaError, match="is not an arena's database"):
        Store(path)
    with duckdb.connect(path) as connection:
        assert connection.execute("SELECT table_name FROM duckdb_tables()").fetchall() == [("votes",)]


def test_a_database_of_a_newer_version_is_not_touched(path: Path):
    Store(path).close()
    with duckdb.connect(path) as connection:
        connection.execute("INSERT INTO schema_version VALUES (99)")
    with pytest.raises(ArenaError, match="newer bakeoff .schema 99"):
        Store(path)


@pytest.mark.parametrize("url", ["postgresql://host/votes", "postgres:/host/votes", "mysql://host/votes"])
def test_a_url_is_not_taken_for_a_file(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArenaError, match="name a file such as results/arena.duckdb"):
        Store(Path(url))
    assert not list(tmp_path.iterdir())


def test_a_model_does_not_battle_itself():
    with pytest.raises(ValueError, match="must differ"):
        battle(model_b="left")


def test_counted_ballots_are_the_votes_without_order_voter_and_prompt(store: Store):
    store.save_all(read_records(SHIPPED_VOTES, "llmfao"))
    votes, counted = store.ballots(), store.ballots(counted=True)
    assert counted.models == votes.models and counted.voter is None and len(counted) < len(votes) == counted.counts.sum()
    assert (counted.cells() == votes.cells()).all()


def test_votes_from_before_the_ballots_are_taken_over(tmp_path: Path):
    path = tmp_path / "old.duckdb"
    with Store(path) as store:
        store.save_all(read_records(SHIPPED_VOTES, "llmfao"))
        now_written = store.ballots(columns=True)
    with duckdb.connect(path) as connection:
        ours = "ballots labels styles flags ledger judged turns answers chats shares".split()
        ours += "decisions heartbeats deletions admissions acceptances".split()
        for table in ours:
            connection.execute(f"DROP TABLE {table}")
        connection.execute("ALTER TABLE votes DROP COLUMN unrated_reason")
        for (macro,) in connection.execute("SELECT DISTINCT function_name FROM duckdb_functions() WHERE NOT internal").fetchall():
            connection.execute(f"DROP MACRO {macro}")
        connection.execute("DELETE FROM schema_version WHERE version > 1")
    with Store(path, create=False) as store:
        taken_over = store.ballots(columns=True)
    assert taken_over.models == now_written.models and (taken_over.cells() == now_written.cells()).all()
    assert all((taken_over.columns[name] == now_written.columns[name]).all() for name in ("tokens", "headers", "lists", "bold"))


def n_ballots(store: Store) -> int:
    return int(store._database.read("SELECT count(*) FROM ballots")[0][0])


def test_ballots_are_written_before_anybody_reads_them(database: Location):
    with Store(database) as store:
        votes = [fought(store, f"voter {number % 3}") for number in range(12)]
        assert all(map(store.save_vote, votes)) and n_ballots(store) == 0
        with ThreadPoolExecutor(8) as pool:
            read = list(pool.map(lambda _: store.ballots(), range(8)))
        assert {len(one) for one in read} == {12} and n_ballots(store) == 12, "none twice"
        assert store.save_vote(fought(store, "voter 4")) and len(store.ballots(voter="voter 4")) == 1
        assert store.save_vote(fought(store)) and n_ballots(store) == 13
    with Store(database) as again:
        assert n_ballots(again) == 14, "closing leaves none behind"


def test_ballots_do_not_fall_a_thousand_votes_behind(store: Store):
    store.save_all([Record(one := battle(), None, vote(one.battle_id)) for _ in range(1000)])
    store.run()  # what follows it has waited for the writer
    assert n_ballots(store) == 1000


def test_a_full_disk_does_not_keep_the_board_from_being_read(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    first, second = fought(store), fought(store)
    assert store.save_vote(first) and len(store.ballots()) == 1 and store.save_vote(second)

    def full(work: object) -> None:
        raise StoreUnwritable("nothing can be stored")

    monkeypatch.setattr(store._database, "write", full)
    assert len(store.ballots()) == 1 and "the newest votes are not counted: nothing can be stored" in caplog.text
    monkeypatch.undo()
    assert len(store.ballots()) == 2


def test_a_vote_that_was_there_already_does_not_cost_its_neighbours_theirs(store: Store):
    votes = [fought(store) for _ in range(20)]
    assert store.save_vote(votes[7])
    with ThreadPoolExecutor(20) as pool:
        stored = list(pool.map(store.save_vote, votes))
    assert stored == [number != 7 for number in range(20)] and store.count_votes() == 20
