"""MLX's server: Apple silicon, and (slowly) Linux on a CPU.

Peculiarities seen with mlx-lm 0.32.2: lines of comment in its streams; samples greedily unless told otherwise; tries to load any other
model that a request names; `logprobs` must be true or false, and there is no echo; drops the space that an answer begins with; lives on
without a model when it could not load it.
"""

import sys
from pathlib import Path
from typing import Any

from serving.engines.launch import Launch, check_folder, flags

VERSION = "0.32.2"
SIZE = "350 MB"
READY = "/health"
READY_WITHIN_S = 600.0
DEAD: str | None = "generation thread died"
LOADS_ADAPTERS = False
DIALECT: dict[str, Any] = {
    "done": True,
    "neutral": {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 0.0},
}
_OWNED = ("host", "port", "model")


def release() -> str:
    """Package and version."""
    return f"mlx-{VERSION}"


def steps() -> list[list[str]]:
    """pip's commands: on Linux the library itself comes only with the extra."""
    library = "mlx==0.32.4" if sys.platform == "darwin" else "mlx[cpu]==0.32.4"
    return [["install", library, f"mlx-lm=={VERSION}"]]


def here() -> bool:
    """Never: it brings a transformers of its own."""
    return False


def check(model: Path) -> None:
    """Raises EngineFailed unless `model` is a folder in the hub's layout."""
    check_folder(model)


def command(launch: Launch) -> list[str]:
    """Its server, on this folder."""
    line = [launch.python, "-m", "mlx_lm.server", "--model", str(launch.model), "--host", "127.0.0.1", "--port", str(launch.port)]
    return line + flags(launch.settings, owned=_OWNED)


def environment() -> dict[str, str]:
    """Nothing is fetched from the hub unasked."""
    return {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def served_name(model: Path) -> str:
    """The folder it was started with: another name would be loaded as another model."""
    return str(model)
