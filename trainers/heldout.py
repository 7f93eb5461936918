"""The held-out rows that a gate asks: the dataset's test rows as they were when it was trained on, or a file of prompts."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.errors import DataError
from trainers.record import Training

if TYPE_CHECKING:
    from trainers.gate import GateSettings

Row = dict[str, Any]


def held_out(training: Training, settings: "GateSettings") -> list[Row]:
    """At most `n_prompts` rows with different prompts (lists of messages). Raises DataError where there are fewer than two."""
    rows = _from_file(Path(settings.prompts)) if settings.prompts else _of_dataset(training)
    found: dict[str, Row] = {}
    for row in rows:
        found.setdefault(json.dumps(row["prompt"], sort_keys=True), row)
    if len(found) < 2:
        raise DataError(
            f"{settings.prompts or training.dataset}: {len(found)} held-out prompts, from which nothing follows; export with a test split, "
            "or name prompts that were not trained on (--prompts FILE)"
        )
    return list(found.values())[: settings.n_prompts]


def has_held_out(training: Training) -> bool:
    """Whether the training was made with test rows."""
    return training.n_test > 1


def _of_dataset(training: Training) -> list[Row]:
    from trainers.data import load_rows, parts

    rows = load_rows(Path(training.dataset), training.method)  # type: ignore[arg-type]
    if rows.dataset_hash != training.dataset_hash:
        raise DataError(
            f"{training.dataset}: holds other rows than '{training.training_id}' was trained on, and may test what was trained; put those "
            "back, or name other prompts (--prompts FILE)"
        )
    return [{**row, "prompt": parts(row)[0]} for row in rows.test if parts(row)[0]]


def _from_file(path: Path) -> list[Row]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}:{number}: not JSON: {error}") from None
        if not isinstance(row, dict) or "prompt" not in row:
            raise DataError(f"{path}:{number}: prompt: missing; each line is an object with a prompt (a text, or messages)")
        found.append({**row, **{key: _turns(row[key], role, path, number) for key, role in _COLUMNS.items() if row.get(key)}})
    return found


_COLUMNS = {"prompt": "user", "chosen": "assistant", "rejected": "assistant", "completion": "assistant"}


def _turns(value: Any, role: str, path: Path, number: int) -> list[dict[str, str]]:
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if isinstance(value, list) and all(isinstance(turn, dict) and {"role", "content"} <= set(turn) for turn in value):
        return [{"role": turn["role"], "content": turn["content"]} for turn in value]
    raise DataError(f"{path}:{number}: {value!r:.60}: must be a text or a list of messages with role and content")
