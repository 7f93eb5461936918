"""A list of tasks has one number: every task counts the same, and a list without all its scores has none."""

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from evals.lists import list_means
from evals.runs import Run, RunFiles, Score


def files(*scores: tuple[str, float | None, float, int, int]) -> RunFiles:
    paths = {"a:one": "/t/a.yaml", "a:two": "/t/a.yaml", "b.yaml": "/t/b.yaml"}
    config = {"tasks": {name: {"path": path} for name, path in paths.items()}}
    run = Run(run_id="r", suite="s", endpoints=("e",), started_at=datetime.now(UTC), versions={}, seed=0, config=config)
    made = tuple(
        Score(run_id="r", endpoint="e", task=task, metric="m", value=value, stderr=stderr, n=n, n_failed=failed, coverage=n / (n + failed))
        for task, value, stderr, n, failed in scores
    )
    return RunFiles(Path("r"), run, made, (), ())


def test_each_task_counts_the_same_however_long_it_is() -> None:
    (mean,) = list_means(files(("one", 0.2, 0.03, 10, 0), ("two", 0.8, 0.04, 1000, 10), ("b", 0.5, 0.1, 5, 0)))
    assert (mean.task, mean.metric, mean.endpoint, mean.value) == ("a", "m", "e", pytest.approx(0.5))
    assert mean.stderr == pytest.approx(math.hypot(0.03, 0.04) / 2)
    assert (mean.n, mean.n_failed, mean.coverage) == (1010, 10, pytest.approx(1010 / 1020))


def test_a_list_with_a_task_that_has_no_score_has_none() -> None:
    (mean,) = list_means(files(("one", None, 0.0, 0, 3), ("two", 0.8, 0.04, 10, 0)))
    assert (mean.value, mean.stderr, mean.n_failed) == (None, None, 3)


def test_one_task_of_a_list_is_no_list() -> None:
    assert list_means(files(("one", 0.2, 0.03, 10, 0), ("b", 0.5, 0.1, 5, 0))) == []


def test_the_report_opens_with_the_lists_mean(tmp_path: Path, results: Path, evals: Callable[..., tuple[int, str, str]]) -> None:
    names = ["bbh_cot_snarks", "bbh_cot_navigate"]
    (tmp_path / "two.yaml").write_text(f"name: two\ntasks: {names}\nendpoints: [code-davinci-002]\n")
    code, out, _ = evals("run", tmp_path / "two.yaml", "--results", results, "--json")
    document = json.loads(out.splitlines()[-1])
    assert code == 0
    (mean,) = [mean for mean in document["means"] if mean["metric"] == "exact_match"]
    # Published: snarks 59.55, navigate 96.40.
    assert (mean["task"], round(100 * mean["value"], 2)) == ("bbh_cot", 77.98)
    page = (Path(document["folder"]) / "report.md").read_text()
    assert page.index("## bbh_cot, mean of its tasks, exact_match") < page.index("## bbh_cot_snarks")
    assert "| code-davinci-002 | 77.98 ± " in page
