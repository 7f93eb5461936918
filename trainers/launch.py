"""One training on several devices: the same command again, in as many processes as there are devices, through `accelerate launch`.

    trainers dpo recipe.yaml --data DIR --accelerate fsdp              # or ddp, zero3, a file of 'accelerate config'
    trainers sft recipe.yaml --data DIR --accelerate ddp --processes 2

The profiles are trainers/accelerate/*.yaml. ddp keeps the whole model on each device, fsdp and zero3 (needs deepspeed) share it out. The
batch of a step is per_device_train_batch_size × gradient_accumulation_steps × processes. Without a GPU ddp shares the CPU (gloo), as
`accelerate launch` alone does not.
"""

import os
import sys
from pathlib import Path

from trainers.errors import NotInstalled, TrainersError, need_torch

_INSIDE = "BAKEOFF_LAUNCHED"
PROFILES = Path(__file__).parent / "accelerate"


def launch(profile: str | None, processes: int | None, engine: str = "trl") -> None:
    """Become `accelerate launch` of this very command; returns only to a process that it started. Raises TrainersError."""
    if os.environ.get(_INSIDE):
        return
    if profile is None:
        raise TrainersError(f"--processes needs --accelerate: {', '.join(names())}, or a file of 'accelerate config'")
    if engine != "trl":
        raise TrainersError(f"--accelerate: {engine} trains on one GPU; remove it, or use --engine trl")
    command = launched(profile, processes, sys.argv[1:])
    sys.stdout.flush()
    os.environ[_INSIDE] = profile
    os.execv(sys.executable, command)


def launched(profile: str, processes: int | None, arguments: list[str]) -> list[str]:
    """The command line of `accelerate launch` for a command of trainers. Raises TrainersError, NotInstalled."""
    need_torch()
    import torch

    path = PROFILES / f"{profile}.yaml" if profile in names() else Path(profile)
    if not path.is_file():
        raise TrainersError(f"--accelerate: no profile '{profile}' and no such file; profiles: {', '.join(names())}")
    if profile == "zero3":
        from importlib.util import find_spec

        if find_spec("deepspeed") is None:
            raise NotInstalled("--accelerate zero3 needs deepspeed, which builds for your CUDA: pip install deepspeed (or use fsdp)")
    n_devices = torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    count = processes or n_devices or os.cpu_count() or 1
    if n_devices and count > n_devices:
        raise TrainersError(f"--processes {count}: there are {n_devices} devices")
    again = ["-m", "trainers.cli", *arguments]
    if not n_devices:
        if profile != "ddp":
            raise TrainersError(f"--accelerate {profile} shares a model out over GPUs, and there is none here; only ddp works on a CPU")
        return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count), *again]
    options = ["--config_file", str(path), "--num_processes", str(count), "--main_process_port", "0"]
    return [sys.executable, "-m", "accelerate.commands.launch", *options, *again]


def names() -> list[str]:
    """The shipped profiles."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))
