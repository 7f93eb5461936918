"""What a suite would ask, before anything is asked: requests, tokens, dollars, minutes.

    evals run nightly --dry-run

The prompts are built as the run would build them. Answers are assumed as long as earlier runs of the same endpoint and task were, else as
long as `max_tokens` allows; minutes are those runs' median latency over the requests in flight, and not known where there is no such run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from evals.asking import Asker
from evals.budget import input_tokens
from evals.measures import Measure, measures
from evals.quality import Plan, ask_task, model_of
from evals.runs import read_run, read_run_record, run_folders
from serving.completion import Completion, Request
from serving.documents import Noun
from serving.prices import rates
from serving.tokens import count_usage

# Upper bounds are for budgets; what is expected of English text is half of it.
_EXPECTED = 0.5


class Estimate(Noun):
    """One endpoint on one task. Tokens are means of one request; `source` says where output_tokens comes from; None is not known."""

    endpoint: str
    task: str
    requests: int
    input_tokens: float
    output_tokens: float | None
    source: str
    cost_usd: float | None
    minutes: float | None


@dataclass
class _Listens(Asker):
    """Asks nobody and keeps what it was to ask."""

    requests: list[Request] = field(default_factory=list)

    def _ask_left(self, left: Sequence[tuple[int, Request]], answers: dict[int, Completion]) -> None:
        for index, request in left:
            self.requests.append(request)
            answers[index] = Completion(endpoint=self.endpoint.id, request=request, status="api_error", error="not asked: --dry-run")


def estimate(plan: Plan, results: Path) -> list[Estimate]:
    """What each endpoint would be asked in each task. Nothing is sent or written."""
    known = _earlier(results)
    found = []
    for part in plan.parts:
        for endpoint_id in part.endpoints:
            endpoint = plan.endpoints[endpoint_id]
            for name in part.tasks:
                task = plan.tasks[name]
                asker = _Listens(endpoint, lambda completion: None)
                ask_task(model_of(asker, task, part, None), task, limit=plan.suite.limit, seed=plan.suite.seed)
                earlier = known.get((endpoint_id, task.task_name))
                found.append(_estimate(asker, task.task_name, earlier, plan.suite.concurrency))
    return found


def _estimate(asker: _Listens, task: str, earlier: Measure | None, concurrency: int) -> Estimate:
    endpoint, requests = asker.endpoint, asker.requests
    if endpoint.tokenizer is not None:
        counted = [count_usage(endpoint.tokenizer, request, "", "").input_tokens or 0 for request in requests]
        asked = fmean(counted)
    else:
        asked = _EXPECTED * fmean(input_tokens(request) for request in requests)
    limits = [request.max_tokens for request in requests if request.max_tokens is not None]
    output, source = (fmean(limits), "max_tokens") if len(limits) == len(requests) else (None, "not known")
    if requests[0].continuation is not None:
        output, source = 1.0, "scoring"
    if earlier is not None and earlier.output_tokens_mean is not None:
        output, source = earlier.output_tokens_mean, "an earlier run"
    cost = None
    if endpoint.wire == "recorded":
        cost = 0.0
    elif output is not None and (found := rates(endpoint, None)) is not None:
        cost = len(requests) * found.of(asked, output)
    minutes = None
    if earlier is not None and earlier.latency_s_p50 is not None and endpoint.wire != "recorded":
        minutes = len(requests) * earlier.latency_s_p50 / min(concurrency, len(requests)) / 60
    return Estimate(
        endpoint=endpoint.id,
        task=task,
        requests=len(requests),
        input_tokens=asked,
        output_tokens=output,
        source=source,
        cost_usd=cost,
        minutes=minutes,
    )


def _earlier(results: Path) -> dict[tuple[str, str], Measure]:
    """The last finished run's measure of each endpoint and task."""
    found: dict[tuple[str, str], Measure] = {}
    for folder in run_folders(results):
        if (folder / "scores.jsonl").is_file() and read_run_record(folder).finished_at is not None:
            found |= {(one.endpoint, one.task): one for one in measures(read_run(folder))}
    return found
