"""Rows from files of other kinds arrive as the same messages, and what cannot be read is told in one line."""

import json
from pathlib import Path

import pytest

from trainers.data import load_rows
from trainers.errors import DataError
from trainers.sources import hash_elsewhere, in_messages

ASK = [{"role": "user", "content": "q"}]
SAY = [{"role": "assistant", "content": "a"}]
NAY = [{"role": "assistant", "content": "b"}]
WANTED = {"prompt": ASK, "chosen": SAY, "rejected": NAY}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "csv", "folder"])
def test_each_kind_of_file_gives_the_same_rows(tmp_path: Path, suffix: str):
    import pandas as pd

    table = pd.DataFrame([{"prompt": "q", "chosen": "a", "rejected": "b"}] * 2)
    path = tmp_path / f"rows.{suffix}"
    if suffix == "csv":
        table.to_csv(path, index=False)
    elif suffix == "parquet":
        pd.DataFrame([WANTED] * 2).to_parquet(path)
    elif suffix == "jsonl":
        path.write_text((json.dumps(WANTED) + "\n") * 2)
    else:
        path.mkdir()
        table.to_parquet(path / "train.parquet")
        table[:1].to_parquet(path / "test.parquet")
    rows = load_rows(path, "dpo")
    assert rows.train == [WANTED, WANTED] and rows.test == ([WANTED] if suffix == "folder" else [])
    assert rows.dataset_hash == hash_elsewhere(path)


def test_the_common_beginning_of_two_conversations_is_the_prompt():
    assert in_messages({"chosen": ASK + SAY, "rejected": ASK + NAY, "score": 1.0}) == {**WANTED, "score": 1.0}
    assert in_messages({"prompt": "q", "chosen": ASK + SAY, "rejected": ASK + NAY}) == WANTED
    assert in_messages({"prompt": "q", "completion": "a"}) == {"prompt": ASK, "completion": SAY}


def test_what_does_not_fit_is_told_by_row(tmp_path: Path):
    path = tmp_path / "rows.csv"
    path.write_text("prompt,chosen\nq,a\n")
    with pytest.raises(DataError, match=r"rows\.csv:1: dpo needs prompt \+ chosen \+ rejected; this row has prompt, chosen"):
        load_rows(path, "dpo")
    (tmp_path / "rows.txt").write_text("x")
    with pytest.raises(DataError, match=r"rows\.txt: rows are read from \.jsonl, \.json, \.parquet, \.csv"):
        load_rows(tmp_path / "rows.txt", "dpo")


def test_a_hub_that_cannot_be_reached_is_one_line():
    with pytest.raises(DataError, match=r"somebody/something: cannot be read: .*give a local folder or file") as caught:
        load_rows(Path("somebody/something"), "dpo")
    assert "\n" not in str(caught.value)


def test_a_folder_as_on_the_hub_is_read_by_the_names_of_its_splits(tmp_path: Path):
    from datasets import Dataset, DatasetDict

    rows = [{"prompt": f"What is {n}?", "chosen": "A number.", "rejected": "A word."} for n in range(6)]
    (tmp_path / "hub" / "data").mkdir(parents=True)
    for shard in range(2):
        Dataset.from_list(rows[3 * shard : 3 * shard + 3]).to_parquet(tmp_path / "hub" / "data" / f"train-0000{shard}-of-00002.parquet")
    found = load_rows(tmp_path / "hub", "dpo")
    assert len(found.train) == 6 and not found.test and found.train[5]["prompt"][0]["content"] == "What is 5?"
    DatasetDict({"train_prefs": Dataset.from_list(rows[:4]), "test_prefs": Dataset.from_list(rows[4:])}).save_to_disk(tmp_path / "saved")
    named = {"dataset_train_split": "train_prefs", "dataset_test_split": "test_prefs"}
    saved = load_rows(tmp_path / "saved", "dpo", named)
    assert (len(saved.train), len(saved.test)) == (4, 2)
    with pytest.raises(DataError, match=r"has no split 'train' \(it has train_prefs, test_prefs\); name the one .* dataset_train_split"):
        load_rows(tmp_path / "saved", "dpo")
