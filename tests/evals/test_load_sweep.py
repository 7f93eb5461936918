"""Sweeps find the knee and the highest rate that keeps the SLO of a queue whose answer is known, in few levels."""

import pytest

from evals.load.figures import Level, summarise
from evals.load.plan import Load, Sample
from evals.load.slo import Slo, parse_slo
from evals.load.sweep import highest_kept, knee, of, sweep


def queue(load: Load, point: int, slo: Slo | None, service_s: float = 0.1) -> Level:
    """One server, first come first served, `service_s` each, by arithmetic: it saturates at 1 / service_s requests a second."""
    free, samples, ends = 0.0, [], [0.0] * (load.concurrency or 1)
    for number in range(300):
        # Closed: each is due when the one that had its place is answered.
        due = number / load.rate if load.rate is not None else ends[-(load.concurrency or 1)]
        free = max(free, due) + service_s
        ends.append(free)
        samples.append(
            Sample(
                point=point, request=number, phase="steady", status="ok", input_tokens=1, output_tokens=1, scheduled_s=due, sent_s=due,
                ended_s=free, ttft_s=free - due, latency_s=free - due, latency_from_schedule_s=free - due, chunk_times_s=(free - due,),
            )
        )  # fmt: skip
    return summarise(samples, load, slo)


def levels_of(first: Load, slo: Slo | None, **options: int) -> list[Level]:
    return list(sweep(lambda load, point: queue(load, point, slo), first, slo, **options))


def test_rates_double_to_the_knee_of_a_queue():
    levels = levels_of(Load(rate=0.6, arrivals="constant", duration_s=600), None)
    assert [of(level) for level in levels[:4]] == pytest.approx([0.6, 1.2, 2.4, 4.8])
    found = knee(levels)
    # 10/s is what the queue can do; 9.6 is the last doubling below.
    assert found is not None and of(found) == pytest.approx(9.6)
    assert of(levels[-1]) == pytest.approx(19.2), "it stops where it is saturated"


def test_bisection_finds_the_highest_rate_that_keeps_the_slo():
    slo = parse_slo("latency=0.5")
    levels = levels_of(Load(rate=1, arrivals="constant"), slo)
    best = highest_kept(levels)
    # Without randomness a queue keeps .1 s up to 10/s; 300 requests at r/s wait at most .1 + 300 (.1 - 1/r): .5 s at 10.14/s.
    assert best is not None and 10 / 1.05 <= of(best) <= 10.14
    assert len(levels) <= 10
    assert all(level.attainment is not None for level in levels)


def test_a_first_level_that_is_too_much_goes_down_first():
    slo = parse_slo("latency=0.5")
    best = highest_kept(levels_of(Load(rate=64, arrivals="constant"), slo))
    assert best is not None and 10 / 1.05 <= of(best) <= 10.14


def test_concurrencies_are_whole_and_end_next_to_each_other():
    slo = parse_slo("latency=0.65")
    levels = levels_of(Load(concurrency=1), slo)
    best = highest_kept(levels)
    # C at once on one server: each takes C × .1 s.
    assert best is not None and best.load.concurrency == 6
    assert any(level.load.concurrency == 7 for level in levels)


def test_a_promise_nobody_can_keep_ends_too():
    assert highest_kept(levels := levels_of(Load(concurrency=8), parse_slo("latency=0.01"))) is None
    assert [level.load.concurrency for level in levels] == [8, 4, 2, 1]
    assert len(levels_of(Load(rate=8, arrivals="constant"), parse_slo("latency=0.01"), most_levels=5)) == 5
