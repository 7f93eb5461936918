"""Every key of a recipe is read, or refused with its remedy."""

from pathlib import Path

import pytest

from serving.errors import BakeoffError, DocumentError
from trainers.errors import RecipeError
from trainers.recipe import read_recipe

RECIPES = Path(__file__).parents[2] / "trainers" / "recipes"


@pytest.mark.parametrize("path", sorted(RECIPES.rglob("*.yaml")), ids=lambda path: str(path.relative_to(RECIPES)))
def test_each_shipped_recipe_is_read_whole(path: Path, tmp_path: Path):
    method = "dpo" if path.parent.name == "dpo" else "sft"
    recipe = read_recipe(path, method, data=tmp_path)
    for key, value in recipe.stated.items():
        holder = recipe.training if hasattr(recipe.training, key) else recipe.model
        kept = getattr(holder, key)
        assert kept == value or [kept] == value or str(getattr(kept, "value", kept)) == value, key


def test_values_reach_trl_as_what_was_meant(recipe_file: Path, tmp_path: Path):
    recipe = read_recipe(recipe_file, "sft", data=tmp_path, overrides=["learning_rate=5e-7", "lora_target_modules=[q_proj, v_proj]"])
    assert recipe.training.learning_rate == 5e-7
    assert recipe.model.lora_target_modules == ["q_proj", "v_proj"] and recipe.model.use_peft is True
    assert recipe.training.report_to in ("none", [])


def test_dpo_defaults_to_the_loss_that_keeps_the_chosen_answer_alive(recipe_file: Path, tmp_path: Path):
    assert read_recipe(recipe_file, "dpo", data=tmp_path).training.loss_type == ["sigmoid", "sft"]
    single = read_recipe(recipe_file, "dpo", data=tmp_path, overrides=["loss_type=ipo"])
    assert single.training.loss_type == ["ipo"] and single.training.loss_weights == [1.0]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("lerning_rate=1", r"recipe\.yaml: lerning_rate: unknown key\. Did you mean 'learning_rate'\?"),
        ("beta=0.1", "beta: unknown key"),
        ("lora_r=many", r"lora_r: .*valid integer.*\(got 'many'\)"),
        ("output_dir=here", "output_dir: each training has a folder of its own"),
        ("push_to_hub=true", "push_to_hub: nothing is uploaded"),
        ("hub_model_id=x/y", "hub_model_id: nothing is uploaded"),
        ("load_in_4bit=true", "load_in_4bit: quantised training is not supported yet"),
        ("eval_strategy=sometimes", "eval_strategy"),
        ("nonsense", "--set nonsense: write key=value"),
        ("seed=[1", "not valid YAML"),
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
    ],
)
def test_what_the_loss_would_ignore_is_refused(recipe_file: Path, tmp_path: Path, overrides: list[str], told: str):
    with pytest.raises(RecipeError, match=told):
        read_recipe(recipe_file, "dpo", data=tmp_path, overrides=overrides)


def test_label_smoothing_is_taken_by_the_loss_that_reads_it(recipe_file: Path, tmp_path: Path):
    recipe = read_recipe(recipe_file, "dpo", data=tmp_path, overrides=["label_smoothing=0.106", "loss_type=[robust]"])
    assert recipe.training.label_smoothing == 0.106


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
