"""The loop, end to end: votes cast in the app -> dataset -> SFT -> DPO -> served -> a battle and an evaluation of the tuned model."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from model_server import ModelServer, sse
from terminal import call
from tiny_llama import build_tiny_llama

from arena.battle import Arena, open_arena
from arena.store import Store
from serving.endpoints import find_endpoint, load_endpoints, register

# PEFT asks transformers by a name that goes with its next version.
pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")]
ROOT = Path(__file__).parents[2]
DISHES = ("bread", "cake", "pie", "soup", "rice", "fish", "corn", "plum", "kale", "stew", "tart", "roll")


def polite(question: str) -> str:
    return f"Gladly! To bake {question.split()[-1].rstrip('?')}, start slowly."


def curt(question: str) -> str:
    return f"No. {question.split()[-1].rstrip('?')} is bad."


def run(*command: str, results: Path) -> str:
    """A command as a user types it; its stdout."""
    environment = {**os.environ, "BAKEOFF_RESULTS": str(results), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    room, *arguments = command
    done = subprocess.run([sys.executable, "-m", f"{room}.cli", *arguments], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def run_here(room: str, *arguments: str, results: Path) -> str:
    """The same in this process: to import torch and trl takes ten seconds of CPU."""
    return call(room, *arguments, environment={"BAKEOFF_RESULTS": str(results)}).stdout


def last_json(text: str) -> Any:
    return json.loads(text.strip().splitlines()[-1])


def fight_in_the_app(prompt: str, prefer: str) -> tuple[list[str], dict[str, str]]:
    """One battle in the arena's app, the side whose text holds `prefer` preferred (else a tie); (the shown names, texts by name)."""
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_file(str(ROOT / "arena" / "app.py"), default_timeout=60).run()
    assert not app.exception, app.exception
    app.text_area[0].input(prompt)
    next(button for button in app.button if button.label == "Start the battle").click().run()
    assert not app.exception, app.exception
    answers = [element.proto.body for element in app.get("html") if 'class="answer"' in element.proto.body][-2:]
    texts = [unescape(re.sub("<[^>]*>", "", answer)) for answer in answers]
    winner = next((side for side, text in zip(("model_a", "model_b"), texts, strict=True) if prefer in text), "tie")
    app.button(key=f"live-{winner}").click().run()
    assert not app.exception, app.exception
    heads = [element.proto.body for element in app.get("html") if 'class="side-head"' in element.proto.body]
    names = [head.split('class="name">')[1].split("<")[0] for head in heads]
    return names, dict(zip(names, texts, strict=True))


@contextmanager
def served(model: Path, results: Path, *options: str) -> Iterator[str]:
    """`serving up MODEL …` in a process of its own, as a user runs it; the endpoint's id once it is registered; gone when it is stopped."""
    known = set(load_endpoints(results))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "serving.cli", "up", str(model), "--engine", "transformers", "--results", str(results), *options]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        limit = time.monotonic() + 240
        while not (new := set(load_endpoints(results)) - known):
            assert process.poll() is None, process.stdout and process.stdout.read()
            assert time.monotonic() < limit
            time.sleep(0.2)
        yield new.pop()
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert set(load_endpoints(results)) == known


def test_a_vote_travels_from_the_button_to_the_gradient_and_back(results: Path, tmp_path: Path):
    questions = [f"How do I bake {dish}?" for dish in DISHES]
    base = build_tiny_llama(tmp_path / "base", texts=[answer(question) for question in questions for answer in (polite, curt)] + questions)
    database = results / "arena.duckdb"

    def speak(voice: Any) -> Any:
        return lambda body: sse(*re.findall(r"\s*\S+", voice(body["messages"][-1]["content"])))

    with ModelServer(speak(polite)) as one, ModelServer(speak(curt)) as two:
        for name, server in (("polite", one), ("curt", two)):
            register(server.endpoint(name, outputs_trainable=True), results)
        with Store(database) as store, open_arena(Arena(store, results=results, demo=False, speed=1, secret="s")):
            for question in questions:
                names, _ = fight_in_the_app(question, prefer="Gladly")
                assert sorted(names) == ["curt", "polite"]
            assert store.count_votes() == len(questions)

        # Few votes, cast at once, on questions that resemble each other: each of these has to be allowed.
        allowed = ("--force", "--min-dwell-s", "0", "--split-by", "prompt")
        out = ("--out", str(tmp_path / "data"))
        audit = last_json(run("arena", "export", "--format", "dpo", *out, *allowed, "--json", results=results))
        assert audit["n_votes"] == audit["n_kept"] == len(questions) and audit["chosen_models"] == {"polite": len(questions)}

        steps = f"model_name_or_path: {base}\ngate: false\nlearning_rate: 5e-3\n" + (
            "num_train_epochs: 20\nper_device_train_batch_size: 4\nmax_length: 256\n"
        )
        (tmp_path / "sft.yaml").write_text(steps)
        (tmp_path / "dpo.yaml").write_text(
            "model_name_or_path: set below\ngate: false\nlearning_rate: 1e-3\nnum_train_epochs: 2\nper_device_train_batch_size: 4\n"
            "max_length: 256\nuse_peft: true\nlora_r: 8\nlora_target_modules: all-linear\n"
        )
        data = ("--data", str(tmp_path / "data"), "--json")
        tuned = last_json(run("trainers", "sft", str(tmp_path / "sft.yaml"), *data, results=results))
        assert tuned["metrics"]["train_loss_last"] < tuned["metrics"]["train_loss_first"] / 2
        start = f"model_name_or_path={tuned['training_id']}"
        challenger = last_json(run_here("trainers", "dpo", str(tmp_path / "dpo.yaml"), "--set", start, *data, results=results))
        assert challenger["dataset_hash"] == audit["dataset_hash"] and challenger["parent"] == tuned["training_id"]

        merged = results / "trainings" / challenger["training_id"] / challenger["merged"]
        with served(merged, results) as endpoint_id:
            assert endpoint_id == challenger["training_id"]
            assert find_endpoint(endpoint_id, results).training_id == challenger["training_id"]
            _battle_with(endpoint_id, database, results)
            _evaluate(endpoint_id, results, tmp_path)

    chain = last_json(run_here("trainers", "lineage", challenger["training_id"], "--json", results=results))
    made = chain["trainings"]
    assert [link["method"] for link in made] == ["dpo", "sft"] and made[-1]["base"] == str(base)
    assert len(chain["votes"]) == len(questions) and chain["endpoints"] and chain["battles"]
    forwards = last_json(run_here("trainers", "lineage", chain["voters"][0], "--json", results=results))
    assert {link["training_id"] for link in forwards["trainings"]} == {link["training_id"] for link in made}
    rows = [json.loads(line) for line in (tmp_path / "data" / "train.jsonl").read_text().splitlines()]
    with Store(database) as store:
        assert all(store.vote_of(row["battle_id"]).vote_id == row["vote_id"] for row in rows)


def _battle_with(endpoint_id: str, database: Path, results: Path) -> None:
    """Fight in the app until the challenger was drawn; its answer is its own and can be voted on."""
    with Store(database) as store, open_arena(Arena(store, results=results, demo=False, speed=1, secret="s")):
        for _ in range(20):
            names, texts = fight_in_the_app("How do I bake bread?", prefer="Gladly")
            if endpoint_id in names:
                break
        else:
            raise AssertionError("the challenger was never drawn in twenty battles among three models")
        # Trained on "Gladly! To bake …, start slowly.": it must have learned at least how its answers begin.
        assert "Gladly" in texts[endpoint_id]


def _evaluate(endpoint_id: str, results: Path, tmp_path: Path) -> None:
    suite = tmp_path / "suite.yaml"
    suite.write_text(f"name: challenger\ntasks: [gsm8k_chat]\nendpoints: ['{endpoint_id}']\nlimit: 3\nparameters: {{max_tokens: 24}}\n")
    report = last_json(run("evals", "run", str(suite), "--json", results=results))
    assert report["scores"][0]["n"] == 3 and report["scores"][0]["n_failed"] == 0
    assert report["measures"][0]["latency_s_p50"] > 0 and report["measures"][0]["output_tokens_mean"] > 0
