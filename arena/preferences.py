"""Votes become training data: every decisive vote on two good answers is one preference, and every other vote is accounted for.

    arena export --format dpo --out results/datasets/first

Writes train.jsonl and test.jsonl in TRL's conversational form (prompt, chosen, rejected as lists of messages, plus vote_id, battle_id,
chosen_model, rejected_model), split by prompt so that no prompt is on both sides; README.md, the dataset's card; and audit.json, which says
of all votes how many were kept and why the others were not. The same votes give the same bytes.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena.errors import ExportRefused
from arena.votes import Battle, Vote
from serving.completion import Completion
from serving.documents import Noun

if TYPE_CHECKING:
    from arena.store import Record

# Why a vote is left out, in the order in which it is asked.
DROPPED = {
    "unrated": "the vote is not rated",
    "tie": "a tie prefers neither answer",
    "both_bad": "both answers were bad: neither is one to learn",
    "too_quick": "voted sooner than --min-dwell-s",
    "dwell_unknown": "--min-dwell-s was asked for and the time taken to vote was not recorded",
    "no_texts": "the vote came without the answers",
    "histories_differ": "in a conversation, the two sides had answered differently before the last turn",
    "no_answer": "an answer is empty or failed",
    "unfinished": "an answer was cut off",
    "identical": "both answers are the same text",
    "license_forbids": "the terms of the chosen answer's endpoint forbid training on outputs",
    "license_unknown": "the chosen answer's endpoint does not say that its outputs may be trained on",
}
_TEST_SHARE = 0.1


class Audit(Noun):
    """What became of every vote: n_votes = n_kept + the sum of `dropped`; n_kept = n_train + n_test.

    `dataset_hash` is the SHA-256 of train.jsonl followed by test.jsonl.
    """

    format: str
    n_votes: int
    n_kept: int
    n_train: int
    n_test: int
    n_prompts_train: int
    n_prompts_test: int
    dropped: dict[str, int]
    sources: dict[str, int]
    chosen_models: dict[str, int]
    min_dwell_s: float | None
    any_license: bool
    dataset_hash: str


@dataclass
class _Kept:
    rows: list[dict[str, Any]] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)


def export_dpo(
    records: Iterable["Record"],
    out: Path,
    *,
    outputs_trainable: Callable[[str], bool | None],
    min_dwell_s: float | None = None,
    any_license: bool = False,
    force: bool = False,
) -> Audit:
    """Write the dataset folder `out`, whole or not at all. `outputs_trainable` tells an endpoint id's permission (None: not said).

    Raises ExportRefused when `out` holds something (`force` replaces a dataset, nothing else) or when no vote qualifies.
    """
    _check_free(out, force)
    kept = _Kept()
    for battle, completions, vote in records:
        reason = _reason(vote, battle, completions, outputs_trainable, min_dwell_s, any_license)
        if reason is not None:
            kept.dropped[reason] += 1
            continue
        assert completions is not None
        kept.rows.append(_row(battle, completions, vote))
        kept.groups.append(_prompt_group(battle))
        kept.sources[vote.source] += 1
    if not kept.rows:
        why = ", ".join(f"{number} {reason}" for reason, number in kept.dropped.most_common()) or "there are no votes"
        remedy = (
            "; --any-license keeps answers of every licence" if kept.dropped["license_unknown"] + kept.dropped["license_forbids"] else ""
        )
        raise ExportRefused(f"no vote makes a preference pair ({why}){remedy}")
    held_out = _test_groups(set(kept.groups))
    train = [row for row, group in zip(kept.rows, kept.groups, strict=True) if group not in held_out]
    test = [row for row, group in zip(kept.rows, kept.groups, strict=True) if group in held_out]
    files = {name: "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows) for name, rows in (("train", train), ("test", test))}
    audit = Audit(
        format="dpo",
        n_votes=len(kept.rows) + kept.dropped.total(),
        n_kept=len(kept.rows),
        n_train=len(train),
        n_test=len(test),
        n_prompts_train=len(set(kept.groups) - held_out),
        n_prompts_test=len(held_out),
        dropped={reason: kept.dropped[reason] for reason in DROPPED if kept.dropped[reason]},
        sources=dict(kept.sources.most_common()),
        chosen_models=dict(Counter(row["chosen_model"] for row in kept.rows).most_common()),
        min_dwell_s=min_dwell_s,
        any_license=any_license,
        dataset_hash=hashlib.sha256((files["train"] + files["test"]).encode()).hexdigest(),
    )
    contents = {f"{name}.jsonl": text for name, text in files.items()}
    contents["audit.json"] = audit.model_dump_json(indent=2) + "\n"
    contents["README.md"] = _card(out.resolve().name, audit)
    _write_folder(out, contents)
    return audit


def strictest(*permissions: bool | None) -> bool | None:
    """May all of these be trained on: False where one forbids it, else None where one does not say."""
    return False if False in permissions else None if None in permissions else True


def _reason(
    vote: Vote,
    battle: Battle,
    completions: tuple[Completion, Completion] | None,
    outputs_trainable: Callable[[str], bool | None],
    min_dwell_s: float | None,
    any_license: bool,
) -> str | None:
    """Why this vote is no preference pair (a key of DROPPED), or None when it is one."""
    if not vote.rated:
        return "unrated"
    if vote.winner in ("tie", "both_bad"):
        return vote.winner
    if min_dwell_s is not None and vote.dwell_s is None:
        return "dwell_unknown"
    if min_dwell_s is not None and vote.dwell_s is not None and vote.dwell_s < min_dwell_s:
        return "too_quick"
    if completions is None or not battle.messages:
        return "no_texts"
    if completions[0].request.messages != completions[1].request.messages:
        return "histories_differ"
    if any(not completion.answered or not completion.text.strip() for completion in completions):
        return "no_answer"
    if any(completion.status == "truncated" for completion in completions):
        return "unfinished"
    if completions[0].text.strip() == completions[1].text.strip():
        return "identical"
    allowed = outputs_trainable(battle.model_a if vote.winner == "model_a" else battle.model_b)
    if not allowed and not any_license:
        return "license_unknown" if allowed is None else "license_forbids"
    return None


def _row(battle: Battle, completions: tuple[Completion, Completion], vote: Vote) -> dict[str, Any]:
    sides = [(battle.model_a, completions[0].text), (battle.model_b, completions[1].text)]
    (chosen_model, chosen), (rejected_model, rejected) = sides if vote.winner == "model_a" else reversed(sides)
    return {
        "prompt": [message.model_dump() for message in battle.messages],
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
        "vote_id": vote.vote_id,
        "battle_id": battle.battle_id,
        "chosen_model": chosen_model,
        "rejected_model": rejected_model,
    }


def _prompt_group(battle: Battle) -> str:
    # The opening question, so that later turns of one conversation stay with it; case and spacing do not make another prompt.
    opening = next((message.content for message in battle.messages if message.role == "user"), battle.messages[0].content)
    return " ".join(opening.lower().split())


def _test_groups(groups: set[str]) -> set[str]:
    """About a tenth of the prompts, at least one; none when there is but one prompt. Chosen by hash, so votes need no order."""
    ordered = sorted(groups, key=lambda group: hashlib.sha256(group.encode()).hexdigest())
    return set(ordered[: max(1, round(_TEST_SHARE * len(ordered)))]) if len(ordered) > 1 else set()


def _check_free(out: Path, force: bool) -> None:
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ExportRefused(f"{out} is not a folder: choose another --out")
    if not out.exists() or not any(out.iterdir()):
        return
    if not force:
        raise ExportRefused(f"{out} is not empty: choose another --out, or --force to replace the dataset in it")
    if not (out / "audit.json").is_file() or not (out / "train.jsonl").is_file():
        raise ExportRefused(
            f"{out} holds something that is no dataset of 'arena export': --force does not replace it; choose another --out"
        )


def _write_folder(out: Path, contents: dict[str, str]) -> None:
    """Write beside the target, then rename: a crash leaves either the old folder or the new one whole."""
    parent = out.resolve().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=parent, prefix=f".{out.name}."))
    except OSError as error:
        raise ExportRefused(f"{out} cannot be written: {error.strerror}; choose another --out") from None
    old = fresh.with_name(fresh.name + ".old")
    try:
        fresh.chmod(0o755)
        for name, text in contents.items():
            with (fresh / name).open("w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        if out.exists() and any(out.iterdir()):
            out.rename(old)
        fresh.replace(out)
    except BaseException:
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _card(name: str, audit: Audit) -> str:
    dropped = "".join(f"| {reason} | {number:,} | {DROPPED[reason]} |\n" for reason, number in audit.dropped.items())
    models = "".join(f"| {model} | {number:,} |\n" for model, number in audit.chosen_models.items())
    sources = ", ".join(f"{source} ({number:,})" for source, number in audit.sources.items())
    credit = ""
    if "llmfao" in audit.sources:
        credit = "\nVotes and answers of the source `llmfao`: LLMFAO, Dmitry Ustalov, CC BY 4.0, https://github.com/dustalov/llmfao.\n"
    licence = (
        "Answers of every licence were kept (`--any-license`): whether you may train on them is for you to check."
        if audit.any_license
        else "Chosen answers come only from endpoints whose terms permit training on outputs."
    )
    judged = any(source.startswith("judge:") for source in audit.sources)
    credit += "\nThe verdicts of sources `judge:…` are a model's, not people's (RLAIF).\n" if judged else ""
    few = "\nFewer than 500 preferences: enough to try a recipe, not to trust its result.\n" if audit.n_kept < 500 else ""
    return f"""---
configs:
- config_name: default
  data_files:
  - {{split: train, path: train.jsonl}}
  - {{split: test, path: test.jsonl}}
---
# {name}

{audit.n_kept:,} preferences out of {audit.n_votes:,} votes: {audit.n_train:,} to train on ({audit.n_prompts_train:,} prompts), \
{audit.n_test:,} to test on ({audit.n_prompts_test:,} other).
Each line holds `prompt`, `chosen`, `rejected` (lists of messages, TRL's conversational form) and `vote_id`, `battle_id`, `chosen_model`, \
`rejected_model`. No prompt is in both files.
{few}
Votes from: {sources}. {licence}
{credit}
SHA-256 of train.jsonl followed by test.jsonl: `{audit.dataset_hash}`

## Votes left out

| reason | votes | meaning |
|---|---|---|
{dropped}
## Whose answers were chosen

| model | times |
|---|---|
{models}"""
