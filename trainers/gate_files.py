"""What the gate leaves behind: gate.json with every figure, and gate-answers.jsonl with what both models said, for people to read."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serving.documents import write_text_atomically
from trainers.answers import Answer, Turns


def write_gate(
    folder: Path,
    gate: dict[str, Any],
    prompts: Sequence[Turns],
    base: Sequence[Answer],
    tuned: Sequence[Answer],
    outcomes: Sequence[int | None],
) -> None:
    """Both files, each whole or not at all; the verdict last."""
    lines = []
    for prompt, before, after, outcome in zip(prompts, base, tuned, outcomes, strict=True):
        faults = {"base_faults": list(before.faults), "tuned_faults": list(after.faults)}
        tokens = {"base_tokens": before.n_tokens, "tuned_tokens": after.n_tokens}
        winner = None if outcome is None else {1: "tuned", -1: "base", 0: "tie"}[outcome]
        row = {"prompt": prompt, "base": before.text, "tuned": after.text, "winner": winner, **faults, **tokens}
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    write_text_atomically(folder / "gate-answers.jsonl", "".join(lines))
    write_text_atomically(folder / "gate.json", json.dumps(gate, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
