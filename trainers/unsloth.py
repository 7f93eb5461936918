"""Unsloth as another engine for LoRA on one GPU, in an environment of its own: its pins (TRL, transformers) fight ours.

    trainers sft recipe.yaml --data DIR --engine unsloth

`enter` becomes the same command under that environment's Python, made once under ~/.cache/bakeoff/engines; there `import unsloth` comes
before TRL and patches its trainers, and the rest of a training is what it is without. BAKEOFF_ENGINES moves the folder.
"""

import os
import sys
from pathlib import Path

from trainers.errors import TrainersError

RELEASE = "2026.10.9"
SIZE = "about 8 GB"
_INSIDE = "BAKEOFF_UNSLOTH"


def release() -> str:
    """The name of the environment's folder."""
    return f"unsloth-{RELEASE}"


def here() -> bool:
    """Never: its pins and ours exclude each other."""
    return False


def steps() -> list[list[str]]:
    """What pip is given, in this order: Unsloth with its own TRL, then this checkout without dependencies, and what its commands import."""
    checkout = str(Path(__file__).resolve().parents[1])
    return [
        ["install", f"unsloth=={RELEASE}"],
        ["install", "typer", "pydantic", "pyyaml", "rich"],
        ["install", "--no-deps", "-e", checkout],
    ]


def enter() -> None:
    """Become this command in Unsloth's environment; inside it, patch TRL and return. Raises TrainersError without a GPU."""
    if os.environ.get(_INSIDE):
        __import__("unsloth")
        return
    from shutil import which

    from serving.engines.environments import interpreter

    if which("nvidia-smi") is None and which("rocm-smi") is None:
        raise TrainersError("--engine unsloth needs a GPU (neither nvidia-smi nor rocm-smi is here); use --engine trl")
    python = interpreter(sys.modules[__name__], "unsloth", install=True)
    os.environ[_INSIDE] = RELEASE
    os.execv(python, [python, "-m", "trainers.cli", *sys.argv[1:]])
