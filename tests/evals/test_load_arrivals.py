"""Schedules: the kinds have their rates and shapes, the same seed draws the same, and what is wrong is one line."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.errors import LoadError
from evals.load.arrivals import arrivals, trace


def test_constant_is_a_metronome():
    assert arrivals("constant", 10.0, requests=5).tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert len(arrivals("constant", 10.0, duration_s=2.0)) == 20


@pytest.mark.parametrize(("kind", "variation"), [("poisson", 1.0), ("gamma:2", 2.0), ("gamma:0.5", 0.5)])
def test_random_gaps_have_the_mean_and_the_variation_asked_for(kind: str, variation: float):
    gaps = np.diff(arrivals(kind, 50.0, requests=40_000, seed=3))
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.04)
    assert gaps.std() / gaps.mean() == pytest.approx(variation, rel=0.04)


def test_bursts_come_together_and_keep_the_mean_rate():
    due = arrivals("burst:4", 8.0, requests=12)
    assert due.tolist() == pytest.approx([0] * 4 + [0.5] * 4 + [1.0] * 4)


@pytest.mark.parametrize(("first", "last"), [(10, 90), (90, 10), (50, 50)])
def test_a_ramp_passes_from_one_rate_to_the_other(first: float, last: float):
    due = arrivals(f"ramp:{last}", first, duration_s=100.0, seed=5)
    assert len(due) == pytest.approx(5000, rel=0.05)
    early, late = np.sum(due < 10) / 10, np.sum(due >= 90) / 10
    assert early == pytest.approx(first + (last - first) / 20, rel=0.15)
    assert late == pytest.approx(last - (last - first) / 20, rel=0.15)


@given(
    kind=st.sampled_from(["constant", "poisson", "gamma:3", "burst:5", "ramp:30"]),
    rate=st.floats(0.5, 200),
    duration_s=st.floats(0.1, 20),
    requests=st.one_of(st.none(), st.integers(1, 300)),
    seed=st.integers(0, 1000),
)
@settings(max_examples=80)
def test_every_schedule_ascends_within_its_bounds(kind: str, rate: float, duration_s: float, requests: int | None, seed: int):
    due = arrivals(kind, rate, requests=requests, duration_s=duration_s, seed=seed)
    assert (np.diff(due) >= 0).all() and (due >= 0).all() and (due < duration_s).all()
    assert requests is None or len(due) <= requests
    assert due.tolist() == arrivals(kind, rate, requests=requests, duration_s=duration_s, seed=seed).tolist()


def test_a_trace_is_offsets_or_a_load_jsonl_again(tmp_path: Path):
    plain = tmp_path / "offsets.txt"
    plain.write_text("3.5\n1.5\n\n2\n")
    assert trace(plain).tolist() == [0, 0.5, 2.0]
    again = tmp_path / "load.jsonl"
    again.write_text(
        '{"phase": "warmup", "scheduled_s": 0}\n{"phase": "steady", "scheduled_s": 4.0}\n{"phase": "steady", "scheduled_s": 4.25}\n'
    )
    assert trace(again).tolist() == [0, 0.25]


@pytest.mark.parametrize(
    ("kind", "rate", "says"),
    [
        ("poison", 1.0, "Did you mean 'poisson'"),
        ("gamma", 1.0, "gamma: needs a coefficient of variation"),
        ("burst:2.5", 1.0, "whole number"),
        ("burst:-2", 1.0, "needs how many at once"),
        ("constant", 0.0, "must be above 0"),
        ("constant", 1e6, "more than 1,000,000 requests"),
    ],
)
def test_what_cannot_be_scheduled_is_said(kind: str, rate: float, says: str):
    with pytest.raises(LoadError, match=says):
        arrivals(kind, rate, duration_s=10.0)


@pytest.mark.parametrize(("text", "says"), [("1\nfast\n", "offsets.txt:2: no offset"), ("-1\n", ":1: no offset"), ("", "holds no offsets")])
def test_a_bad_trace_is_told_by_its_line(tmp_path: Path, text: str, says: str):
    path = tmp_path / "offsets.txt"
    path.write_text(text)
    with pytest.raises(LoadError, match=says):
        trace(path)
    with pytest.raises(LoadError, match="cannot be read"):
        trace(tmp_path / "missing.txt")
