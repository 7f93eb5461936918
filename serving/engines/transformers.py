"""transformers' own server (`transformers serve`): runs wherever torch does, from the environment that trained the model.

Peculiarities seen with 5.23: readiness is /health (/v1/models fails without a hub cache); a pinned model must be asked by the very path it
was started with; streams end without `[DONE]`; logprobs and echo are ignored without a word, so the endpoint never offers them.
"""

import importlib.util
import sys
from pathlib import Path

from serving.errors import EngineFailed

READY = "/health"
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
# The defaults of continuous batching reserve 13 GB and half a minute for a toy model on a CPU; a GPU sizes its cache by its memory.
_ON_CPU = ["--cb-block-size", "32", "--cb-num-blocks", "256", "--cb-max-batch-tokens", "512"]


def check() -> None:
    """Raises EngineFailed when torch or the server's packages are not installed here."""
    missing = [name for name in ("torch", "transformers", "fastapi") if importlib.util.find_spec(name) is None]
    if missing:
        raise EngineFailed(
            f"engine 'transformers' needs {', '.join(missing)}: pip install -e '.[train]' -c constraints.txt (or: make train)"
        )


def command(model: Path, port: int) -> list[str]:
    """What to run, for this folder on this port of loopback."""
    import torch

    accelerator = torch.accelerator.is_available()
    device = ["--device", "auto"] if accelerator else ["--device", "cpu", *_ON_CPU]
    start = "import sys; from transformers.cli.transformers import main; sys.exit(main())"
    return [sys.executable, "-c", start, "serve", str(model), "--host", "127.0.0.1", "--port", str(port), "--continuous-batching", *device]


def served_name(model: Path) -> str:
    """The name that a request must give."""
    return str(model)
