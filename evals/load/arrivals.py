"""When requests are due: the schedule of an open loop, in seconds from its start, decided before the first one is sent.

    due_s = arrivals("poisson", 10.0, duration_s=60, seed=7)
    due_s = arrivals("gamma:2", 10.0, requests=500)             # coefficient of variation 2: clumps and gaps
    due_s = trace(Path("results/runs/ID/load.jsonl"))           # or a text file with one offset in seconds a line

A schedule that waits for answers measures only the moments at which the server had time (coordinated omission, Tene 2013), so nothing here
knows of answers. Kinds: `constant`, `poisson`, `gamma:CV`, `burst:N` (N at once), `ramp:RATE` (from the first rate to RATE, Poisson).
"""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evals.errors import LoadError
from serving.errors import did_you_mean

Seconds = NDArray[np.float64]
# One run schedules no more than this, whatever rate and duration say: 1,000 requests/s for a quarter of an hour.
MOST_REQUESTS = 1_000_000
PARAMETERS = {
    "gamma": "a coefficient of variation, e.g. gamma:2",
    "burst": "how many at once, e.g. burst:8",
    "ramp": "the last rate, e.g. ramp:50",
}


def arrivals(kind: str, rate: float, *, requests: int | None = None, duration_s: float | None = None, seed: int = 0) -> Seconds:
    """Offsets in seconds, ascending, from 0: at most `requests` of them, all below `duration_s`; one of the two must be given.

    `rate` is the mean number of requests a second. Raises LoadError for a kind or a number that does not fit.
    """
    name, _, parameter = kind.partition(":")
    if name not in KINDS:
        raise LoadError(f"--arrivals {kind}: no such kind.{did_you_mean(name, list(KINDS))} Known: {', '.join(KINDS)}, trace:FILE")
    if not (math.isfinite(rate) and rate > 0):
        raise LoadError(f"--rate {rate:g}: must be above 0 requests a second")
    most = math.inf if duration_s is None else _expected(name, rate, parameter, duration_s)
    count = min(most, MOST_REQUESTS if requests is None else requests)
    if count == math.inf or count > MOST_REQUESTS or (requests is None and most > MOST_REQUESTS):
        raise LoadError(f"--rate {rate:g}: more than {MOST_REQUESTS:,} requests; give --requests or a shorter --duration")
    # Random schedules vary around the mean count: draw enough to pass the end, then cut there.
    drawn = int(count + 6 * math.sqrt(count) * _spread(name, parameter) + 10) if requests is None else requests
    due = KINDS[name](rate, parameter, drawn, duration_s, np.random.default_rng(seed))
    if duration_s is not None:
        due = due[due < duration_s]
    return due


def trace(path: Path) -> Seconds:
    """Recorded offsets: one number of seconds a line, or the `scheduled_s` of a load.jsonl's requests after the warm-up; shifted to start
    at 0.

    Raises LoadError naming file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LoadError(f"--arrivals trace:{path}: cannot be read: {error}") from None
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            if isinstance(value, dict):
                if value.get("phase") == "warmup":
                    continue
                value = value["scheduled_s"]
            offset = float(value)
            if not math.isfinite(offset) or offset < 0:
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise LoadError(f"{path}:{number}: no offset in seconds (got {line[:40]!r}); write one number of seconds a line") from None
        found.append(offset)
    if not found:
        raise LoadError(f"{path}: holds no offsets; write one number of seconds a line")
    if len(found) > MOST_REQUESTS:
        raise LoadError(f"{path}: holds {len(found):,} requests, more than {MOST_REQUESTS:,}; shorten it or give --requests")
    due = np.sort(np.asarray(found))
    return np.asarray(due - due[0])


def _constant(rate: float, parameter: str, count: int, duration_s: float | None, rng: np.random.Generator) -> Seconds:
    return np.arange(count) / rate


def _poisson(rate: float, parameter: str, count: int, duration_s: float | None, rng: np.random.Generator) -> Seconds:
    return _from_gaps(rng.exponential(1 / rate, count))


def _gamma(rate: float, parameter: str, count: int, duration_s: float | None, rng: np.random.Generator) -> Seconds:
    """Gaps of mean 1/rate and coefficient of variation CV: shape 1/CV², scale CV²/rate. CV 1 is Poisson; vLLM's burstiness is 1/CV²."""
    variance = _number("gamma", parameter) ** 2
    return _from_gaps(rng.gamma(1 / variance, variance / rate, count))


def _burst(rate: float, parameter: str, count: int, duration_s: float | None, rng: np.random.Generator) -> Seconds:
    """N at the same moment, bursts N/rate apart, so that the mean rate holds."""
    size = _number("burst", parameter)
    if size != int(size):
        raise LoadError(f"--arrivals burst:{parameter}: must be a whole number of requests")
    return np.floor(np.arange(count) / size) * size / rate


def _ramp(rate: float, parameter: str, count: int, duration_s: float | None, rng: np.random.Generator) -> Seconds:
    """Rate rising (or falling) linearly over the duration: a unit Poisson process through the inverse of the integrated rate."""
    last = _number("ramp", parameter)
    if duration_s is None:
        duration_s = 2 * count / (rate + last)
    total = np.cumsum(rng.exponential(1.0, count))
    slope = (last - rate) / duration_s
    if slope == 0:
        return np.asarray(total / rate)
    inside = np.maximum(rate**2 + 2 * slope * total, 0.0)
    due = (np.sqrt(inside) - rate) / slope
    # A falling rate reaches zero somewhere beyond the duration; what lies past that point never happens.
    return np.asarray(due[(inside > 0) | (slope > 0)])


KINDS: dict[str, Callable[[float, str, int, float | None, np.random.Generator], Seconds]] = {
    "constant": _constant,
    "poisson": _poisson,
    "gamma": _gamma,
    "burst": _burst,
    "ramp": _ramp,
}


def _from_gaps(gaps: Seconds) -> Seconds:
    """The first request is due at 0, so that a run starts when it says."""
    return np.concatenate([[0.0], np.cumsum(gaps[:-1])])


def _expected(name: str, rate: float, parameter: str, duration_s: float) -> float:
    if name == "ramp":
        rate = (rate + _number("ramp", parameter)) / 2
    return math.ceil(rate * duration_s)


def _spread(name: str, parameter: str) -> float:
    """The standard deviation of a count, in units of its square root: CV for renewal arrivals, the root of the size for bursts."""
    if name in ("gamma", "burst"):
        value = _number(name, parameter)
        return max(1.0, value if name == "gamma" else math.sqrt(value))
    return 1.0


def _number(name: str, parameter: str) -> float:
    try:
        value = float(parameter)
    except ValueError:
        value = 0.0
    if not (math.isfinite(value) and value > 0):
        raise LoadError(f"--arrivals {name}{':' if parameter else ''}{parameter}: needs {PARAMETERS[name]}")
    return value
