"""Votes, ratings and ledger leave as files that other tools read; nothing is lost from the ledger."""

import csv
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from arena.errors import ExportRefused, NothingToRate
from arena.importers import read_records, seed_demo
from arena.ledger import changes, ledger_rows
from arena.store import Record, Store
from arena.tables import export_table
from arena.votes import Battle, Vote
from serving.endpoints import Endpoint


@pytest.fixture
def store(database: Path | str):
    with Store(database) as opened:
        yield opened


def endpoint(name: str, model: str = "base", **values: object) -> Endpoint:
    return Endpoint(id=name, wire="openai", model=model, base_url="http://127.0.0.1:1/v1", **values)


def moment(day: int) -> datetime:
    return datetime(2026, 11, day, tzinfo=UTC)


def cast(store: Store, number: int, model_a: str, model_b: str, winner: str = "model_a") -> None:
    battle = Battle(
        battle_id=f"b{number}", created_at=moment(number + 1), messages=(), model_a=model_a, model_b=model_b, pairing_probability=0.25
    )
    store.save_all(
        [Record(battle, None, Vote(vote_id=f"v{number}", battle_id=f"b{number}", voter_id="ada", winner=winner, voted_at=moment(5)))]
    )


def test_exported_votes_come_back_as_they_were(store: Store, tmp_path: Path):
    seed_demo(store)
    assert export_table(store, "votes", tmp_path / "votes.csv") == 8931
    with Store(tmp_path / "again.duckdb") as other:
        other.save_all(read_records(tmp_path / "votes.csv", "csv"))
        assert other.vote_counts() == store.vote_counts() and other.vote_counts("voter") == store.vote_counts("voter")


def test_parquet_and_csv_hold_the_same(store: Store, tmp_path: Path):
    for number, winner in enumerate(("model_a", "model_b", "tie")):
        cast(store, number, "a", "b", winner)
    store.flag({"v1": "leak"}, moment(6))
    for format in ("votes", "ratings", "ledger"):
        assert export_table(store, format, tmp_path / f"{format}.parquet") == export_table(store, format, tmp_path / f"{format}.csv")
        table = pq.read_table(tmp_path / f"{format}.parquet").to_pylist()
        with (tmp_path / f"{format}.csv").open(newline="") as file:
            lines = list(csv.DictReader(file))
        assert list(table[0]) == list(lines[0]) and len(table) == len(lines)
    votes = pq.read_table(tmp_path / "votes.parquet").to_pylist()
    assert [(vote["rated"], vote["flag"]) for vote in votes] == [(True, None), (False, "leak"), (True, None)]
    assert {vote["pairing_probability"] for vote in votes} == {0.25}


def test_a_file_is_not_overwritten_and_its_kind_is_told_by_its_name(store: Store, tmp_path: Path):
    cast(store, 0, "a", "b", "tie")
    out = tmp_path / "votes.csv"
    out.write_text("mine")
    with pytest.raises(ExportRefused, match="exists: choose another --out, or --force"):
        export_table(store, "votes", out)
    assert out.read_text() == "mine" and export_table(store, "votes", out, force=True) == 1 and out.read_text() != "mine"
    with pytest.raises(ExportRefused, match="ends in .parquet or .csv"):
        export_table(store, "votes", tmp_path / "votes.xlsx")
    assert {path.name for path in tmp_path.iterdir()} <= {"results", "votes.csv"}


def test_an_empty_arena_has_nothing_to_export(store: Store, tmp_path: Path):
    with pytest.raises(NothingToRate, match="nothing to export as votes"):
        export_table(store, "votes", tmp_path / "votes.csv")


def test_the_ledger_writes_down_arrivals_changes_withdrawals_and_returns():
    both = {"a": endpoint("a"), "b": endpoint("b")}
    past = changes([], both, moment(1))
    assert [(entry.model, entry.event) for entry in past] == [("a", "joined"), ("b", "joined")]
    assert changes(past, both, moment(2)) == []
    past += changes(past, {"a": endpoint("a", "other")}, moment(3))
    assert [(entry.model, entry.event) for entry in past[2:]] == [("a", "changed"), ("b", "withdrawn")]
    assert changes(past, {"a": endpoint("a", "other")}, moment(4)) == []
    assert [(entry.model, entry.event) for entry in changes(past, {"a": endpoint("a", "other"), "b": endpoint("b")}, moment(5))] == [
        ("b", "returned")
    ]


def test_a_withdrawn_model_keeps_its_line_its_share_and_its_variants(store: Store):
    store.add_to_ledger(changes([], {"a": endpoint("a"), "a-better": endpoint("a-better"), "c": endpoint("c", "c")}, moment(1)))
    for number, pair in enumerate((("a", "c"), ("a", "c"), ("a-better", "c"), ("a", "a-better"))):
        cast(store, number, *pair)
    store.add_to_ledger(changes(store.ledger(), {"a-better": endpoint("a-better"), "c": endpoint("c", "c")}, moment(9)))
    rows = {row["model"]: row for row in ledger_rows(store)}
    assert rows["a"]["status"] == "withdrawn" and rows["a"]["withdrawn_at"] == moment(9) and rows["a"]["joined_at"] == moment(1)
    assert rows["a"]["variants"] == "a-better" and rows["a-better"]["variants"] == "a" and rows["c"]["variants"] == ""
    assert (rows["a"]["n_battles_drawn"], rows["a"]["sampling_share"], rows["a"]["n_votes"]) == (3, 3 / 8, 3)
    assert sum(row["sampling_share"] for row in rows.values()) == pytest.approx(1)


def test_imported_battles_have_no_share_of_our_draws(store: Store):
    seed_demo(store)
    rows = ledger_rows(store)
    assert len(rows) == 59 and {row["status"] for row in rows} == {"imported"} and {row["sampling_share"] for row in rows} == {0.0}
    assert sum(row["n_votes"] for row in rows) == 2 * 8931


def test_no_statement_takes_anything_from_the_ledger():
    from arena.store import statements

    assert not [name for name, text in statements().items() if "ledger" in text and ("DELETE" in text or "UPDATE" in text)]
