"""What `trainers check` says of memory, against tensors that are really there."""

from pathlib import Path
from typing import Any

import pytest

from trainers.activations import layer_bytes
from trainers.estimate import estimate
from trainers.recipe import read_recipe

pytestmark = [pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")]
FULL = "model_name_or_path: {base}\nmax_length: 64\nper_device_train_batch_size: 2\n"
LORA = FULL + "use_peft: true\nlora_r: 8\nlora_target_modules: all-linear\nlora_dropout: 0.0\n"


def recipe_of(tmp_path: Path, base: Path, text: str, *overrides: str, method: Any = "sft") -> Any:
    path = tmp_path / "recipe.yaml"
    path.write_text(text.format(base=base))
    return read_recipe(path, method, data=tmp_path, overrides=list(overrides))


def kept_by_a_real_layer(base: Path, recipe: Any, batch: int, length: int) -> int:
    """Bytes that autograd keeps of the last layer when the model really runs."""
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM
    from trl import get_peft_config

    model: Any = AutoModelForCausalLM.from_pretrained(base, attn_implementation="sdpa")
    inner = model
    if adapter := get_peft_config(recipe.model):
        adapter.task_type = "CAUSAL_LM"
        model = get_peft_model(model, adapter)
    model.train()
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, Any] = {}
    before: list[int] = []

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    inner.model.layers[-1].register_forward_pre_hook(lambda *_: before.append(sum(part.nbytes() for part in kept.values())))
    ids = torch.ones(batch, length, dtype=torch.long)
    # Padded, as batches are: without padding no mask would be kept.
    ids[0, -1] = 0
    embedded = inner.model.embed_tokens(ids).detach().requires_grad_()
    half = recipe.training.bf16
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16, enabled=half):
        model(inputs_embeds=embedded, attention_mask=ids, use_cache=False, logits_to_keep=1)
    return sum(part.nbytes() for part in kept.values()) - before[-1]


@pytest.mark.parametrize("text", [FULL, LORA, LORA + "bf16: true\n"], ids=["full", "lora", "lora in bfloat16"])
def test_what_a_layer_keeps_is_counted_as_it_really_is(tmp_path: Path, base: Path, text: str) -> None:
    from trainers.estimate import _shape

    recipe = recipe_of(tmp_path, base, text)
    model, _, _ = _shape(recipe, str(base))
    really = kept_by_a_real_layer(base, recipe, 2, 48)
    assert layer_bytes(recipe, model, 2, 48) == really


def test_checkpointing_dropout_and_quantised_weights_change_what_they_should(tmp_path: Path, base: Path) -> None:
    def memory(text: str, *overrides: str) -> dict[str, int]:
        return estimate(recipe_of(tmp_path, base, text, *overrides), str(base), lengths=[48] * 8, n_rows=8).memory_bytes

    plain = memory(LORA)
    again = memory(LORA, "gradient_checkpointing=true")
    # Two layers of a tiny model: one whole layer and two inputs of 2 x 48 tokens, 64 wide, four bytes each.
    assert again["activations"] == plain["activations"] // 2 + 2 * 2 * 48 * 64 * 4
    # One byte a number at the input of each of the seven adapted matrices: six of 64, one of 128.
    dropped = memory(LORA, "lora_dropout=0.1")
    assert dropped["activations"] - plain["activations"] == 2 * 2 * 48 * (6 * 64 + 128)
    four, plain_weights = memory(LORA, "load_in_4bit=true")["weights"], plain["weights"]
    # Matrices inside the layers at about half a byte instead of four; embeddings and head stay.
    in_layers = 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128)
    assert plain_weights - four == pytest.approx(in_layers * (4 - 0.5625), rel=1e-6)


def test_a_model_that_does_not_run_on_shapes_is_estimated_by_the_rule(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> int:
        raise RuntimeError("data-dependent control flow")

    monkeypatch.setattr("trainers.estimate.layer_bytes", fails)
    told = estimate(recipe_of(tmp_path, base, LORA), str(base), lengths=[48] * 8, n_rows=8)
    assert told.memory_bytes["activations"] == 2 * 17 * 2 * 48 * 64 * 4
    assert "rule of 34 bytes" in caplog.text
