"""What a model does with held-out rows: the log-probability of the answers that people chose, and answers of its own.

    chosen = mean_logprobs(model, tokenizer, [(prompt, answer), …])       # nats a token, one number a row
    answers = sample(model, tokenizer, prompts, max_tokens=256, temperature=.7, seed=0)

The base and the tuned model are asked the same with the same seed; what is wrong with an answer on its face is told by `faults`.
"""

import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trainers.errors import TrainersError

Turns = list[dict[str, str]]
OnProgress = Callable[[int, int], None]
# Fewer tokens than this repeat themselves by chance.
_LONG_ENOUGH_TOKENS = 24


class Answer(NamedTuple):
    """What was written, and what is wrong with it: of malformed, truncated, repetitive, undecodable."""

    text: str
    faults: tuple[str, ...]
    n_tokens: int


FAULTS = ("malformed", "truncated", "repetitive", "undecodable")


def load(name: str, adapter: Path | None = None, *, revision: str = "main") -> Any:
    """A model ready to be asked: in float32 on a CPU, as it is stored on an accelerator. Raises TrainersError."""
    import torch
    from transformers import AutoModelForCausalLM

    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    try:
        model = AutoModelForCausalLM.from_pretrained(name, revision=revision, dtype=torch.float32 if device is None else "auto")
        if adapter is not None:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, adapter)
    except (OSError, ValueError) as error:
        raise TrainersError(f"'{adapter or name}' cannot be loaded: {' '.join(str(error).split())[:160]}") from None
    return (model if device is None else model.to(device)).eval()


def mean_logprobs(model: Any, tokenizer: Any, pairs: Sequence[tuple[Turns, Turns]], on_progress: OnProgress | None = None) -> list[float]:
    """Per (prompt, answer) the mean log-probability of the answer's tokens with its end of turn, in nats. Raises TemplateFault."""
    import torch

    from trainers.template import rendered

    longest = getattr(model.config, "max_position_embeddings", None)
    found = []
    with torch.no_grad():
        for number, (prompt, answer) in enumerate(pairs, start=1):
            row = rendered(tokenizer, prompt, answer, max_length=longest)
            start = max(row.start, 1)
            if start < len(row.ids):
                ids = torch.tensor([row.ids], device=model.device)
                logits = model(input_ids=ids).logits[0, start - 1 : -1].float()
                found.append(float(logits.log_softmax(-1).gather(-1, ids[0, start:, None]).mean()))
            if on_progress is not None:
                on_progress(number, len(pairs))
    return found


def sample(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Turns],
    *,
    max_tokens: int,
    temperature: float,
    seed: int,
    batch_size: int = 16,
    on_progress: OnProgress | None = None,
) -> list[Answer]:
    """One answer to each prompt; temperature 0 takes the likeliest token each time. Nothing else shapes the draw (no top-p, no penalty)."""
    import torch

    ends = _ends(model, tokenizer)
    chosen = {"do_sample": temperature > 0, "max_new_tokens": max_tokens, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0}
    if temperature > 0:
        chosen |= {"temperature": temperature, "top_p": 1.0, "top_k": 0}
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(ends, default=0)
    torch.manual_seed(seed)
    found: list[Answer] = []
    for at in range(0, len(prompts), batch_size):
        rows = [
            tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False) for prompt in prompts[at : at + batch_size]
        ]
        widest = max(len(row) for row in rows)
        ids = torch.tensor([[padding] * (widest - len(row)) + row for row in rows], device=model.device)
        mask = torch.tensor([[0] * (widest - len(row)) + [1] * len(row) for row in rows], device=model.device)
        with torch.no_grad():
            written = model.generate(input_ids=ids, attention_mask=mask, pad_token_id=padding, eos_token_id=sorted(ends), **chosen)
        found += [_answer(tokenizer, row[widest:].tolist(), ends) for row in written]
        if on_progress is not None:
            on_progress(len(found), len(prompts))
    return found


def faults(text: str, ids: Sequence[int], *, ended: bool) -> tuple[str, ...]:
    """What is wrong with an answer on its face; `ids` are its tokens without the end of turn.

    malformed: empty. truncated: it did not end within the limit. repetitive: fewer than half of its runs of four tokens are different ones.
    undecodable: bytes that are no text (U+FFFD), or control characters.
    """
    told = []
    if not text.strip():
        told.append("malformed")
    if not ended:
        told.append("truncated")
    runs = [tuple(ids[at : at + 4]) for at in range(len(ids) - 3)]
    if len(ids) >= _LONG_ENOUGH_TOKENS and len(set(runs)) < len(runs) / 2:
        told.append("repetitive")
    # What is cut off may be cut within a character.
    shown = text if ended else text.rstrip("\ufffd")
    if any(mark == "\ufffd" or (unicodedata.category(mark) == "Cc" and mark not in "\n\r\t") for mark in shown):
        told.append("undecodable")
    return tuple(told)


def _answer(tokenizer: Any, ids: list[int], ends: set[int]) -> Answer:
    end = next((place for place, token in enumerate(ids) if token in ends), None)
    own = ids[:end]
    text = tokenizer.decode(own, skip_special_tokens=True)
    told = faults(text, own, ended=end is not None)
    if set(own) & set(tokenizer.all_special_ids) and "malformed" not in told:
        # A turn of somebody else's inside the answer.
        told = ("malformed", *told)
    return Answer(text, told, len(own))


def _ends(model: Any, tokenizer: Any) -> set[int]:
    stated = model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(stated if isinstance(stated, list) else [stated])} - {None}
    if not ends:
        raise TrainersError(f"'{model.config.name_or_path}' names no end-of-text token, so that no answer of it would end")
    return ends
