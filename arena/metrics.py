"""What this process has counted since it started, in Prometheus' words: `curl -H "Authorization: Bearer $TOKEN" localhost:8501/metrics`.

The engine counts with one call where something happens (`metrics.completion_ended(completion, recorded=False)`); what can be looked up
(rounds under way, sessions, queues) is read when somebody asks. Several processes on one database each count their own. The registry is
ours alone, so that nothing of the interpreter or of other libraries is told. Who may read it: arena/health.py.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from arena.errors import ArenaError

if TYPE_CHECKING:
    from arena.battle import Arena
    from arena.health import Health
    from serving.completion import Completion

REGISTRY = CollectorRegistry()
_QUICK_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_FIRST_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
_WHOLE_S = (0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0)


def _counter(name: str, what: str, labels: tuple[str, ...] = ()) -> Counter:
    return Counter(f"bakeoff_{name}", what, labels, registry=REGISTRY)


def _gauge(name: str, what: str, labels: tuple[str, ...] = ()) -> Gauge:
    return Gauge(f"bakeoff_{name}", what, labels, registry=REGISTRY)


STARTED = _counter("battles_started", "Battles whose two answers were asked for.", ("mode",))
ENDED = _counter("battles_ended", "Battles whose two sides have ended, well or not.")
VOIDED = _counter("battles_voided", "Battles that cannot be voted on: a side failed or said nothing, or the store refused them.")
VOTES = _counter("votes", "Votes on disk.", ("winner", "rated"))
ACKNOWLEDGED = Histogram("bakeoff_vote_acknowledgement_seconds", "From a vote to its commit.", buckets=_QUICK_S, registry=REGISTRY)
ANSWERS = _counter("answers", "Answers that ended well, recorded ones included.", ("endpoint",))
FAILURES = _counter("answers_failed", "Answers that did not, by status.", ("endpoint", "status"))
TTFT = Histogram(
    "bakeoff_time_to_first_token_seconds", "To the first token that is not empty.", ("endpoint",), buckets=_FIRST_S, registry=REGISTRY
)
LATENCY = Histogram("bakeoff_answer_latency_seconds", "Of whole answers, end to end.", ("endpoint",), buckets=_WHOLE_S, registry=REGISTRY)
DOLLARS = _counter("cost_dollars", "Spent on answers, failed ones too; recordings cost nothing again.", ("endpoint",))
UNPRICED = _counter("answers_unpriced", "Answers whose cost nobody knows: not in bakeoff_cost_dollars_total.", ("endpoint",))
MODERATED = _counter("moderated", "Prompts and answers that a moderator was asked about.", ("what", "verdict"))
UNDER_WAY = _gauge("rounds_under_way", "Battles whose answers are growing now.")
SESSIONS = _gauge("sessions", "Browser tabs that are connected.")
RESTING = _gauge("endpoints_resting", "Endpoints not drawn for a while because they failed.")
ABLE = _gauge("endpoints_able", "Endpoints that may be drawn.")
LATENESS = _gauge("event_loop_lateness_seconds", "The latest a loop has been in the last ten seconds.", ("loop",))
QUEUE = _gauge("store_queue_length", "Writes that wait for the store's writer.")
STORE = _gauge("store_memory_bytes", "Memory that a DuckDB store holds, by its tags; ART_INDEX grows with what is stored.", ("tag",))


def battle_started(mode: str = "blind") -> None:
    """Two answers were asked for."""
    STARTED.labels(mode).inc()


def battle_ended(*, voided: bool) -> None:
    """Both sides have ended; `voided`: there is nothing to vote on."""
    ENDED.inc()
    if voided:
        VOIDED.inc()


def moderated(what: str, verdict: str) -> None:
    """A moderator was asked about a prompt or an answer: passed, flagged, or unmoderated (it could not be asked)."""
    MODERATED.labels(what, verdict).inc()


def completion_ended(completion: "Completion", *, recorded: bool = False) -> None:
    """An answer has ended. The times of a recorded one are those of its recording, and its price was paid when it was made."""
    endpoint = completion.endpoint
    if completion.answered:
        ANSWERS.labels(endpoint).inc()
        if completion.ttft_s is not None:
            TTFT.labels(endpoint).observe(completion.ttft_s)
        if completion.latency_s is not None:
            LATENCY.labels(endpoint).observe(completion.latency_s)
    else:
        FAILURES.labels(endpoint, completion.status).inc()
    if recorded:
        return
    if completion.cost_usd is not None:
        DOLLARS.labels(endpoint).inc(completion.cost_usd)
    elif completion.answered:
        UNPRICED.labels(endpoint).inc()


@contextmanager
def acknowledging() -> Iterator[None]:
    """Time what happens inside from the vote to its commit; nothing is counted when it raises."""
    start = time.perf_counter()
    yield
    ACKNOWLEDGED.observe(time.perf_counter() - start)


def vote_stored(winner: str, *, rated: bool) -> None:
    """A vote that is new was committed."""
    VOTES.labels(winner, "true" if rated else "false").inc()


def exposition(arena: "Arena", health: "Health") -> bytes:
    """All of it as Prometheus' text format, gauges read now."""
    UNDER_WAY.set(sum(not round_.ended for round_ in list(arena.rounds.values())))
    SESSIONS.set(_sessions())
    RESTING.set(len(arena.resting() & arena.endpoints.keys()))
    ABLE.set(len(arena.endpoints))
    LATENESS.labels("generation").set(arena.pulse.lateness_s())
    LATENESS.labels("pages").set(health.pulse.lateness_s())
    QUEUE.set(arena.store.queue_length())
    STORE.clear()
    # A store that cannot be read is /healthz's to tell; the rest is asked for all the more then.
    with suppress(ArenaError):
        for tag, held in arena.store.memory().items():
            STORE.labels(tag).set(held)
    return generate_latest(REGISTRY)


def _sessions() -> int:
    from streamlit import runtime

    if not runtime.exists():
        return 0
    stats = runtime.get_instance().stats_mgr.get_stats(family_names=["active_sessions"])
    return sum(int(getattr(stat, "value", 0)) for family in stats.values() for stat in family)
