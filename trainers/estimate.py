"""What a training will take, before it starts: memory by its parts, steps, tokens, time.

Memory is that of one device without sharding. What a layer keeps for its backward pass is counted (trainers/activations.py); with gradient
checkpointing each layer keeps its input only, and one layer is whole. TRL's head makes tiles of the logits, never all of them
(trl/kernels/chunked_logprob.py). Time is floating-point operations (6 a parameter and token; 4 where the weights are frozen) over what this
device does in a matrix product, at 40 % use. Both are estimates for a decision, not measurements.
"""

import logging
import math
import time
from dataclasses import dataclass
from typing import Any

from trainers.activations import layer_bytes
from trainers.errors import TrainersError
from trainers.recipe import Recipe

log = logging.getLogger("trainers")
_USE = 0.4
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "auto": 0}
# TRL's tiles of the logits: so many tokens and so much of the vocabulary at once.
_TILE_TOKENS, _TILE_WORDS = 4096, 32768
# Bytes a quantised weight: 4 bits and an absolute maximum for each 64 (Dettmers et al. 2023, arXiv:2305.14314, section 3), or 8 bits.
_FOUR_BIT, _FOUR_BIT_TWICE, _EIGHT_BIT = 0.5 + 4 / 64, 0.5 + 0.127 / 8, 1.0


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
    model, config, wide = _shape(recipe, base)
    n_parameters = sum(weight.numel() for weight in model.parameters())
    n_base = sum(weight.numel() for name, weight in model.named_parameters() if "lora_" not in name)
    n_trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    training = recipe.training
    per_row = len(lengths) / max(1, n_rows)
    batch = math.ceil(training.per_device_train_batch_size * per_row)
    longest = max(lengths)
    # PEFT keeps adapters in float32, whatever the weights beside them are.
    trained_wide = 4 if recipe.model.use_peft else wide
    memory = {
        "weights": _weights(recipe, model, n_base, wide),
        "adapter": (n_parameters - n_base) * 4,
        "reference": n_base * wide if recipe.method in ("dpo", "kto") and not recipe.model.use_peft else 0,
        "gradients": n_trained * trained_wide,
        "optimiser": n_trained * _optimiser_bytes(str(getattr(training.optim, "value", training.optim)), trained_wide),
        "logits": _logits(recipe, config, batch * longest, wide),
        # Last, because it cuts the model.
        "activations": _activations(recipe, model, config, batch, longest, wide),
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


def _shape(recipe: Recipe, base: str) -> tuple[Any, Any, int]:
    """The model with its adapter, without any weight in memory; its configuration; bytes a number of its weights."""
    import torch
    from peft import get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM
    from trl import get_peft_config

    try:
        config = AutoConfig.from_pretrained(base, revision=recipe.model.model_revision)
    except (OSError, ValueError) as error:
        raise TrainersError(f"{recipe.path}: model_name_or_path: '{base}': {' '.join(str(error).split())[:160]}") from None
    wide = _BYTES.get(str(recipe.model.dtype or "float32").removeprefix("torch."), 4) or _stored(config)
    dtype = {4: torch.float32, 2: torch.float16 if "float16" == str(recipe.model.dtype) else torch.bfloat16}[wide]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=_attention(recipe))
        if adapter := get_peft_config(recipe.model):
            adapter.task_type = "CAUSAL_LM"
            # On the CPU dropout would keep four bytes where a GPU keeps one; `_activations` adds that one.
            adapter.lora_dropout = 0.0
            model = get_peft_model(model, adapter)
    return model, config, wide


def _attention(recipe: Recipe) -> str:
    """Fused attention keeps the same tensors, whoever fused it."""
    return "eager" if recipe.model.attn_implementation == "eager" else "sdpa"


def _weights(recipe: Recipe, model: Any, n_base: int, wide: int) -> int:
    """Of a quantised base the matrices inside the layers are small; embeddings and head are not quantised."""
    if not (recipe.model.load_in_4bit or recipe.model.load_in_8bit):
        return n_base * wide
    inner = model.get_base_model() if recipe.model.use_peft else model
    in_layers = inner.get_decoder().layers.named_parameters()
    small: int = sum(weight.numel() for name, weight in in_layers if weight.ndim > 1 and "lora_" not in name)
    four = _FOUR_BIT_TWICE if recipe.model.use_bnb_nested_quant else _FOUR_BIT
    return round(small * (four if recipe.model.load_in_4bit else _EIGHT_BIT)) + (n_base - small) * wide


def _stored(config: Any) -> int:
    return 4 if config.dtype is None else int(config.dtype.itemsize)


def _optimiser_bytes(name: str, wide: int) -> int:
    if "8bit" in name:
        return 2
    if "adam" in name:
        return 2 * wide
    # Adafactor keeps a row and a column of each matrix; plain SGD nothing.
    return 0 if name in ("sgd", "adafactor") else wide


def _logits(recipe: Recipe, config: Any, tokens: int, wide: int) -> int:
    """A tile, the hidden states that it is made of with their gradient (summed in float32), and that of the head where it is trained."""
    if recipe.method == "reward":
        return 0
    hidden, computed = int(config.hidden_size), 2 if recipe.training.bf16 or recipe.training.fp16 else wide
    tile = min(tokens, _TILE_TOKENS) * _TILE_WORDS * computed
    head = 0 if recipe.model.use_peft else int(config.vocab_size) * hidden * 4
    return tile + tokens * hidden * (2 * wide + 4) + head


def _activations(recipe: Recipe, model: Any, config: Any, batch: int, length: int, wide: int) -> int:
    hidden, layers = int(config.hidden_size), int(config.num_hidden_layers)
    tokens = length * batch
    try:
        layer = layer_bytes(recipe, model, batch, length)
    except Exception as error:  # whatever a model's own code raises on shapes alone
        log.warning("activations are by the rule of 34 bytes a token and hidden unit: %s", " ".join(str(error).split())[:160])
        # Korthikanti et al. 2022 (arXiv:2205.05198, equation 1), attention fused.
        layer = 17 * tokens * hidden * wide
    if recipe.training.gradient_checkpointing:
        return layers * tokens * hidden * wide + layer
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
