"""Curves go to the tracker that the recipe names; one that is not there is told in a line, before anything is trained."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest

from trainers.errors import NotInstalled, RecipeError
from trainers.recipe import read_recipe
from trainers.sft import sft

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore:.*pin_memory.*:UserWarning")
# Five steps are an epoch.
STEPS = ["num_train_epochs=0.6", "gate=false"]


def test_a_tracker_that_is_not_installed_is_told_with_its_remedy(recipe_file: Path, votes: Path, tmp_path: Path):
    missing = next(name for name in ("trackio", "swanlab", "dvclive", "neptune", "clearml") if find_spec(name) is None)
    recipe = read_recipe(recipe_file, "sft", data=votes, overrides=[*STEPS, f"report_to=[{missing}]"])
    with pytest.raises(NotInstalled, match=rf"recipe\.yaml: report_to: {missing} cannot be used: pip install {missing} into") as caught:
        sft(recipe, tmp_path / "results")
    assert "\n" not in str(caught.value) and not (tmp_path / "results").exists()


def test_a_tracker_that_nobody_knows_is_told_with_the_nearest(recipe_file: Path, votes: Path, tmp_path: Path):
    recipe = read_recipe(recipe_file, "sft", data=votes, overrides=[*STEPS, "report_to=tensorbord"])
    with pytest.raises(RecipeError, match=r"report_to: tensorbord: no such tracker\. Did you mean 'tensorboard'\?"):
        sft(recipe, tmp_path / "results")


def test_tensorboard_draws_what_metrics_jsonl_holds(recipe_file: Path, votes: Path, tmp_path: Path):
    """The files are the training's own; among the checkpoints, where transformers puts them, they would go with those."""
    pytest.importorskip("tensorboard", reason="pip install tensorboard to see this")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    training = sft(read_recipe(recipe_file, "sft", data=votes, overrides=[*STEPS, "report_to=[tensorboard]"]), tmp_path / "results")
    folder = tmp_path / "results" / "trainings" / training.training_id
    drawn = EventAccumulator(str(folder / "tensorboard")).Reload()
    kept = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    losses = [(row["step"], row["loss"]) for row in kept if "loss" in row]
    assert [(event.step, pytest.approx(event.value)) for event in drawn.Scalars("train/loss")] == losses and len(losses) == 3
    assert drawn.Scalars("eval/loss") and not (folder / "checkpoints").exists()


def test_trackio_draws_what_metrics_jsonl_holds_and_leaves_stdout_to_the_result(recipe_file: Path, votes: Path, tmp_path: Path):
    pytest.importorskip("trackio", reason="pip install trackio to see this")
    environment = {**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    changes = [part for step in [*STEPS, "report_to=trackio"] for part in ("--set", step)]
    line = [sys.executable, "-m", "trainers.cli", "sft", str(recipe_file), "--data", str(votes), "--json", *changes]
    done = subprocess.run([*line, "--results", str(tmp_path / "results")], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    training_id = json.loads(done.stdout)["training_id"]
    with closing(sqlite3.connect(tmp_path / "trackio" / "huggingface.db")) as database:
        rows = [
            (step, json.loads(kept))
            for step, kept in database.execute("SELECT step, metrics FROM metrics WHERE run_name = ?", [training_id])
        ]
    kept = [json.loads(line) for line in (tmp_path / "results" / "trainings" / training_id / "metrics.jsonl").read_text().splitlines()]
    assert [(step, row["train/loss"]) for step, row in rows if "train/loss" in row] == [
        (row["step"], row["loss"]) for row in kept if "loss" in row
    ]
