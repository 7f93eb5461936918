"""The card of an exported dataset: README.md beside the rows, which says what is in it, what was left out and why, and on what terms."""

from typing import TYPE_CHECKING

from arena.preferences import DROPPED

if TYPE_CHECKING:
    from arena.export import Audit

_HOLDS = {
    "dpo": "`prompt`, `chosen`, `rejected` (lists of messages, TRL's conversational form) and `vote_id`, `battle_id`, `chosen_model`, "
    "`rejected_model`",
    "kto": "`prompt`, `completion` (lists of messages), `label` (true: to be learned) and `vote_id`, `battle_id`, `model`; "
    "a vote makes two lines",
    "sft": "`prompt`, `completion` (lists of messages: the chosen answer) and `vote_id`, `battle_id`, `chosen_model`",
    "openai": "`input.messages`, `preferred_output`, `non_preferred_output`, as Together, Fireworks and OpenAI take them; its vote is in "
    "votes.csv, in the same order",
}
_HOLDS["reward"] = _HOLDS["dpo"]
_HEAD = """---
configs:
- config_name: default
  data_files:
  - {split: train, path: train.jsonl}
  - {split: test, path: test.jsonl}
---
"""
_ARGILLA = """records.json is what Argilla's SDK loads, into a dataset with these settings:

```python
settings = rg.Settings(
    fields=[rg.ChatField(name="prompt"), rg.TextField(name="answer_a"), rg.TextField(name="answer_b")],
    questions=[rg.LabelQuestion(name="preference", labels=["answer_a", "answer_b", "tie", "both_bad"])],
    metadata=[rg.TermsMetadataProperty(name=name) for name in ("battle_id", "model_a", "model_b", "source")],
)
dataset = rg.Dataset(name="votes", settings=settings).create()
dataset.records.from_json("records.json")
```

What each vote said stands as a suggestion by the agent `vote`; the record's id is the vote's.
Whether answers may be trained on was not asked.
"""


def card(name: str, audit: "Audit") -> str:
    """README.md as text."""
    argilla = audit.format == "argilla"
    dropped = "".join(f"| {reason} | {number:,} | {DROPPED[reason]} |\n" for reason, number in audit.dropped.items())
    models = "".join(f"| {model} | {number:,} |\n" for model, number in audit.chosen_models.items())
    parts = [
        f"# {name}\n\n{audit.n_kept:,} of {audit.n_votes:,} votes, for `{audit.format}`." + ("" if argilla else _split(audit)),
        _ARGILLA if argilla else f"Each line holds {_HOLDS[audit.format]}.",
        "" if argilla or audit.n_decisive >= 500 else "Fewer than 500 preferences: enough to try a recipe, not to trust its result.",
        f"Votes from: {', '.join(f'{source} ({number:,})' for source, number in audit.sources.items())}."
        + ("" if argilla else _licence(audit)),
        *_credits(audit),
        _cleaned(audit),
        f"audit.json counts what became of all votes, votes.csv names each. SHA-256 of the rows: `{audit.dataset_hash}`",
        f"## Votes left out\n\n| reason | votes | meaning |\n|---|---|---|\n{dropped}",
        f"## Whose answers were chosen\n\n| model | times |\n|---|---|\n{models}",
    ]
    return ("" if argilla else _HEAD) + "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def _split(audit: "Audit") -> str:
    apart = (
        "no prompt (nor one that resembles it) and no voter"
        if audit.rules["split_by"] == "both"
        else "no prompt (nor one that resembles it)"
    )
    unknown = f" {audit.n_of_unknown_voters:,} votes are of nobody known." if audit.n_of_unknown_voters else ""
    return (
        f" {audit.n_train:,} to train on ({audit.n_rows_train:,} lines, {audit.n_prompts_train:,} prompts, {audit.n_voters_train:,} "
        "voters), "
        f"{audit.n_test:,} to test on ({audit.n_rows_test:,} lines, {audit.n_prompts_test:,} prompts, {audit.n_voters_test:,} voters): "
        f"{apart} is in both files.{unknown}"
    )


def _licence(audit: "Audit") -> str:
    if audit.rules["any_license"]:
        return " Answers of every licence were kept (`--any-license`): whether you may train on them is for you to check."
    return " Answers to be learned come only from endpoints whose terms permit training on outputs."


def _credits(audit: "Audit") -> list[str]:
    told = []
    if "llmfao" in audit.sources:
        told.append("Votes and answers of the source `llmfao`: LLMFAO, Dmitry Ustalov, CC BY 4.0, https://github.com/dustalov/llmfao.")
    if any(source.startswith("judge:") for source in audit.sources):
        told.append("The verdicts of sources `judge:…` are a model's, not people's (RLAIF).")
    return told


def _cleaned(audit: "Audit") -> str:
    told = []
    if audit.voter_limit is not None:
        told.append(f"No voter has more than {audit.voter_limit:,} votes of those that qualified (seed {audit.rules['seed']}).")
    if audit.benchmarks is not None:
        told.append(f"Prompts that share 13 words in a row with a question of {', '.join(audit.benchmarks)} are left out.")
    else:
        told.append("Prompts were not compared with benchmarks' questions.")
    if audit.scrubbed is not None:
        found = ", ".join(f"{number:,} {kind}" for kind, number in sorted(audit.scrubbed.items())) or "nothing found"
        told.append(f"Personal data by form ({found}) are replaced by marks such as [EMAIL]; names and streets are not found that way.")
    else:
        told.append("Personal data were not looked for.")
    return " ".join(told)
