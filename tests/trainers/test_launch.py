"""Several processes train one model, and an engine of another environment is asked for what it can."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainers import unsloth
from trainers.errors import NotInstalled, TrainersError
from trainers.launch import PROFILES, launch, launched, names


@pytest.mark.parametrize("name", names())
def test_accelerate_understands_each_profile(name: str, monkeypatch: pytest.MonkeyPatch):
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    config = load_config_from_file(str(PROFILES / f"{name}.yaml"))
    expected = {"ddp": "MULTI_GPU", "fsdp": "FSDP", "zero3": "DEEPSPEED"}[name]
    assert str(getattr(config.distributed_type, "value", config.distributed_type)) == expected
    if name == "zero3":
        pytest.importorskip("deepspeed")
    arguments = ["--config_file", str(PROFILES / f"{name}.yaml"), "--num_processes", "4", "-m", "trainers.cli", "sft"]
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(arguments))
    assert arguments.num_processes == 4 and arguments.training_script == "trainers.cli"
    assert {"ddp": arguments.multi_gpu, "fsdp": arguments.use_fsdp, "zero3": arguments.use_deepspeed}[name]
    if name == "fsdp":
        assert arguments.fsdp_version in (2, "2") and arguments.fsdp_state_dict_type == "FULL_STATE_DICT"


def test_on_gpus_the_same_command_runs_under_accelerate(monkeypatch: pytest.MonkeyPatch):
    import torch

    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 4)
    command = launched("fsdp", None, ["dpo", "r.yaml", "--accelerate", "fsdp"])
    assert command[1:3] == ["-m", "accelerate.commands.launch"] and command[command.index("--num_processes") + 1] == "4"
    assert command[-5:] == ["trainers.cli", "dpo", "r.yaml", "--accelerate", "fsdp"]
    with pytest.raises(TrainersError, match="--processes 8: there are 4 devices"):
        launched("ddp", 8, [])


def test_what_cannot_be_launched_is_told(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(TrainersError, match="no profile 'fdsp' and no such file; profiles: ddp, fsdp, zero3"):
        launched("fdsp", 2, [])
    with pytest.raises(TrainersError, match="--processes needs --accelerate"):
        launch(None, 2)
    with pytest.raises(TrainersError, match="unsloth trains on one GPU"):
        launch("ddp", 2, "unsloth")
    import torch

    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    with pytest.raises(TrainersError, match="only ddp works on a CPU"):
        launched("fsdp", 2, [])
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: object() if name != "deepspeed" else None)
    with pytest.raises(NotInstalled, match="zero3 needs deepspeed"):
        launched("zero3", 2, [])


@pytest.mark.slow
def test_two_processes_reach_the_loss_of_one(recipe_file: Path, votes: Path, tmp_path: Path):
    # Rows that fill the batches: the last, smaller one would be shared out by repeating rows.
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.jsonl").write_text("".join((votes / "train.jsonl").read_text().splitlines(keepends=True)[:32]))
    (data / "test.jsonl").write_bytes((votes / "test.jsonl").read_bytes())

    def trained(*options: str) -> dict[str, Any]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", "trainers.cli", "sft", str(recipe_file), "--data", str(data), "--json"]
        command += ["--results", str(tmp_path / "results"), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, env=environment)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.strip().splitlines()) == 1
        training: dict[str, Any] = json.loads(done.stdout)
        return training

    one = trained()
    two = trained("--set", "per_device_train_batch_size=4", "--accelerate", "ddp", "--processes", "2")
    first, last = (two["metrics"][name] / one["metrics"][name] for name in ("train_loss_first", "eval_loss"))
    # The first step sees the same rows; later ones are summed in another order, and a held-out batch has other neighbours.
    assert first == pytest.approx(1, rel=1e-4) and last == pytest.approx(1, rel=0.02)
    assert one["metrics"]["eval_loss"] < 0.97 * one["metrics"]["eval_loss_before"]
    assert len(list((tmp_path / "results" / "trainings").iterdir())) == 2 and two["merged"] == "merged"


def test_unsloth_has_an_environment_of_its_own_and_needs_a_gpu(monkeypatch: pytest.MonkeyPatch):
    from serving.engines.environments import engines_folder

    entered: list[list[str]] = []
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(TrainersError, match="--engine unsloth needs a GPU"):
        unsloth.enter()
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/" + name)
    monkeypatch.setattr(os, "execv", lambda python, command: entered.append(command))
    monkeypatch.setattr("serving.engines.environments._make", lambda folder, steps: entered.append([str(folder), *steps[0]]))
    unsloth.enter()
    monkeypatch.delenv("BAKEOFF_UNSLOTH")
    made, command = entered
    assert made == [str(engines_folder() / unsloth.release()), "install", f"unsloth=={unsloth.RELEASE}"]
    assert command[0] == str(engines_folder() / unsloth.release() / "bin" / "python") and command[1:3] == ["-m", "trainers.cli"]
