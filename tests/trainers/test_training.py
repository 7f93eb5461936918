"""Training for real on a tiny model: SFT learns the answers, DPO the preference, and the record says what was made from what."""

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from trainers.dpo import dpo
from trainers.errors import AdapterInactive, DataError, TrainersError, UnknownTraining
from trainers.merge import merge
from trainers.recipe import read_recipe
from trainers.record import Training, find_training, lineage, resolve_base, weights_hash
from trainers.sft import sft
from trainers.whole import whole_weights

# Deprecations inside trl, peft and transformers that only their next releases can mend.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*pin_memory.*:UserWarning"),
]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, base: Path, votes: Path) -> tuple[Path, Training, Training]:
    """(results, SFT of all weights, DPO with LoRA from it)."""
    room = tmp_path_factory.mktemp("trained")
    (room / "sft.yaml").write_text(
        f"model_name_or_path: {base}\nlearning_rate: 5e-3\nnum_train_epochs: 8\nper_device_train_batch_size: 8\nmax_length: 256\n"
    )
    (room / "dpo.yaml").write_text(
        "model_name_or_path: set below\nlearning_rate: 1e-3\nnum_train_epochs: 3\nper_device_train_batch_size: 8\nmax_length: 256\n"
        "use_peft: true\nlora_r: 8\nlora_target_modules: all-linear\n"
    )
    steps: list[int] = []
    first = sft(read_recipe(room / "sft.yaml", "sft", data=votes), room / "results", lambda step, total, metrics: steps.append(step))
    start = [f"model_name_or_path={first.training_id}"]
    second = dpo(read_recipe(room / "dpo.yaml", "dpo", data=votes, overrides=start), room / "results")
    assert steps and steps == sorted(steps)
    return room / "results", first, second


def test_sft_learns_the_chosen_answers(house: tuple[Path, Training, Training]):
    _, first, _ = house
    assert first.metrics["train_loss_last"] < first.metrics["train_loss_first"] / 4
    assert first.metrics["eval_loss"] < first.metrics["eval_loss_before"] / 3
    assert first.metrics["trained_rows"] == first.n_train == 35


def test_a_base_that_is_an_adapter_is_merged_first_and_only_once(house: tuple[Path, Training, Training], recipe_file: Path, votes: Path):
    results, _, second = house
    adapter = results / "trainings" / second.training_id / "adapter"
    start = [f"model_name_or_path={adapter}", "num_train_epochs=0.2", "gate=false"]
    third = dpo(read_recipe(recipe_file, "dpo", data=votes, overrides=start), results)
    merged = results / "trainings" / second.training_id / "merged"
    assert Path(third.base).parent == results / "bases" and third.base_hash == weights_hash(Path(third.base)) == weights_hash(merged)
    assert third.parent == second.training_id
    # It starts where the second ended, not where that began.
    assert third.metrics["eval_logps/chosen_before"] == pytest.approx(second.metrics["eval_logps/chosen"], abs=0.01)
    made = (Path(third.base) / "config.json").stat().st_mtime_ns
    assert whole_weights(str(adapter), results) == third.base and whole_weights(third.base, results) == third.base
    assert (Path(third.base) / "config.json").stat().st_mtime_ns == made


def test_of_two_trainings_from_one_adapter_the_second_waits_for_its_merge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (adapter := tmp_path / "adapter").mkdir()
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "base"}')
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    merged: list[str] = []

    def slowly(base: str, adapter: Path, out: Path, **_: Any) -> None:
        merged.append(base)
        time.sleep(0.3)
        out.mkdir()
        (out / "config.json").write_text("{}")

    monkeypatch.setattr("trainers.merge.merge", slowly)
    with ThreadPoolExecutor(3) as pool:
        found = set(pool.map(lambda _: whole_weights(str(adapter), tmp_path), range(3)))
    assert merged == ["base"] and len(found) == 1 and (Path(found.pop()) / "config.json").is_file()


def test_dpo_learns_the_preference_without_destroying_the_chosen_answer(house: tuple[Path, Training, Training]):
    _, _, second = house
    metrics = second.metrics
    assert metrics["eval_rewards/margins_before"] == 0 and metrics["eval_rewards/margins"] > 0.1
    assert metrics["eval_logps/chosen"] > metrics["eval_logps/chosen_before"] - 5
    assert metrics["eval_logps/rejected"] < metrics["eval_logps/rejected_before"]


def test_the_merged_model_is_base_plus_adapter_and_not_the_base(house: tuple[Path, Training, Training]):
    results, first, second = house
    folder = results / "trainings" / second.training_id
    assert second.metrics["adapter_shift"] > 0.01 and second.metrics["merge_error"] < 1e-3
    assert second.adapter == "adapter" and second.merged == "merged"
    assert weights_hash(folder / "merged") != weights_hash(results / "trainings" / first.training_id / "merged")
    assert (folder / "merged" / "chat_template.jinja").exists() or "chat_template" in (
        folder / "merged" / "tokenizer_config.json"
    ).read_text()


def test_the_record_says_what_was_trained_from_what(house: tuple[Path, Training, Training], base: Path, votes: Path):
    results, first, second = house
    assert first.base == str(base) and first.base_hash == weights_hash(base) and first.parent is None
    assert second.parent == first.training_id
    assert second.base_hash == weights_hash(results / "trainings" / first.training_id / "merged")
    assert [link.training_id for link in lineage(second.training_id, results)] == [second.training_id, first.training_id]
    written = json.loads((results / "trainings" / second.training_id / "training.json").read_text())
    assert written["dataset_hash"] == first.dataset_hash and written["recipe"]["lora_r"] == 8 and written["versions"]["trl"]
    assert not (results / "trainings" / second.training_id / "checkpoints").exists()


def test_a_base_is_found_by_training_id_and_by_its_merged_folder(house: tuple[Path, Training, Training]):
    results, first, _ = house
    merged = results / "trainings" / first.training_id / "merged"
    assert resolve_base(first.training_id, results) == (str(merged), first.training_id)
    assert resolve_base(str(merged), results) == (str(merged), first.training_id)
    assert resolve_base("some/hub-id", results) == ("some/hub-id", None)
    with pytest.raises(UnknownTraining, match="no finished training 'nothing'"):
        find_training("nothing", results)


def test_an_adapter_that_changes_nothing_is_refused(house: tuple[Path, Training, Training], tmp_path: Path):
    import shutil

    from safetensors.torch import load_file, save_file

    results, first, second = house
    adapter = tmp_path / "adapter"
    shutil.copytree(results / "trainings" / second.training_id / "adapter", adapter)
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({name: tensor * (0 if "lora_B" in name else 1) for name, tensor in weights.items()}, adapter / "adapter_model.safetensors")
    base = str(results / "trainings" / first.training_id / "merged")
    with pytest.raises(AdapterInactive, match="by 0.0: it was not trained"):
        merge(base, adapter, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    with pytest.raises(TrainersError, match="holds no adapter"):
        merge(base, tmp_path, tmp_path / "merged")


def test_the_merged_weights_keep_the_precision_of_the_base(recipe_file: Path, base: Path, votes: Path, tmp_path: Path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    half = tmp_path / "half"
    AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(half)
    AutoTokenizer.from_pretrained(base).save_pretrained(half)
    recipe = read_recipe(recipe_file, "sft", data=votes, overrides=[f"model_name_or_path={half}", "dtype=bfloat16", "learning_rate=1e-2"])
    training = sft(recipe, tmp_path / "results")
    merged = tmp_path / "results" / "trainings" / training.training_id / "merged"
    assert AutoModelForCausalLM.from_pretrained(merged, dtype="auto").dtype == torch.bfloat16
    assert 0 < training.metrics["merge_error"] < training.metrics["adapter_shift"]


def test_an_adapter_that_is_no_number_is_refused(house: tuple[Path, Training, Training], tmp_path: Path):
    # NaN compares false with everything, so a check written the wrong way round lets it through.
    import shutil

    from safetensors.torch import load_file, save_file

    results, first, second = house
    adapter = tmp_path / "adapter"
    shutil.copytree(results / "trainings" / second.training_id / "adapter", adapter)
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({name: tensor * float("nan") for name, tensor in weights.items()}, adapter / "adapter_model.safetensors")
    with pytest.raises(AdapterInactive, match="by nan: it was not trained, has diverged"):
        merge(str(results / "trainings" / first.training_id / "merged"), adapter, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_what_is_merged_on_disk_answers_as_base_plus_adapter(house: tuple[Path, Training, Training]):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    results, first, second = house
    folder, base = results / "trainings" / second.training_id, results / "trainings" / first.training_id / "merged"
    tokenizer = AutoTokenizer.from_pretrained(folder / "merged")
    turns = [{"role": "user", "content": "How do I bake corn?"}]
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)["input_ids"]

    def logits(model: Any) -> Any:
        with torch.no_grad():
            return model.eval()(input_ids=ids).logits

    plain = logits(AutoModelForCausalLM.from_pretrained(base))
    adapted = logits(PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder / "adapter"))
    merged = logits(AutoModelForCausalLM.from_pretrained(folder / "merged"))
    assert torch.allclose(merged, adapted, atol=1e-4) and not torch.allclose(merged, plain, atol=1e-2)


# In one step the loss is still a number, and only the weights are not.
@pytest.mark.parametrize(
    "steps", [["num_train_epochs=4"], ["num_train_epochs=1", "per_device_train_batch_size=64"]], ids=["loss", "weights"]
)
def test_a_training_that_diverges_is_an_error_and_leaves_nothing(recipe_file: Path, votes: Path, tmp_path: Path, steps: list[str]):
    wild = ["learning_rate=1e39", "max_grad_norm=1e30", *steps]
    with pytest.raises(TrainersError, match="the training diverged .*; lower learning_rate"):
        sft(read_recipe(recipe_file, "sft", data=votes, overrides=wild), tmp_path / "results")
    assert not list((tmp_path / "results" / "trainings").iterdir())


def test_a_training_is_on_record_before_its_checkpoints_go(recipe_file: Path, votes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    gone: list[bool] = []
    rmtree = shutil.rmtree

    def looked_at(path: Path, **how: Any) -> None:
        if Path(path).name == "checkpoints":
            gone.append((Path(path).parent / "training.json").is_file())
        rmtree(path, **how)

    monkeypatch.setattr("trainers.training.shutil.rmtree", looked_at)
    sft(read_recipe(recipe_file, "sft", data=votes, overrides=["num_train_epochs=1", "merge=false"]), tmp_path / "results")
    assert gone == [True]


def test_an_evaluation_during_training_needs_held_out_rows(recipe_file: Path, votes: Path, tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_bytes((votes / "train.jsonl").read_bytes())
    recipe = read_recipe(recipe_file, "sft", data=tmp_path / "data", overrides=["eval_strategy=epoch"])
    with pytest.raises(DataError, match="eval_strategy: .* has no test"):
        sft(recipe, tmp_path / "results")


def test_what_trl_refuses_is_told_in_one_line_and_leaves_nothing(recipe_file: Path, votes: Path, tmp_path: Path):
    recipe = read_recipe(recipe_file, "dpo", data=votes, overrides=["sync_ref_model=true"])
    with pytest.raises(TrainersError, match=r"recipe\.yaml: .*sync_ref_model") as caught:
        dpo(recipe, tmp_path / "results")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "results" / "trainings").iterdir())


def test_of_whole_conversations_only_the_assistants_turns_are_trained(recipe_file: Path, votes: Path, tmp_path: Path):
    rows = [json.loads(line) for line in (votes / "train.jsonl").read_text().splitlines()]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text("".join(json.dumps({"messages": row["prompt"] + row["chosen"]}) + "\n" for row in rows))
    quick = ["num_train_epochs=1", "merge=false"]
    conversations = sft(read_recipe(recipe_file, "sft", data=tmp_path / "data", overrides=quick), tmp_path / "results")
    answers = sft(read_recipe(recipe_file, "sft", data=votes, overrides=quick), tmp_path / "results")
    assert conversations.metrics["train_loss_first"] == pytest.approx(answers.metrics["train_loss_first"], rel=1e-4)


def test_few_rows_are_told_loudly(recipe_file: Path, votes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    sft(read_recipe(recipe_file, "sft", data=votes, overrides=["num_train_epochs=1", "merge=false"]), tmp_path / "results")
    assert any(record.levelname == "WARNING" and "only 35 rows to train on" in record.message for record in caplog.records)


def test_a_base_that_cannot_be_loaded_is_told_and_leaves_nothing(recipe_file: Path, votes: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    for name, told in [("nowhere", "no such folder, no training of that id"), ("empty", "holds no config.json")]:
        recipe = read_recipe(recipe_file, "sft", data=votes, overrides=[f"model_name_or_path={tmp_path / name}"])
        with pytest.raises(TrainersError, match=f"model_name_or_path: .*{told}"):
            sft(recipe, tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_two_trainings_at_once_have_two_ids(house: tuple[Path, Training, Training], tmp_path: Path):
    from trainers.record import new_training

    made = [new_training("sft", "base", tmp_path) for _ in range(3)]
    assert len({training_id for training_id, _ in made}) == 3 and all(folder.is_dir() for _, folder in made)
