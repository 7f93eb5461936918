"""A results folder that a house was really lived in: every room's command has run on it, against one local engine, as a person types them.

    home = live(tmp_path / "results")

A tiny Llama is taught to call every number prime, is served under the name HOUSE by `serving up --engine transformers`, asked,
loaded and billed; then votes prefer No, DPO learns it, the gate looks, and the same name answers with other weights: real drift.
"""

import json
from pathlib import Path
from typing import Any

from fights import ended
from test_loop import last_json, run, served
from tiny_llama import build_tiny_llama

from arena.battle import Arena, open_arena
from arena.importers import seed_demo
from arena.prompts import recorded_prompts
from arena.store import Store
from evals.load.run import read_summary

HOUSE = "house-llama"
ITEMS, BATTLES = 40, 6
ASKED = 'Is {} a prime number? Think step by step and then answer "[Yes]" or "[No]".'
# Numbers that the benchmark does not ask about: it ends below 20,000.
NUMBERS = range(20_001, 20_301, 2)


def turn(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


def write_rows(folder: Path, rows: list[dict[str, Any]], n_test: int = 8) -> Path:
    """The last `n_test` are held out."""
    folder.mkdir(parents=True)
    for name, part in (("train", rows[:-n_test]), ("test", rows[-n_test:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    return folder


def live(results: Path) -> Path:
    """Everything that the pages show, made by the commands that make it; some minutes of a slow machine. Returns `results`."""
    results.mkdir(parents=True)
    workshop = results.parent / "workshop"
    with Store(results / "arena.duckdb") as store:
        seed_demo(store)
    answered = [{"prompt": turn("user", ASKED.format(number)), "completion": turn("assistant", "[Yes]")} for number in NUMBERS]
    preferred = [
        {"prompt": row["prompt"], "chosen": turn("assistant", "[No]"), "rejected": row["completion"], "vote_id": f"vote-{number}"}
        for number, row in zip(NUMBERS[:60], answered, strict=False)
    ]
    texts = [message["content"] for row in answered for message in (*row["prompt"], *row["completion"])]
    base = build_tiny_llama(workshop / "tiny", texts=texts)
    shared = "per_device_train_batch_size: 8\nmax_length: 160\nlogging_steps: 1\n"
    (workshop / "sft.yaml").write_text(f"model_name_or_path: {base}\ngate: false\nlearning_rate: 5e-3\nmax_steps: 60\n{shared}")
    (workshop / "dpo.yaml").write_text(
        "model_name_or_path: set below\nloss_type: [sigmoid, sft]\nlearning_rate: 2e-3\nmax_steps: 24\nuse_peft: true\nlora_r: 8\n"
        f"lora_target_modules: all-linear\ngate: {{checker: 'regex:^\\[No\\]', n_prompts: 8, max_tokens: 12}}\n{shared}"
    )
    data = write_rows(results / "datasets" / "primes", answered)
    sft = last_json(run("trainers", "sft", str(workshop / "sft.yaml"), "--data", str(data), "--json", results=results))
    suite = workshop / "nightly.yaml"
    suite.write_text(
        f"name: nightly\ntasks: [prime]\nendpoints: [{HOUSE}]\nlimit: {ITEMS}\nparameters: {{max_tokens: 16, temperature: 0}}\n"
    )
    with served(results / "trainings" / sft["training_id"] / "merged", results, "--id", HOUSE):
        run("evals", "run", str(suite), results=results)
        run("evals", "run", "demo", results=results)
        _battles(results)
        small = ("--input-tokens", "24", "--output-tokens", "12", "--requests", "48", "--processes", "1", "--seed", "1")
        sweep = ("--sweep", "--concurrency", "1", "--most-levels", "3", "--slo", "latency=1,p=90")
        loaded = last_json(run("evals", "load", "--endpoint", HOUSE, *sweep, *small, "--json", results=results))
    assert len(read_summary(Path(loaded["folder"])).levels) >= 2
    run("evals", "cost", Path(loaded["folder"]).name, "--usd-per-hour", "1.2", results=results)

    data = write_rows(results / "datasets" / "votes", preferred)
    start = f"model_name_or_path={sft['training_id']}"
    dpo = last_json(run("trainers", "dpo", str(workshop / "dpo.yaml"), "--set", start, "--data", str(data), "--json", results=results))
    assert dpo["gate"]["checks"]
    with served(results / "trainings" / dpo["training_id"] / dpo["merged"], results, "--id", HOUSE, "--force"):
        run("evals", "run", str(suite), results=results)
        # Left registered, as by a house that is still up.
        kept = (results / "endpoints" / f"{HOUSE}.yaml").read_text()
    (results / "endpoints" / f"{HOUSE}.yaml").write_text(kept)
    return results


def _battles(results: Path) -> None:
    """Blind battles of the house's model with recorded ones on the demo's prompts, each voted on by another person."""
    (results / "pairing.yaml").write_text(f"kind: weighted\nweights: {{{HOUSE}: 1000}}\n")
    with Store(results / "arena.duckdb") as store, open_arena(Arena(store, results=results, demo=True, speed=1000, secret="s")) as arena:
        for number, prompt in enumerate(recorded_prompts()[:BATTLES]):
            voter = f"voter-{number}"
            round_ = ended(arena.start(prompt.text, voter))
            # Every third prefers it: who has lost all battles has no rating.
            winner = next(
                side for side, one in zip(("model_a", "model_b"), round_.sides, strict=True) if (one.model == HOUSE) == (number % 3 == 0)
            )
            assert arena.vote(round_, voter, winner, token=arena.vote_form(round_, voter))  # type: ignore[arg-type]
