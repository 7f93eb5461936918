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
# How far a log-probability may move when W + BA replaces Wx + B(Ax), in the precision that the base is stored in.
_TOLERANCE = {"float32": 5e-3, "float16": 5e-2, "bfloat16": 3e-1}


def merge(base: str, adapter: Path, out: Path, *, revision: str = "main") -> dict[str, float]:
    """Write base + adapter as one model with its tokenizer to `out`, whole or not at all.

    Returns the largest change of a log-probability on the canaries: `adapter_shift` (adapter against base, must not be 0) and `merge_error`
    (the merged files, read again, against base + adapter; must be about 0). `revision` is that of a base on the hub. Raises
    AdapterInactive, TrainersError.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not (adapter / "adapter_config.json").is_file():
        raise TrainersError(f"{adapter}: holds no adapter; only a training with use_peft: true leaves one to merge")
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    stored = _dtype_of(base, revision)
    try:
        model = AutoModelForCausalLM.from_pretrained(base, revision=revision, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise TrainersError(f"{adapter}: its base '{base}' cannot be loaded: {' '.join(str(error).split())[:160]}") from None
    before = canary_logprobs(model, tokenizer)
    adapted = PeftModel.from_pretrained(model, adapter)
    during = canary_logprobs(adapted, tokenizer)
    shift = float((during - before).abs().max())
    # Asked this way round, so that a NaN fails too.
    if not 0.0 < shift < float("inf"):
        raise AdapterInactive(f"{adapter}: moves log-probabilities by {shift}: it was not trained, has diverged, or does not fit {base}")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".merging-") as room:
        fresh = Path(room) / "merged"
        adapted.merge_and_unload().to(stored).save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)
        del model, adapted
        # What counts is what was written: the files are asked, in the precision that they have.
        written = AutoModelForCausalLM.from_pretrained(fresh, dtype=torch.float32)
        difference = float((canary_logprobs(written, tokenizer) - during).abs().max())
        if not difference <= _TOLERANCE.get(str(stored).removeprefix("torch."), 3e-1) * max(1.0, shift):
            raise AdapterInactive(
                f"{adapter}: merged weights differ from base + adapter by {difference:.3g} in log-probability; nothing was written"
            )
        shutil.rmtree(out, ignore_errors=True)
        fresh.rename(out)
    return {"adapter_shift": shift, "merge_error": difference}


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


def _dtype_of(base: str, revision: str) -> Any:
    """The precision that the base is stored in: merging happens in float32, the result is stored as the base was."""
    import torch
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(base, revision=revision).dtype or torch.float32
