"""One request of a load, before and after the window: its bytes are made ahead, its answer is parsed when nothing is timed any more.

exchange = await client.exchange(prepared(part, 7, warmup=False))
sample = sample_of(part, Turn(7, due_ns, late_ns, exchange), "steady", begin_ns, anchor)
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from evals.load.plan import Load, Phase, Sample, Shape
from evals.load.prompts import Words, load_request, prompt
from serving.client import Exchange, Prepared, completion_of, prepare
from serving.documents import Noun
from serving.endpoints import Endpoint
from serving.reading import Reader


class Part(Noun):
    """What one process does of a load level: every `shards`-th request from `shard` on, so that the parts' schedules are disjoint."""

    endpoint: Endpoint
    load: Load
    shape: Shape = Shape()
    words: Words = Words()
    seed: int = 0
    point: int = 0
    repeat: int = 0
    shard: int = 0
    shards: int = 1
    timeout_s: float = 300.0


@dataclass
class Turn:
    """One request as it went: its number, when it was due, how late our own code began to send it, the raw response."""

    request: int
    due_ns: int
    late_ns: int
    exchange: Exchange


def prepared(part: Part, number: int, *, warmup: bool) -> Prepared:
    text = prompt(part.shape, part.words, (part.seed, part.point, part.repeat, int(warmup), number))
    return prepare(part.endpoint, load_request(part.endpoint, part.shape, text))


def sample_of(part: Part, turn: Turn, phase: Phase, begin_ns: int, anchor: datetime, *, like: Prepared | None = None) -> Sample:
    """What became of one turn, parsed now that nothing is timed any more. `like`: any request of this part, to read the answer by.

    Only where the endpoint's tokenizer counts must it be the same prompt; it is made again rather than kept, because a long load's
    prompts would fill the memory.
    """
    exchange = turn.exchange
    started_at = anchor + timedelta(seconds=exchange.sent_ns / 1e9) if exchange.sent_ns else None
    if like is None or part.endpoint.tokenizer is not None:
        like = prepared(part, turn.request, warmup=phase == "warmup")
    reader = Reader(part.endpoint.wire, exchange)
    answer = completion_of(like, exchange, started_at, reader=reader)
    sent = exchange.sent_ns > 0
    empty, usage = _other_events(reader)
    # A response may end in good order and still be no answer: then it took no time that could be called a latency.
    latency_s = answer.latency_s if answer.answered else None
    return Sample(
        point=part.point,
        repeat=part.repeat,
        request=turn.request,
        phase=phase,
        scheduled_s=round((turn.due_ns - begin_ns) / 1e9, 9),
        sent_s=round((exchange.sent_ns - begin_ns) / 1e9, 9) if sent else None,
        lateness_s=turn.late_ns / 1e9,
        ended_s=round((exchange.ended_ns - begin_ns) / 1e9, 9),
        ttft_s=answer.ttft_s if answer.answered else None,
        latency_s=latency_s,
        latency_from_schedule_s=round((exchange.ended_ns - turn.due_ns) / 1e9, 9) if sent and latency_s is not None else None,
        chunk_times_s=answer.chunk_times_s,
        empty_times_s=empty,
        usage_time_s=usage,
        input_tokens=answer.usage.input_tokens,
        output_tokens=answer.usage.output_tokens,
        reasoning_tokens=answer.usage.reasoning_tokens,
        tokens_from=answer.usage_source,
        cost_usd=answer.cost_usd,
        status=answer.status,
        http_status=exchange.status or None,
        retries=exchange.retries,
        error=answer.error,
    )


def _other_events(reader: Reader) -> tuple[tuple[float, ...], float | None]:
    """(times of events with choices but no text, time of the event with the counts), of an OpenAI stream; peers' definitions need them."""
    empty, usage = [], None
    for at_s, data in reader.silent:
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict) and event.get("choices"):
            empty.append(at_s)
        elif isinstance(event, dict) and event.get("usage"):
            usage = at_s
    return tuple(empty), usage
