"""What an engine's module must say, and what it is told: each engine is one small module that turns a Launch into a command line.

vllm.command(Launch(model=Path("merged"), port=8000, python="…/bin/python"))
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from serving.errors import EngineFailed


@dataclass(frozen=True)
class Launch:
    """One start of an engine: on which model, where, with which adapters (name -> folder) and settings (the engine's own flags)."""

    model: Path
    port: int
    python: str
    adapters: Mapping[str, Path] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


class Recipe(Protocol):
    """An engine's module.

    READY is the path that answers 200 when it can be asked, DEAD what its log says when it lives on without a model. DIALECT holds what is
    known of its Capabilities; the probe has the last word on what can be checked (serving/probe.py).
    """

    READY: str
    READY_WITHIN_S: float
    DEAD: str | None
    DIALECT: dict[str, Any]
    LOADS_ADAPTERS: bool
    SIZE: str

    def release(self) -> str:
        """Name and version of what is installed for this machine, which is also the environment's folder."""
        ...

    def steps(self) -> list[list[str]]:
        """The pip commands that make the environment, in order."""
        ...

    def here(self) -> bool:
        """Whether the engine can run from the environment that this process runs in."""
        ...

    def check(self, model: Path) -> None:
        """Raises EngineFailed when this engine cannot serve what lies at `model`."""
        ...

    def command(self, launch: Launch) -> list[str]:
        """What to run."""
        ...

    def environment(self) -> dict[str, str]:
        """Variables that it needs; what the person has set themselves wins."""
        ...

    def served_name(self, model: Path) -> str:
        """The name that a request must give."""
        ...


def flags(settings: Mapping[str, str], *, owned: tuple[str, ...], switches: bool = True) -> list[str]:
    """`--set key=value` as the engine's own flags: true and false become `--key` and `--no-key` where the engine has switches.

    Raises EngineFailed for a key that bakeoff itself must set. A key that the engine does not know is refused by the engine.
    """
    line = []
    for key, value in settings.items():
        name = key.strip().lstrip("-")
        if name.replace("_", "-") in owned:
            raise EngineFailed(f"--set {key}={value}: bakeoff sets this itself (--port and --id are its own options); leave it out")
        if switches and value.lower() in ("true", "false"):
            line.append(f"--{name}" if value.lower() == "true" else f"--no-{name}")
        else:
            line += [f"--{name}", value]
    return line


def pairs(option: str, values: list[str]) -> dict[str, str]:
    """`["a=b"]` as `{"a": "b"}`. Raises EngineFailed for what is no pair, or a name given twice."""
    found: dict[str, str] = {}
    for value in values:
        name, equals, rest = value.partition("=")
        if not (name and equals and rest):
            raise EngineFailed(f"{option} {value}: must be {'NAME=PATH' if option == '--lora' else 'key=value'}")
        if name in found:
            raise EngineFailed(f"{option} {value}: '{name}' is given twice")
        found[name] = rest
    return found


def check_folder(model: Path) -> None:
    """Raises EngineFailed unless `model` is a folder with a config.json (what vLLM, transformers and MLX read)."""
    if (model / "config.json").is_file():
        return
    if model.is_file():
        what = "is a file"
    else:
        what = "holds no config.json" if model.exists() else "no such folder"
    hint = f" (from the hub: hf download {model} --local-dir DIR)" if not model.exists() and len(model.parts) == 2 else ""
    raise EngineFailed(f"{model}: {what}; name a folder with a model's weights, config and tokenizer{hint}")
