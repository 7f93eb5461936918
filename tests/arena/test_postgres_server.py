"""A PostgreSQL server that restarts, stays away, dies, or is none for us: nothing acknowledged is lost, and no password told."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ballot_box import fought
from postgres_server import PASSWORD, PostgresServer

from arena.database import locate
from arena.errors import ArenaError, StoreUnreachable, StoreUnwritable
from arena.postgres import masked
from arena.store import Store


@pytest.fixture
def url(postgres: PostgresServer):
    made = postgres.create()
    yield made
    postgres.drop(made)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_that_restarts_is_met_again(postgres: PostgresServer, url: str, mode: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("arena.postgres._PATIENCE_S", 60.0)
    with Store(url) as store:
        before = [fought(store) for _ in range(3)]
        assert store.save_vote(before[0])
        postgres.stop(mode)
        postgres.start()
        assert store.count_votes() == 1 and store.save_vote(before[1])
        postgres.stop(mode)
        # While it is away a write waits for it.
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(store.save_vote, before[2])
            postgres.start()
            assert waiting.result()
        assert store.count_votes() == 3


def test_a_server_that_stays_away_is_one_clear_error(postgres: PostgresServer, url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("arena.postgres._PATIENCE_S", 0.2)
    with Store(url) as store:
        vote = fought(store)
        postgres.stop()
        try:
            for work in (store.count_votes, lambda: store.save_vote(vote)):
                with pytest.raises(StoreUnreachable) as told:
                    work()
                assert "is the server up?" in str(told.value) and "\n" not in str(told.value) and PASSWORD not in str(told.value)
            with pytest.raises(StoreUnreachable, match="cannot be reached"):
                Store(url)
        finally:
            postgres.start()
        assert store.vote_of(vote.battle_id) is None, "what was not acknowledged was not half written"
        assert store.save_vote(vote) and store.count_votes() == 1


def test_no_vote_is_acknowledged_and_lost_when_the_server_dies_while_many_vote(
    postgres: PostgresServer, url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("arena.postgres._PATIENCE_S", 60.0)
    with Store(url) as store:
        stop, told = threading.Event(), threading.Lock()
        acknowledged, refused = [], []

        def cast() -> None:
            while not stop.is_set():
                try:
                    vote = fought(store)
                    assert store.save_vote(vote)
                except ArenaError as error:
                    with told:
                        refused.append(error)
                else:
                    with told:
                        acknowledged.append(vote.battle_id)

        with ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(cast) for _ in range(8)]
            for enough in (40, 120):
                while len(acknowledged) < enough:
                    assert not any(future.done() for future in futures), [future.exception() for future in futures if future.done()]
                postgres.stop("immediate")
                postgres.start()
            stop.set()
        assert all(future.exception() is None for future in futures)
        assert all(isinstance(error, StoreUnreachable) for error in refused), refused
        kept = {battle_id for (battle_id,) in store._database.read("SELECT battle_id FROM votes")}
        assert set(acknowledged) <= kept and store.count_votes() == len(kept)


def test_a_password_is_in_no_message_and_no_log(postgres: PostgresServer, url: str, caplog: pytest.LogCaptureFixture, results: Path):
    caplog.set_level(logging.DEBUG)
    told = []
    wrong = [
        postgres.url("missing"),
        postgres.url("missing", "hunter2-secret"),
        url.replace(str(postgres.port), "1"),
        "postgresql://bakeoff:hunter2-secret@localhost:port/x",
        "postgresql://bakeoff:hunter2@secret@localhost/x",
        "postgresql://bakeoff:hunter2/secret@localhost/x",
        f"postgresql://bakeoff@127.0.0.1:{postgres.port}/x?password=hunter2-secret",
        f"postgresql://bakeoff:hunter2-secret@127.0.0.1:{postgres.port}/x?nonsense=1",
        "postgresql://bakeoff:hunter2-secret@[::1/x",
    ]
    for location in wrong:
        with pytest.raises(ArenaError) as error:
            Store(locate(location, results))
        told.append(str(error.value))
    with Store(url) as store:
        told.append(store.name)
    with pytest.raises(ArenaError) as closed:
        store.count_votes()
    said = "\n".join([*told, str(closed.value), caplog.text])
    assert not any(secret in said for secret in ("hunter2", "secret@", PASSWORD, "p%40ss", "w/rd", "w%2Frd")), said
    assert "\n" not in "".join(told) and all("***" in one for one in told)
    assert masked("postgresql://host/votes") == "postgresql://host/votes"


def test_a_newer_schema_another_encoding_and_a_read_only_server_are_named(postgres: PostgresServer, url: str):
    Store(url).close()
    name = url.rpartition("/")[2]
    postgres.execute("postgres", f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with Store(url, create=False) as reading:
        assert reading.count_votes() == 0
        with pytest.raises(StoreUnwritable, match="nothing can be stored"):
            fought(reading)
    with pytest.raises(StoreUnwritable, match="the server is read-only; name its primary"):
        Store(url)
    postgres.execute("postgres", f"ALTER DATABASE {name} SET default_transaction_read_only = off")
    postgres.execute(name, "INSERT INTO schema_version VALUES (999)")
    with pytest.raises(ArenaError, match="newer bakeoff .schema 999"):
        Store(url)
    latin = postgres.create("ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(ArenaError, match="its encoding is LATIN1, .* make one with ENCODING 'UTF8'"):
        Store(latin)
    postgres.drop(latin)


def test_votes_are_synchronous_whatever_the_server_says(postgres: PostgresServer, url: str):
    postgres.execute("postgres", f"ALTER DATABASE {url.rpartition('/')[2]} SET synchronous_commit = off")
    with Store(url) as store:
        assert store._database.write(lambda execute: execute("SHOW synchronous_commit")) == [("on",)]


def test_a_full_disk_of_the_server_refuses_votes_and_loses_none(postgres: PostgresServer, url: str):
    name = url.rpartition("/")[2]
    full = "RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'"
    with Store(url) as store:
        first, second = fought(store), fought(store)
        assert store.save_vote(first)
        postgres.execute(name, f"CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {full}; END $$")
        postgres.execute(name, "CREATE TRIGGER no_room BEFORE INSERT ON votes FOR EACH ROW EXECUTE FUNCTION no_room()")
        with pytest.raises(StoreUnwritable, match=r"\*\*\*@.*: nothing can be stored: could not extend file: No space left on device$"):
            store.save_vote(second)
        assert store.count_votes() == 1
        postgres.execute(name, "DROP TRIGGER no_room ON votes")
        assert store.save_vote(second) and store.count_votes() == 2
