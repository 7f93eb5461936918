"""What another load tester would have said about the same requests: its definitions, applied to our raw times.

    evals load --from RUN --as vllm

TTFT, "ITL" and "TPOT" mean different things to different tools (docs/measuring.md), so a difference between two tables may be one of
definition. All take times from the sending, not from the schedule. Percentiles are numpy's (linear). Milliseconds, as these tools print.

vllm      `vllm bench serve`: TTFT at the first event with choices (the empty role chunk); ITL: gaps between all events with choices,
pooled;
          E2EL to the last event; TPOT (E2EL - TTFT)/(n - 1); throughput over first sending to last end.
guidellm  TTFT at the first text; ITL per request, (last - first text)/(n - 1); TPOT the whole latency over n, first token included.
aiperf    TTFT at the first text; ITL per request, (last text - TTFT)/(n - 1); ICL: gaps between text chunks, pooled; latency to the last
text.
"""

from collections.abc import Callable, Sequence

import numpy as np

from evals.errors import LoadError
from evals.load.plan import Sample
from serving.documents import Noun
from serving.errors import did_you_mean


class PeerFigure(Noun):
    """One line of a peer's table: name and unit are the peer's."""

    name: str
    mean: float
    p50: float
    p90: float
    p99: float
    n: int


class PeerTable(Noun):
    """A peer's account of one load level: distributions, and single numbers by the peer's names."""

    peer: str
    completed: int
    distributions: tuple[PeerFigure, ...]
    rates: dict[str, float]


def as_peer(samples: Sequence[Sample], peer: str) -> PeerTable:
    """These requests (warm-up and failures left out) in a peer's terms. Raises LoadError for an unknown peer."""
    if peer not in PEERS:
        raise LoadError(f"--as {peer}: no such tool.{did_you_mean(peer, list(PEERS))} Known: {', '.join(PEERS)}")
    answered = [sample for sample in samples if sample.answered and sample.phase != "warmup"]
    values = PEERS[peer](answered)
    return PeerTable(peer=peer, completed=len(answered), distributions=tuple(_table(values)), rates=_rates(answered))


def _vllm(samples: Sequence[Sample]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"ttft_ms": [], "tpot_ms": [], "itl_ms": [], "e2el_ms": []}
    for sample in samples:
        events = sorted((*sample.chunk_times_s, *sample.empty_times_s))
        if not events:
            continue
        last = max(events[-1], sample.usage_time_s or 0.0)
        found["ttft_ms"].append(1e3 * events[0])
        found["itl_ms"] += [1e3 * (later - earlier) for earlier, later in zip(events, events[1:], strict=False)]
        found["e2el_ms"].append(1e3 * last)
        if sample.output_tokens is not None and sample.output_tokens > 1:
            found["tpot_ms"].append(1e3 * (last - events[0]) / (sample.output_tokens - 1))
    return found


def _guidellm(samples: Sequence[Sample]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {
        "time_to_first_token_ms": [], "time_per_output_token_ms": [], "inter_token_latency_ms": [], "request_latency_ms": []
    }  # fmt: skip
    for sample in samples:
        assert sample.latency_s is not None
        found["request_latency_ms"].append(1e3 * sample.latency_s)
        if not sample.chunk_times_s:
            continue
        first, last = sample.chunk_times_s[0], sample.chunk_times_s[-1]
        found["time_to_first_token_ms"].append(1e3 * first)
        if sample.output_tokens:
            found["time_per_output_token_ms"].append(1e3 * sample.latency_s / sample.output_tokens)
        if sample.output_tokens is not None and sample.output_tokens > 1:
            found["inter_token_latency_ms"].append(1e3 * (last - first) / (sample.output_tokens - 1))
    return found


def _aiperf(samples: Sequence[Sample]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {
        "time_to_first_token_ms": [], "inter_token_latency_ms": [], "inter_chunk_latency_ms": [], "request_latency_ms": []
    }  # fmt: skip
    for sample in samples:
        times = sample.chunk_times_s
        if not times:
            continue
        found["time_to_first_token_ms"].append(1e3 * times[0])
        found["request_latency_ms"].append(1e3 * times[-1])
        found["inter_chunk_latency_ms"] += [1e3 * (later - earlier) for earlier, later in zip(times, times[1:], strict=False)]
        if sample.output_tokens is not None and sample.output_tokens > 1:
            found["inter_token_latency_ms"].append(1e3 * (times[-1] - times[0]) / (sample.output_tokens - 1))
    return found


PEERS: dict[str, Callable[[Sequence[Sample]], dict[str, list[float]]]] = {"vllm": _vllm, "guidellm": _guidellm, "aiperf": _aiperf}


def _table(values: dict[str, list[float]]) -> list[PeerFigure]:
    found = []
    for name, each in values.items():
        if each:
            p50, p90, p99 = (float(value) for value in np.percentile(each, [50, 90, 99]))
            found.append(PeerFigure(name=name, mean=float(np.mean(each)), p50=p50, p90=p90, p99=p99, n=len(each)))
    return found


def _rates(samples: Sequence[Sample]) -> dict[str, float]:
    """Over the whole time from the first sending to the last end, start and tail included, as all three do without a window set."""
    spans = [
        (sample.sent_s, sample.sent_s + sample.latency_s)
        for sample in samples
        if sample.sent_s is not None and sample.latency_s is not None
    ]
    if not spans:
        return {}
    duration_s = max(end for _, end in spans) - min(start for start, _ in spans)
    tokens = sum(sample.output_tokens or 0 for sample in samples)
    return {"duration_s": duration_s, "request_throughput": len(samples) / duration_s, "output_token_throughput": tokens / duration_s}
