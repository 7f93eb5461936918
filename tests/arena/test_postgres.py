"""PostgreSQL gives what DuckDB gives, to the digit, and several processes share it."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import numpy as np
import psycopg
import pytest
from ballot_box import ASKED, PAIR, fought
from hypothesis import given, settings
from hypothesis import strategies as st
from postgres_server import PostgresServer

from arena.categories import rule, rules
from arena.database import migrate, schema_files, statements
from arena.errors import ArenaError
from arena.importers import SHIPPED_VOTES, read_records
from arena.ratings import Method, rate
from arena.store import Record, Store
from arena.style import STYLE
from arena.votes import Battle, Vote, new_id
from serving.completion import Completion, Request


@pytest.fixture
def url(postgres: PostgresServer):
    made = postgres.create()
    yield made
    postgres.drop(made)


@pytest.fixture(scope="module")
def both(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory):
    """The same real votes in DuckDB and in PostgreSQL."""
    records = read_records(SHIPPED_VOTES, "llmfao")
    made = postgres.create()
    with Store(tmp_path_factory.mktemp("both") / "arena.duckdb") as duck, Store(made) as shared:
        assert duck.save_all(records) == shared.save_all(records) == 8931
        yield duck, shared
    postgres.drop(made)


METHODS = [Method(), Method(name="davidson", position=True), Method(name="elo"), Method(style=STYLE), Method(cluster="voter", bootstrap=3)]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: f"{method.name}-{method.cluster}-{len(method.style)}")
def test_ratings_are_the_same_to_the_digit(both: tuple[Store, Store], method: Method):
    duck, shared = (rate(store.ballots(columns=True), method) for store in both)
    assert duck == shared


def test_every_column_of_every_ballot_is_the_same(both: tuple[Store, Store]):
    for how in ({}, {"columns": True}, {"by_voter": True}, {"voter": "llmfao-1"}, {"voter": "nobody"}):
        duck, shared = (store.ballots(**how) for store in both)
        assert duck.models == shared.models and set(duck.columns) == set(shared.columns)
        for name in ("a", "b", "winner", "voter", "prompt", "probability"):
            assert np.array_equal(getattr(duck, name), getattr(shared, name), equal_nan=name == "probability" and "columns" in how), (
                how,
                name,
            )
        assert all(np.array_equal(duck.columns[name], shared.columns[name], equal_nan=True) for name in duck.columns)
    duck, shared = (store.ballots(counted=True) for store in both)
    assert (duck.cells() == shared.cells()).all()


def test_every_reading_is_the_same(both: tuple[Store, Store]):
    duck, shared = both
    for read in ("counts", "outcomes", "audit_rows", "vote_rows", "ledger_counts"):
        assert getattr(duck, read)() == getattr(shared, read)(), read
    for cluster in ("none", "voter", "prompt"):
        assert duck.vote_counts(cluster) == shared.vote_counts(cluster)
    assert duck.unjudged("x") == shared.unjudged("x") and len(duck.unjudged("x")) == 13
    assert list(duck.stream("voted")) == list(shared.stream("voted"))


@pytest.mark.parametrize("category", [*rules(), "own"])
def test_categories_hold_the_same_votes(both: tuple[Store, Store], category: str, results: Path):
    (results / "categories.yaml").write_text("own: '\\b(jokes?|größe|\\p{Lu}+)\\b'\n", encoding="utf-8")
    duck, shared = (store.ballots(where=rule(category, results)) for store in both)
    assert duck.models == shared.models and (duck.cells() == shared.cells()).all()


PIECES = [
    "#", "## ", "\n", "\r\n", "\t", " ", "\u00a0", "\u2028", "\u3000", "\x0b", "\x1c", "\x85", "*", "**", "__", "_", "```", "`", "- ", "+ ",
    "1. ", "42.", "٣. ",
    "é", "word", "中文", "🙂", "\\", '"', "\x00", "\\u0000", "\u200b",
]  # fmt: skip


@pytest.fixture(scope="module")
def counting(postgres: PostgresServer):
    """Cursors of both with nothing but the schema."""
    made = postgres.create()
    Store(made).close()
    with duckdb.connect() as duck, psycopg.connect(made, cursor_factory=psycopg.RawCursor) as shared:
        migrate(lambda sql, values=(): duck.execute(sql, values).fetchall(), "duckdb", "memory")
        yield duck, shared
    postgres.drop(made)


@settings(max_examples=150)
@given(texts=st.lists(st.lists(st.sampled_from(PIECES), max_size=14).map("".join), min_size=1, max_size=20))
def test_an_answers_style_is_counted_alike(counting: tuple[duckdb.DuckDBPyConnection, psycopg.Connection], texts: list[str]):
    documents = [Completion(endpoint="e", request=ASKED, text=text).to_line() for text in texts]
    counts = "word_count(t), header_count(t), list_count(t), bold_count(t), length(t)"
    asked = f"SELECT {counts} FROM (SELECT answer_text(d) AS t FROM (SELECT unnest($1::TEXT[]) AS d) AS x) AS y"
    duck, shared = counting
    assert duck.execute(asked, [documents]).fetchall() == shared.execute(asked, [documents]).fetchall()


@pytest.mark.parametrize("name", sorted(statements().keys() - {"analyze"}))
def test_every_statement_is_understood_by_both(counting: tuple[duckdb.DuckDBPyConnection, psycopg.Connection], name: str):
    duck, shared = counting
    text = statements()[name] + (" GROUP BY s.model_a, s.model_b, s.winner" if name == "ballots_counted" else "")
    if name not in ("secret", "insert_secret"):
        duck.execute(f"PREPARE {name}_asked AS {text}")
    if name not in ("unjudged", "prompt_keys"):  # asked of DuckDB (arena/lens.py)
        with shared.transaction():
            shared.execute(f"PREPARE {name}_asked AS {text}", prepare=False)


def test_a_schema_file_is_one_text_or_has_its_twin():
    duck, shared = ({file.number for file in schema_files(dialect)} for dialect in ("duckdb", "postgres"))
    assert duck <= shared and shared - duck == {6}, "what PostgreSQL alone has: secrets and indexes"


VOTE = """
import sys, threading
from arena.store import Store
from ballot_box import fought
store = Store(sys.argv[1])
def cast(voter):
    for _ in range(15):
        assert store.save_vote(fought(store, voter))
threads = [threading.Thread(target=cast, args=(f"{sys.argv[2]} {number % 3}",)) for number in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
store.close()
"""


def test_processes_that_write_at_once_number_votes_and_labels_without_a_double(url: str):
    # They also meet over the empty schema: one of them makes it.
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r}){VOTE}"
    processes = [subprocess.Popen([sys.executable, "-c", code, url, f"voter {number}"]) for number in range(3)]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    with Store(url) as store:
        rows = store._database.read("SELECT vote_order FROM votes ORDER BY vote_order")
        assert [order for (order,) in rows] == list(range(1, 271))
        ballots = store.ballots()
        assert len(ballots) == 270 and sorted(np.bincount(ballots.voter)) == [30] * 9


def test_one_battle_takes_one_vote_whichever_process_it_comes_to(url: str):
    with Store(url) as here, Store(url) as there:
        for _ in range(10):
            vote = fought(here)
            votes = [vote.model_copy(update={"vote_id": new_id()}) for _ in range(8)]
            together = threading.Barrier(8)

            def send(number: int, votes: list[Vote] = votes, together: threading.Barrier = together) -> bool:
                together.wait()
                return (here, there)[number % 2].save_vote(votes[number])

            with ThreadPoolExecutor(8) as pool:
                assert list(pool.map(send, range(8))).count(True) == 1
        assert there.secret() == here.secret() and len(here.secret()) > 32


def test_from_the_command_line(url: str, results: Path, tmp_path: Path):
    def arena(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "arena.cli", *map(str, arguments), "--results", str(results), "--database", url]
        return subprocess.run(command, capture_output=True, text=True)

    early = arena("leaderboard")
    assert early.returncode == 1 and "no votes yet: vote with 'arena up'" in early.stderr
    votes = tmp_path / "votes.csv"
    votes.write_text("model_a,model_b,winner\n" + "a,b,model_a\nb,a,tie\n" * 3)
    assert "6 new of 6 votes" in arena("import", votes, "--format", "csv").stderr
    assert arena("leaderboard", "--json").returncode == arena("audit", "--apply").returncode == 0
    out = tmp_path / "out.csv"
    assert arena("export", "--format", "votes", "--out", out).returncode == 0 and len(out.read_text().splitlines()) == 7
    assert not any(results.iterdir())


def test_without_psycopg_the_remedy_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ArenaError, match=r"PostgreSQL needs psycopg: pip install -e '.\[postgres\]'"):
        Store("postgresql://localhost/votes")


def test_a_database_that_is_no_arenas_is_left_alone(postgres: PostgresServer, url: str):
    postgres.execute(url.rpartition("/")[2], "CREATE TABLE votes (mine INTEGER)")
    with pytest.raises(ArenaError, match="is not an arena's database: relation .votes. already exists"):
        Store(url)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall() == [("votes",)]


def test_hostile_texts_are_stored_as_they_are(url: str):
    text = "a\x00b \\u0000 'quoted' $1 %s {} \U0001f642 \u202e"
    pair = (Completion(endpoint="left", request=ASKED, text=text), PAIR[1])
    battle = Battle(
        battle_id=new_id(), created_at=None, messages=Request.user(text).messages, model_a="left", model_b="right", voter_id="v"
    )
    with Store(url) as store:
        store.save_all([Record(battle, pair, Vote(vote_id="v", battle_id=battle.battle_id, voter_id="v", winner="tie", voted_at=None))])
        assert store.completions_of(battle.battle_id) == pair and store.battle(battle.battle_id).messages == battle.messages
        assert len(store.ballots(where=rule("short", Path()))) == 1
