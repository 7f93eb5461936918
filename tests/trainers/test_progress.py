"""What is told while a training runs, and what is kept of it: every step, and a card for the model."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from trainers.modelcard import card
from trainers.progress import Pace, keep_step, progress
from trainers.record import Training


def test_every_step_is_kept_as_json(tmp_path: Path):
    keep_step(tmp_path, 1, 2, {"loss": 0.5, "note": "text"})
    keep_step(tmp_path, 2, 2, {"loss": float("nan")})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2] and lines[0]["loss"] == 0.5 and "note" not in lines[0]
    assert lines[1]["loss"] is None


def test_the_pace_is_that_of_the_last_step():
    pace = Pace()
    assert pace.of({"num_tokens": 100}, 1.0) is None
    assert pace.of({"num_tokens": 300}, 2.0) == 200
    assert pace.of({"loss": 1}, 3.0) is None


def test_without_a_terminal_there_are_plain_lines(capsys: pytest.CaptureFixture[str]):
    with progress() as show:
        show(1, 2, {"loss": 0.6931, "rewards/accuracies": 0.5, "logps/chosen": -12.0})
        show(2, 2, {"loss": 0.1})
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines == ["step 1/2  loss 0.693  accuracy 0.5  chosen logp -12", "step 2/2  loss 0.1"]


def test_the_card_says_base_data_settings_and_verdict(tmp_path: Path, new_record: Callable[..., Training]):
    gate = {"verdict": "refused", "reasons": ["wins: none"], "n_prompts": 7, "checks": {"wins": {"told": "none"}}}
    made = new_record(tmp_path / "t1", gate=gate, recipe={"beta": 0.1}, metrics={"eval_loss": 0.25})
    page = (tmp_path / "t1" / "README.md").read_text()
    assert page == card(made) and "base_model: some/base" in page and "| `beta` | `0.1` |" in page and "| `eval_loss` | 0.25 |" in page
    assert "refused (7 held-out prompts)" in page and "- wins: none" in page and "not stated by the base" in page


def test_the_licence_is_the_one_that_the_bases_card_states(tmp_path: Path, new_record: Callable[..., Training]):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "README.md").write_text("---\nlicense: apache-2.0\n---\n# a base\n")
    assert "**Licence**: apache-2.0" in card(new_record(tmp_path / "t1", base=str(tmp_path / "base")))
