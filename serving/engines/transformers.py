"""transformers' own server (`transformers serve`): runs wherever torch does, from the environment that trained the model if that has it.

Peculiarities seen with 5.23: readiness is /health (/v1/models fails without a hub cache); a pinned model must be asked by the very path it
was started with; streams end without `[DONE]`; logprobs and echo are ignored without a word, so the endpoint never offers them; a request
with a field that it does not know is refused; it samples only where the model's generation_config.json says do_sample.
"""

import importlib.util
from pathlib import Path
from typing import Any

from serving.engines.launch import Launch, check_folder, flags

VERSION = "5.23.0"
SIZE = "1.2 GB for CPUs"
READY = "/health"
READY_WITHIN_S = 600.0
DEAD: str | None = None
LOADS_ADAPTERS = False
# There is no field for a repetition penalty: it is 1 + frequency_penalty.
DIALECT: dict[str, Any] = {"done": False, "neutral": {"temperature": 1.0, "top_p": 1.0, "frequency_penalty": 0.0}}
_OWNED = ("host", "port", "force-model")
# Decided where torch is imported anyway. On a CPU the defaults of continuous batching reserve 13 GB and half a minute for a toy model.
_START = """
import sys, torch
if torch.accelerator.is_available():
    sys.argv += ["--device", "auto"]
else:
    sys.argv += ["--device", "cpu", "--cb-block-size", "32", "--cb-num-blocks", "256", "--cb-max-batch-tokens", "512"]
sys.argv += SETTINGS
from transformers.cli.transformers import main
sys.exit(main())
"""


def release() -> str:
    """Package and version."""
    return f"transformers-{VERSION}"


def steps() -> list[list[str]]:
    """pip's commands."""
    return [["install", "torch==2.13.0"], ["install", f"transformers[serving]=={VERSION}"]]


def here() -> bool:
    """Whether torch and the server's packages are installed beside us."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers", "fastapi"))


def check(model: Path) -> None:
    """Raises EngineFailed unless `model` is a folder in the hub's layout."""
    check_folder(model)


def command(launch: Launch) -> list[str]:
    """Its server with continuous batching, on this folder."""
    # After the defaults, so that what a person sets wins.
    start = _START.replace("SETTINGS", repr(flags(launch.settings, owned=_OWNED)))
    line = ["serve", str(launch.model), "--host", "127.0.0.1", "--port", str(launch.port), "--continuous-batching"]
    return [launch.python, "-c", start, *line]


def environment() -> dict[str, str]:
    """Nothing is fetched from the hub unasked."""
    return {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def served_name(model: Path) -> str:
    """The folder it was started with."""
    return str(model)
