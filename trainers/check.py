"""Look before any GPU hour: `trainers check RECIPE` reads a recipe, its rows and its base as a training would, and trains nothing.

Refused, each by its name: keys that nothing reads (RecipeError), a test set that the training set holds (LeakySplit), rows that would lose
their answer (DataError), a chat template that trains the wrong tokens or that the serving engine does not share (TemplateFault).
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.endpoints import Endpoint
from trainers.data import Row, Rows, check_lengths, load_rows, parts
from trainers.errors import LeakySplit
from trainers.estimate import Estimate, estimate
from trainers.recipe import Recipe
from trainers.record import resolve_base
from trainers.template import Rendered, compare_with_server, lint, rendered
from trainers.training import load_tokenizer


@dataclass(frozen=True)
class Checked:
    """What a training would do. `lengths` are tokens of each sequence after truncation, `examples` the first rows as they are trained."""

    base: str
    rows: Rows
    tokenizer: Any
    n_cut: dict[str, int]
    n_lost: dict[str, int]
    lengths: list[int]
    n_trained_tokens: int
    examples: list[Rendered]
    warnings: list[str]
    served: str | None
    estimate: Estimate


def check(recipe: Recipe, results: Path, *, endpoint: Endpoint | None = None, n_examples: int = 3) -> Checked:
    """Everything that can be known without training. Raises RecipeError, DataError, LeakySplit, TemplateFault, TrainersError."""
    base, _ = resolve_base(recipe.model.model_name_or_path, results)
    rows = load_rows(recipe.dataset, recipe.method, recipe.own)
    refuse_leaks(rows)
    tokenizer = load_tokenizer(recipe, base)
    limit = recipe.training.max_length
    n_cut = {name: check_lengths(recipe, split, tokenizer, name=f"{name}.jsonl") for name, split in _splits(rows)}
    first_prompt, first_answers = parts(rows.train[0])
    warnings = lint(tokenizer, first_prompt, first_answers[0])
    examples: list[Rendered] = []
    lengths: list[int] = []
    n_trained, n_joined, lost = 0, 0, Counter[str]()
    for name, split in _splits(rows):
        for row in split:
            prompt, answers = parts(row)
            tokens = [rendered(tokenizer, prompt, answer, max_length=limit) for answer in _trained(recipe, answers)]
            if any(sequence.start >= len(sequence.ids) for sequence in tokens):
                lost[name] += 1
            elif name == "train":
                n_joined += any(sequence.joined for sequence in tokens)
                lengths += [len(sequence.ids) for sequence in tokens]
                n_trained += sum(len(sequence.ids) - sequence.start for sequence in tokens)
                examples += tokens[:1] if len(examples) < n_examples else []
    if n_joined:
        warnings.append(
            f"{n_joined} of {len(rows.train)} rows begin their answer with what the tokenizer joins with the prompt (white space "
            "mostly): the model is never asked that way; strip the answers"
        )
    served = None if endpoint is None else compare_with_server(tokenizer, endpoint, first_prompt)
    expected = estimate(recipe, base, lengths=lengths, n_rows=len(rows.train) - lost["train"])
    return Checked(base, rows, tokenizer, n_cut, dict(lost), lengths, n_trained, examples, warnings, served, expected)


def refuse_leaks(rows: Rows) -> None:
    """Raise LeakySplit when a prompt of test.jsonl is in train.jsonl, however it is spelled: such a test flatters every method."""
    known = {opening(row) for row in rows.train}
    both = [number for number, row in enumerate(rows.test, start=1) if opening(row) in known]
    if both:
        raise LeakySplit(
            f"{rows.folder / 'test.jsonl'}: row {both[0]}: its prompt is in train.jsonl too, as in {len(both)} of {len(rows.test)} rows: "
            "the test would flatter the training; export the dataset again ('arena export' keeps prompts and voters apart)"
        )


def opening(row: Row) -> str:
    """The first question of a row, in lower case and with single spaces."""
    prompt, _ = parts(row)
    turns = prompt or row.get("messages", [])
    asked = next((turn["content"] for turn in turns if turn["role"] == "user"), turns[0]["content"] if turns else "")
    return " ".join(asked.lower().split())


def _splits(rows: Rows) -> list[tuple[str, list[Row]]]:
    return [("train", rows.train), *([("test", rows.test)] if rows.test else [])]


def _trained(recipe: Recipe, answers: list[list[Any]]) -> list[list[Any]]:
    # Of a preference, sft learns the chosen answer alone.
    return answers[:1] if recipe.method == "sft" else answers
