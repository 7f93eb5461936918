"""`trainers` at the terminal: one line per error, the record as JSON, a merge that can be done again."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from terminal import Said, call


def run(*arguments: str, results: Path, code: int = 0) -> Said:
    """In this process: to import torch and trl takes ten seconds of CPU."""
    return call("trainers", *arguments, code=code, environment={"BAKEOFF_RESULTS": str(results)})


def run_apart(*arguments: str, results: Path) -> subprocess.CompletedProcess[str]:
    """In a process of its own, as a user runs it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "BAKEOFF_RESULTS": str(results)}
    done = subprocess.run([sys.executable, "-m", "trainers.cli", *arguments], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    return done


# PEFT asks transformers by a name that goes with its next version.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_a_training_is_recorded_listed_and_merged_again(recipe_file: Path, votes: Path, results: Path):
    done = run_apart("sft", str(recipe_file), "--data", str(votes), "--set", "merge=false", "--json", results=results)
    training = json.loads(done.stdout.splitlines()[-1])
    assert len(done.stdout.strip().splitlines()) == 1 and "held-out loss" in done.stderr
    assert training["merged"] is None and training["adapter"] == "adapter"
    assert training["training_id"] in run("ls", results=results).stdout
    merged = json.loads(run("merge", training["training_id"], "--json", results=results).stdout.splitlines()[-1])
    assert (Path(merged["merged"]) / "model.safetensors").exists() and merged["adapter_shift"] > 0
    told = run("lineage", training["training_id"], results=results).stdout
    assert "sha256" in told and "other rows now" not in told


def test_what_was_trained_on_is_known_when_the_files_change(recipe_file: Path, votes: Path, results: Path, tmp_path: Path):
    data, base = tmp_path / "data", tmp_path / "base"
    shutil.copytree(votes, data)
    shutil.copytree(yaml.safe_load(recipe_file.read_text())["model_name_or_path"], base)
    quick = ("--set", "merge=false", "--set", "num_train_epochs=1", "--set", f"model_name_or_path={base}")
    training = json.loads(run("sft", str(recipe_file), "--data", str(data), *quick, "--json", results=results).stdout.splitlines()[-1])
    with (data / "train.jsonl").open("a") as file:
        file.write("\n")
    assert "(other rows now)" in run("lineage", training["training_id"], results=results).stdout
    weights = base / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    refused = run("merge", training["training_id"], results=results, code=1)
    assert "these are not the weights" in refused.stderr
    assert not (results / "trainings" / training["training_id"] / "merged").exists()


def test_without_torch_the_remedy_is_told(tmp_path: Path, recipe_file: Path, votes: Path, results: Path):
    # `python -S` alone would lose typer too; a finder that knows no torch stands for an environment without it.
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util\nfind = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, package=None: None if name in ('torch', 'trl', 'peft') else find(name, package)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "trainers.cli", "sft", str(recipe_file), "--data", str(votes), "--results", str(results)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 1 and "pip install -e '.[train]' -c constraints.txt" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_each_error_is_one_line(recipe_file: Path, votes: Path, results: Path, tmp_path: Path):
    for arguments, told in [
        (["sft", str(tmp_path / "no.yaml")], "no.yaml: no such file"),
        (["sft", str(recipe_file), "--data", str(tmp_path / "none")], "no such folder; make one with 'arena export"),
        (["dpo", str(recipe_file), "--data", str(votes), "--set", "lerning_rate=1"], "Did you mean 'learning_rate'?"),
        (["merge", "nothing"], "no finished training 'nothing'"),
        (["lineage", "nothing"], "nothing here is called 'nothing'"),
    ]:
        done = run(*arguments, results=results, code=1)
        lines = [line for line in done.stderr.strip().splitlines() if line.startswith("error:")]
        assert len(lines) == 1 and told in lines[0], done.stderr
        assert "Traceback" not in done.stderr and done.stdout == ""
    assert not (results / "trainings").exists()
