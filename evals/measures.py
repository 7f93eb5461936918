"""What the answers of a run took: seconds, tokens, dollars, per endpoint and task. What is not known is None, never zero.

for measure in measures(read_run(folder)): ...
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median

from evals.runs import RunFiles, read_lines, read_run
from serving.completion import Completion
from serving.documents import Noun


class Measure(Noun):
    """One endpoint on one task. `n_requests` were made, `statuses` counts their outcomes; failed requests enter no figure but those two.

    `latency_s_p50` is the median over the answers whose latency is known; `output_tokens_mean` and `cost_usd_per_1000` (mean dollars of one
    answer, times 1,000) likewise. `unparsed` counts answers in which no verdict was found, None for tasks that do not say.
    """

    endpoint: str
    task: str
    n_requests: int
    statuses: dict[str, int]
    unparsed: int | None = None
    latency_s_p50: float | None = None
    ttft_s_p50: float | None = None
    output_tokens_mean: float | None = None
    cost_usd_per_1000: float | None = None
    n_questions: int | None = None
    cost_usd_per_1000_questions: float | None = None
    seconds_per_question: float | None = None


def read_measures(folder: Path) -> tuple[Measure, ...]:
    """Those that the run wrote down (measures.jsonl), or, of a run from before it did, computed from all its answers. Raises UnknownRun,
    DocumentError.
    """
    path = folder / "measures.jsonl"
    return read_lines(path, Measure) if path.is_file() else tuple(measures(read_run(folder)))


def measures(files: RunFiles) -> list[Measure]:
    """One Measure per endpoint and task, in the order of the run.

    A completion belongs to a task through the request_hash of the task's samples; one request that two tasks share counts for both.
    """
    by_request: dict[tuple[str, str], list[Completion]] = {}
    for completion in files.completions:
        by_request.setdefault((completion.endpoint, completion.request_hash), []).append(completion)
    for key, found_here in by_request.items():
        # A resumed run asked again what had failed: the answer counts, not the failure before it.
        by_request[key] = [completion for completion in found_here if completion.answered] or found_here[-1:]
    hashes: dict[tuple[str, str], dict[str, None]] = {}
    questions: dict[tuple[str, str], set[int]] = {}
    unparsed: Counter[tuple[str, str]] = Counter()
    for sample in files.samples:
        pair = (sample.endpoint, sample.task)
        hashes.setdefault(pair, {}).update(dict.fromkeys(sample.request_hashes or (sample.request_hash,)))
        questions.setdefault(pair, set()).add(sample.doc_id)
        if "unparsed" in sample.metrics:
            unparsed[pair] += bool(sample.metrics["unparsed"])
    found = []
    for (endpoint, task), wanted in hashes.items():
        completions = [completion for request_hash in wanted for completion in by_request.get((endpoint, request_hash), [])]
        count = unparsed[endpoint, task] if (endpoint, task) in unparsed else None
        found.append(_per_question(measure(endpoint, task, completions, unparsed=count), completions, len(questions[endpoint, task])))
    return found


def _per_question(found: Measure, completions: Sequence[Completion], n_questions: int) -> Measure:
    costs = [completion.cost_usd for completion in completions if completion.answered]
    latencies = [completion.latency_s for completion in completions if completion.answered]
    known_costs = [cost for cost in costs if cost is not None]
    known_latencies = [latency for latency in latencies if latency is not None]
    return found.model_copy(
        update={
            "n_questions": n_questions,
            "cost_usd_per_1000_questions": 1000 * sum(known_costs) / n_questions if costs and len(known_costs) == len(costs) else None,
            "seconds_per_question": sum(known_latencies) / n_questions if latencies and len(known_latencies) == len(latencies) else None,
        }
    )


def measure(endpoint: str, task: str, completions: Sequence[Completion], *, unparsed: int | None = None) -> Measure:
    """The figures of these completions."""
    answered = [completion for completion in completions if completion.answered]
    latencies = [completion.latency_s for completion in answered if completion.latency_s is not None]
    firsts = [completion.ttft_s for completion in answered if completion.ttft_s is not None]
    tokens = [completion.usage.output_tokens for completion in answered if completion.usage.output_tokens is not None]
    costs = [completion.cost_usd for completion in answered if completion.cost_usd is not None]
    return Measure(
        endpoint=endpoint,
        task=task,
        n_requests=len(completions),
        statuses=dict(Counter(completion.status for completion in completions).most_common()),
        unparsed=unparsed,
        latency_s_p50=median(latencies) if latencies else None,
        ttft_s_p50=median(firsts) if firsts else None,
        output_tokens_mean=fmean(tokens) if tokens else None,
        cost_usd_per_1000=1000 * fmean(costs) if costs else None,
    )
