"""Ask a suite's tasks of its endpoints and score the answers. An error is never an answer: what failed is counted, not scored.

    evals run suites/demo.yaml

lm-eval builds the prompts, reads the answers and computes each document's metrics; the requests go through evals/lm.py. The mean and its
standard error are then taken with lm-eval's own functions over the answered documents only, so they equal lm-eval's where nothing failed.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.asking import Asker, Held, HeldOnly
from evals.batch import BatchAsker, check_batch
from evals.budget import Budget, check_priced
from evals.errors import CannotResume, TaskError
from evals.items import cluster_of
from evals.measures import measures
from evals.prompting import Prompter, Prompting
from evals.resuming import answers_in, check_same, earlier_answers
from evals.runs import (
    Run,
    RunFiles,
    Sample,
    Score,
    completions_log,
    git_commit,
    new_run_folder,
    now,
    read_run,
    read_run_record,
    versions,
    write_lines,
    write_run,
)
from evals.sandbox import require_allowed
from evals.scoring import sample_of, score
from evals.suite import Part, Suite
from evals.task_files import find_task, task_config
from serving.completion import Completion
from serving.documents import parse_document
from serving.endpoints import Endpoint, load_endpoints, pick

if TYPE_CHECKING:
    from evals.lm import EndpointLM

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """Told to whoever watches: one endpoint on one task, `done` of `total` requests."""

    endpoint: str
    task: str
    done: int
    total: int


OnProgress = Callable[[Progress], None]


def run_suite(
    suite: Suite,
    parts: Iterable[Part],
    *,
    folder: Path,
    results: Path,
    out: Path | None = None,
    resume: Path | None = None,
    cache: bool = False,
    batch: bool = False,
    on_progress: OnProgress | None = None,
) -> RunFiles:
    """Run the parts of `suite` (see evals.suite.choose_endpoints) and keep everything; tasks named by path are sought from `folder`.

    `resume` is the folder of a run of this suite that goes on; with `cache` a new one takes the answers that earlier runs hold;
    with `batch` the Batch API is asked (evals/batch.py).
    Raises UnknownEndpoint, UnknownTask, TaskError, BudgetError, CannotResume, MissingKey, Unreachable or RunExists before anything is
    asked or written.
    """
    plan = plan_run(suite, tuple(parts), folder=folder, results=results)
    if batch:
        check_batch(plan.endpoints.values())
    resumed = None if resume is None else _resumed(plan, resume)
    check_reachable_all(plan.endpoints.values())
    run, run_folder = resumed or _begun(plan, results, out)
    # Whoever writes the log has the run: a second process is refused before it reads or mends anything.
    with completions_log(run_folder) as record:
        answers: dict[str, list[Completion]] = {}
        if resume is not None:
            for completion in answers_in(run_folder, mend=True):
                answers.setdefault(completion.endpoint, []).append(completion)
        elif cache:
            answers = {name: earlier_answers(endpoint, results) for name, endpoint in plan.endpoints.items()}
        write_run(run.model_copy(update={"finished_at": None}), run_folder)
        spent_usd = 0.0 if resume is None else _spent_usd(plan, answers)
        budget = None if suite.max_usd is None else Budget(suite.max_usd, spent_usd=spent_usd)
        held = {name: Held.of(found) for name, found in answers.items()}
        how: dict[str, Any] = {"budget": budget, "concurrency": suite.concurrency, "attempts": suite.attempts, "copy_held": resume is None}
        kind = partial(BatchAsker, log_path=run_folder / "batches.jsonl") if batch else Asker
        askers = {name: kind(one, record, held=held.get(name) or Held(), **how) for name, one in plan.endpoints.items()}
        samples, scores = _ask_parts(plan, askers, run.run_id, on_progress)
        lateness_s = sorted(late for asker in askers.values() for late in asker.lateness_s)
        finished = {
            "finished_at": now(),
            "n_held": sum(asker.held.taken for asker in askers.values()),
            "n_not_asked": budget.refused if budget else 0,
            "client_lateness_p99_s": lateness_s[int(0.99 * (len(lateness_s) - 1))] if lateness_s else None,
        }
        return _written(run.model_copy(update=finished), run_folder, samples, scores)


def rescore_run(
    files: RunFiles, *, folder: Path, results: Path, out: Path | None = None, on_progress: OnProgress | None = None
) -> RunFiles:
    """The tasks of a finished run as their files read answers today, over the answers that it holds: a new run, and nothing is asked.

    Raises TaskError where a task asks something else today, for then its answers are answers to other questions.
    """
    config = files.run.config
    parts = tuple(parse_document(part, Part, where=str(files.folder / "run.json")) for part in config["parts"])
    suite = Suite(name=files.run.suite, runs=parts, limit=config["limit"], seed=files.run.seed, concurrency=config["concurrency"])
    endpoints = {
        name: parse_document(values, Endpoint, where=str(files.folder / "run.json")) for name, values in config["endpoints"].items()
    }
    paths = {
        name: Path(task["path"]) if Path(task["path"]).is_file() else find_task(name, folder) for name, task in config["tasks"].items()
    }
    plan = Plan(suite, suite.parts, endpoints, {name: load_task(path, name) for name, path in paths.items()}, {})
    started_at = now()
    lines: list[Completion] = []
    askers = {
        name: HeldOnly(
            endpoint,
            lines.append,
            held=Held.of((one for one in files.completions if one.endpoint == name), failures=True),
            copy_held=True,
            some_missing=files.run.n_not_asked > 0,
        )
        for name, endpoint in endpoints.items()
    }
    samples, scores = _ask_parts(plan, askers, "", on_progress)
    run_id, run_folder = new_run_folder(suite.name, started_at, results, out)
    new_config = _config(suite, parts, endpoints, paths) | {"rescored_from": files.run.run_id}
    run = files.run.model_copy(
        update={"run_id": run_id, "started_at": started_at, "config": new_config, "versions": versions(), "git_commit": git_commit()}
    )
    write_run(run.model_copy(update={"finished_at": None}), run_folder)
    write_lines(run_folder / "completions.jsonl", lines)
    scores = [one.model_copy(update={"run_id": run_id}) for one in scores]
    return _written(run.model_copy(update={"finished_at": now()}), run_folder, samples, scores)


@dataclass(frozen=True)
class Plan:
    """What a run asks, resolved: endpoints and loaded tasks by name, and the `config` that run.json keeps."""

    suite: Suite
    parts: tuple[Part, ...]
    endpoints: dict[str, Endpoint]
    tasks: dict[str, Any]
    config: dict[str, Any]


def plan_run(suite: Suite, parts: tuple[Part, ...], *, folder: Path, results: Path) -> Plan:
    """Resolve and check everything that can be checked without asking. Raises as `run_suite` does."""
    known = load_endpoints(results)
    endpoints = {name: pick(known, name) for part in parts for name in part.endpoints}
    paths = {name: find_task(name, folder) for part in parts for name in part.tasks}
    tasks = {name: load_task(path, name) for name, path in paths.items()}
    for part in parts:
        _check_prompting(part, [tasks[name] for name in part.tasks])
        _check_tasks([tasks[name] for name in part.tasks], [endpoints[name] for name in part.endpoints])
    if suite.max_usd is not None:
        check_priced(endpoints.values())
    return Plan(suite, parts, endpoints, tasks, _config(suite, parts, endpoints, paths))


def _begun(plan: Plan, results: Path, out: Path | None) -> tuple[Run, Path]:
    """A new run and its folder. Raises RunExists."""
    started_at = now()
    run_id, folder = new_run_folder(plan.suite.name, started_at, results, out)
    run = Run(
        run_id=run_id,
        suite=plan.suite.name,
        endpoints=tuple(plan.endpoints),
        started_at=started_at,
        git_commit=git_commit(),
        versions=versions(),
        seed=plan.suite.seed,
        config=plan.config,
    )
    # From here on it can be resumed.
    write_run(run, folder)
    return run, folder


def _spent_usd(plan: Plan, answers: Mapping[str, list[Completion]]) -> float:
    """What these answers cost; those of recordings were paid for by others."""
    paid = [name for name, endpoint in plan.endpoints.items() if endpoint.wire != "recorded"]
    return sum(one.cost_usd or 0.0 for name in paid for one in answers.get(name, ()))


def _resumed(plan: Plan, folder: Path) -> tuple[Run, Path]:
    run = read_run_record(folder)
    check_same(run, plan.config, plan.suite.seed)
    if run.finished_at is not None and all(score.coverage == 1 for score in read_run(folder).scores):
        raise CannotResume(f"run {run.run_id} is whole: every request was answered; 'evals report {run.run_id}' shows it")
    return run, folder


def _ask_parts(plan: Plan, askers: Mapping[str, Asker], run_id: str, on_progress: OnProgress | None) -> tuple[list[Sample], list[Score]]:
    samples: list[Sample] = []
    scores: list[Score] = []
    for part in plan.parts:
        for endpoint_id in part.endpoints:
            for name in part.tasks:
                task = plan.tasks[name]
                for way in part.prompting or (None,):
                    lm = model_of(askers[endpoint_id], task, part, on_progress, way, plan.suite.seed)
                    asked = ask_task(lm, task, limit=plan.suite.limit, seed=plan.suite.seed)
                    label = {"task": task.task_name if way is None else f"{task.task_name}@{way.name}"}
                    samples += [sample.model_copy(update=label) for sample in asked]
                    scores += [one.model_copy(update=label) for one in score(task, asked, run_id)]
    return samples, scores


def _written(run: Run, folder: Path, samples: list[Sample], scores: list[Score]) -> RunFiles:
    # Those of the run that is gone on with hold no longer, whatever happens next.
    (folder / "measures.jsonl").unlink(missing_ok=True)
    write_lines(folder / "samples.jsonl", samples)
    write_lines(folder / "scores.jsonl", scores)
    write_run(run, folder)
    files = read_run(folder)
    write_lines(folder / "measures.jsonl", measures(files))
    return files


def load_task(path: Path, name: str | None = None) -> Any:
    """The lm-eval task of a YAML file; `name` says which where it lists several (see evals/task_files.py). Raises TaskError."""
    from lm_eval.tasks import TaskManager

    try:
        loaded = TaskManager(include_defaults=False).load([task_config(path, name)])
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

    _compile_templates_once()
    task.set_fewshot_seed(seed=seed)
    # Log-probabilities are of a text after a text; what a chat template would put between them, the server does not say.
    chat = lm.endpoint.capabilities.chat and task.OUTPUT_TYPE == "generate_until"
    # No standard errors here: lm-eval would take them over the failed documents too.
    evaluated = evaluate(
        lm, {"tasks": {task.task_name: task}}, limit=limit, bootstrap_iters=0, apply_chat_template=chat, fewshot_as_multiturn=chat
    )
    logged = evaluated["samples"][task.task_name]
    return [sample_of(lm.endpoint.id, task, values) for values in logged]


@lru_cache(maxsize=1)
def _compile_templates_once() -> None:
    """lm-eval compiles a task's Jinja templates anew for each document, four times: half of all the time that a quick server leaves us."""
    from lm_eval import utils

    utils.env.from_string = lru_cache(maxsize=1024)(utils.env.from_string)


def model_of(
    asker: Asker, task: Any, part: Part, on_progress: OnProgress | None, way: Prompting | None = None, seed: int = 0
) -> "EndpointLM":
    """`asker` as lm-eval sees it for this task asked in this way, its progress told to `on_progress`."""
    from evals.lm import EndpointLM

    done, total = 0, 0

    def told() -> None:
        if on_progress is not None:
            on_progress(Progress(asker.endpoint.id, task.task_name if way is None else f"{task.task_name}@{way.name}", done, total))

    def begins(requests: int) -> None:
        nonlocal total
        total += requests
        told()

    def arrived(completion: Completion) -> None:
        nonlocal done
        done += 1
        told()

    asker.on_done = arrived
    return EndpointLM(asker, part.parameters, begins, None if way is None else Prompter(way, task, seed))


def _check_prompting(part: Part, tasks: list[Any]) -> None:
    if part.prompting and (scored := next((task for task in tasks if task.OUTPUT_TYPE != "generate_until"), None)) is not None:
        raise TaskError(f"task '{scored.task_name}' compares log-probabilities, which no prompting changes; leave it out, or prompting:")


def _check_tasks(tasks: list[Any], endpoints: list[Endpoint]) -> None:
    from evals.lm import check_logprobs

    for task in tasks:
        cluster_of(task, task.eval_docs[0])  # refuses a misspelt field before anything is asked
        if task.OUTPUT_TYPE == "multiple_choice" or task.OUTPUT_TYPE == "loglikelihood":
            for endpoint in endpoints:
                check_logprobs(task.task_name, endpoint)
        elif task.OUTPUT_TYPE != "generate_until":
            raise TaskError(f"task '{task.task_name}' has output_type: {task.OUTPUT_TYPE}, which 'evals run' does not ask")
        if getattr(task, "UNSAFE_CODE", False) or getattr(task, "MULTIMODAL", False):
            raise TaskError(
                f"task '{task.task_name}' shows images or runs generated code outside the sandbox, which 'evals run' does not do; "
                "choose a text task, or 'humaneval' for code"
            )
        if (task.get_config("metadata") or {}).get("sandbox"):
            require_allowed(f"task '{task.task_name}'")


def check_reachable_all(endpoints: Iterable[Endpoint]) -> None:
    """Raises MissingKey, Unreachable or DocumentError for the first endpoint that cannot be asked at all."""
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
        "attempts": suite.attempts,
        "max_usd": suite.max_usd,
        "endpoints": {name: endpoint.model_dump(mode="json", exclude_defaults=True) for name, endpoint in endpoints.items()},
        "tasks": {name: {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for name, path in paths.items()},
    }
