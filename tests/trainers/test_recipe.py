"""Every key of a recipe is read, or refused with its remedy."""

import re
from pathlib import Path
from typing import cast

import pytest
import yaml

from serving.errors import BakeoffError, DocumentError
from trainers.errors import RecipeError
from trainers.recipe import CONFIGS, Method, read_recipe

RECIPES = Path(__file__).parents[2] / "trainers" / "recipes"


@pytest.mark.parametrize("path", sorted(RECIPES.rglob("*.yaml")), ids=lambda path: str(path.relative_to(RECIPES)))
def test_each_shipped_recipe_is_read_whole(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # A recipe for GPUs is read as it would be there.
    import transformers.training_args

    monkeypatch.setattr(transformers.training_args, "is_torch_bf16_gpu_available", lambda: True)
    method = cast(Method, path.parent.name)
    recipe = read_recipe(path, method, data=tmp_path)
    assert recipe.training.__class__.__name__ == CONFIGS[method]
    for key, value in recipe.stated.items():
        if key in recipe.own:
            continue
        holder = recipe.training if hasattr(recipe.training, key) else recipe.model
        kept = getattr(holder, key)
        assert kept == value or [kept] == value or str(getattr(kept, "value", kept)) == value, key
    # Where its numbers come from stands above them, and the name of the file is what it does.
    above = path.read_text().split("\nmodel_name_or_path")[0]
    assert any(word in above for word in ("arXiv", "handbook")) and "\n# Ours: " in above
    processes = 8 if "eight GPUs" in above.splitlines()[0] else 1
    batch = recipe.training.per_device_train_batch_size * recipe.training.gradient_accumulation_steps * processes
    assert re.search(rf"\n# Effective batch .* = {batch}\.$", above)
    rate = f"{recipe.training.learning_rate:.0e}".replace("e-0", "e-")
    assert re.search(rf"\b{rate}\b", above), f"{rate}: where is it from?"
    stated = (recipe.model.use_peft, recipe.model.load_in_4bit)
    assert stated == {"full": (False, False), "lora": (True, False), "cpu": (True, False), "qlora": (True, True)}[path.stem]


@pytest.mark.parametrize("path", sorted(RECIPES.rglob("*.jinja")), ids=lambda path: path.parent.name)
def test_each_shipped_template_trains_the_answer_and_its_end(path: Path, base: Path):
    from transformers import AutoTokenizer

    from trainers.template import lint

    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = path.read_text()
    asked = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}, {"role": "user", "content": "How are you?"}]
    assert lint(tokenizer, asked, [{"role": "assistant", "content": "Well."}]) == []


def test_values_reach_trl_as_what_was_meant(recipe_file: Path, tmp_path: Path):
    recipe = read_recipe(recipe_file, "sft", data=tmp_path, overrides=["learning_rate=5e-7", "lora_target_modules=[q_proj, v_proj]"])
    assert recipe.training.learning_rate == 5e-7
    assert recipe.model.lora_target_modules == ["q_proj", "v_proj"] and recipe.model.use_peft is True
    assert recipe.training.report_to in ("none", [])
    # To YAML 1.1 a bare no is false.
    assert read_recipe(recipe_file, "sft", data=tmp_path, overrides=["eval_strategy=no"]).training.eval_strategy == "no"


def test_dpo_defaults_to_the_loss_that_keeps_the_chosen_answer_alive(recipe_file: Path, tmp_path: Path):
    assert read_recipe(recipe_file, "dpo", data=tmp_path).training.loss_type == ["sigmoid", "sft"]
    single = read_recipe(recipe_file, "dpo", data=tmp_path, overrides=["loss_type=ipo"])
    assert single.training.loss_type == ["ipo"] and single.training.loss_weights == [1.0]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("lerning_rate=1", r"--set lerning_rate: unknown key\. Did you mean 'learning_rate'\?"),
        ("beta=0.1", "beta: unknown key"),
        ("lora_r=many", r"lora_r: .*valid integer.*\(got 'many'\)"),
        ("output_dir=here", "output_dir: each training has a folder of its own"),
        ("push_to_hub=true", "push_to_hub: nothing is uploaded"),
        ("hub_model_id=x/y", "hub_model_id: nothing is uploaded"),
        ("use_bnb_nested_quant=true", "use_bnb_nested_quant: is read only with load_in_4bit: true"),
        ("eval_strategy=sometimes", r"eval_strategy: must be one of no, steps, epoch \(got 'sometimes'\)"),
        ("nonsense", "--set nonsense: write key=value"),
        ("seed=[1", "not valid YAML"),
        ("dtype=bf16", r"dtype: must be one of auto, bfloat16, float16, float32 \(got 'bf16'\)"),
        ("num_train_epochs=true", "num_train_epochs: must not be true; give a number"),
        ("do_train=true", "do_train: a switch of other scripts that nothing reads here"),
        ("trust_remote_code=true", "trust_remote_code: code that comes with a model is not run here"),
        ("dataset_kwargs={skip_prepare_dataset: true}", "dataset_kwargs: the rows are prepared and checked here"),
        ("model_init_kwargs={token: secret}", "model_init_kwargs: holds a token"),
        ("eval_steps=5", "eval_steps: is read only with eval_strategy: steps"),
        ("packing_strategy=bfd", "packing_strategy: is read only with packing: true"),
        ("use_peft=false", "lora_r: is read only with use_peft: true"),
        ("max_steps=3", "num_train_epochs: is read only with no max_steps"),
        ("loss_type=wrong", "loss_type: must be one of nll, dft"),
    ],
)
def test_what_cannot_be_followed_is_refused(recipe_file: Path, tmp_path: Path, override: str, told: str):
    with pytest.raises(RecipeError, match=told) as caught:
        read_recipe(recipe_file, "sft", data=tmp_path, overrides=[override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["label_smoothing=0.1"], "the loss sigmoid, sft ignores it.*loss_type: \\[robust\\]"),
        (["loss_type=[sigmoid, sft]", "loss_weights=[1.0]"], "1 weights for 2 losses"),
        (["loss_type=sigmoyd"], "dpo knows no loss 'sigmoyd'. Did you mean 'sigmoid'"),
        (["loss_type=robust", "label_smoothing=0.6"], "the share of wrong votes must be below 0.5"),
        (["loss_type=sft", "beta=0.5"], "beta: the loss sft ignores it"),
        (["discopop_tau=0.1"], "discopop_tau: the loss sigmoid, sft ignores it"),
        (["padding_free=true"], "padding_free: TRL's DPO has it switched off"),
        (["label_smoothing_factor=0.1"], "label_smoothing_factor: DPO ignores it"),
        (["ref_model_sync_steps=3"], "ref_model_sync_steps: is read only with sync_ref_model: true"),
    ],
)
def test_what_the_loss_would_ignore_is_refused(recipe_file: Path, tmp_path: Path, overrides: list[str], told: str):
    with pytest.raises(RecipeError, match=told):
        read_recipe(recipe_file, "dpo", data=tmp_path, overrides=overrides)


def test_label_smoothing_is_taken_by_the_loss_that_reads_it(recipe_file: Path, tmp_path: Path):
    recipe = read_recipe(recipe_file, "dpo", data=tmp_path, overrides=["label_smoothing=0.106", "loss_type=[robust]"])
    assert recipe.training.label_smoothing == 0.106


def test_a_typo_in_the_file_is_told_with_the_file(recipe_file: Path, tmp_path: Path):
    recipe_file.write_text(recipe_file.read_text() + "lora_rank: 8\n")
    with pytest.raises(RecipeError, match=r"recipe\.yaml: lora_rank: unknown key\. Did you mean '"):
        read_recipe(recipe_file, "sft", data=tmp_path)


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_the_resolved_recipe_is_a_recipe_for_the_same_training(recipe_file: Path, tmp_path: Path, method: Method):
    first = read_recipe(recipe_file, method, data=tmp_path)
    again_file = tmp_path / "again.yaml"
    again_file.write_text(yaml.safe_dump(dict(first.resolved)))
    again = read_recipe(again_file, method)
    assert again.resolved == first.resolved and again.dataset == first.dataset
    assert again.training.to_dict() == first.training.to_dict() and again.model == first.model


def test_a_recipe_without_a_base_or_a_dataset_or_a_file_is_told(recipe_file: Path, tmp_path: Path):
    with pytest.raises(RecipeError, match="dataset: missing; add it, or give the folder with --data DIR"):
        read_recipe(recipe_file, "sft")
    empty = tmp_path / "empty.yaml"
    empty.write_text("learning_rate: 1e-4\n")
    with pytest.raises(RecipeError, match="model_name_or_path: missing"):
        read_recipe(empty, "sft", data=tmp_path)
    with pytest.raises(DocumentError, match="no such file"):
        read_recipe(tmp_path / "nowhere.yaml", "sft", data=tmp_path)
    assert issubclass(RecipeError, BakeoffError)
