"""What a training left behind while it ran and when it was judged, read for its page: curves, verdict, chain.

    curves = read_curves(folder)              # of results/trainings/<id>/metrics.jsonl, a line per log step
    curves.groups["Loss"]                     # rows with step, name, value

Trainings are watched while they run: the last line may be half written, and a file may not be there yet.
"""

import json
import math
from collections.abc import Iterable, Mapping
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
    """What the gate said. `passed` is None where nobody asked it."""

    passed: bool | None
    reasons: tuple[str, ...] = ()
    figures: tuple[tuple[str, str], ...] = ()


def read_verdict(gate: Mapping[str, Any] | None, folder: Path) -> Verdict:
    """The verdict in the training's record, else in its gate.json."""
    document: Any = gate
    if not document and (folder / "gate.json").is_file():
        document = _object((folder / "gate.json").read_text(encoding="utf-8", errors="replace"))
    if not document:
        return Verdict(None)
    known = {"passed", "verdict", "status", "reasons", "figures"}
    passed = document.get("passed")
    if not isinstance(passed, bool):
        word = document.get("verdict", document.get("status"))
        passed = None if word is None else word == "passed"
    reasons = document.get("reasons") or ()
    reasons = (reasons,) if isinstance(reasons, str) else tuple(map(_said, reasons))
    figures = document.get("figures") or {key: value for key, value in document.items() if key not in known}
    return Verdict(passed, reasons, tuple(_flat(figures)))


def _flat(value: Any, name: str = "") -> Iterable[tuple[str, str]]:
    """(name, value) of everything in a document, names joined by dots."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(inner, Mapping | list) for inner in value):
        for number, inner in enumerate(value, start=1):
            label = str(inner.get("name", number)) if isinstance(inner, Mapping) else str(number)
            yield from _flat({key: item for key, item in inner.items() if key != "name"} if isinstance(inner, Mapping) else inner,
                             f"{name}.{label}" if name else label)  # fmt: skip
    else:
        yield name, _said(value)


def _said(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(_said, value)) or "–"
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_said(inner)}" for key, inner in value.items())
    return str(value)


def _object(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
