"""What a model judged is read by name, marked as its own, and never becomes a person's vote."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from arena.cli import main
from arena.errors import VotesFileError
from arena.importers import read_records, read_votes
from arena.judgments import judges_of, read_judgments
from arena.store import Store
from serving.completion import Completion, Message, Request
from serving.endpoints import Endpoint, register
from serving.errors import DocumentError


def line(number: int, winner: str | None, **values: Any) -> dict[str, Any]:
    """One line as `evals judge` writes it (results/README.md)."""
    request = Request.user(f"question {number % 12}")
    sides = {
        side: json.loads(Completion(endpoint=name, request=request, text=f"{name} says {number}").to_line())
        for side, name in (("answer_a", "one"), ("answer_b", "two"))
    }
    return {
        "vote_id": f"judge-{number}", "battle_id": f"judge-{number}", "voter_id": "gpt-4", "model_a": "one", "model_b": "two",
        "winner": winner, "prompt_id": str(number), "voted_at": "2026-11-24T10:00:00Z", "outcome": "agreed" if winner else "unparsed",
        "verdicts": [winner, winner], "source": "judge:gpt-4", "pairing_policy": "judged", "mode": "judged",
        "messages": [{"role": "user", "content": f"question {number % 12}"}], "request_hashes": ["x", "y"], **sides, **values,
    }  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    winners = ["model_a", "model_b", "tie", None] * 6
    path = tmp_path / "20261124-100000-gpt-4.jsonl"
    path.write_text("".join(json.dumps(line(number, winner)) + "\n" for number, winner in enumerate(winners)))
    return path


def arena(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["arena", *map(str, arguments)])
    try:
        main()
        code = 0
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    told = capsys.readouterr()
    return code, told.out, told.err


def test_a_battle_without_a_verdict_is_no_vote(file: Path):
    records = read_judgments(file)
    assert len(records) == 18 and {vote.winner for _, _, vote in records} == {"model_a", "model_b", "tie"}
    assert {(vote.voter_id, vote.source, vote.rated) for _, _, vote in records} == {("gpt-4", "judge:gpt-4", False)}
    battle, completions, _ = records[0]
    assert battle.mode == "judged" and completions is not None and completions[0].text == "one says 0"
    assert judges_of(file) == ["gpt-4"] and len(read_votes(file)) == 18


def test_imported_judgments_are_kept_and_do_not_move_the_leaderboard(database: Path | str, file: Path):
    with Store(database) as store:
        assert store.save_all(read_records(file, "judgments")) == 18
        assert store.save_all(read_records(file, "judgments")) == 0
        assert store.counts() == (18, 18, 0) and store.outcomes() == []


def test_the_leaderboard_rates_a_file_of_judgments_when_it_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], file: Path
):
    code, out, err = arena(monkeypatch, capsys, "leaderboard", "--votes", file, "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document["n_votes"] == 18 and [rating["rating"] for rating in document["ratings"]] == [1000, 1000]


def test_export_by_name_makes_rlaif_data_under_the_terms_of_answers_and_judge(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], results: Path, tmp_path: Path, file: Path
):
    for name, trainable in (("one", True), ("two", True), ("gpt-4", False)):
        register(Endpoint(id=name, wire="openai", model=name, base_url="http://127.0.0.1:9/v1", outputs_trainable=trainable), results)
    out = tmp_path / "rlaif"
    options = ("export", "--votes", file, "--out", out, "--results", results, "--json", "--force")
    code, _, err = arena(monkeypatch, capsys, *options)
    assert code == 1 and "12 license_forbids" in err and not out.exists()
    code, told, err = arena(monkeypatch, capsys, *options, "--any-license")
    assert code == 0, err
    assert json.loads(told)["sources"] == {"judge:gpt-4": 12} and json.loads(told)["dropped"] == {"tie": 6}
    assert "a model's, not people's (RLAIF)" in (out / "README.md").read_text()
    assert not (results / "arena.duckdb").exists()
    row = json.loads((out / "train.jsonl").read_text().splitlines()[0])
    assert row["vote_id"].startswith("judge-") and {row["chosen_model"], row["rejected_model"]} == {"one", "two"}


def test_answers_that_continue_different_conversations_make_no_preference_pair(tmp_path: Path):
    values = line(0, "model_a")
    turns = (Message(role="user", content="q"), Message(role="assistant", content="my own first answer"), Message(role="user", content="r"))
    values["answer_b"] = json.loads(Completion(endpoint="two", request=Request(messages=turns), text="x").to_line())
    path = tmp_path / "two.jsonl"
    path.write_text(json.dumps(values) + "\n")
    assert read_judgments(path)[0].completions is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", ":1: not JSON"),
        ("{}", ":1: vote_id: missing"),
        (json.dumps(line(0, "model_c")), ":1: winner: "),
        (json.dumps(line(0, "tie", model_b="one")), ":1: model_a and model_b must differ"),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path: Path, text: str, told: str):
    path = tmp_path / "bad.jsonl"
    path.write_text(text + "\n")
    with pytest.raises((VotesFileError, DocumentError)) as error:
        read_judgments(path)
    assert f"{path}{told}" in str(error.value)
