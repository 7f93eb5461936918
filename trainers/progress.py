"""A training as it goes: one live line at a terminal, plain lines elsewhere, and every step kept in metrics.jsonl for the curves.

with progress() as show:
    show(step, steps, {"loss": .6, "rewards/margins": .2})
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.command import say
from serving.documents import write_text_atomically

if TYPE_CHECKING:
    from trainers.training import OnStep

SHOWN = {
    "loss": "loss", "rewards/margins": "margin", "rewards/accuracies": "accuracy", "logps/chosen": "chosen logp",
    "tokens_per_s": "tokens/s",
}  # fmt: skip
# Into a file, so often and at the end.
_EVERY_S = 10.0


def keep_step(folder: Path, step: int, steps: int, logs: dict[str, Any]) -> None:
    """Append what was logged at a step to the folder's metrics.jsonl, under TRL's names; what is no finite number is null."""
    numbers = {key: value if abs(value) < float("inf") else None for key, value in logs.items() if isinstance(value, int | float)}
    line = json.dumps({"step": step, "steps": steps, "at_s": round(time.time(), 3), **numbers})
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def forget_after(folder: Path, step: int) -> None:
    """Drop from metrics.jsonl what lies after a step: a training that goes on from its checkpoint there does these steps again."""
    path = folder / "metrics.jsonl"
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        # Whoever was killed may have been writing.
        with suppress(ValueError):
            kept += [line] if line.endswith("\n") and json.loads(line)["step"] <= step else []
    write_text_atomically(path, "".join(kept))


class Pace:
    """Tokens a second between two steps, from TRL's running count of tokens."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None

    def of(self, metrics: dict[str, float], at_s: float) -> float | None:
        """None at the first step, and where tokens are not counted."""
        before, tokens = self._last, metrics.get("num_tokens")
        if tokens is None:
            return None
        self._last = at_s, tokens
        return None if before is None or at_s <= before[0] else (tokens - before[1]) / (at_s - before[0])


def line_of(metrics: dict[str, float]) -> str:
    """Loss, margin, accuracy, log-probability, pace: what was logged of these."""
    return "  ".join(f"{label} {metrics[name]:.3g}" for name, label in SHOWN.items() if name in metrics)


@contextmanager
def progress() -> Iterator["OnStep"]:
    """A function to call after each step."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    terminal, pace, told_at = sys.stderr.isatty(), Pace(), -_EVERY_S
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not terminal) as bar:
        task = bar.add_task("loading", total=None)

        def show(step: int, steps: int, metrics: dict[str, float]) -> None:
            nonlocal told_at
            now = time.monotonic()
            if (rate := pace.of(metrics, now)) is not None:
                metrics = {**metrics, "tokens_per_s": rate}
            line = line_of(metrics)
            bar.update(task, completed=step, total=steps, description=line or "evaluating")
            if not terminal and line and (now - told_at >= _EVERY_S or step == steps):
                told_at = now
                say(f"step {step:,}/{steps:,}  {line}")

        yield show
