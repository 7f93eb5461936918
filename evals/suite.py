"""A suite says which tasks are asked of which endpoints, and how: one YAML file, read strictly.

    name: nightly
    tasks: [gsm8k_chat, tasks/ours.yaml]     # shipped tasks, lists of them (bbh_cot), or paths from this file: see evals/task_files.py
    endpoints: [my-llama]
    parameters: {max_tokens: 512}            # over the task's own; null takes one away, so that the server's default holds
    limit: 200

Where not every endpoint is asked every task, `runs:` holds several such blocks of tasks, endpoints and parameters.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from evals.errors import EvalsError, UnknownSuite
from evals.task_files import expand_tasks
from serving.documents import Noun, parse_document, read_document
from serving.errors import did_you_mean

SUITES = Path(__file__).parent / "suites"

# A suite's name is part of its runs' folder names.
SuiteName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Parameters(Noun):
    """Sampling parameters as in serving.completion.Request. One that is not mentioned leaves the task's own; null takes it away."""

    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    stop: tuple[str, ...] | None = None
    seed: int | None = None
    extra: Mapping[str, Any] = {}

    def over(self, other: Mapping[str, Any]) -> dict[str, Any]:
        """`other` with what is mentioned here in place of its own, and without the nulls."""
        mentioned = {name: getattr(self, name) for name in self.model_fields_set}
        return {name: value for name, value in {**other, **mentioned}.items() if value is not None}


class Part(Noun):
    """Tasks, and the endpoints that are asked all of them."""

    tasks: tuple[str, ...] = Field(min_length=1)
    endpoints: tuple[str, ...] = ()
    parameters: Parameters = Parameters()


class Suite(Noun):
    """What `evals run` asks.

    `limit` takes the first documents of each task, `seed` draws few-shot examples, `concurrency` is the most requests in flight,
    `max_usd` what the run may cost (evals/budget.py), `attempts` how often a request is asked whose failure may pass (evals/asking.py).
    """

    name: SuiteName
    tasks: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    runs: tuple[Part, ...] = ()
    parameters: Parameters = Parameters()
    limit: int | None = Field(default=None, ge=1)
    seed: int = 0
    concurrency: int = Field(default=16, ge=1, le=4096)
    max_usd: float | None = Field(default=None, ge=0)
    attempts: int = Field(default=5, ge=1, le=20)

    @model_validator(mode="after")
    def _one_form(self) -> "Suite":
        if bool(self.tasks) == bool(self.runs):
            raise ValueError("a suite has either tasks (and endpoints) or runs: a list of blocks with tasks and endpoints")
        if self.runs and self.endpoints:
            raise ValueError("endpoints stand inside each block of runs; move them there")
        pairs = [(endpoint, task) for part in self.parts for endpoint in part.endpoints for task in part.tasks]
        if twice := next((pair for pair in pairs if pairs.count(pair) > 1), None):
            raise ValueError(f"endpoint '{twice[0]}' is asked task '{twice[1]}' twice; name each pair once")
        return self

    @property
    def parts(self) -> tuple[Part, ...]:
        """The blocks, each with the suite's parameters under its own."""
        blocks = self.runs or (Part(tasks=self.tasks, endpoints=self.endpoints),)
        return tuple(block.model_copy(update={"parameters": _merged(self.parameters, block.parameters)}) for block in blocks)


def find_suite(name: str) -> Path:
    """A path that exists, else the shipped suite of that name: `demo`, `demo.yaml` and `suites/demo.yaml` are the same.

    Raises UnknownSuite.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = SUITES / f"{path.name.removesuffix('.yaml')}.yaml"
    if path.parent in (Path("."), Path("suites"), Path("evals/suites")) and shipped.is_file():
        return shipped
    known = shipped_suites()
    raise UnknownSuite(f"{name}: no such file, and no shipped suite.{did_you_mean(path.stem, known)} Shipped: {', '.join(known)}")


def load_suite(path: Path) -> Suite:
    """The suite of a file, with each name that stands for a list of tasks replaced by its members'.

    Raises DocumentError (file, key, value, remedy) for the first thing that does not fit, UnknownTask for a task that is nowhere.
    """
    suite = read_document(path, Suite)
    written: dict[str, Any] = suite.model_dump(exclude_unset=True)
    for block in (written, *written.get("runs", ())):
        if "tasks" in block:
            block["tasks"] = expand_tasks(block["tasks"], path.parent)
    return parse_document(written, Suite, where=str(path))


def shipped_suites() -> list[str]:
    """Names, sorted."""
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


def choose_endpoints(suite: Suite, chosen: Sequence[str]) -> tuple[Part, ...]:
    """The suite's blocks for the chosen endpoints (none chosen: the suite's own). Raises EvalsError when no endpoint is left to ask.

    An endpoint that the suite names keeps the tasks it has there; any other is asked every task.
    """
    listed = {endpoint for part in suite.parts for endpoint in part.endpoints}
    parts = []
    for part in suite.parts:
        own = part.endpoints if not chosen else [name for name in dict.fromkeys(chosen) if name in part.endpoints or name not in listed]
        if own:
            parts.append(part.model_copy(update={"endpoints": tuple(own)}))
    if not parts:
        raise EvalsError(f"suite '{suite.name}' names no endpoints; add 'endpoints:' to it, or choose with --endpoint ID")
    return tuple(parts)


def _merged(under: Parameters, over: Parameters) -> Parameters:
    return Parameters.model_validate(
        {name: getattr(under, name) for name in under.model_fields_set} | {name: getattr(over, name) for name in over.model_fields_set}
    )
