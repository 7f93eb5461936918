"""What load is made (Load, Shape) and what became of each request of it (Sample): the nouns of `evals load`, and their files.

    load.jsonl    a Sample a line: raw times, so that every figure, ours or a peer's, can be computed again
    load.json     the summary (evals/load/figures.py)

Seconds are on one monotonic clock. `scheduled_s` counts from the start of its load; `chunk_times_s`, `ttft_s`, `latency_s` from the
request's own sending, as in Completion; `latency_from_schedule_s` from when it was due, which is what a user waits.
"""

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from evals.errors import LoadError
from serving.completion import ANSWERED, Status
from serving.documents import Noun, parse_document

Phase = Literal["warmup", "ramp", "steady"]
# In flight at once in an open loop without --concurrency: what lies above waits, counted from its schedule, so that sockets cannot run out.
MOST_IN_FLIGHT = 4096


class Shape(Noun):
    """Tokens of one request. `shared_prefix_tokens` of the input are the same in all requests (a system prompt's part, which caches may
    keep).
    """

    input_tokens: int = Field(default=1000, ge=1)
    output_tokens: int = Field(default=1000, ge=1)
    shared_prefix_tokens: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _prefix_fits(self) -> "Shape":
        if self.shared_prefix_tokens >= self.input_tokens:
            raise ValueError("shared_prefix_tokens must leave some of input_tokens for what differs")
        return self


class Load(Noun):
    """One level of load. Open loop: `rate` requests a second (or a trace), `concurrency` at most at once. Closed loop: `concurrency` alone.

    It ends after `requests` or at `duration_s`, whichever comes first. What was due in the first `ramp_in_s` is in no figure.
    `warmup` requests with other prompts are sent before; None: one for each place, or the first second's.
    """

    rate: float | None = Field(default=None, gt=0)
    arrivals: str = "poisson"
    concurrency: int | None = Field(default=None, ge=1)
    think_s: float = Field(default=0.0, ge=0)
    requests: int | None = Field(default=None, ge=1)
    duration_s: float | None = Field(default=None, gt=0)
    ramp_in_s: float = Field(default=0.0, ge=0)
    warmup: int | None = Field(default=None, ge=0)

    @property
    def open_loop(self) -> bool:
        """Whether requests are sent by the clock, rather than when an answer has come."""
        return self.rate is not None or self.arrivals.startswith("trace:")

    @property
    def warmups(self) -> int:
        """How many requests warm up."""
        if self.warmup is not None:
            return self.warmup
        return (self.concurrency or 1) if not self.open_loop else min(max(math.ceil(self.rate or 8), 2), 64)

    @property
    def label(self) -> str:
        """`10 req/s poisson`, `32 at once`."""
        if not self.open_loop:
            return f"{self.concurrency} at once"
        what = self.arrivals if self.rate is None else f"{self.rate:.4g} req/s {self.arrivals}"
        return what if self.concurrency is None else f"{what}, at most {self.concurrency} at once"


class Sample(Noun):
    """One request. A failed one keeps its status and error and has no latency; `status` is serving.completion's.

    `point` and `repeat` number the load levels and their repetitions; `lateness_s` is how long after its due moment (or after a place
    among the `concurrency` became free) our own code began to send it. `empty_times_s` are events with choices and no text (the role
    chunk, the finish reason), `usage_time_s` the event with the counts: peers' definitions use them. `tokens_from` tells who counted.
    """

    point: int = 0
    repeat: int = 0
    request: int
    phase: Phase
    scheduled_s: float
    sent_s: float | None = None
    ended_s: float | None = None
    lateness_s: float = 0.0
    ttft_s: float | None = None
    latency_s: float | None = None
    latency_from_schedule_s: float | None = None
    chunk_times_s: tuple[float, ...] = ()
    empty_times_s: tuple[float, ...] = ()
    usage_time_s: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    tokens_from: Literal["server", "tokenizer"] | None = None
    cost_usd: float | None = None
    status: Status
    http_status: int | None = None
    retries: int = 0
    error: str | None = None

    @property
    def answered(self) -> bool:
        """Whether its times are times of an answer."""
        return self.status in ANSWERED and self.latency_s is not None

    @property
    def waited_s(self) -> float:
        """From its schedule to its sending."""
        return 0.0 if self.sent_s is None else max(self.sent_s - self.scheduled_s, 0.0)

    @property
    def tpot_s(self) -> float | None:
        """(latency - ttft) / (output_tokens - 1); None for fewer than two tokens or tokens nobody counted."""
        if self.ttft_s is None or self.latency_s is None or self.output_tokens is None or self.output_tokens < 2:
            return None
        return (self.latency_s - self.ttft_s) / (self.output_tokens - 1)


def read_samples(path: Path) -> tuple[Sample, ...]:
    """The lines of a load.jsonl. Raises LoadError for a missing file, DocumentError for a line that does not fit."""
    return tuple(iter_samples(path))


def iter_samples(path: Path) -> Iterator[Sample]:
    """The lines of a load.jsonl, one by one."""
    try:
        file = path.open(encoding="utf-8")
    except OSError:
        raise LoadError(f"{path}: missing; only a run of 'evals load' has one") from None
    with file:
        for number, line in enumerate(file, start=1):
            try:
                yield Sample.model_validate_json(line)
            except ValueError:
                try:
                    values = json.loads(line)
                except ValueError as error:
                    raise LoadError(f"{path}:{number}: not JSON: {error}") from None
                yield parse_document(values, Sample, where=f"{path}:{number}")


def append_samples(path: Path, samples: Iterable[Sample]) -> None:
    """Add lines to a load.jsonl and flush them."""
    with path.open("a", encoding="utf-8") as file:
        for sample in samples:
            file.write(sample.model_dump_json(exclude_defaults=True) + "\n")
