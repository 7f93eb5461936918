"""A training that is killed goes on with the same command, to the same end."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from terminal import call

from trainers.dpo import dpo
from trainers.recipe import read_recipe
from trainers.resume import claim, last_checkpoint
from trainers.sft import sft

METHODS = {"sft": sft, "dpo": dpo}


def started(recipe: Path, votes: Path, results: Path, method: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    options = ["--data", str(votes), "--results", str(results), "--json", "--set", "merge=false"]
    command = [sys.executable, "-m", "trainers.cli", method, str(recipe), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def killed_at(process: "subprocess.Popen[str]", results: Path, step: int) -> Path:
    """Kill -9 as soon as the checkpoint of `step` is whole; the training's folder."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if found := next(iter(results.glob(f"trainings/*/checkpoints/checkpoint-{step}/trainer_state.json")), None):
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            return found.parents[2]
        time.sleep(0.01)
    process.kill()
    raise AssertionError(f"no checkpoint at step {step}: {process.communicate()[1]}")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("method", [pytest.param("sft", marks=pytest.mark.slow), "dpo"])
def test_killed_in_the_middle_it_ends_as_if_nothing_had_happened(recipe_file: Path, votes: Path, tmp_path: Path, method: str):
    steps = "gate: false\nmax_steps: 80\nsave_steps: 10\nlearning_rate: 1e-3\nlora_dropout: 0.1\nlr_scheduler_type: cosine\n"
    kept = [line for line in recipe_file.read_text().splitlines() if not line.startswith(("num_train_epochs", "learning_rate"))]
    recipe_file.write_text("\n".join(kept) + "\n" + steps)
    # In this process, which has imported torch and trl already.
    whole = METHODS[method](read_recipe(recipe_file, method, data=votes, overrides=["merge=false"]), tmp_path / "whole")
    folder = killed_at(started(recipe_file, votes, tmp_path / "killed", method), tmp_path / "killed", 20)
    assert not (folder / "training.json").exists()
    command = [method, recipe_file, "--data", votes, "--results", tmp_path / "killed", "--json", "--set", "merge=false"]
    done = call("trainers", *command)
    again = json.loads(done.stdout.splitlines()[-1])
    assert again["training_id"] == folder.name and f"{folder.name} goes on from checkpoint-" in done.stderr
    # The same arithmetic in the same order: one part in a million is left to threads.
    for name in ("train_loss_first", "train_loss_last", "eval_loss_before", "eval_loss"):
        assert again["metrics"][name] == pytest.approx(whole.metrics[name], rel=1e-6), name
    assert {path.name for path in folder.iterdir()} == {"training.json", "adapter", "metrics.jsonl", "README.md"}


def test_another_recipe_other_rows_or_a_living_training_begin_anew(recipe_file: Path, votes: Path, tmp_path: Path):
    recipe = read_recipe(recipe_file, "sft", data=votes)
    first = claim(recipe, "base", "rows", tmp_path)
    living = claim(recipe, "base", "rows", tmp_path)
    assert living.training_id != first.training_id
    for held in (first, living):
        held.lock.close()
    other = read_recipe(recipe_file, "sft", data=votes, overrides=["learning_rate=2e-3"])
    fresh = [
        claim(other, "base", "rows", tmp_path),
        claim(recipe, "base", "other rows", tmp_path),
        claim(recipe, "other", "rows", tmp_path),
    ]
    assert len({held.training_id for held in fresh} | {first.training_id, living.training_id}) == 5
    again = claim(recipe, "base", "rows", tmp_path)
    assert again.training_id in {first.training_id, living.training_id} and again.checkpoint is None
    again.release()
    assert not (again.folder / "started.json").exists()
    for held in fresh:
        held.release()


def test_one_who_only_looks_is_not_taken_for_a_living_training(recipe_file: Path, votes: Path, tmp_path: Path):
    recipe = read_recipe(recipe_file, "sft", data=votes)
    first = claim(recipe, "base", "rows", tmp_path)
    first.lock.close()
    looking = (first.folder / "started.json").open()
    fcntl.flock(looking, fcntl.LOCK_EX)
    done = threading.Timer(0.1, looking.close)
    done.start()
    again = claim(recipe, "base", "rows", tmp_path)
    done.join()
    assert again.training_id == first.training_id
    again.release()


@pytest.mark.parametrize("state", [None, "", '{"global_step": 10', '{"global_step"'])
def test_a_checkpoint_whose_state_was_cut_off_is_passed_over(tmp_path: Path, state: str | None):
    for number, text in ((9, "{}"), (20, "{}"), (100, state)):
        (folder := tmp_path / "checkpoints" / f"checkpoint-{number}").mkdir(parents=True)
        if text is not None:
            (folder / "trainer_state.json").write_text(text)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoints" / "checkpoint-20"
    assert last_checkpoint(tmp_path / "nothing") is None


def test_a_checkpoint_with_half_a_random_state_of_another_process_is_passed_over(tmp_path: Path):
    import torch

    for number in (10, 20):
        (folder := tmp_path / "checkpoints" / f"checkpoint-{number}").mkdir(parents=True)
        (folder / "trainer_state.json").write_text("{}")
        for rank in (0, 1):
            torch.save({"cpu": torch.random.get_rng_state()}, folder / f"rng_state_{rank}.pth")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoints" / "checkpoint-20"
    half = tmp_path / "checkpoints" / "checkpoint-20" / "rng_state_1.pth"
    half.write_bytes(half.read_bytes()[:2000])
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoints" / "checkpoint-10"
