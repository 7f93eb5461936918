"""Rows are read whole or refused by file and line."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_llama import build_tiny_llama

from trainers.data import check_lengths, for_dpo, for_sft, load_rows
from trainers.errors import DataError

ASK = [{"role": "user", "content": "q"}]
SAY = [{"role": "assistant", "content": "a"}]
NAY = [{"role": "assistant", "content": "b"}]
GOOD = {"prompt": ASK, "chosen": SAY, "rejected": NAY}


def folder_with(path: Path, *rows: object) -> Path:
    path.mkdir(exist_ok=True)
    (path / "train.jsonl").write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_preferences_serve_both_methods(votes: Path):
    rows = load_rows(votes, "dpo")
    assert (len(rows.train), len(rows.test)) == (35, 5)
    assert rows.dataset_hash == hashlib.sha256((votes / "train.jsonl").read_bytes() + (votes / "test.jsonl").read_bytes()).hexdigest()
    assert set(for_dpo(rows.train)[0]) == {"prompt", "chosen", "rejected"}
    assert for_sft(rows.train)[0]["completion"] == rows.train[0]["chosen"]


def test_sft_takes_trls_other_formats_too(tmp_path: Path):
    rows = load_rows(folder_with(tmp_path / "d", {"prompt": ASK, "completion": SAY}, {"messages": ASK + SAY}), "sft")
    assert for_sft(rows.train) == [{"prompt": ASK, "completion": SAY}, {"messages": ASK + SAY}]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("{broken", r"train\.jsonl:2: not JSON"),
        ({"prompt": ASK, "chosen": SAY}, r"train\.jsonl:2: dpo needs prompt \+ chosen \+ rejected; this row has prompt, chosen"),
        ({**GOOD, "chosen": 5}, r"train\.jsonl:2: chosen: must be a list of messages"),
        ({**GOOD, "chosen": []}, r"train\.jsonl:2: chosen: must be a list of messages"),
        ([1], r"train\.jsonl:2: not an object"),
        ({**GOOD, "rejected": SAY}, r"train\.jsonl:2: chosen and rejected are the same"),
        ({**GOOD, "chosen": [{"role": "assistant", "content": None}]}, r"train\.jsonl:2: chosen: role and content must be texts"),
        ({**GOOD, "chosen": [{"role": "assistant", "content": " "}]}, r"train\.jsonl:2: chosen: ends with an empty message"),
        ({**GOOD, "tools": [{"name": "f"}]}, r"train\.jsonl:2: tools: rows with tools are not read yet"),
    ],
)
def test_a_row_that_does_not_fit_is_told_by_line(tmp_path: Path, row: object, told: str):
    with pytest.raises(DataError, match=told):
        load_rows(folder_with(tmp_path / "d", GOOD, row), "dpo")


def test_a_folder_that_is_no_dataset_is_told(tmp_path: Path):
    with pytest.raises(DataError, match="no such folder; make one with 'arena export"):
        load_rows(tmp_path / "nowhere", "dpo")
    with pytest.raises(DataError, match="holds no train.jsonl"):
        load_rows(tmp_path, "dpo")
    with pytest.raises(DataError, match="holds no row"):
        load_rows(folder_with(tmp_path / "d"), "dpo")


def test_rows_that_the_audit_does_not_account_for_are_refused(tmp_path: Path):
    folder = folder_with(tmp_path / "d", GOOD)
    (folder / "audit.json").write_text(json.dumps({"dataset_hash": load_rows(folder, "dpo").dataset_hash}))
    load_rows(folder, "dpo")
    folder_with(folder, GOOD, GOOD)
    with pytest.raises(DataError, match=r"audit\.json: dataset_hash: accounts for other rows"):
        load_rows(folder, "dpo")
    (folder / "audit.json").write_text("{")
    with pytest.raises(DataError, match=r"audit\.json: not JSON"):
        load_rows(folder, "dpo")


def test_only_role_and_content_travel_on(tmp_path: Path):
    # A round trip through Parquet adds empty keys, which chat templates may take for content.
    padded = {"prompt": [{**ASK[0], "tool_calls": None}], "completion": SAY, "vote_id": "v1"}
    assert load_rows(folder_with(tmp_path / "d", padded), "sft").train == [{"prompt": ASK, "completion": SAY}]


def test_both_files_have_the_same_format(tmp_path: Path):
    folder = folder_with(tmp_path / "d", {"messages": ASK + SAY})
    (folder / "test.jsonl").write_text(json.dumps({"prompt": ASK, "completion": SAY}) + "\n")
    with pytest.raises(DataError, match=r"test\.jsonl: its rows have other columns"):
        load_rows(folder, "sft")


def test_a_row_that_would_lose_its_answer_is_an_error_unless_allowed(tmp_path: Path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(build_tiny_llama(tmp_path / "base"))
    long = {**GOOD, "prompt": [{"role": "user", "content": "word " * 200}]}
    wide = {**GOOD, "chosen": [{"role": "assistant", "content": "word " * 200}]}

    def recipe(limit: int | None, allowed: bool = False) -> SimpleNamespace:
        return SimpleNamespace(training=SimpleNamespace(max_length=limit), allow_truncated_rows=allowed, dataset=tmp_path)

    with pytest.raises(DataError, match=r"train\.jsonl: row 2: the prompt alone fills max_length \(64 tokens\), as in 1 of 3 rows"):
        check_lengths(recipe(64), [GOOD, long, wide], tokenizer)  # type: ignore[arg-type]
    assert check_lengths(recipe(64, allowed=True), [GOOD, long, wide], tokenizer) == 1  # type: ignore[arg-type]
    assert check_lengths(recipe(None), [long], tokenizer) == 0  # type: ignore[arg-type]
