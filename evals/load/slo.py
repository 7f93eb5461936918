"""What a user is promised (an SLO), and how many requests keep it: goodput.

    evals load --endpoint our-llama --rate 4 --slo ttft=2,tpot=0.1           # seconds; each must hold for 99 % of all requests
    evals load --endpoint our-llama --sweep  --slo mlperf:llama2-70b          # the limits of MLPerf Inference's server scenario

A request that failed has kept no promise. Times count from the schedule.
"""

import math
from collections.abc import Sequence

from pydantic import Field

from evals.errors import LoadError
from evals.load.plan import Sample
from serving.documents import Noun
from serving.errors import did_you_mean

# Seconds (TTFT, TPOT) at the 99th percentile, as MLPerf Inference asks them of its server and interactive scenarios (loadgen/mlperf.conf).
MLPERF = {
    "llama2-70b": (2.0, 0.2),
    "llama2-70b-interactive": (0.45, 0.04),
    "llama3.1-8b": (2.0, 0.1),
    "llama3.1-8b-interactive": (0.5, 0.03),
    "llama3.1-405b": (6.0, 0.175),
    "llama3.1-405b-interactive": (4.5, 0.08),
    "deepseek-r1": (2.0, 0.08),
    "deepseek-r1-interactive": (1.5, 0.015),
    "gpt-oss-120b": (3.0, 0.08),
    "gpt-oss-120b-interactive": (2.0, 0.015),
}
KEYS = {"ttft": "ttft_s", "tpot": "tpot_s", "latency": "latency_s", "p": "percent"}


class Slo(Noun):
    """Limits in seconds, each to hold for `percent` of all requests. One without a limit is not asked."""

    name: str
    ttft_s: float | None = Field(default=None, gt=0)
    tpot_s: float | None = Field(default=None, gt=0)
    latency_s: float | None = Field(default=None, gt=0)
    percent: float = Field(default=99.0, gt=0, lt=100)


class Attainment(Noun):
    """How an SLO was kept: `share` of all requests within all limits, per limit the share within it (`shares`).

    `met`: each limit held for the asked percentage. `certain`: the 95 % interval (Clopper–Pearson) of the share that decides lies on one
    side of the percentage, so that a repetition would hardly decide otherwise. `good` of `n` requests kept all limits.
    """

    n: int
    good: int
    share: float
    shares: dict[str, float]
    met: bool
    certain: bool


def parse_slo(text: str) -> Slo:
    """`ttft=2,tpot=0.1,latency=30,p=95` or `mlperf:NAME`. Raises LoadError."""
    if text.startswith("mlperf:"):
        name = text.removeprefix("mlperf:")
        if name not in MLPERF:
            raise LoadError(f"--slo {text}: no such preset.{did_you_mean(name, list(MLPERF))} Known: {', '.join(MLPERF)}")
        ttft_s, tpot_s = MLPERF[name]
        return Slo(name=text, ttft_s=ttft_s, tpot_s=tpot_s)
    values: dict[str, float] = {}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        if not equals or key not in KEYS:
            known = ", ".join(f"{name}=…" for name in KEYS)
            raise LoadError(
                f"--slo {text}: '{part.strip()}' is not one of {known}.{did_you_mean(key, list(KEYS))} Or name a preset, mlperf:NAME"
            )
        try:
            values[KEYS[key]] = float(value)
        except ValueError:
            raise LoadError(f"--slo {text}: {key} must be a number of seconds (got '{value}')") from None
        if not math.isfinite(values[KEYS[key]]) or values[KEYS[key]] <= 0 or (key == "p" and values["percent"] >= 100):
            raise LoadError(f"--slo {text}: {key}={value} is out of range")
    if not values.keys() - {"percent"}:
        raise LoadError(f"--slo {text}: names no limit; add ttft=…, tpot=… or latency=… (seconds)")
    return Slo(name=text, **values)


def limits(slo: Slo) -> dict[str, float]:
    """The limits that are asked, by the name of what they limit."""
    asked = {"ttft": slo.ttft_s, "tpot": slo.tpot_s, "latency": slo.latency_s}
    return {name: limit for name, limit in asked.items() if limit is not None}


def within(slo: Slo, sample: Sample) -> dict[str, bool]:
    """Which limits the request kept. None of them when it failed; a TPOT that is not defined (one token) cannot be broken."""
    if not sample.answered:
        return dict.fromkeys(limits(slo), False)
    first = None if sample.ttft_s is None else sample.waited_s + sample.ttft_s
    # An answer without text has no first token: it came when the whole came.
    took = {
        "ttft": first or sample.latency_from_schedule_s or 0.0,
        "tpot": sample.tpot_s or 0.0,
        "latency": sample.latency_from_schedule_s or 0.0,
    }
    return {name: took[name] <= limit for name, limit in limits(slo).items()}


def attainment(slo: Slo, samples: Sequence[Sample]) -> Attainment | None:
    """How these requests, failures among them, kept the SLO; None when there are none."""
    if not samples:
        return None
    kept = [within(slo, sample) for sample in samples]
    counts = {name: sum(each[name] for each in kept) for name in limits(slo)}
    good, n = sum(all(each.values()) for each in kept), len(samples)
    asked = slo.percent / 100
    worst = min(counts.values())
    lower, upper = proportion_interval(worst, n)
    return Attainment(
        n=n,
        good=good,
        share=good / n,
        shares={name: count / n for name, count in counts.items()},
        met=worst / n >= asked,
        certain=lower >= asked or upper < asked,
    )


def proportion_interval(successes: int, n: int) -> tuple[float, float]:
    """The exact 95 % interval of a proportion (Clopper and Pearson 1934)."""
    from scipy.special import betaincinv

    lower = 0.0 if successes == 0 else float(betaincinv(successes, n - successes + 1, 0.025))
    upper = 1.0 if successes == n else float(betaincinv(successes + 1, n - successes, 0.975))
    return lower, upper
