"""Figures: percentiles only where samples carry them, rates of the steady window, promises kept; checked against hand and simulation."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.errors import LoadError
from evals.load.figures import figure, order_interval, over_repeats, quantile, samples_needed, summarise, throughput, window_of
from evals.load.plan import Load, Sample
from evals.load.slo import MLPERF, attainment, parse_slo, proportion_interval


def sample(request: int, scheduled_s: float, *, sent_s: float | None = None, status: str = "ok", **values: object) -> Sample:
    """An answer of three tokens at .2, .3 and .4 s from its sending."""
    sent = scheduled_s if sent_s is None else sent_s
    made: dict[str, object] = {"sent_s": sent, "ttft_s": 0.2, "latency_s": 0.4, "chunk_times_s": (0.2, 0.3, 0.4), "input_tokens": 10}
    made |= {"output_tokens": 3, "latency_from_schedule_s": sent - scheduled_s + 0.4, "ended_s": sent + 0.4, "phase": "steady", **values}
    if status not in ("ok", "truncated"):
        made |= {"ttft_s": None, "latency_s": None, "latency_from_schedule_s": None}
    return Sample.model_validate({"request": request, "scheduled_s": scheduled_s, "status": status, **made})


def test_how_many_samples_a_percentile_needs():
    assert [samples_needed(q) for q in (0.5, 0.9, 0.95, 0.99)] == [5, 29, 59, 299]
    # Wilks: with one sample fewer the largest lies above the quantile less often than in 95 of 100 cases.
    assert 1 - 0.99**299 >= 0.95 > 1 - 0.99**298


def test_a_p99_of_twenty_requests_is_no_figure():
    percentiles = figure([[float(value) for value in range(20)]]).percentiles
    assert percentiles["p99"] is None and percentiles["p90"] is None
    assert percentiles["p50"] is not None and percentiles["p50"].value == 9.0
    assert figure([[float(value) for value in range(299)]]).percentiles["p99"] is not None


def test_the_order_interval_covers_the_quantile_nineteen_times_in_twenty():
    draw, inside, rounds = np.random.default_rng(1), 0, 2000
    for _ in range(rounds):
        found = order_interval(np.sort(draw.exponential(size=400)), 0.95)
        assert found.lower is not None and found.upper is not None
        inside += found.lower <= -math.log(0.05) <= found.upper
    assert 0.935 < inside / rounds < 0.985


def test_an_interval_over_repeats_is_students():
    found = over_repeats([10.0, 12.0, 14.0])
    assert found is not None and found.lower is not None and found.upper is not None
    # t(0.975, 2) = 4.3027, s = 2, n = 3.
    assert (found.value, found.upper - found.value) == (12.0, pytest.approx(4.302653 * 2 / math.sqrt(3), rel=1e-6))
    assert over_repeats([3.0]) is not None and over_repeats([3.0]).lower is None  # type: ignore[union-attr]
    assert over_repeats([]) is None


@given(values=st.lists(st.floats(0, 1e6), min_size=1, max_size=50), q=st.sampled_from([0.5, 0.9, 0.99]))
@settings(max_examples=100)
def test_a_quantile_is_a_sample_that_enough_others_do_not_exceed(values: list[float], q: float):
    found = quantile(np.sort(np.asarray(values)), q)
    assert found in values
    assert sum(value <= found for value in values) >= q * len(values) - 1e-9
    assert sum(value < found for value in values) < q * len(values)


def test_rates_are_of_the_window_and_tokens_of_their_chunks():
    samples = [sample(number, number / 10) for number in range(21)]
    window, kind = window_of(samples, Load(rate=10, requests=21, ramp_in_s=0.5))
    assert (window, kind) == ((0.5, 2.0), "steady")
    rates = throughput(samples, (0.5, 1.5))
    # Ends at .4, .5, …: ten lie in (.5, 1.5]; each carries three tokens, spread over its own three chunks.
    assert rates["requests"] == pytest.approx(10)
    assert rates["output"] == pytest.approx(30)
    assert rates["input"] == pytest.approx(100)
    assert rates["in_flight"] == pytest.approx(4)


def test_a_load_too_short_to_be_steady_is_taken_whole_and_says_so():
    level = summarise([sample(number, 0.0) for number in range(4)], Load(concurrency=4, requests=4))
    assert (level.window, level.window_s) == ("whole", (0.0, pytest.approx(0.4)))
    assert level.requests_per_s.value == pytest.approx(10)


def test_in_a_closed_loop_goodput_is_at_most_the_throughput():
    # Four at once, one after another, .4 s each: the window ends with the last sending, at 1.2 s.
    samples = [sample(number, 0.4 * (number // 4)) for number in range(16)]
    level = summarise(samples, Load(concurrency=4, requests=16), parse_slo("latency=1"))
    assert level.window == "steady" and level.goodput == level.requests_per_s and level.goodput.value == pytest.approx(10)
    slow = [each.model_copy(update={"latency_from_schedule_s": 2.0}) if each.request < 4 else each for each in samples]
    level = summarise(slow, Load(concurrency=4, requests=16), parse_slo("latency=1"))
    assert level.goodput is not None and level.goodput.value == pytest.approx(10 * 2 / 3)


def test_failures_warmups_and_ramps_enter_no_latency():
    samples = [sample(number, number / 10) for number in range(10)]
    samples += [sample(10, 1.0, status="timeout", error="no token came"), sample(11, 1.1, status="api_error", error="HTTP 429")]
    samples += [sample(12, 0.0, phase="warmup", latency_s=99.0), sample(13, 0.0, phase="ramp", latency_s=99.0)]
    level = summarise(samples, Load(rate=10, requests=12), parse_slo("latency=1"))
    assert level.failures == {"timeout": 1, "api_error": 1}
    assert (level.figures["latency_s"].n, level.figures["latency_s"].most) == (10, pytest.approx(0.4))
    assert level.attainment is not None and (level.attainment.good, level.attainment.n, level.attainment.met) == (10, 12, False)


def test_times_count_from_the_schedule():
    level = summarise([sample(number, 0.0, sent_s=float(number)) for number in range(5)], Load(rate=1, requests=5))
    assert level.figures["latency_s"].mean.value == pytest.approx(0.4)
    assert level.figures["latency_from_schedule_s"].most == pytest.approx(4.4)
    assert level.figures["ttft_from_schedule_s"].mean.value == pytest.approx(2.2)


def test_repeats_give_intervals_and_pool_their_samples():
    samples = [sample(number, number / 10, repeat=repeat, latency_s=0.4 + repeat / 10) for repeat in range(3) for number in range(20)]
    level = summarise(samples, Load(rate=10, requests=20))
    mean = level.figures["latency_s"].mean
    assert (level.repeats, level.figures["latency_s"].n, mean.value) == (3, 60, pytest.approx(0.5))
    assert mean.upper is not None and mean.upper - mean.value == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-6)


def test_an_slo_is_read_or_refused():
    slo = parse_slo("ttft=2,tpot=0.1,p=95")
    assert (slo.ttft_s, slo.tpot_s, slo.latency_s, slo.percent) == (2.0, 0.1, None, 95.0)
    preset = parse_slo("mlperf:llama2-70b")
    assert (preset.ttft_s, preset.tpot_s, preset.percent) == (2.0, 0.2, 99.0)
    assert all(parse_slo(f"mlperf:{name}").ttft_s == limits[0] for name, limits in MLPERF.items())
    wrong = {
        "tttft=1": "Did you mean 'ttft'", "ttft=fast": "a number of seconds", "p=95": "names no limit", "ttft=-1": "out of range",
        "ttft=1,p=100": "out of range", "mlperf:llama2-7b": "Did you mean 'llama2-70b'",
    }  # fmt: skip
    for text, says in wrong.items():
        with pytest.raises(LoadError, match=says):
            parse_slo(text)


def test_each_limit_must_hold_for_its_share_and_few_requests_leave_it_unsure():
    slo = parse_slo("ttft=0.3,tpot=0.2,p=90")
    slow = [sample(number, 0.0, sent_s=0.5 if number < 2 else 0.0) for number in range(20)]
    found = attainment(slo, slow)
    assert found is not None and (found.shares, found.met, found.certain) == ({"ttft": 0.9, "tpot": 1.0}, True, False)
    found = attainment(slo, slow * 3 + [sample(99, 0.0, status="malformed")])
    assert found is not None and not found.met
    found = attainment(slo, [sample(0, 0.0)] * 100)
    assert found is not None and found.met and found.certain


def test_the_proportion_interval_is_clopper_and_pearsons():
    # R: binom.test(18, 20)$conf.int
    assert proportion_interval(18, 20) == (pytest.approx(0.6830173, abs=1e-6), pytest.approx(0.9876515, abs=1e-6))
    assert proportion_interval(20, 20)[1] == 1.0 and proportion_interval(0, 20)[0] == 0.0
    draw, covered = random.Random(2), 0
    for _ in range(1000):
        low, high = proportion_interval(sum(draw.random() < 0.9 for _ in range(60)), 60)
        covered += low <= 0.9 <= high
    assert covered >= 940
