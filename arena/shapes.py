"""How a vote is written in each format: TRL's conversational forms, the JSONL of fine-tuning services, Argilla's records.

| format | a vote becomes | loaded by |
|---|---|---|
| dpo, reward | prompt, chosen, rejected | TRL's DPOTrainer, RewardTrainer |
| kto | two rows of prompt, completion, label (true: chosen; with --ties both true of a tie, both false of both_bad) | KTOTrainer |
| sft | prompt, completion (the chosen answer; once, however often it was chosen) | SFTTrainer |
| openai | input.messages, preferred_output, non_preferred_output | Together, Fireworks, OpenAI |
| argilla | one record: fields, suggestions (what the vote said), metadata | `dataset.records.from_json(path)` |
"""

from collections.abc import Callable
from typing import Any, Literal

from arena.cast import Cast, Turn

Format = Literal["dpo", "kto", "sft", "reward", "openai", "argilla"]
Row = dict[str, Any]
Clean = Callable[[str], str]
# Services refuse keys that they do not know: which vote a line came from stands in a file beside it.
WITHOUT_IDS = {"openai"}
_SAYS = {"model_a": "answer_a", "model_b": "answer_b", "tie": "tie", "both_bad": "both_bad"}


def rows_of(format: Format, cast: Cast, clean: Clean) -> list[Row]:
    """The rows of a vote that has both answers; `clean` goes over every text.

    White space around an answer is left out: no voter saw it, a model would learn it, and many tokenizers join it with the prompt.
    """
    assert cast.left is not None and cast.right is not None
    prompt = [{"role": turn["role"], "content": clean(turn["content"])} for turn in cast.messages]
    sides = [(cast.model_a, clean(cast.left.text.strip())), (cast.model_b, clean(cast.right.text.strip()))]
    ids = {"vote_id": cast.vote_id, "battle_id": cast.battle_id}
    if format == "argilla":
        return [_record(cast, prompt, sides)]
    if format == "kto":
        labels = [cast.winner in (side, "tie") for side in ("model_a", "model_b")]
        return [
            {"prompt": prompt, "completion": _said(text), "label": label, **ids, "model": model}
            for (model, text), label in zip(sides, labels, strict=True)
        ]
    (chosen_model, chosen), (rejected_model, rejected) = sides if cast.winner == "model_a" else reversed(sides)
    if format == "sft":
        return [{"prompt": prompt, "completion": _said(chosen), **ids, "chosen_model": chosen_model}]
    if format == "openai":
        return [{"input": {"messages": prompt}, "preferred_output": _said(chosen), "non_preferred_output": _said(rejected)}]
    models = {"chosen_model": chosen_model, "rejected_model": rejected_model}
    return [{"prompt": prompt, "chosen": _said(chosen), "rejected": _said(rejected), **ids, **models}]


def _record(cast: Cast, prompt: list[Turn], sides: list[tuple[str, str]]) -> Row:
    (model_a, text_a), (model_b, text_b) = sides
    return {
        "id": cast.vote_id,
        "fields": {"prompt": prompt, "answer_a": text_a, "answer_b": text_b},
        "metadata": {"battle_id": cast.battle_id, "model_a": model_a, "model_b": model_b, "source": cast.source},
        "suggestions": {"preference": {"value": _SAYS[cast.winner], "score": None, "agent": "vote"}},
        "responses": {},
        "vectors": {},
    }


def _said(text: str) -> list[Turn]:
    return [{"role": "assistant", "content": text}]
