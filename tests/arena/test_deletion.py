"""What is left of a voter who asks to be forgotten: anonymous votes, and no text anywhere a statement or a snapshot can read."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from browser import house

from arena.deletion import forget, tidy
from arena.errors import ArenaError
from arena.ratings import bradley_terry
from arena.rows import completion_id
from arena.settings import Retention
from arena.snapshots import Snapshots
from arena.store import Record, Store
from arena.votes import Battle, Vote, Winner
from serving.completion import Completion, Message, Request

pytestmark = pytest.mark.timeout(120)
WHEN = datetime(2026, 11, 1, 10, 30, tzinfo=UTC)


def answer(model: str, prompt: str, text: str) -> Completion:
    return Completion(endpoint=model, request=Request.user(prompt), text=text, status="ok", latency_s=1.5)


def record(number: int, voter: str, prompt: str, *, texts: tuple[str, str], winner: Winner = "model_a", when: datetime = WHEN) -> Record:
    battle = Battle(
        battle_id=f"battle-{number}", created_at=when, messages=(Message(role="user", content=prompt),),
        model_a="left", model_b="right", voter_id=voter,
    )  # fmt: skip
    vote = Vote(
        vote_id=f"vote-{number}", battle_id=battle.battle_id, voter_id=voter, winner=winner, reasons=("secret reason",), voted_at=when,
        dwell_s=7.0,
    )  # fmt: skip
    return Record(battle, (answer("left", prompt, texts[0]), answer("right", prompt, texts[1])), vote)


def fill(store: Store) -> None:
    """Ann's secret and a question that she shares with Bob, answer for answer; Bob's own."""
    shared = ("Paris.", "It is Paris.")
    store.save_all(
        [
            record(1, "ann", "my secret illness", texts=("a secret remedy", "another secret remedy")),
            record(2, "ann", "capital of France?", texts=shared, winner="tie"),
            record(3, "bob", "capital of France?", texts=shared, winner="model_b"),
            record(4, "bob", "my own garden", texts=("roses", "tulips")),
        ]
    )
    never = record(5, "ann", "secret and never voted on", texts=("secret one", "secret two"))
    assert never.completions is not None
    store.save_battle(never.battle, never.completions)
    store.save_judged("expert", [(key, True) for key, _ in store.unjudged("expert")], judge="j", when=WHEN)


def everything(folder: Path) -> str:
    """All rows of all tables of a snapshot, as text."""
    import pyarrow.parquet

    return "\n".join(json.dumps(pyarrow.parquet.read_table(path).to_pylist(), default=str) for path in sorted(folder.glob("*.parquet")))


def every_row(store: Store) -> str:
    """All rows of all tables, as text."""
    tables = "SELECT table_name FROM information_schema.tables WHERE table_schema IN ('main', 'public') ORDER BY table_name"
    rows = [store._database.read(f'SELECT * FROM "{table}"') for (table,) in store._database.read(tables)]
    return "\n".join(json.dumps(row, default=str) for table in rows for row in table)


def test_no_table_and_no_snapshot_keeps_a_text_or_the_id(tmp_path: Path):
    with Store(tmp_path / "arena.duckdb") as store:
        fill(store)
        snapshots = Snapshots(store)
        assert "secret" in everything(snapshots.take().folder) and '"ann"' in everything(snapshots.take().folder)
        looked = forget(store, "ann", results=tmp_path, dry_run=True)
        assert "secret" in everything(snapshots.take().folder)
        done = forget(store, "ann", results=tmp_path)
        assert (done.n_battles, done.n_votes, done.n_answers) == (3, 2, 4) == (looked.n_battles, looked.n_votes, looked.n_answers)
        left = everything(snapshots.take().folder)
        for trace in ("secret", '"ann"', "battle-1", "battle-2", "battle-5"):
            assert trace not in left.replace("secret reason", "" if trace == "secret" else "secret reason")
        assert left.count("secret reason") == 2, "Bob's reasons are his"
        assert all(text in left for text in ("capital of France?", "Paris.", "my own garden", "roses"))
        assert [row[2:] for row in store.rows("deletions")] == [("voter", 3, 2, 4, "[]")]
        with pytest.raises(ArenaError, match="nobody with the id 'ann'"):
            forget(store, "ann", results=tmp_path)


def test_no_row_keeps_a_text_or_the_id(database: Path | str, tmp_path: Path):
    with Store(database) as store:
        fill(store)
        labels = store.n_judged("expert")
        assert "secret" in every_row(store) and '"ann"' in every_row(store)
        done = forget(store, "ann", results=tmp_path)
        assert (done.n_battles, done.n_votes, done.n_answers) == (3, 2, 4)
        left = every_row(store)
        for trace in ("a secret", "my secret", '"ann"', "battle-1", "battle-2", "battle-5"):
            assert trace not in left
        assert store.n_judged("expert") == labels - 3, "digests of her prompts go, of Bob's own garden not"
        assert all(text in left for text in ("capital of France?", "Paris.", "my own garden", "roses"))


def test_a_conversation_and_a_chat_go_with_every_turn(database: Path | str, tmp_path: Path):
    when = WHEN.replace(tzinfo=None)
    with Store(database) as store:
        fill(store)
        earlier = answer("left", "a secret first question", "a secret first answer")
        for key in ("battle-5", "chat-1"):
            store.run(
                ("insert_turn", [key, 1, 0, "a secret first question", when]),
                ("insert_answer", [key, 1, 0, "a", completion_id(earlier)]),
                completions=[earlier],
            )
        store.run(("insert_chat", ["chat-1", when, "left", "ann"]), ("insert_share", ["token", "battle-5", when]))
        done = forget(store, "ann", results=tmp_path)
        assert (done.n_battles, done.n_answers) == (4, 5), "three battles and a chat"
        assert "secret first" not in every_row(store)
        assert not any(store.rows(name, "battle-5") for name in ("turns", "answers", "share_of")) and not store.rows("chat", "chat-1")


def test_ratings_stay_and_the_votes_are_counted_without_their_voter(database: Path | str, tmp_path: Path):
    with Store(database) as store:
        fill(store)
        before, counts = bradley_terry(store.vote_counts()), store.counts()
        forget(store, "ann", results=tmp_path)
        assert bradley_terry(store.vote_counts()) == before and store.counts() == counts
        assert len(store.ballots(voter="bob")) == 2 and len(store.ballots(voter="ann")) == 0
        votes = {one.vote.vote_id: one for one in store.voted()}
        assert votes["vote-1"].vote.voter_id is None and votes["vote-1"].battle.messages == ()
        assert votes["vote-1"].vote.voted_at == WHEN.replace(hour=0, minute=0) and votes["vote-1"].vote.dwell_s is None
        assert votes["vote-2"].completions is not None and votes["vote-2"].completions[0].text == "Paris."
        assert store.save_all([record(6, "ann", "again", texts=("x", "y"))]) == 1, "the same browser may come back"
        assert len(store.ballots(voter="ann")) == 1


def test_datasets_and_trainings_that_hold_the_votes_are_named(tmp_path: Path):
    for name, vote in (("with", "vote-1"), ("without", "vote-4")):
        folder = tmp_path / "datasets" / name
        folder.mkdir(parents=True)
        (folder / "train.jsonl").write_text(json.dumps({"vote_id": vote}) + "\n")
        (folder / "test.jsonl").write_text("")
        (folder / "audit.json").write_text(json.dumps({"dataset_hash": f"hash of {name}"}))
    for key, dataset, parent in (("dpo-1", "with", None), ("dpo-2", "other", "dpo-1"), ("dpo-3", "without", None)):
        folder = tmp_path / "trainings" / key
        folder.mkdir(parents=True)
        (folder / "training.json").write_text(json.dumps({"training_id": key, "dataset_hash": f"hash of {dataset}", "parent": parent}))
    with Store(tmp_path / "arena.duckdb") as store:
        fill(store)
        done = forget(store, "ann", results=tmp_path)
        assert done.datasets == {"with": 1} and done.trainings == ("dpo-1", "dpo-2")
        assert store.rows("deletions")[0][-1] == '["with"]'


def test_texts_go_after_their_time_and_abandoned_battles_before(database: Path | str):
    with Store(database) as store:
        fill(store)
        store.save_all([record(7, "bob", "capital of France?", texts=("Paris.", "It is Paris."), when=WHEN + timedelta(days=9))])
        nothing = tidy(store, Retention(retention_days=30), moment=WHEN + timedelta(hours=71))
        assert [(one.cause, one.n_battles) for one in nothing] == [("retention", 0), ("abandoned", 0)]
        (abandoned,) = tidy(store, Retention(), moment=WHEN + timedelta(hours=73))
        assert (abandoned.cause, abandoned.battle_ids, abandoned.n_answers) == ("abandoned", ("battle-5",), 2)
        past, _ = tidy(store, Retention(retention_days=5), moment=WHEN + timedelta(days=10))
        assert (past.n_battles, past.n_votes, past.n_answers) == (4, 4, 4), "what battle 7 shows stays"
        assert store.battle("battle-7") is not None and {vote for vote, *_ in store.vote_rows()} == {f"vote-{n}" for n in (1, 2, 3, 4, 7)}
        assert len(store.ballots(voter="ann")) == 2, "votes keep their random voter, so that intervals still cluster"
        last, _ = tidy(store, Retention(retention_days=5), moment=WHEN + timedelta(days=30))
        assert (last.n_battles, last.n_answers) == (1, 2)


def test_the_about_page_deletes_after_a_second_click(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from streamlit.testing.v1 import AppTest

    from arena.battle import Arena, open_arena
    from arena.views import frame

    def script() -> None:
        from arena.views import about

        about.page()

    monkeypatch.setattr(frame, "voter_id", lambda: "ann")
    with Store(tmp_path / "arena.duckdb") as store:
        fill(store)
        Snapshots(store).take()
        with open_arena(Arena(store, results=tmp_path, demo=False, speed=1, secret="s")):
            page = AppTest.from_function(script).run(timeout=30)
            assert not page.exception and "`ann`" in page.markdown[-2].value + page.markdown[-1].value
            assert store.battles_of("ann"), "nothing goes by looking"
            page.button[0].click().run(timeout=30)
            assert "3 battles" in page.success[0].value and not store.battles_of("ann")
            assert not (tmp_path / "arena.snapshots").exists()
            page.button[0].click().run(timeout=30)
            assert "nothing of yours" in page.info[0].value


def arena(*arguments: object, code: int = 0) -> Any:
    environment = {key: value for key, value in os.environ.items() if key != "BAKEOFF_RESULTS"}
    command = [sys.executable, "-m", "arena.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


def test_the_commands_work_beside_an_arena_and_without_one(tmp_path: Path):
    results = tmp_path / "results"
    results.mkdir()
    with Store(results / "arena.duckdb") as store:
        fill(store)
    looked = arena("forget", "ann", "--dry-run", "--results", results, "--json")
    assert (looked["n_battles"], looked["dry_run"]) == (3, True)
    (results / "arena.yaml").write_text("retention: {abandoned_after_h: null}\n")
    with house("arena", results=results):
        assert arena("forget", "ann", "--dry-run", "--results", results, "--json") == looked
        assert arena("forget", "ann", "--results", results, "--json")["n_votes"] == 2
        assert "nobody with the id 'ann'" in arena("forget", "ann", "--results", results, code=1)
        assert not (results / "arena.snapshots").exists()
        (results / "arena.yaml").write_text("retention: {retention_days: 1.0e-9}\n")
        told = arena("tidy", "--results", results, "--json")["deletions"]
        assert [(one["cause"], one["n_battles"]) for one in told] == [("retention", 2), ("abandoned", 0)]
    with Store(results / "arena.duckdb") as store:
        text = everything(Snapshots(store).take().folder)
        assert "secret" not in text and "garden" not in text and store.count_votes() == 4
    assert "nobody with the id 'zoe'" in arena("forget", "zoe", "--results", results, code=1)
