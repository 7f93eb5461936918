"""A dataset holds exactly the votes that prefer one good answer to another, says what became of the rest, and leaks no prompt."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from arena.errors import ExportRefused
from arena.importers import seed_demo
from arena.preferences import DROPPED, export_dpo
from arena.store import Record, Store
from arena.votes import Battle, Vote
from serving.completion import Completion, Message, Request

FREE: dict[str, bool | None] = {"free": True, "other": True, "closed": False, "vague": None}


def record(
    number: int = 0, winner: str = "model_a", *, question: str = "Why?", texts: tuple[str, str] | None = ("yes", "no"), **more: object
) -> Record:
    vote_fields = {key: more.pop(key) for key in ("rated", "dwell_s") if key in more}
    statuses = more.pop("statuses", ("ok", "ok"))
    models = more.pop("models", ("free", "other"))
    request = Request.user(question)
    battle = Battle(
        battle_id=f"b{number}", created_at=None, messages=more.pop("messages", request.messages), model_a=models[0], model_b=models[1]
    )
    pair = texts and tuple(
        Completion(endpoint=model, request=request, text=text, status=status)
        for model, text, status in zip(models, texts, statuses, strict=True)
    )
    return Record(
        battle, pair, Vote(vote_id=f"v{number}", battle_id=f"b{number}", voter_id=None, winner=winner, voted_at=None, **vote_fields)
    )


def rows(out: Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (out / f"{name}.jsonl").read_text(encoding="utf-8").split("\n") if line]


@pytest.fixture
def export(tmp_path: Path) -> Callable:
    def write(records: list[Record], out: Path = tmp_path / "set", **options: object):
        return export_dpo(records, out, outputs_trainable=FREE.get, **options)

    return write


def test_a_row_is_trls_conversational_form_and_links_back_to_its_vote(export: Callable, tmp_path: Path):
    turns = (Message(role="user", content="Hi"), Message(role="assistant", content="Hello"), Message(role="user", content="Why?"))
    export([record(7, "model_b", messages=turns)])
    assert rows(tmp_path / "set", "train") == [
        {
            "prompt": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Why?"}],
            "chosen": [{"role": "assistant", "content": "no"}],
            "rejected": [{"role": "assistant", "content": "yes"}],
            "vote_id": "v7", "battle_id": "b7", "chosen_model": "other", "rejected_model": "free",
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"winner": "tie"}, "tie"),
        ({"winner": "both_bad"}, "both_bad"),
        ({"rated": False}, "unrated"),
        ({"texts": ("yes", "  \n")}, "no_answer"),
        ({"statuses": ("api_error", "ok")}, "no_answer"),
        ({"statuses": ("ok", "truncated")}, "unfinished"),
        ({"texts": ("same", " same\n")}, "identical"),
        ({"texts": None}, "no_texts"),
        ({"models": ("closed", "free")}, "license_forbids"),
        ({"models": ("vague", "free")}, "license_unknown"),
        ({"models": ("never heard of", "free")}, "license_unknown"),
        ({"dwell_s": 0.4}, "too_quick"),
        ({}, "dwell_unknown"),
    ],
)
def test_each_vote_that_is_no_preference_is_left_out_and_counted(bad: dict, reason: str, export: Callable, tmp_path: Path):
    dwell = {"min_dwell_s": 1.0} if reason in ("too_quick", "dwell_unknown") else {}
    audit = export([record(1, dwell_s=9.0), record(2, **bad)], **dwell)
    assert audit.dropped == {reason: 1} and (audit.n_votes, audit.n_kept) == (2, 1)
    assert [row["vote_id"] for row in rows(tmp_path / "set", "train")] == ["v1"]
    assert DROPPED[reason] in (tmp_path / "set" / "README.md").read_text()


def test_a_rejected_answer_may_come_from_anywhere(export: Callable):
    assert export([record(1, models=("free", "closed"))]).n_kept == 1


def test_any_license_keeps_what_the_terms_forbid_and_says_so(export: Callable, tmp_path: Path):
    audit = export([record(1, models=("closed", "free")), record(2, models=("vague", "free"))], any_license=True)
    assert audit.n_kept == 2 and audit.any_license
    assert "for you to check" in (tmp_path / "set" / "README.md").read_text()


def test_no_prompt_is_in_both_files_however_it_is_written(export: Callable, tmp_path: Path):
    spellings = ["Question {}?", "question {}?", "  Question  {}?\n"]
    records = [record(number, question=spellings[number % 3].format(number // 3)) for number in range(90)]
    audit = export(records)

    def asked(name: str) -> set[str]:
        return {" ".join(row["prompt"][0]["content"].lower().split()) for row in rows(tmp_path / "set", name)}

    assert len(asked("train")) == 27 and len(asked("test")) == 3 and not asked("train") & asked("test")
    assert (audit.n_train, audit.n_test, audit.n_prompts_train, audit.n_prompts_test) == (81, 9, 27, 3)


def test_later_turns_of_a_conversation_stay_with_its_opening(export: Callable, tmp_path: Path):
    records = []
    for number in range(20):
        opening = Message(role="user", content=f"Question {number}")
        records.append(record(2 * number, messages=(opening,)))
        records.append(
            record(2 * number + 1, messages=(opening, Message(role="assistant", content="A"), Message(role="user", content="More")))
        )
    export(records)
    assert not {row["prompt"][0]["content"] for row in rows(tmp_path / "set", "train")} & {
        row["prompt"][0]["content"] for row in rows(tmp_path / "set", "test")
    }


def test_the_same_votes_give_the_same_bytes_and_the_hash_is_theirs(export: Callable, tmp_path: Path):
    records = [record(number, question=f"Question {number}") for number in range(30)]
    first, second = export(records, tmp_path / "a"), export(records, tmp_path / "b")
    written = [(tmp_path / folder / name).read_bytes() for name in ("train.jsonl", "test.jsonl") for folder in "ab"]
    assert written[0] == written[1] and written[2] == written[3]
    assert first.dataset_hash == second.dataset_hash == hashlib.sha256(written[0] + written[2]).hexdigest()
    assert export(records[1:], tmp_path / "c").dataset_hash != first.dataset_hash


def test_one_prompt_alone_is_all_for_training(export: Callable, tmp_path: Path):
    audit = export([record(1), record(2)])
    assert (audit.n_train, audit.n_test) == (2, 0) and rows(tmp_path / "set", "test") == []


def test_a_folder_that_holds_something_is_not_overwritten(export: Callable, tmp_path: Path):
    export([record(1)])
    before = (tmp_path / "set" / "train.jsonl").read_bytes()
    with pytest.raises(ExportRefused, match="is not empty: choose another --out, or --force"):
        export([record(2)])
    assert (tmp_path / "set" / "train.jsonl").read_bytes() == before
    export([record(2)], force=True)
    assert [row["vote_id"] for row in rows(tmp_path / "set", "train")] == ["v2"]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_force_replaces_datasets_only(export: Callable, tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years of work")
    with pytest.raises(ExportRefused, match="no dataset of 'arena export'"):
        export([record(1)], home, force=True)
    assert (home / "thesis.tex").read_text() == "years of work"


def test_nothing_is_written_when_no_vote_qualifies(export: Callable, tmp_path: Path):
    with pytest.raises(ExportRefused, match=r"no vote makes a preference pair \(2 tie, 1 license_forbids\); --any-license keeps"):
        export([record(1, "tie"), record(2, "tie"), record(3, models=("closed", "free"))])
    with pytest.raises(ExportRefused, match="there are no votes"):
        export([])
    assert not list(tmp_path.iterdir())


def test_every_one_of_the_8931_real_votes_is_accounted_for(tmp_path: Path, export: Callable):
    with Store(tmp_path / "arena.duckdb") as store:
        seed_demo(store)
        audit = export_dpo(store.voted(), tmp_path / "set", outputs_trainable=lambda _: None, any_license=True)
        winners = {vote.vote_id: (battle, vote.winner) for battle, _, vote in store.voted()}
    assert audit.n_votes == 8931 == audit.n_kept + sum(audit.dropped.values()) and audit.dropped["tie"] == 3471
    train, test = rows(tmp_path / "set", "train"), rows(tmp_path / "set", "test")
    assert len(train) + len(test) == audit.n_kept and audit.n_train > 4000 and audit.n_test > 100
    for row in train + test:
        battle, winner = winners[row["vote_id"]]
        assert (
            row["chosen_model"] == getattr(battle, winner) and row["chosen"][0]["content"].strip() and row["rejected"][0]["content"].strip()
        )
    assert json.loads((tmp_path / "set" / "audit.json").read_text()) == audit.model_dump(mode="json")


def test_trl_and_datasets_read_it(export: Callable, tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    export([record(number, question=f"Question {number}") for number in range(30)])
    files = {name: str(tmp_path / "set" / f"{name}.jsonl") for name in ("train", "test")}
    loaded = datasets.load_dataset("json", data_files=files, cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].num_rows == 27 and loaded["train"][0]["chosen"] == [{"role": "assistant", "content": "yes"}]
