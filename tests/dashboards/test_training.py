"""The training page shows what lies in results/trainings and tolerates what is not there yet."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboards import training
from dashboards.curves import POINTS, read_curves, read_verdict, thinned
from trainers.record import Training, write_training

BEGIN = datetime(2026, 5, 1, 9, tzinfo=UTC)


def write(results: Path, name: str, *, parent: str | None = None, gate: dict[str, Any] | None = None) -> Path:
    folder = results / "trainings" / name
    folder.mkdir(parents=True)
    record = Training(
        training_id=name, method="dpo", base="org/tiny", base_hash="ab" * 32, parent=parent, dataset="results/datasets/votes",
        dataset_hash="cd" * 32, n_train=1234, n_test=56, recipe={}, versions={}, seed=7, gate=gate, adapter="adapter", merged=None,
        metrics={"eval_rewards/accuracies_before": 0.5, "eval_rewards/accuracies": 0.71234},
        started_at=BEGIN, finished_at=BEGIN + timedelta(minutes=9),
    )  # fmt: skip
    write_training(record, folder)
    return folder


def log(folder: Path, n: int = 5) -> None:
    rows = [
        {
            "step": step,
            "epoch": step / n,
            "loss": 1 / step,
            "rewards/accuracies": 0.6,
            "logps/chosen": -9.0,
            "logps/rejected": -11,
            "odd": step,
        }
        for step in range(1, n + 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"step": n, "eval_loss": 0.4}]))


@pytest.fixture
def open_page(results: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def app() -> None:
        from dashboards import training

        training.page()

    monkeypatch.setattr(training, "current", lambda: SimpleNamespace(results=results))

    def opened(**query: str) -> tuple[str, AppTest]:
        page = AppTest.from_function(app, default_timeout=60)
        for key, value in query.items():
            page.query_params[key] = value
        page.run()
        assert not page.exception
        return "".join(element.proto.body for element in page.get("html")), page

    yield opened


def test_curves_are_grouped_with_their_evaluations_and_the_rest_stays_within_reach(results: Path):
    folder = write(results, "20260501-090000-dpo-tiny")
    log(folder)
    found = read_curves(folder)
    assert list(found.groups) == ["Loss", "Preferred answer more likely (share)", "Log-probabilities"]
    assert {row["name"] for row in found.groups["Loss"]} == {"loss", "eval_loss"}
    assert {row["name"] for row in found.groups["Log-probabilities"]} == {"logps/chosen", "logps/rejected"}
    assert list(found.others) == ["odd"] and found.last["loss"] == 0.2 and found.n_lines == 6


def test_a_half_written_line_and_what_is_no_number_are_passed_over(tmp_path: Path):
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": 1, "loss": 2.0, "note": "warm", "ok": true}\n{"step": 2, "loss": NaN}\n{"step": 3, "lo'
    )
    found = read_curves(tmp_path)
    assert [row["value"] for row in found.groups["Loss"]] == [2.0] and found.n_broken == 1 and not found.others


def test_a_long_curve_keeps_its_ends(tmp_path: Path):
    rows = [{"step": step} for step in range(10_000)]
    kept = thinned(rows)
    assert len(kept) == POINTS and kept[0] == rows[0] and kept[-1] == rows[-1]


def test_the_gate_is_read_as_it_was_written():
    assert read_verdict(None).passed is None
    checks = {"wins": {"passed": False, "told": "by likeness"}, "tasks": {"passed": None, "told": "no suite"}}
    found = read_verdict({"verdict": "refused", "checks": checks, "n_prompts": 40, "gated_at": "2026-05-02T09:00:00+00:00"})
    assert found.passed is False and found.origin == "40 held-out prompts, 2026-05-02"
    assert found.checks == (("wins", False, "by likeness"), ("tasks", None, "no suite"))
    assert read_verdict({"verdict": "passed"}).passed is True


def test_nothing_trained_says_what_to_run(open_page: Any):
    shown, page = open_page()
    assert "trainers dpo --dataset" in shown and not page.selectbox


def test_the_newest_training_opens_with_its_verdict_curves_and_chain(open_page: Any, results: Path):
    write(results, "20260501-090000-sft-tiny")
    log(
        write(
            results,
            "20260502-090000-dpo-tiny",
            parent="20260501-090000-sft-tiny",
            gate={"verdict": "refused", "checks": {"wins": {"passed": False, "told": "loses <to> its base"}}, "n_prompts": 40},
        )
    )
    shown, page = open_page()
    assert page.selectbox(key="training").value == "20260502-090000-dpo-tiny"
    assert "✗ refused" in shown and "loses &lt;to&gt; its base" in shown and "71.2%" in shown and "50.0% before" in shown
    chain = shown.split('<ol class="chain">')[1]
    assert chain.index("org/tiny") < chain.index("20260501-090000-sft-tiny") < chain.index("20260502-090000-dpo-tiny")
    assert sum("6 log steps" in caption.value for caption in page.caption) == 3


def test_an_earlier_training_opens_by_its_address_and_says_that_it_has_no_curves(open_page: Any, results: Path):
    write(results, "20260501-090000-sft-tiny")
    write(results, "20260502-090000-dpo-tiny")
    shown, page = open_page(training="20260501-090000-sft-tiny")
    assert page.selectbox(key="training").value == "20260501-090000-sft-tiny"
    assert "No curve was written." in shown and "The gate was not asked." in shown


def test_a_training_under_way_shows_its_curves(open_page: Any, results: Path):
    folder = results / "trainings" / "20260503-090000-dpo-tiny"
    folder.mkdir(parents=True)
    log(folder)
    shown, page = open_page()
    assert "It has no record" in shown and any("6 log steps" in caption.value for caption in page.caption)


def test_a_record_that_cannot_be_read_is_told_and_hides_no_other(open_page: Any, results: Path):
    (write(results, "20260501-090000-broken") / "training.json").write_text("{")
    write(results, "20260502-090000-dpo-tiny")
    shown, page = open_page()
    assert "20260502-090000-dpo-tiny" in shown and "20260501-090000-broken" in page.warning[0].value
