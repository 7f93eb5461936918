"""What a training left behind while it ran and when it was judged, read for its page: curves, verdict, chain.

    curves = read_curves(folder)              # of results/trainings/<id>/metrics.jsonl, a line per log step
    curves.groups["Loss"]                     # rows with step, name, value

Trainings are watched while they run: the last line may be half written, and a file may not be there yet.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

POINTS = 400
# What belongs on one chart, under TRL's own names; the same with eval_ in front is drawn beside it.
GROUPS: dict[str, tuple[str, ...]] = {
    "Loss": ("loss", "train_loss"),
    "Preferred answer more likely (share)": ("rewards/accuracies", "accuracy"),
    "Reward margin": ("rewards/margins", "margin"),
    "Implicit rewards": ("rewards/chosen", "rewards/rejected", "rewards/mean", "reward"),
    "Log-probabilities": ("logps/chosen", "logps/rejected"),
    "KL from the reference": ("kl", "objective/kl", "approx_kl"),
    "Token accuracy": ("mean_token_accuracy",),
    "Entropy": ("entropy",),
    "Gradient norm": ("grad_norm",),
    "Learning rate": ("learning_rate",),
    "Speed (tokens/s)": ("tokens/s", "tokens_per_s", "tokens_per_second"),
}
SHARES = {"Preferred answer more likely (share)", "Token accuracy"}
_AXES = {"step", "epoch", "time", "at", "logged_at", "elapsed_s"}


@dataclass
class Curves:
    """Rows (`step`, `name`, `value`) by chart; `last` is the last value of each measure, `n_broken` lines that could not be read."""

    groups: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    others: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    n_lines: int = 0
    n_broken: int = 0


def read_curves(folder: Path) -> Curves:
    """The curves of a training's metrics.jsonl; empty where there is none (yet)."""
    found = Curves()
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return found
    series: dict[str, list[dict[str, Any]]] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        row = _object(line)
        if row is None:
            found.n_broken += bool(line.strip())
            continue
        found.n_lines += 1
        step = row.get("step")
        step = step if _is_number(step) else found.n_lines
        for name, value in row.items():
            if name not in _AXES and _is_number(value):
                series.setdefault(name, []).append({"step": step, "name": name, "value": value})
                found.last[name] = value
    for name, rows in series.items():
        group = next((title for title, names in GROUPS.items() if name.removeprefix("eval_") in names), None)
        (found.groups if group else found.others).setdefault(group or name, []).extend(thinned(rows))
    found.groups = {title: found.groups[title] for title in GROUPS if title in found.groups}
    found.others = dict(sorted(found.others.items()))
    return found


def thinned(rows: list[dict[str, Any]], most: int = POINTS) -> list[dict[str, Any]]:
    """At most so many rows, evenly chosen, the first and the last among them."""
    if len(rows) <= most:
        return rows
    return [rows[round(place * (len(rows) - 1) / (most - 1))] for place in range(most)]


@dataclass(frozen=True)
class Verdict:
    """What the gate said. `passed` is None where nobody asked it; `checks` are (name, passed or None for not measured, in words)."""

    passed: bool | None
    checks: tuple[tuple[str, bool | None, str], ...] = ()
    origin: str = ""


def read_verdict(gate: Mapping[str, Any] | None) -> Verdict:
    """The verdict in a training's record, as `trainers gate` wrote it (results/README.md)."""
    if not gate:
        return Verdict(None)
    checks = tuple((name, check.get("passed"), str(check.get("told", ""))) for name, check in gate.get("checks", {}).items())
    origin = f"{gate.get('n_prompts', '–')} held-out prompts, {str(gate.get('gated_at', '–'))[:10]}"
    return Verdict(gate.get("verdict") == "passed", checks, origin)


def _object(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
