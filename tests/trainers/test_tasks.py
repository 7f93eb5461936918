"""Base and tuned model, each on a real engine, asked a team's own task: by the gate, which refuses who got worse, and by `enter`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.endpoints import load_endpoints
from tests.trainers.conftest import DISHES, VERBS
from trainers.enter import Entry, entered
from trainers.gate import GateSettings, run_gate
from trainers.gate_tasks import task_check
from trainers.recipe import read_recipe
from trainers.record import Training
from trainers.sft import sft

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore:.*pin_memory.*:UserWarning"),
]
N = len(VERBS)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One task, solved by whoever answers the held-out questions gladly."""
    folder = tmp_path_factory.mktemp("suite")
    rows = [{"question": f"How do I {verb} {DISHES[-1]}?", "answer": "Gladly"} for verb in VERBS]
    (folder / "gladly.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "gladly.yaml").write_text("task: gladly\ndata: gladly.jsonl\nmatch: contains\nmax_tokens: 24\n")
    (folder / "ask.yaml").write_text("name: ask\ntasks: [gladly.yaml]\nendpoints: [named-on-the-command-line]\n")
    return folder / "ask.yaml"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, base: Path, votes: Path) -> tuple[Path, Training]:
    """(results, an SFT of a random base on the chosen answers, not gated)."""
    room = tmp_path_factory.mktemp("tasks")
    path = room / "sft.yaml"
    path.write_text(
        f"model_name_or_path: {base}\ngate: false\nlearning_rate: 5e-3\nnum_train_epochs: 12\n"
        "per_device_train_batch_size: 8\nmax_length: 256\n"
    )
    return room / "results", sft(read_recipe(path, "sft", data=votes), room / "results")


def test_the_gate_compares_scores_and_enter_compares_with_its_bases_run(trained: tuple[Path, Training], suite: Path):
    results, training = trained
    asked = GateSettings(checker="regex:^Gladly", max_tokens=32, suite=str(suite))
    gate = run_gate(training.training_id, results, asked)
    assert gate["verdict"] == "passed", gate["reasons"]
    tasks = gate["checks"]["tasks"]
    found = {task["metric"]: (task["value_a"], task["value_b"], task["n"]) for task in tasks["tasks"]}
    assert found["exact_match"] == (0.0, 1.0, N) and "gladly exact_match 0 → 1" in tasks["told"]
    # Both runs stay, and no arena saw either endpoint.
    assert all((results / "runs" / run / "scores.jsonl").is_file() for run in tasks["runs"]) and len(tasks["runs"]) == 2
    assert not (results / "endpoints").exists()

    with entered(training.training_id, results, Entry(suite=str(suite))) as news:
        assert set(load_endpoints(results)) >= {training.training_id}
        one = next(one for one in news["comparisons"] if one["metric"] == "exact_match")
        assert (one["task"], one["value_a"], one["value_b"], one["n"]) == ("gladly", 0.0, 1.0, N)
        # The base's run of the gate; the challenger's is a new one.
        assert news["base_run"] == tasks["runs"][0] and news["run"] not in tasks["runs"]


def test_who_solves_less_than_its_base_is_refused_with_the_task(
    trained: tuple[Path, Training], base: Path, suite: Path, tmp_path: Path, new_record: Callable[..., Training]
):
    results, training = trained
    folder = tmp_path / "trainings" / "worse"
    better = results / "trainings" / training.training_id / "merged"
    worse = new_record(folder, training_id="worse", base=str(better))
    (folder / "merged").symlink_to(base)
    check = task_check(worse, folder, GateSettings(suite=str(suite), limit=3), tmp_path)
    assert check["passed"] is False and "gladly exact_match 1 → 0" in check["told"]
    assert {task["n"] for task in check["tasks"]} == {3}
