"""QLoRA: the base in four bits, an adapter learned on top, and the merge that any engine serves."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from trainers.dpo import dpo
from trainers.errors import NotInstalled, RecipeError
from trainers.kto import kto
from trainers.recipe import Method, read_recipe
from trainers.sft import sft

# Deprecations inside trl, peft and transformers that only their next releases can mend.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
NF4 = ["load_in_4bit=true", "bnb_4bit_quant_type=nf4", "use_bnb_nested_quant=true", "dtype=float32"]
METHODS: list[tuple[Method, Any, str]] = [
    ("sft", sft, "eval_loss"),
    ("dpo", dpo, "eval_loss"),
    ("kto", kto, "eval_loss"),
]


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed (extra qlora)")
@pytest.mark.parametrize(("method", "train", "falls"), METHODS, ids=lambda value: str(value) if isinstance(value, str) else "")
def test_an_adapter_is_learned_on_a_base_of_four_bits(
    recipe_file: Path, votes: Path, tmp_path: Path, method: Method, train: Any, falls: str
):
    recipe = read_recipe(recipe_file, method, data=votes, overrides=[*NF4, "learning_rate=5e-3"])
    training = train(recipe, tmp_path)
    assert training.metrics[falls] < training.metrics[f"{falls}_before"] - 0.02
    assert training.metrics["adapter_shift"] > 0.01
    # The merge is whole weights again: no trace of four bits is left in what is served.
    config = json.loads((tmp_path / "trainings" / training.training_id / "merged" / "config.json").read_text())
    assert "quantization_config" not in config


def test_four_bits_without_an_adapter_are_refused(recipe_file: Path, votes: Path):
    plain = [line for line in recipe_file.read_text().splitlines() if not line.startswith(("lora", "use_peft"))]
    recipe_file.write_text("\n".join([*plain, "load_in_4bit: true"]))
    with pytest.raises(RecipeError, match=r"load_in_4bit: is read only with use_peft: true \(QLoRA\)"):
        read_recipe(recipe_file, "sft", data=votes)
    with pytest.raises(RecipeError, match="load_in_4bit: the head that scores cannot be trained beside quantised weights"):
        read_recipe(recipe_file, "reward", data=votes)


def test_without_bitsandbytes_the_remedy_is_told(recipe_file: Path, votes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    recipe = read_recipe(recipe_file, "sft", data=votes, overrides=NF4)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None if name == "bitsandbytes" else find(name, package))
    with pytest.raises(NotInstalled, match=r"need bitsandbytes: pip install -e '\.\[train,qlora\]'"):
        sft(recipe, tmp_path)
    assert not list(tmp_path.glob("trainings/*"))
