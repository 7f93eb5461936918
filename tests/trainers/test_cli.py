"""`trainers` at the terminal: one line per error, the record as JSON, a merge that can be done again."""

import json
import os
import subprocess
import sys
from pathlib import Path


def run(*arguments: str, results: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "BAKEOFF_RESULTS": str(results)}
    done = subprocess.run([sys.executable, "-m", "trainers.cli", *arguments], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == code, done.stderr
    return done


def test_a_training_is_recorded_listed_and_merged_again(recipe_file: Path, votes: Path, results: Path):
    done = run("sft", str(recipe_file), "--data", str(votes), "--set", "merge=false", "--json", results=results)
    training = json.loads(done.stdout.splitlines()[-1])
    assert len(done.stdout.strip().splitlines()) == 1 and "held-out loss" in done.stderr
    assert training["merged"] is None and training["adapter"] == "adapter"
    assert training["training_id"] in run("ls", results=results).stdout
    merged = json.loads(run("merge", training["training_id"], "--json", results=results).stdout.splitlines()[-1])
    assert (Path(merged["merged"]) / "model.safetensors").exists() and merged["adapter_shift"] > 0
    assert "sha256" in run("lineage", training["training_id"], results=results).stdout


def test_each_error_is_one_line(recipe_file: Path, votes: Path, results: Path, tmp_path: Path):
    for arguments, told in [
        (["sft", str(tmp_path / "no.yaml")], "no.yaml: no such file"),
        (["sft", str(recipe_file), "--data", str(tmp_path / "none")], "no such folder; make one with 'arena export"),
        (["dpo", str(recipe_file), "--data", str(votes), "--set", "lerning_rate=1"], "Did you mean 'learning_rate'?"),
        (["merge", "nothing"], "no finished training 'nothing'"),
        (["lineage", "nothing"], "no finished training 'nothing'"),
    ]:
        done = run(*arguments, results=results, code=1)
        lines = [line for line in done.stderr.strip().splitlines() if line.startswith("error:")]
        assert len(lines) == 1 and told in lines[0], done.stderr
        assert "Traceback" not in done.stderr and done.stdout == ""
    assert not (results / "trainings").exists()
