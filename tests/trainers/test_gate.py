"""The gate refuses a destroyed model and an adapter that is not applied, and lets a good one on; neither accuracy nor margin sways it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from model_server import ModelServer, problem, sse
from tiny_llama import build_tiny_llama

from serving.endpoints import register
from serving.errors import Unreachable
from tests.trainers.conftest import DISHES, VERBS, preference, write_rows
from trainers.answers import faults
from trainers.dpo import dpo
from trainers.errors import DataError, RecipeError, TrainersError
from trainers.gate import GateSettings, run_gate, settings_of
from trainers.paired import compare, share_interval
from trainers.recipe import read_recipe
from trainers.record import Training, find_training
from trainers.sft import sft
from trainers.verdicts import chrf, find_checker

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*pin_memory.*:UserWarning"),
]
GLADLY = GateSettings(checker="regex:^Gladly", max_tokens=32)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, base: Path, votes: Path) -> tuple[Path, Training]:
    """(results, an SFT of all weights on the chosen answers, from a random base)."""
    room = tmp_path_factory.mktemp("gated")
    path = room / "sft.yaml"
    path.write_text(
        f"model_name_or_path: {base}\nlearning_rate: 5e-3\nnum_train_epochs: 12\nper_device_train_batch_size: 8\nmax_length: 256\n"
    )
    return room / "results", sft(read_recipe(path, "sft", data=votes), room / "results")


def test_a_good_training_passes_and_keeps_its_figures(trained: tuple[Path, Training]):
    results, training = trained
    gate = run_gate(training.training_id, results, GLADLY)
    assert gate["verdict"] == "passed" and gate["reasons"] == []
    assert gate["checks"]["wins"]["tuned"] == 1.0 and gate["checks"]["wins"]["lower"] > 0
    assert gate["checks"]["chosen_logprob"]["lower"] > 0 and gate["checks"]["canary"]["shift"] > 0
    folder = results / "trainings" / training.training_id
    assert find_training(training.training_id, results)[0].gate == gate == json.loads((folder / "gate.json").read_text())
    said = [json.loads(line) for line in (folder / "gate-answers.jsonl").read_text().splitlines()]
    assert len(said) == gate["n_prompts"] == 5 and all(row["winner"] == "tuned" for row in said)


def test_without_judge_or_checker_likeness_to_the_chosen_answers_decides(trained: tuple[Path, Training]):
    results, training = trained
    gate = run_gate(training.training_id, results, GateSettings(max_tokens=32))
    assert gate["checks"]["wins"]["checker"] == "likeness" and gate["verdict"] == "passed"


def test_a_judge_decides_only_by_verdicts_that_it_gave(trained: tuple[Path, Training]):
    results, training = trained
    asked = GateSettings(judge="judge", max_tokens=32)

    def likes_the_glad_one(body: dict[str, Any]) -> Any:
        second = "[Answer B]\nGladly" in body["messages"][-1]["content"]
        return sse(f"The glad one is better. [[{'B' if second else 'A'}]]")

    with ModelServer(likes_the_glad_one) as server:
        register(server.endpoint("judge"), results)
        gate = run_gate(training.training_id, results, asked)
        wins = gate["checks"]["wins"]
        assert gate["verdict"] == "passed" and wins["judge"] == "judge" and len(server.requests) == 2 * gate["n_prompts"]
        assert (wins["n_wins"], wins["n_losses"], wins["n_ties"], wins["n_unreadable"]) == (5, 0, 0, 0)

        server.script = problem("400 Bad Request", "context too long")
        gate = run_gate(training.training_id, results, asked)
        assert gate["verdict"] == "refused" and gate["checks"]["wins"]["n_unreadable"] == 5
        assert "5 of 5 verdicts of judge could not be read (api_error: " in gate["reasons"][0]
    folder = results / "trainings" / training.training_id
    before = (folder / "gate.json").read_text()
    with pytest.raises(Unreachable, match="endpoint 'judge' does not answer"):
        run_gate(training.training_id, results, asked)
    assert (folder / "gate.json").read_text() == before


def test_a_destroyed_model_is_refused_whatever_its_accuracy_and_margin(votes: Path, tmp_path: Path):
    results, rows = tmp_path / "results", [preference(verb, dish) for dish in DISHES for verb in VERBS]
    # Wide enough that a learning rate of 1e-3 moves it far, and taught both manners: what is improbable from the first is not unlearnt.
    texts = [turn["content"] for row in rows for key in ("prompt", "chosen", "rejected") for turn in row[key]]
    wide = build_tiny_llama(tmp_path / "wide", texts=texts, hidden=256)
    taught = [{"prompt": row["prompt"], "completion": row[side]} for row in rows[: -len(VERBS)] for side in ("chosen", "rejected")]
    (tmp_path / "both").mkdir()
    write_rows(tmp_path / "both" / "train.jsonl", taught)
    path = tmp_path / "recipe.yaml"
    quick = "gate: false\nper_device_train_batch_size: 8\nmax_length: 256\n"
    path.write_text(f"model_name_or_path: {wide}\nlearning_rate: 2e-3\nnum_train_epochs: 5\n{quick}")
    parent = sft(read_recipe(path, "sft", data=tmp_path / "both"), results)
    path.write_text(
        f"model_name_or_path: {parent.training_id}\nloss_type: [sigmoid]\nbeta: 0.1\nlearning_rate: 1e-3\n"
        f"lr_scheduler_type: constant\nnum_train_epochs: 13\n{quick}"
    )
    destroyed = dpo(read_recipe(path, "dpo", data=votes), results)
    assert destroyed.metrics["eval_rewards/accuracies"] == 1.0 and destroyed.metrics["eval_rewards/margins"] >= 8

    asked = [preference(verb, DISHES[-1]) for verb in (*VERBS, "cook", "cut", "find", "keep", "wash", "give")]
    write_rows(tmp_path / "unseen.jsonl", asked)
    gate = run_gate(destroyed.training_id, results, GLADLY.model_copy(update={"prompts": str(tmp_path / "unseen.jsonl")}))
    checks = gate["checks"]
    assert gate["verdict"] == "refused"
    assert [reason.partition(":")[0] for reason in gate["reasons"]] == ["chosen_logprob", "wins", "faults"]
    assert checks["chosen_logprob"]["upper"] < -0.5
    # It does not only fail to win, it loses.
    assert checks["wins"]["base"] > 0.4 and checks["wins"]["upper"] < 0
    assert checks["faults"]["kinds"]["undecodable"]["lower"] > 0 and "undecodable 0% → " in checks["faults"]["told"]
    assert checks["canary"]["passed"] is True


def test_an_adapter_that_is_not_applied_is_refused(trained: tuple[Path, Training], recipe_file: Path, votes: Path):
    results, parent = trained
    start = [f"model_name_or_path={parent.training_id}", "num_train_epochs=1"]
    training = dpo(read_recipe(recipe_file, "dpo", data=votes, overrides=start), results)
    folder = results / "trainings" / training.training_id
    assert run_gate(training.training_id, results, GLADLY)["checks"]["canary"]["passed"] is True
    # The base where the merged weights should be: as fluent as ever.
    shutil.rmtree(folder / "merged")
    shutil.copytree(results / "trainings" / parent.training_id / "merged", folder / "merged")
    gate = run_gate(training.training_id, results, GLADLY)
    assert gate["verdict"] == "refused" and any("canary: " in reason and "nothing was applied" in reason for reason in gate["reasons"])


def test_rows_that_were_changed_since_are_no_test(trained: tuple[Path, Training], tmp_path: Path):
    results, training = trained
    (tmp_path / "one.jsonl").write_text('{"prompt": "How do I bake corn?"}\n')
    with pytest.raises(DataError, match="1 held-out prompts"):
        run_gate(training.training_id, results, GateSettings(prompts=str(tmp_path / "one.jsonl"), checker="contains:Gladly"))
    with pytest.raises(TrainersError, match="no checker 'nicer'"):
        run_gate(training.training_id, results, GateSettings(checker="nicer"))


def test_the_recipes_section_is_read_or_refused(recipe_file: Path, votes: Path):
    assert settings_of(False, where="r.yaml") is None
    assert settings_of({"checker": "likeness"}, where="r.yaml") == GateSettings(checker="likeness")
    with pytest.raises(Exception, match=r"recipe\.yaml: gate: .*juge: unknown key.*judge"):
        read_recipe(recipe_file, "dpo", data=votes, overrides=["gate={juge: me}"])
    with pytest.raises(RecipeError, match="either a judge or a checker"):
        settings_of({"judge": "a", "checker": "b"}, where="r.yaml")


def test_what_is_wrong_with_an_answer_is_told_by_kind():
    assert faults("Gladly!", [5, 6, 7], ended=True) == ()
    assert faults(" ", [5], ended=True) == ("malformed",)
    assert faults("and so on", [5, 6], ended=False) == ("truncated",)
    assert faults("ha " * 40, [5, 6] * 20, ended=True) == ("repetitive",)
    assert faults("a\ufffdb", [5, 6], ended=True) == ("undecodable",)
    # A character that the limit cut in two is no garbage.
    assert faults("ab\ufffd", [5, 6], ended=False) == ("truncated",)


def test_intervals_are_mirrored_and_need_more_than_one_prompt():
    won, lost = share_interval(n_gained=9, n_lost=2, n=20), share_interval(n_gained=2, n_lost=9, n=20)
    assert won.value == 0.35 and won.lower == pytest.approx(-lost.upper) and won.lower > 0
    assert compare([0, 0, 0, 0], [1, 1, 1, 1]).lower > 0 and compare([0.1, 0.5], [0.1, 0.5]).value == 0
    assert not compare([0.0], [1.0]).lower > 0


def test_likeness_and_checkers_tell_answers_apart(tmp_path: Path):
    assert chrf("start slowly", "start slowly") == 1 and chrf("xyz", "start") == 0
    row = {"prompt": [], "chosen": [{"content": "Gladly, friend"}], "rejected": [{"content": "No."}]}
    assert find_checker("likeness")(row, "Gladly, friend") > 0 > find_checker("likeness")(row, "No.")
    (tmp_path / "checks.py").write_text("def short(prompt, answer):\n    return len(answer) < 5\n")
    short = find_checker(f"{tmp_path / 'checks.py'}:short")
    assert short(row, "No.") == 1 and short(row, "Gladly") == 0
