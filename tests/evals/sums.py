"""A small task whose answers are known, and a server that can do sums: what tests of runs ask.

path = sums_task(tmp_path / "tasks", n=500)
with ModelServer(adds) as server: ...
"""

import json
import re
from pathlib import Path
from typing import Any

from model_server import ModelServer, sse

from evals.quality import run_suite
from evals.runs import RunFiles
from evals.suite import Suite, choose_endpoints
from serving.endpoints import register

SUMS = """\
task: sums
dataset_path: json
dataset_kwargs: {data_files: {test: sums.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: [], temperature: 0.0, max_gen_toks: 8}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""


def sums_task(folder: Path, extra: str = "", n: int = 10) -> Path:
    """n sums whose answers are 0, 2, 4, …"""
    folder.mkdir(exist_ok=True)
    rows = [{"question": f"{number} + {number} =", "answer": str(2 * number)} for number in range(n)]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "sums.yaml").write_text(SUMS + extra)
    return folder / "sums.yaml"


def asked_number(body: dict[str, Any]) -> int:
    """The number that a request asks to double."""
    return int(re.findall(r"\d+", body["messages"][0]["content"])[0])


def adds(body: dict[str, Any]) -> list[bytes]:
    """A model that can add, except that it answers 5 + 5 with 11."""
    number = asked_number(body)
    return sse("11" if number == 5 else str(2 * number))


def run_sums(server: ModelServer, folder: Path, results: Path, **values: Any) -> RunFiles:
    """`evals run` of the task in `folder` against `server`; `resume`, `cache` and `out` are run_suite's, the rest is the suite's."""
    how = {name: values.pop(name) for name in ("resume", "cache", "out") if name in values}
    register(server.endpoint("adder", **values.pop("endpoint", {})), results)
    wanted = Suite.model_validate({"name": "sums", "tasks": ["sums.yaml"], "endpoints": ["adder"], **values})
    return run_suite(wanted, choose_endpoints(wanted, []), folder=folder, results=results, **how)
