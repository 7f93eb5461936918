"""Ask a suite's tasks of its endpoints and score the answers. An error is never an answer: what failed is counted, not scored.

    evals run suites/demo.yaml

lm-eval builds the prompts, reads the answers and computes each document's metrics; the requests go through evals/lm.py. The mean and its
standard error are then taken with lm-eval's own functions over the answered documents only, so they equal lm-eval's where nothing failed.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.errors import TaskError
from evals.items import cluster_of
from evals.runs import (
    Run,
    RunFiles,
    Sample,
    Score,
    Verdict,
    completions_log,
    git_commit,
    new_run_folder,
    now,
    read_run,
    versions,
    write_lines,
    write_run,
)
from evals.suite import Part, Suite, find_task
from serving.completion import Completion
from serving.endpoints import Endpoint, load_endpoints, pick

if TYPE_CHECKING:
    from evals.lm import EndpointLM

log = logging.getLogger(__name__)

# lm-eval takes 100,000 resamples by default, for the few metrics whose standard error has no formula: minutes on a thousand documents.
BOOTSTRAP_ITERS = 1_000


@dataclass(frozen=True)
class Progress:
    """Told to whoever watches: one endpoint on one task, `done` of `total` requests."""

    endpoint: str
    task: str
    done: int
    total: int


OnProgress = Callable[[Progress], None]


def run_suite(
    suite: Suite, parts: Iterable[Part], *, folder: Path, results: Path, out: Path | None = None, on_progress: OnProgress | None = None
) -> RunFiles:
    """Run the parts of `suite` (see evals.suite.choose_endpoints) and keep everything; tasks named by path are sought from `folder`.

    Raises UnknownEndpoint, UnknownTask, TaskError, MissingKey, Unreachable or RunExists before anything is asked or written.
    """
    parts = tuple(parts)
    known = load_endpoints(results)
    endpoints = {name: pick(known, name) for part in parts for name in part.endpoints}
    paths = {name: find_task(name, folder) for part in parts for name in part.tasks}
    tasks = {name: load_task(path) for name, path in paths.items()}
    for part in parts:
        _check_tasks([tasks[name] for name in part.tasks], [endpoints[name] for name in part.endpoints])
    _check_reachable(endpoints.values())

    started_at = now()
    run_id, run_folder = new_run_folder(suite.name, started_at, results, out)
    run = Run(
        run_id=run_id,
        suite=suite.name,
        endpoints=tuple(endpoints),
        started_at=started_at,
        git_commit=git_commit(),
        versions=versions(),
        seed=suite.seed,
        config=_config(suite, parts, endpoints, paths),
    )
    write_run(run, run_folder)
    samples: list[Sample] = []
    scores: list[Score] = []
    with completions_log(run_folder) as record:
        for part in parts:
            for endpoint_id in part.endpoints:
                for name in part.tasks:
                    task = tasks[name]
                    lm = _model(endpoints[endpoint_id], task, suite, part, record, on_progress)
                    asked = ask_task(lm, task, limit=suite.limit, seed=suite.seed)
                    samples += asked
                    scores += score(task, asked, run_id)
    write_lines(run_folder / "samples.jsonl", samples)
    write_lines(run_folder / "scores.jsonl", scores)
    write_run(run.model_copy(update={"finished_at": now()}), run_folder)
    return read_run(run_folder)


def load_task(path: Path) -> Any:
    """The lm-eval task of one YAML file; `data_files` are relative to that file, wherever the command runs. Raises TaskError."""
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks._yaml_loader import load_yaml

    try:
        config = load_yaml(path)
        if not isinstance(config.get("task"), str):
            raise TaskError(f"{path}: must hold 'task: NAME' (groups of tasks are named one by one in the suite)")
        kwargs = config.get("dataset_kwargs") or {}
        if "data_files" in kwargs:
            config["dataset_kwargs"] = {**kwargs, "data_files": _anchored(kwargs["data_files"], path.parent)}
        loaded = TaskManager(include_defaults=False).load([config])
        (task,) = loaded["tasks"].values()
    except TaskError:
        raise
    except Exception as error:
        # A task file is somebody's own YAML and Python: whatever it raises is about that file.
        raise TaskError(f"{path}: cannot be loaded as an lm-eval task: {type(error).__name__}: {error}") from error
    if task.get_config("num_fewshot") is None:
        task.set_config(key="num_fewshot", value=0)
    return task


def ask_task(lm: "EndpointLM", task: Any, *, limit: int | None = None, seed: int = 0) -> list[Sample]:
    """Ask one endpoint one task; one Sample per document (and per lm-eval filter, where a task reads its answers in several ways)."""
    from lm_eval.evaluator import evaluate

    task.set_fewshot_seed(seed=seed)
    chat = lm.endpoint.capabilities.chat
    # No standard errors here: lm-eval would take them over the failed documents too.
    evaluated = evaluate(
        lm, {"tasks": {task.task_name: task}}, limit=limit, bootstrap_iters=0, apply_chat_template=chat, fewshot_as_multiturn=chat
    )
    logged = evaluated["samples"][task.task_name]
    return [_sample(lm.endpoint.id, task, values) for values in logged]


def score(task: Any, samples: list[Sample], run_id: str) -> list[Score]:
    """The metrics of one endpoint's samples on one task, over the answered documents alone."""
    from lm_eval.api.metrics import mean, stderr_for_metric

    filters = list(dict.fromkeys(sample.filter for sample in samples))
    scores = []
    for name in filters:
        read = [sample for sample in samples if sample.filter == name]
        answered = [sample for sample in read if sample.answered]
        n_failed = len(read) - len(answered)
        for metric in dict.fromkeys(metric for sample in answered for metric in sample.metrics) or list(task.aggregation()):
            items = [sample.metrics[metric] for sample in answered if metric in sample.metrics]
            aggregate = task.aggregation().get(metric, mean)
            stderr_of = stderr_for_metric(metric=aggregate, bootstrap_iters=BOOTSTRAP_ITERS)
            scores.append(
                Score(
                    run_id=run_id,
                    endpoint=samples[0].endpoint,
                    task=task.task_name,
                    metric=metric if len(filters) == 1 else f"{metric},{name}",
                    value=float(aggregate(items)) if items else None,
                    stderr=float(stderr_of(items)) if stderr_of and len(items) > 1 else None,
                    n=len(items),
                    n_failed=n_failed,
                    coverage=len(answered) / len(read),
                )
            )
    return scores


def _sample(endpoint: str, task: Any, values: dict[str, Any]) -> Sample:
    """lm-eval's logged sample as ours. With several answers to a document (`repeats`) it counts as answered when all of them came."""
    completions: list[Completion] = [answer.completion for answers in values["resps"] for answer in answers]
    failed = next((completion for completion in completions if not completion.answered), None)
    shown = failed or completions[0]
    common: dict[str, Any] = {
        "endpoint": endpoint,
        "task": task.task_name,
        "doc_id": values["doc_id"],
        "filter": values["filter"],
        "status": shown.status,
        "target": values["target"],
        "request_hash": shown.request_hash,
        "cluster": cluster_of(task, values["doc"]),
    }
    if failed is not None:
        return Sample(**common, error=failed.error)
    metrics = {name: values[name] for name in values["metrics"]}
    extracted = [str(answer) if isinstance(answer, str) else answer for answer in values["filtered_resps"]]
    return Sample(
        **common,
        verdict=_verdict(metrics, task.higher_is_better()),
        extracted=extracted[0] if len(extracted) == 1 else extracted,
        metrics=metrics,
    )


def _verdict(metrics: dict[str, Any], higher_is_better: dict[str, bool]) -> Verdict | None:
    if metrics.get("unparsed"):
        return "unparsed"
    name, value = next(iter(metrics.items()), ("", None))
    if value not in (0, 1):
        return None
    return "correct" if bool(value) == higher_is_better.get(name, True) else "wrong"


def _model(
    endpoint: Endpoint, task: Any, suite: Suite, part: Part, record: Callable[[Completion], None], on_progress: OnProgress | None
) -> "EndpointLM":
    from evals.lm import EndpointLM

    documents = len(task.eval_docs)
    total = (min(documents, suite.limit) if suite.limit else documents) * task.get_config("repeats")
    done = 0

    def arrived(completion: Completion) -> None:
        nonlocal done
        record(completion)
        done += 1
        if on_progress is not None:
            on_progress(Progress(endpoint.id, task.task_name, done, total))

    if on_progress is not None:
        on_progress(Progress(endpoint.id, task.task_name, 0, total))
    return EndpointLM(endpoint, arrived, parameters=part.parameters, concurrency=suite.concurrency)


def _check_tasks(tasks: list[Any], endpoints: list[Endpoint]) -> None:
    from evals.lm import refuse_logprobs

    for task in tasks:
        cluster_of(task, task.eval_docs[0])  # refuses a misspelt field before anything is asked
        if task.OUTPUT_TYPE != "generate_until":
            raise refuse_logprobs(task.task_name, endpoints[0])
        if getattr(task, "UNSAFE_CODE", False) or getattr(task, "MULTIMODAL", False):
            raise TaskError(
                f"task '{task.task_name}' runs generated code or shows images, which 'evals run' does not do; choose a text task"
            )


def _check_reachable(endpoints: Iterable[Endpoint]) -> None:
    import asyncio

    from serving.client import check_reachable

    async def each() -> None:
        for endpoint in endpoints:
            await check_reachable(endpoint)

    asyncio.run(each())


def _config(suite: Suite, parts: tuple[Part, ...], endpoints: dict[str, Endpoint], paths: dict[str, Path]) -> dict[str, Any]:
    return {
        "parts": [part.model_dump(mode="json", exclude_unset=True) for part in parts],
        "limit": suite.limit,
        "concurrency": suite.concurrency,
        "endpoints": {name: endpoint.model_dump(mode="json", exclude_defaults=True) for name, endpoint in endpoints.items()},
        "tasks": {name: {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for name, path in paths.items()},
    }


def _anchored(data_files: Any, folder: Path) -> Any:
    """The paths of lm-eval's `data_files`, in whatever shape, from `folder`; addresses are left alone."""
    if isinstance(data_files, dict):
        return {split: _anchored(files, folder) for split, files in data_files.items()}
    if isinstance(data_files, list):
        return [_anchored(file, folder) for file in data_files]
    return data_files if "://" in str(data_files) else str(folder / data_files)
