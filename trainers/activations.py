"""What one decoder layer keeps for its backward pass, counted and not guessed: the real layer runs once on tensors without memory.

Every tensor that autograd saves in the forward pass of one layer (with its adapters, in the recipe's precision) is counted once, weights
left out. torch's FakeTensorMode computes shapes and dtypes only, so an 8B model takes about a second and no memory, and mixtures of experts
or unusual layers need no formula of their own. What is not visible that way: the temporaries of the backward pass itself.
"""

from typing import Any

from trainers.recipe import Recipe


def layer_bytes(recipe: Recipe, model: Any, batch: int, length: int) -> int:
    """Bytes that one decoder layer of `model` (on the meta device; it is cut to two layers) saves for `batch` sequences of `length`.

    Raises whatever the model's own code raises where it cannot run on shapes alone.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    inner = model.get_base_model() if recipe.model.use_peft else model
    decoder = inner.get_decoder()
    decoder.layers = decoder.layers[:2]
    last = decoder.layers[-1]
    half = torch.bfloat16 if recipe.training.bf16 else torch.float16 if recipe.training.fp16 else None
    kept: dict[int, Any] = {}
    before: int = 0

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            # The storage itself is held, so that its address is not given to another.
            kept[storage._cdata] = storage
        return tensor

    def begins(*_: Any) -> None:
        nonlocal before
        before = sum(storage.nbytes() for storage in kept.values())

    last.register_forward_pre_hook(begins)
    with FakeTensorMode():
        state = {
            name: torch.empty(tensor.shape, dtype=tensor.dtype).requires_grad_(tensor.requires_grad)
            for name, tensor in [*model.named_parameters(), *model.named_buffers()]
        }
        weights = {tensor.untyped_storage()._cdata for tensor in state.values()}
        tokens = torch.ones(batch, length, dtype=torch.long)
        embedded = torch.empty(batch, length, inner.config.hidden_size, dtype=last_dtype(decoder)).requires_grad_()
        asked = {"inputs_embeds": embedded, "attention_mask": tokens, "use_cache": False, "logits_to_keep": 1}
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), torch.autocast("cpu", half, enabled=half is not None):
            torch.func.functional_call(model, state, (), asked)
    # The masks of dropout before the adapters, a byte a number as a GPU keeps them.
    adapted = [part for part in last.modules() if hasattr(part, "lora_A")] if recipe.model.lora_dropout else []
    masks = sum(int(part.lora_A["default"].in_features) for part in adapted)
    return sum(int(storage.nbytes()) for storage in kept.values()) - before + batch * length * masks


def last_dtype(decoder: Any) -> Any:
    """The precision of the hidden states: that of the norm behind the last layer."""
    return next(decoder.norm.parameters()).dtype
