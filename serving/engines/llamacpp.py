"""llama.cpp's Python server: GGUF files, quantised ones too, on small machines.

Peculiarities seen with 0.3.36: without `--interrupt_requests False` a new request cuts the running stream with HTTP 200; it repeats
with a penalty of 1.1 unless told not to; no usage in streams; any model name is accepted; one request at a time; echoed
log-probabilities are off by one (each token scored by what follows it), so the probe never lets them through. The package is compiled.
"""

from pathlib import Path
from typing import Any

from serving.engines.launch import Launch, flags
from serving.errors import EngineFailed

VERSION = "0.3.36"
SIZE = "190 MB, compiled in 5 to 20 minutes: needs a C++ compiler"
READY = "/v1/models"
READY_WITHIN_S = 600.0
DEAD: str | None = None
LOADS_ADAPTERS = False
DIALECT: dict[str, Any] = {
    "done": True,
    "usage": False,
    "neutral": {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0},
}
_OWNED = ("host", "port", "model", "model-alias", "interrupt-requests")
# llama.cpp's default of 2,048 tokens cuts ordinary prompts; 0 is the length that the model was trained for.
_DEFAULTS = {"n_ctx": "0"}


def release() -> str:
    """Package and version."""
    return f"llamacpp-{VERSION}"


def steps() -> list[list[str]]:
    """pip's commands."""
    return [["install", f"llama_cpp_python[server]=={VERSION}"]]


def here() -> bool:
    """Never: it is compiled into an environment of its own."""
    return False


def check(model: Path) -> None:
    """Raises EngineFailed unless `model` is a GGUF file, or a folder with exactly one."""
    gguf_in(model)


def gguf_in(model: Path) -> Path:
    """The GGUF file meant by `model`. Raises EngineFailed with the remedy."""
    if model.is_dir() and len(files := sorted(model.glob("*.gguf"))) == 1:
        return files[0]
    if model.is_file():
        with model.open("rb") as file:
            if file.read(4) == b"GGUF":
                return model
        raise EngineFailed(f"{model}: not a GGUF file (it does not start with GGUF)")
    if not model.exists():
        raise EngineFailed(f"{model}: no such file; name a .gguf file")
    if len(files) > 1:
        raise EngineFailed(f"{model}: holds {len(files)} GGUF files; name one of them")
    convert = f"python convert_hf_to_gguf.py {model} --outfile {model.name}.gguf"
    raise EngineFailed(f"{model}: llama.cpp reads GGUF; convert with its own script ({convert}) and name the .gguf file")


def command(launch: Launch) -> list[str]:
    """Its server, told not to interrupt itself."""
    line = [launch.python, "-m", "llama_cpp.server", "--model", str(gguf_in(launch.model)), "--model_alias", served_name(launch.model)]
    line += ["--host", "127.0.0.1", "--port", str(launch.port), "--interrupt_requests", "False"]
    settings = {**_DEFAULTS, **{key.strip().lstrip("-").replace("-", "_"): value for key, value in launch.settings.items()}}
    return line + flags(settings, owned=_OWNED, switches=False)


def environment() -> dict[str, str]:
    """Variables it needs: none."""
    return {}


def served_name(model: Path) -> str:
    """The file's name without .gguf."""
    return gguf_in(model).stem
