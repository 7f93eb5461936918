"""Trade-offs are drawn from the runs in results/ and from nothing else; what is not known is a dash."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboards.charts import colours, number, points_with_intervals
from dashboards.runs_index import index
from dashboards.runs_index import latest as newest
from dashboards.tradeoffs import rows_of, table
from evals.quality import run_suite
from evals.suite import choose_endpoints, find_suite, load_suite


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Results with one small run of the demo suite."""
    results = tmp_path_factory.mktemp("results")
    suite = load_suite(find_suite("demo")).model_copy(update={"limit": 20})
    run_suite(suite, choose_endpoints(suite, []), folder=find_suite("demo").parent, results=results)
    yield results


def latest(results: Path) -> tuple[list[dict[str, Any]], list[str]]:
    listed, problems = index(results)
    rows, unread = rows_of(newest(listed))
    return rows, [*problems, *unread]


def test_the_latest_score_of_each_endpoint_comes_with_its_seconds_and_dollars(scored: Path):
    rows, problems = latest(scored)
    assert not problems
    by_endpoint = {row["endpoint"]: row for row in rows}
    assert len(by_endpoint) == 8
    gpt4 = by_endpoint["gpt-4-0314"]
    assert gpt4["n"] == 20 and gpt4["latency_s"] > 1 and gpt4["cost_usd_per_1000"] > 1
    assert gpt4["lower"] <= gpt4["value"] <= gpt4["upper"]
    assert by_endpoint["gsm8k-6b-finetuning"]["latency_s"] is None


def test_a_run_that_did_not_finish_is_passed_over(scored: Path, tmp_path: Path):
    results = tmp_path / "results"
    shutil.copytree(scored, results)
    folder = next((results / "runs").glob("*-demo"))
    later = folder.with_name("29990101-000000-later")
    shutil.copytree(folder, later)
    record = json.loads((later / "run.json").read_text())
    (later / "run.json").write_text(json.dumps({**record, "run_id": later.name, "finished_at": None}))
    rows, problems = latest(results)
    assert {row["run_id"] for row in rows} == {folder.name} and not problems


def test_a_run_that_cannot_be_read_is_told_and_does_not_hide_the_others(scored: Path, tmp_path: Path):
    results = tmp_path / "results"
    shutil.copytree(scored, results)
    folder = next((results / "runs").glob("*-demo"))
    broken = folder.with_name("20000101-000000-broken")
    shutil.copytree(folder, broken)
    (broken / "scores.jsonl").write_text("{broken\n")
    rows, problems = latest(results)
    assert len(rows) == 8 and len(problems) == 1 and "scores.jsonl:1" in problems[0]


def test_no_runs_are_no_rows(tmp_path: Path):
    assert latest(tmp_path) == ([], [])


def test_the_table_shows_a_dash_for_what_nobody_knows(scored: Path):
    rows, _ = latest(scored)
    shown = table([row for row in rows if row["endpoint"].startswith("gsm8k-6b-f")])
    assert shown.count("–") == 3 and "gsm8k-6b-finetuning" in shown


def test_names_from_files_cannot_become_markup(scored: Path):
    rows, _ = latest(scored)
    assert "<script>" not in table([{**rows[0], "endpoint": "<script>alert(1)</script>"}])


def test_the_same_endpoint_has_the_same_colour_in_any_order():
    assert colours(["b", "a"]) == colours(["a", "b"])


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0.51827, "0.518"), (13.8273, "13.8"), (6.7, "6.70"), (2.894, "2.89"), (215.4, "215"), (12345.6, "12,346")],
)
def test_numbers_have_three_significant_digits(value: float | None, shown: str):
    assert number(value) == shown


def test_the_chart_draws_a_point_a_bar_and_a_name_per_endpoint(scored: Path):
    rows = [row for row in latest(scored)[0] if row["latency_s"]]
    chart = points_with_intervals(rows, x="latency_s", x_title="s", x_format="~g").to_dict()
    marks = [layer["mark"]["type"] for layer in chart["layer"]]
    assert marks[:2] == ["rule", "circle"] and set(marks[2:]) == {"text"}
    named = [row["endpoint"] for layer in chart["layer"][2:] for row in chart["datasets"][layer["data"]["name"]]]
    assert sorted(named) == sorted(row["endpoint"] for row in rows)
    assert len(next(iter(chart["datasets"].values()))) == len(rows) == 4
