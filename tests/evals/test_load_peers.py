"""Peers' definitions on one hand-made answer: a role chunk at .1 s, text at .3, .4, .4 and .7 s, finish at .7, usage and end at .75."""

import pytest

from evals.errors import LoadError
from evals.load.peers import as_peer
from evals.load.plan import Sample

ANSWER = Sample(
    request=0, phase="steady", scheduled_s=0.0,
    sent_s=1.0, ended_s=1.75, ttft_s=0.3, latency_s=0.75, latency_from_schedule_s=1.75, status="ok",
    chunk_times_s=(0.3, 0.4, 0.4, 0.7), empty_times_s=(0.1, 0.7), usage_time_s=0.75, input_tokens=9, output_tokens=5,
)  # fmt: skip
WARMUP = ANSWER.model_copy(update={"phase": "warmup", "sent_s": -50.0})
FAILED = ANSWER.model_copy(update={"status": "malformed", "latency_s": None})


def means(peer: str) -> dict[str, float]:
    table = as_peer([WARMUP, ANSWER, FAILED], peer)
    assert table.completed == 1
    return {figure.name: figure.mean for figure in table.distributions}


def test_vllm_stops_ttft_at_the_role_chunk_and_pools_gaps_between_events():
    assert means("vllm") == pytest.approx({"ttft_ms": 100, "tpot_ms": 650 / 4, "itl_ms": 600 / 5, "e2el_ms": 750})


def test_guidellm_counts_the_first_token_into_tpot_and_averages_itl_per_request():
    assert means("guidellm") == pytest.approx(
        {"time_to_first_token_ms": 300, "time_per_output_token_ms": 150, "inter_token_latency_ms": 100, "request_latency_ms": 750}
    )


def test_aiperf_ends_at_the_last_text_and_has_chunk_gaps_apart():
    assert means("aiperf") == pytest.approx(
        {"time_to_first_token_ms": 300, "inter_token_latency_ms": 100, "inter_chunk_latency_ms": 400 / 3, "request_latency_ms": 700}
    )


def test_their_throughput_spans_first_sending_to_last_end():
    later = ANSWER.model_copy(update={"sent_s": 2.0})
    rates = as_peer([ANSWER, later], "vllm").rates
    assert rates == pytest.approx({"duration_s": 1.75, "request_throughput": 2 / 1.75, "output_token_throughput": 10 / 1.75})


def test_an_unknown_peer_is_refused():
    with pytest.raises(LoadError, match="Did you mean 'vllm'"):
        as_peer([ANSWER], "vlm")
