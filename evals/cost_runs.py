"""What a bill takes from runs: the shape of the requests, the throughput of a machine, and dollars for each *correct* answer.

shape = shape_of(files.completions, run_id)
tokens_per_s, shape, note = read_load(results / "runs" / run_id)
for one in usd_per_correct(files, machines): ...
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.cost import Estimate, Machine, Shape
from evals.errors import CostError
from evals.runs import RunFiles
from serving.completion import Completion
from serving.documents import Noun
from serving.endpoints import Endpoint

if TYPE_CHECKING:
    import numpy as np

ROUNDS = 2000  # bootstrap rounds; the 2.5 % bounds then move by about .1 standard deviations from seed to seed
SEED = 20261123


class PerCorrect(Noun):
    """What one endpoint's correct answers on one task cost. `usd_per_correct` is None when nothing was right or a cost is unknown.

    Its interval is a bootstrap over the answered documents; where the endpoint is paid by the hour, each round also draws a throughput from
    its interval. `upper` is None where a round in forty had no correct answer at all.
    """

    endpoint: str
    task: str
    n: int
    n_failed: int
    correct: int
    usd_per_request: float | None = None
    usd_per_correct: Estimate | None = None


def shape_of(completions: Sequence[Completion], source: str) -> Shape | None:
    """The shape of the answered requests whose input and output tokens are known; None when there are none."""
    found = tuple(
        (float(usage.input_tokens), float(usage.output_tokens), float(usage.cache_read_tokens or 0))
        for usage in (completion.usage for completion in completions if completion.answered)
        if usage.input_tokens is not None and usage.output_tokens is not None
    )
    return Shape(found, f"{len(found):,} requests of {source}") if any(into + out for into, out, _ in found) else None


def machine_named(name: str, endpoint: Endpoint | None, tokens_per_s: Estimate, usd_per_hour: float | None = None) -> Machine:
    """The endpoint as a machine paid by the hour, `usd_per_hour` winning over its own price. Raises CostError when neither says."""
    price = endpoint.price if endpoint else None
    paid = usd_per_hour if usd_per_hour is not None else price.usd_per_hour if price else None
    if paid is None:
        raise CostError(
            f"endpoint '{name}' has no price per hour{'' if endpoint else ' (it is not known here now)'}: give --usd-per-hour, or write "
            f"'endpoints: {{{name}: {{usd_per_hour: …}}}}' into results/prices.yaml"
        )
    return Machine(name, paid, tokens_per_s, price.accelerators if price else None)


def usd_per_correct(files: RunFiles, machines: Mapping[str, Machine]) -> list[PerCorrect]:
    """Dollars for each correct answer, per endpoint and task whose verdicts are known, cheapest first; unknown costs last.

    A request of an endpoint in `machines` costs its tokens at that machine's full utilisation; any other what its completion says.
    """
    answers = {(one.endpoint, one.request_hash): one for one in files.completions if one.answered}
    # The first filter of a task is its headline: a document counts once.
    documents: dict[tuple[str, str], dict[int, tuple[str | None, str]]] = {}
    failed: dict[tuple[str, str], set[int]] = {}
    for sample in files.samples:
        pair = (sample.endpoint, sample.task)
        if sample.answered:
            documents.setdefault(pair, {}).setdefault(sample.doc_id, (sample.verdict, sample.request_hash))
        else:
            failed.setdefault(pair, set()).add(sample.doc_id)
    found = []
    for (endpoint, task), verdicts in documents.items():
        if any(verdict is None for verdict, _ in verdicts.values()):
            continue
        right = [verdict == "correct" for verdict, _ in verdicts.values()]
        costs = [_cost(answers.get((endpoint, request_hash)), machines.get(endpoint)) for _, request_hash in verdicts.values()]
        known = [cost for cost in costs if cost is not None]
        per_correct, each = None, None
        if len(known) == len(costs):
            each = sum(known) / len(known)
            if any(right):
                per_correct = _ratio(known, right, machines.get(endpoint))
        found.append(
            PerCorrect(
                endpoint=endpoint,
                task=task,
                n=len(right),
                n_failed=len(failed.get((endpoint, task), ())),
                correct=sum(right),
                usd_per_request=each,
                usd_per_correct=per_correct,
            )
        )
    return sorted(found, key=lambda one: (one.task, one.usd_per_correct.value if one.usd_per_correct else float("inf")))


def _cost(answer: Completion | None, machine: Machine | None) -> float | None:
    if answer is None:
        return None
    if machine is None:
        return answer.cost_usd
    usage = answer.usage
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    return machine.usd_per_request(usage.input_tokens + usage.output_tokens).value


def _ratio(costs: Sequence[float], right: Sequence[bool], machine: Machine | None) -> Estimate:
    """Σ cost / Σ correct with the percentile bootstrap's 95 % interval (Efron and Tibshirani 1993, ch. 13)."""
    import numpy as np

    draw = np.random.default_rng(SEED)
    cost, correct, n = np.asarray(costs), np.asarray(right, dtype=float), len(costs)
    ratios = []
    for _ in range(ROUNDS):
        times = np.bincount(draw.integers(0, n, n), minlength=n)
        hits = times @ correct
        ratios.append(times @ cost / hits if hits else np.inf)
    rounds = np.asarray(ratios)
    if machine is not None:
        rounds = rounds * _slower(machine.tokens_per_s, draw)
    low, high = (float(bound) for bound in np.quantile(rounds, [0.025, 0.975], method="inverted_cdf"))
    return Estimate(value=float(cost.sum() / correct.sum()), lower=low, upper=high if np.isfinite(high) else None)


def _slower(tokens_per_s: Estimate, draw: "np.random.Generator") -> "np.ndarray[Any, Any]":
    """How many times a request would cost at throughputs drawn from the interval (normal, 1.96 standard deviations to a bound)."""
    import numpy as np

    if tokens_per_s.lower is None or tokens_per_s.upper is None:
        return np.ones(ROUNDS)
    deviation = (tokens_per_s.upper - tokens_per_s.lower) / 2 / 1.96
    drawn = draw.normal(tokens_per_s.value, deviation, ROUNDS)
    return tokens_per_s.value / np.maximum(drawn, tokens_per_s.value * 1e-3)


def read_load(folder: Path) -> tuple[Estimate, Shape, str | None]:
    """Tokens a second (input and output together), the shape, and what to know about them, of a run of `evals load`. Raises CostError.

    Of several load levels it takes the highest that kept the SLO, with its goodput (requests a second that kept it), or, where no SLO was
    set or no level kept it, the one that answered most. The interval is that over the repeats, none where there was one.
    """
    from evals.load.plan import iter_samples
    from evals.load.run import read_summary

    summary = read_summary(folder)
    if not summary.levels:
        raise CostError(f"{folder}: holds no finished load level; give --tokens-per-s instead")
    rates = [level.goodput or level.requests_per_s for level in summary.levels]
    best = summary.best if summary.best is not None else max(range(len(rates)), key=lambda point: rates[point].value)
    level, rate = summary.levels[best], Estimate(**rates[best].model_dump())
    measured = (one for one in iter_samples(folder / "load.jsonl") if one.point == best and one.phase == "steady" and one.answered)
    counts = ((one.input_tokens, one.output_tokens) for one in measured)
    requests = tuple((float(into), float(out), 0.0) for into, out in counts if into is not None and out is not None)
    if not requests or not rate.value:
        raise CostError(f"{folder}: no answered request of its best load has counted tokens; give --tokens-per-s instead")
    found, note = Shape(requests, f"{len(requests):,} requests of {folder.name}"), None
    if level.requested_rate is not None and len(summary.levels) == 1 and rate.value > 0.95 * level.requested_rate:
        all_of_it = f"it answered all of the {level.requested_rate:g} requests a second it was sent"
        note = f"{folder.name}: {all_of_it} and may bear more: 'evals load --sweep'"
    elif summary.slo is not None and summary.best is None:
        note = f"{folder.name}: no load level kept its SLO; the throughput is of the requests that kept it"
    return rate.times(found.tokens), found, note
