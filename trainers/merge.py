"""Merge an adapter into whole weights that any engine serves, and prove that it is really active: `trainers merge ID`.

An adapter can silently not be applied. So the merged model must say what base + adapter says, and that must differ from what the base says.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from trainers.errors import AdapterInactive, TrainersError

# Asked of every model; the answers do not matter, that they change does.
CANARIES = ("Hello", "Write one sentence about the sea.", "What is 17 + 25? Answer with a number.")
# float32 merging W + BA rounds differently from computing Wx + B(Ax): far below what a trained adapter moves.
_TOLERANCE = 5e-3


def merge(base: str, adapter: Path, out: Path) -> dict[str, float]:
    """Write base + adapter as one model with its tokenizer to `out`, whole or not at all.

    Returns the largest change of a log-probability on the canaries: `adapter_shift` (adapter against base, must not be 0) and `merge_error`
    (merged against base + adapter, must be about 0). Raises AdapterInactive, TrainersError.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not (adapter / "adapter_config.json").is_file():
        raise TrainersError(f"{adapter}: holds no adapter; only a training with use_peft: true leaves one to merge")
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    before = canary_logprobs(model, tokenizer)
    adapted = PeftModel.from_pretrained(model, adapter)
    during = canary_logprobs(adapted, tokenizer)
    merged = adapted.merge_and_unload()
    after = canary_logprobs(merged, tokenizer)
    shift, error = float((during - before).abs().max()), float((after - during).abs().max())
    if shift == 0.0:
        raise AdapterInactive(
            f"{adapter}: changes no log-probability on {len(CANARIES)} prompts: it was not trained, or does not fit {base}"
        )
    if error > _TOLERANCE * max(1.0, shift):
        raise AdapterInactive(
            f"{adapter}: merged weights differ from base + adapter by {error:.3g} in log-probability; nothing was written"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".merging-") as room:
        fresh = Path(room) / "merged"
        merged.to(_dtype_of(base)).save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)
        shutil.rmtree(out, ignore_errors=True)
        fresh.rename(out)
    return {"adapter_shift": shift, "merge_error": error}


def canary_logprobs(model: Any, tokenizer: Any) -> Any:
    """Log-probabilities of the next token after each canary prompt: a float32 tensor (canaries, vocabulary)."""
    import torch

    model.eval()
    rows = []
    with torch.no_grad():
        for text in CANARIES:
            ids = tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], add_generation_prompt=True, return_tensors="pt", return_dict=True
            )["input_ids"].to(model.device)
            rows.append(model(input_ids=ids).logits[0, -1].float().log_softmax(-1).cpu())
    return torch.stack(rows)


def _dtype_of(base: str) -> Any:
    """The precision that the base is stored in: merging happens in float32, the result is stored as the base was."""
    import torch
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(base).dtype or torch.float32
