"""From samples to figures: percentiles that are only given where the samples carry them, throughput over the steady window, goodput.

    level = summarise(samples, load, slo=parse_slo("ttft=2,tpot=0.1"))

A percentile q is given from n ≥ ln 0.05 / ln q samples on (Wilks, Ann. Math. Statist. 12, 1941: the smallest n at which the largest
sample lies above the quantile with 95 % confidence): 5 for p50, 29 for p90, 59 for p95, 299 for p99. Below that the report says "not
enough samples". Intervals are 95 %: over repeats Student's t, in one run order statistics of a binomial (David and Nagaraja, Order
Statistics, 7.1), which take the requests as independent; under queueing they are not, so repeats are the better judge.
"""

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import fmean

import numpy as np

from evals.load.plan import Load, Sample
from evals.load.slo import Attainment, Slo, attainment
from serving.documents import Noun

PERCENTILES = (50, 90, 95, 99)
Values = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
LATE_S = 0.001


class Interval(Noun):
    """A value with its 95 % interval; `lower` and `upper` are None where one run gives none."""

    value: float
    lower: float | None = None
    upper: float | None = None


class Figure(Noun):
    """One quantity in seconds over `n` values: mean, extremes, percentiles ("p50": …). A percentile that n does not carry is None."""

    n: int
    mean: Interval
    least: float
    most: float
    percentiles: dict[str, Interval | None]


class Client(Noun):
    """How the processes that made the load kept time, over all repeats; seconds. `cpu_share` is of the busiest one's core.

    `send_lateness_p99_s`: from due to sent, as far as it was ours; `loop_lateness_p99_s`: of a heartbeat, and so of reading what arrived.
    `late`: one of them exceeded 1 ms, so that the figures are partly our own slowness.
    """

    processes: int
    send_lateness_p99_s: float | None
    loop_lateness_p99_s: float | None
    cpu_s: float
    cpu_share: float
    late: bool


class Level(Noun):
    """What one load level gave. Failed requests are in `failures`, by status, and in no time.

    Times are over the requests that were due in the window (`window_s`, seconds from the start of the load); rates and tokens a second
    are what ended and arrived in it. `window` is "whole" where the load was too short to have a steady part. `achieved_rate` is of
    sending. `goodput` is requests a second that kept the SLO. With several repeats, counts are sums, rates their means.
    """

    load: Load
    repeats: int
    n_requests: int
    n_measured: int
    failures: dict[str, int]
    errors: dict[str, int]
    retries: int
    window: str
    window_s: tuple[float, float]
    requested_rate: float | None
    achieved_rate: Interval | None
    requests_per_s: Interval
    output_tokens_per_s: Interval | None
    input_tokens_per_s: Interval | None
    in_flight: float
    input_tokens_mean: float | None
    output_tokens_mean: float | None
    cost_usd_mean: float | None
    figures: dict[str, Figure]
    attainment: Attainment | None
    goodput: Interval | None
    client: Client | None = None


QUANTITIES: dict[str, Callable[[Sample], float | None]] = {
    "ttft_from_schedule_s": lambda sample: None if sample.ttft_s is None else sample.ttft_s + sample.waited_s,
    "ttft_s": lambda sample: sample.ttft_s,
    "tpot_s": lambda sample: sample.tpot_s,
    "latency_from_schedule_s": lambda sample: sample.latency_from_schedule_s,
    "latency_s": lambda sample: sample.latency_s,
}


def summarise(samples: Sequence[Sample], load: Load, slo: Slo | None = None) -> Level:
    """The figures of one load level, all its repeats together. Warm-up requests are left out."""
    measured = [sample for sample in samples if sample.phase != "warmup"]
    runs = [[sample for sample in measured if sample.repeat == repeat] for repeat in sorted({sample.repeat for sample in measured})] or [[]]
    windows = [window_of(run, load) for run in runs]
    parts = [[sample for sample in run if sample.phase == "steady"] for run in runs]
    due = [sample for part in parts for sample in part]
    answered = [sample for sample in due if sample.answered]
    figures: dict[str, Figure] = {}
    for name, value in QUANTITIES.items():
        per_run = [[taken for sample in part if sample.answered and (taken := value(sample)) is not None] for part in parts]
        if any(per_run):
            figures[name] = figure(per_run)
    gaps = [gaps_of([sample for sample in part if sample.answered]) for part in parts]
    if any(map(len, gaps)):
        figures["itl_s"] = figure(gaps)
    rates = [throughput(run, window) for run, (window, _) in zip(runs, windows, strict=True)]
    kept = None if slo is None else attainment(slo, due)
    return Level(
        load=load,
        repeats=len(runs),
        n_requests=len(measured),
        n_measured=len(due),
        failures=dict(Counter(sample.status for sample in measured if not sample.answered).most_common()),
        errors=dict(Counter(sample.error or sample.status for sample in measured if not sample.answered).most_common(5)),
        retries=sum(sample.retries for sample in measured),
        window=windows[0][1],
        window_s=windows[0][0],
        requested_rate=load.rate,
        achieved_rate=over_repeats([found for run in runs if (found := sending_rate(run)) is not None]),
        requests_per_s=over_repeats([rate["requests"] for rate in rates]) or Interval(value=0.0),
        output_tokens_per_s=over_repeats([rate["output"] for rate in rates if "output" in rate]),
        input_tokens_per_s=over_repeats([rate["input"] for rate in rates if "input" in rate]),
        in_flight=fmean(rate["in_flight"] for rate in rates),
        input_tokens_mean=_mean([sample.input_tokens for sample in answered]),
        output_tokens_mean=_mean([sample.output_tokens for sample in answered]),
        cost_usd_mean=_mean([sample.cost_usd for sample in answered]),
        figures=figures,
        attainment=kept,
        goodput=None
        if slo is None
        else over_repeats([goodput(run, load, window, slo) for run, (window, _) in zip(runs, windows, strict=True)]),
    )


def client_of(samples: Sequence[Sample], loop_lateness_s: Sequence[float], *, processes: int, cpu_s: float, cpu_share: float) -> Client:
    """How the client kept time."""
    sends = [sample.lateness_s for sample in samples if sample.phase != "warmup"]
    send = quantile(np.sort(sends), 0.99) if sends else None
    loop = quantile(np.sort(loop_lateness_s), 0.99) if len(loop_lateness_s) else None
    late = max(send or 0.0, loop or 0.0) > LATE_S
    return Client(processes=processes, send_lateness_p99_s=send, loop_lateness_p99_s=loop, cpu_s=cpu_s, cpu_share=cpu_share, late=late)


def figure(per_run: Sequence[Sequence[float] | Values]) -> Figure:
    """The figure of all values together; its intervals over repeats where there are several, else over the values."""
    filled = [np.sort(np.asarray(run, dtype=float)) for run in per_run if len(run)]
    values = np.sort(np.concatenate(filled))
    percentiles: dict[str, Interval | None] = {}
    for percent in PERCENTILES:
        q, needed = percent / 100, samples_needed(percent / 100)
        if len(values) < needed:
            percentiles[f"p{percent}"] = None
        elif len(filled) > 1 and min(map(len, filled)) >= needed:
            spread = over_repeats([quantile(run, q) for run in filled])
            assert spread is not None
            percentiles[f"p{percent}"] = Interval(value=quantile(values, q), lower=spread.lower, upper=spread.upper)
        else:
            percentiles[f"p{percent}"] = order_interval(values, q)
    mean = over_repeats([float(run.mean()) for run in filled]) if len(filled) > 1 else Interval(value=float(values.mean()))
    assert mean is not None
    return Figure(n=len(values), mean=mean, least=float(values[0]), most=float(values[-1]), percentiles=percentiles)


def samples_needed(q: float) -> int:
    """From how many samples on the quantile q is given (Wilks 1941, see above)."""
    return math.ceil(math.log(0.05) / math.log(q))


def quantile(ordered: Values, q: float) -> float:
    """The smallest sample that at least a share q of the samples does not exceed: a time that was really measured, never an average of
    two.
    """
    return float(ordered[max(math.ceil(q * len(ordered)) - 1, 0)])


def order_interval(ordered: Values, q: float) -> Interval:
    """The quantile with the order statistics between which it lies with 95 %; an end that the samples do not reach is None."""
    from scipy.special import bdtr

    n = len(ordered)
    # P(fewer than k samples lie below the quantile) = bdtr(k - 1, n, q).
    first = bisect_right(range(n + 1), 0.025, key=lambda k: float(bdtr(k, n, q)))
    last = bisect_left(range(n + 1), 0.975, key=lambda k: float(bdtr(k, n, q)))
    lower = float(ordered[first - 1]) if first >= 1 else None
    upper = float(ordered[last]) if last < n else None
    return Interval(value=quantile(ordered, q), lower=lower, upper=upper)


def over_repeats(values: Sequence[float]) -> Interval | None:
    """Mean of one value per repeat with Student's 95 % interval; without one for a single repeat, None for no value."""
    if not values:
        return None
    mean = fmean(values)
    if len(values) < 2:
        return Interval(value=mean)
    from scipy.special import stdtrit

    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    half = float(stdtrit(len(values) - 1, 0.975)) * deviation / math.sqrt(len(values))
    return Interval(value=mean, lower=mean - half, upper=mean + half)


def gaps_of(samples: Sequence[Sample]) -> Values:
    """Seconds between consecutive content chunks of one request, of all of them together."""
    return np.concatenate([np.diff(sample.chunk_times_s) for sample in samples]) if samples else np.empty(0)


def window_of(samples: Sequence[Sample], load: Load) -> tuple[tuple[float, float], str]:
    """((start, end), kind) in seconds of the load. Steady: from the end of the ramp until the last request was sent, after which load
    only falls.

    The whole run, first due to last end, where that is shorter than one typical answer or holds fewer than two ends.
    """
    ends = sorted(sample.ended_s for sample in samples if sample.ended_s is not None and sample.answered)
    if not ends:
        return (0.0, max((sample.scheduled_s for sample in samples), default=0.0)), "whole"
    start, end = load.ramp_in_s, max(sample.sent_s for sample in samples if sample.sent_s is not None)
    latencies = sorted(sample.latency_s for sample in samples if sample.latency_s is not None)
    inside = sum(start < moment <= end for moment in ends)
    if inside < 2 or end - start < latencies[len(latencies) // 2]:
        return (min(sample.scheduled_s for sample in samples), ends[-1]), "whole"
    return (start, end), "steady"


def throughput(samples: Sequence[Sample], window: tuple[float, float]) -> dict[str, float]:
    """Answered requests that ended in the window, tokens that arrived in it (each request's spread evenly over its chunks), by second.

    `in_flight`: the mean number of requests under way (time-weighted, failed ones too). Tokens are left out where nobody counted them.
    """
    start, end = window
    length = end - start
    if length <= 0:
        return {"requests": 0.0, "in_flight": 0.0}
    found = {"requests": 0.0, "in_flight": 0.0, "output": 0.0, "input": 0.0}
    counted = True
    for sample in samples:
        if sample.sent_s is None or sample.ended_s is None:
            continue
        found["in_flight"] += max(min(sample.ended_s, end) - max(sample.sent_s, start), 0.0)
        if not sample.answered:
            continue
        found["requests"] += start < sample.ended_s <= end
        if sample.output_tokens is None or sample.input_tokens is None:
            counted = False
            continue
        moments = np.array(sample.chunk_times_s or (sample.ended_s - sample.sent_s,)) + sample.sent_s
        inside = (start < moments) & (moments <= end)
        found["output"] += sample.output_tokens * int(np.count_nonzero(inside)) / len(moments)
        found["input"] += sample.input_tokens * bool(inside[0])
    if not counted:
        del found["output"], found["input"]
    return {name: value / length for name, value in found.items()}


def goodput(samples: Sequence[Sample], load: Load, window: tuple[float, float], slo: Slo) -> float:
    """Requests a second that kept the SLO: in an open loop of those that were due in the window, by whenever they ended.

    In a closed loop of those that ended in it, as in `throughput`: there an end sends the next request, and of what was sent at once at
    the start a short window has no end to show, so that goodput would exceed throughput.
    """
    start, end = window
    if load.open_loop:
        counted = [sample for sample in samples if sample.phase == "steady"]
    else:
        counted = [sample for sample in samples if sample.ended_s is not None and start < sample.ended_s <= end]
    kept = attainment(slo, counted)
    return 0.0 if kept is None or end <= start else kept.good / (end - start)


def sending_rate(samples: Sequence[Sample]) -> float | None:
    """Requests a second from the first to the last sending; None for fewer than two."""
    sent = sorted(sample.sent_s for sample in samples if sample.sent_s is not None)
    return (len(sent) - 1) / (sent[-1] - sent[0]) if len(sent) > 1 and sent[-1] > sent[0] else None


def _mean(values: "Sequence[float | int | None]") -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
