"""lm-eval's logged answers as samples, and samples as scores: over the answered documents alone, with lm-eval's own mean and stderr.

samples = [sample_of("our-llama", task, values) for values in logged]
scores = score(task, samples, run_id)
"""

from typing import Any

from evals.items import cluster_of
from evals.runs import Sample, Score, Verdict
from evals.stats import missing_bounds
from serving.completion import Completion

# lm-eval takes 100,000 resamples by default, for the few metrics whose standard error has no formula: minutes on a thousand documents.
BOOTSTRAP_ITERS = 1_000


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
            shares = all(isinstance(item, int | float) and 0 <= item <= 1 for item in items) and aggregate is mean
            bounds = missing_bounds(items, n_failed) if shares and read else None
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
                    lower=bounds[0] if bounds else None,
                    upper=bounds[1] if bounds else None,
                )
            )
    return scores


def sample_of(endpoint: str, task: Any, values: dict[str, Any]) -> Sample:
    """lm-eval's logged sample as ours. With several answers to a document (`repeats`) it counts as answered when all of them came."""
    completions: list[Completion] = [one for answers in values["resps"] for answer in answers for one in answer.completions]
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
        "request_hashes": tuple(dict.fromkeys(one.request_hash for one in completions)) if len(completions) > 1 else (),
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
