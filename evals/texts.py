"""The texts of the shipped tasks, for whoever must keep them out of training data: `evals texts`.

evals texts | head -1          # {"task": "arc", "text": "…"}

One JSON object a line: `task` (the folder of its data under evals/tasks) and `text`, once each: questions, choices, references, worked
examples. The prompts that a task makes of them hold these texts. Nothing but the data files is read, so it takes about a second.
"""

import gzip
import json
from collections.abc import Iterator
from typing import Any

from evals.task_files import TASKS
from serving.command import emit


def texts() -> None:
    """Print the texts of the shipped tasks' questions, one JSON object a line, to keep them out of training data."""
    for task, text in task_texts():
        emit(json.dumps({"task": task, "text": text}, ensure_ascii=False))


def task_texts() -> Iterator[tuple[str, str]]:
    """(task, text) of every text in the shipped data files, in the order of their names; no text of a task twice."""
    seen: set[tuple[str, str]] = set()
    for path in sorted(file for pattern in ("*/*.jsonl", "*/*.jsonl.gz", "*/*.json") for file in TASKS.glob(pattern)):
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            documents = [json.load(file)] if path.suffix == ".json" else [json.loads(line) for line in file if line.strip()]
        for text in _strings(documents):
            if (found := (path.parent.name, text)) not in seen:
                seen.add(found)
                yield found


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)
