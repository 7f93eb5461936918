"""The loop has to pay: a crowd that prefers a visible trait, and after DPO the challenger shows it more often where nobody voted yet."""

import json
import math
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fights import arena_in, ended
from model_server import ModelServer, sse
from test_loop import last_json, run, served
from tiny_llama import build_tiny_llama

from serving.endpoints import find_endpoint, register

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
VERBS = ("bake", "like", "sell", "buy", "eat", "cook", "cut", "find")
DISHES = ("bread", "cake", "pie", "soup", "rice", "fish", "corn", "plum", "kale", "stew", "tart", "roll", "leek", "beans", "figs", "dates",
    "peas", "oats", "nuts", "eggs", "jam", "ham", "mint", "lime", "pears", "rye")  # fmt: skip
VOTED_ON, UNSEEN = DISHES[:10], DISHES[10:]
# One vote in ten says the opposite of what the crowd thinks.
NOISE = 0.1
TRAIT = "^Gladly"


def questions(dishes: tuple[str, ...]) -> list[str]:
    return [f"How do I {verb} {dish}?" for dish in dishes for verb in VERBS]


def about(question: str) -> tuple[str, str]:
    _, _, _, verb, dish = question.rstrip("?").split()
    return verb, dish


def polite(question: str) -> str:
    verb, dish = about(question)
    return f"Gladly! To {verb} {dish}, start slowly."


def curt(question: str) -> str:
    return f"No. {about(question)[1]} is bad."


def said_by(voice: Callable[[str], str]) -> Any:
    return lambda body: sse(*re.findall(r"\s*\S+", voice(body["messages"][-1]["content"])))


def turn(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def wilson(k: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    z, p = 1.959964, k / n
    middle, half = (p + z * z / (2 * n)) / (1 + z * z / n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return middle - half, middle + half


def crowd_votes(results: Path) -> int:
    """Sixteen people, blind battles on every question of `VOTED_ON`; the number of their votes."""
    draw, cast = random.Random(4), 0
    with ModelServer(said_by(polite)) as one, ModelServer(said_by(curt)) as two:
        for name, server in (("polite", one), ("curt", two)):
            register(server.endpoint(name, outputs_trainable=True), results)
        with arena_in(results, results / "arena.duckdb") as arena:
            for number, question in enumerate(questions(VOTED_ON)):
                voter = f"voter-{number % 16}"
                round_ = ended(arena.start(question, voter))
                liked = "polite" if draw.random() > NOISE else "curt"
                winner = next(side for side, one_of in zip(("model_a", "model_b"), round_.sides, strict=True) if one_of.model == liked)
                assert arena.vote(round_, voter, winner, token=arena.vote_form(round_, voter))  # type: ignore[arg-type]
                cast += 1
    return cast


def test_votes_make_a_challenger_that_shows_what_the_crowd_likes(results: Path, tmp_path: Path) -> None:
    n_votes = crowd_votes(results)
    allowed = ("--force", "--min-dwell-s", "0", "--split-by", "prompt")
    crowd = results / "datasets" / "crowd"
    audit = last_json(run("arena", "export", "--format", "dpo", "--out", str(crowd), *allowed, "--json", results=results))
    assert audit["n_votes"] == n_votes and audit["n_kept"] > 0.9 * n_votes
    data = ("--data", str(crowd), "--json")

    # The base has seen both manners as often, and is of no opinion.
    known = [text for question in questions(DISHES) for text in (question, polite(question), curt(question))]
    scratch = build_tiny_llama(tmp_path / "scratch", texts=known)
    both = [
        {"prompt": turn("user", question), "completion": turn("assistant", voice(question))}
        for question in questions(VOTED_ON)
        for voice in (polite, curt)
    ]
    write(tmp_path / "manners" / "train.jsonl", both)
    (tmp_path / "sft.yaml").write_text(
        f"model_name_or_path: {scratch}\ngate: false\nlearning_rate: 5e-3\nnum_train_epochs: 12\n"
        "per_device_train_batch_size: 8\nmax_length: 256\n"
    )
    base = last_json(run("trainers", "sft", str(tmp_path / "sft.yaml"), "--data", str(tmp_path / "manners"), "--json", results=results))

    unseen = write(tmp_path / "unseen.jsonl", [{"prompt": turn("user", question)} for question in questions(UNSEEN)])
    (tmp_path / "dpo.yaml").write_text(
        f"model_name_or_path: {base['training_id']}\nlearning_rate: 1e-3\nbeta: 0.1\nloss_type: [sigmoid, sft]\nnum_train_epochs: 12\n"
        "per_device_train_batch_size: 8\nmax_length: 256\nuse_peft: true\nlora_r: 8\nlora_target_modules: all-linear\n"
        f"gate: {{checker: 'regex:{TRAIT}', prompts: {unseen}, max_tokens: 32}}\n"
    )
    told = last_json(run("trainers", "check", str(tmp_path / "dpo.yaml"), "--method", "dpo", *data, results=results))
    assert told["n_train"] == audit["n_train"]
    challenger = last_json(run("trainers", "dpo", str(tmp_path / "dpo.yaml"), *data, results=results))

    gate = challenger["gate"]
    assert gate["verdict"] == "passed", gate
    folder = results / "trainings" / challenger["training_id"]
    answers = [json.loads(line) for line in (folder / "gate-answers.jsonl").read_text().splitlines()]
    assert len(answers) == len(questions(UNSEEN))
    before, after = (sum(bool(re.search(TRAIT, row[side])) for row in answers) for side in ("base", "tuned"))
    assert wilson(after, len(answers))[0] > wilson(before, len(answers))[1], f"{before} of {len(answers)} before, {after} after"

    (results / "arena.yaml").write_text("modes: [blind, direct]\n")
    with served(folder / challenger["merged"], results) as endpoint_id, arena_in(results, results / "arena.duckdb") as arena:
        assert find_endpoint(endpoint_id, results).training_id == challenger["training_id"]
        round_ = ended(arena.start(questions(UNSEEN)[0], "voter-1", mode="direct", models=(endpoint_id,)))
        assert round_.sides[0].text
    whose = last_json(run("trainers", "lineage", challenger["training_id"], "--json", results=results))
    assert [link["method"] for link in whose["trainings"]] == ["dpo", "sft"]
    assert len(whose["votes"]) == audit["n_kept"] and len(whose["voters"]) == 16
