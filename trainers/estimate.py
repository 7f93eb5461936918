"""What a training will take, before it starts: memory by its parts, steps, tokens, time.

Memory is that of one device without sharding. Activations follow Korthikanti et al. 2022 (arXiv:2205.05198, equation 1): 34·s·b·h bytes a
layer at two bytes a number, plus 5·a·s²·b where attention is not fused; with gradient checkpointing a layer's input only, and one layer
whole. Time is floating-point operations (6 a parameter and token; 4 where the weights are frozen) over what this device does in a matrix
product, at 40 % use. Both are estimates for a decision, not measurements.
"""

import math
import time
from dataclasses import dataclass
from typing import Any

from trainers.errors import TrainersError
from trainers.recipe import Recipe

_USE = 0.4
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "auto": 0}


@dataclass(frozen=True)
class Estimate:
    """`memory_bytes` by part; `n_parameters`, those trained; `n_steps`; `n_tokens` in all epochs; `time_s` on this device."""

    memory_bytes: dict[str, int]
    n_parameters: int
    n_trained: int
    n_steps: int
    n_tokens: int
    flops: float
    time_s: float


def estimate(recipe: Recipe, base: str, *, lengths: list[int], n_rows: int) -> Estimate:
    """`lengths` are the tokens of all sequences that are trained (dpo: chosen and rejected) of `n_rows` rows, after truncation."""
    model, config = _shape(recipe, base)
    n_parameters = sum(weight.numel() for weight in model.parameters())
    n_base = sum(weight.numel() for name, weight in model.named_parameters() if "lora_" not in name)
    n_trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    training = recipe.training
    per_row = len(lengths) / max(1, n_rows)
    batch = math.ceil(training.per_device_train_batch_size * per_row)
    longest = max(lengths)
    wide = _BYTES.get(str(recipe.model.dtype or "float32").removeprefix("torch."), 4) or _stored(config)
    # PEFT keeps adapters in float32, whatever the weights beside them are.
    trained_wide = 4 if recipe.model.use_peft else wide
    memory = {
        "weights": n_base * wide,
        "adapter": (n_parameters - n_base) * 4,
        "reference": n_base * wide if recipe.method in ("dpo", "kto") and not recipe.model.use_peft else 0,
        "gradients": n_trained * trained_wide,
        "optimiser": n_trained * _optimiser_bytes(str(getattr(training.optim, "value", training.optim)), trained_wide),
        "activations": _activations(recipe, config, batch, longest, wide if not training.bf16 else 2),
        # The logits, their float32 copy for the loss, and the gradient of either.
        "logits": batch * longest * int(config.vocab_size) * (2 * wide + 8),
    }
    n_devices = max(1, training.world_size) if hasattr(training, "world_size") else 1
    a_step = training.per_device_train_batch_size * training.gradient_accumulation_steps * n_devices
    epochs = training.num_train_epochs
    per_epoch = math.ceil(n_rows / a_step)
    n_steps = training.max_steps if training.max_steps > 0 else math.ceil(per_epoch * epochs)
    n_tokens = round(sum(lengths) * n_steps / per_epoch)
    per_token = (
        (4 if recipe.model.use_peft else 6) + (2 if training.gradient_checkpointing else 0) + (2 if recipe.method in ("dpo", "kto") else 0)
    )
    flops = float(per_token) * n_base * n_tokens
    return Estimate(memory, n_parameters, n_trained, n_steps, n_tokens, flops, flops / (_USE * _flops_per_s(wide)))


def _shape(recipe: Recipe, base: str) -> tuple[Any, Any]:
    """The model with its adapter, without any weight in memory."""
    import torch
    from peft import get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM
    from trl import get_peft_config

    try:
        config = AutoConfig.from_pretrained(base, revision=recipe.model.model_revision)
    except (OSError, ValueError) as error:
        raise TrainersError(f"{recipe.path}: model_name_or_path: '{base}': {' '.join(str(error).split())[:160]}") from None
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
        if adapter := get_peft_config(recipe.model):
            adapter.task_type = "CAUSAL_LM"
            model = get_peft_model(model, adapter)
    return model, config


def _stored(config: Any) -> int:
    return 4 if config.dtype is None else int(config.dtype.itemsize)


def _optimiser_bytes(name: str, wide: int) -> int:
    if "8bit" in name:
        return 2
    if "adam" in name:
        return 2 * wide
    # Adafactor keeps a row and a column of each matrix; plain SGD nothing.
    return 0 if name in ("sgd", "adafactor") else wide


def _activations(recipe: Recipe, config: Any, batch: int, length: int, wide: int) -> int:
    hidden, layers, heads = int(config.hidden_size), int(config.num_hidden_layers), int(config.num_attention_heads)
    layer = 17 * length * batch * hidden * wide
    if (recipe.model.attn_implementation or "sdpa") == "eager":
        layer += 5 * heads * length * length * batch * wide // 2
    if recipe.training.gradient_checkpointing:
        return layers * length * batch * hidden * wide + layer
    return layers * layer


def _flops_per_s(wide: int) -> float:
    """What this device does in a matrix product, measured in a blink."""
    import torch

    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    size = 4096 if str(device) != "cpu" else 512
    kind = torch.bfloat16 if wide == 2 and str(device) != "cpu" else torch.float32
    one = torch.ones(size, size, dtype=kind, device=device)
    best = 0.0
    for _ in range(4):
        started = time.perf_counter()
        (one @ one).sum().item()
        best = max(best, 2 * size**3 / (time.perf_counter() - started))
    return best
