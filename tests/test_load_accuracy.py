"""The accuracy benchmark itself: it runs, it finds an exact client exact, and it catches one that is not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
MS = 1_000_000


@pytest.fixture
def one_cell(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import one_cell

    return one_cell


def written(name: str, arrived_ms: float, *wrote_ms: float) -> dict[str, object]:
    """A server's record: a head without tokens at once, then one token a write."""
    moments = [round(at * MS) for at in (arrived_ms, *wrote_ms)]
    return {"name": name, "arrived_ns": round(arrived_ms * MS), "wrote_ns": moments, "tokens": [0] + [1] * len(wrote_ms)}


def test_errors_are_counted_against_what_the_server_did(one_cell):
    # The server was 2 ms late with its first token of "a": a client that saw so is exact.
    answers = [written("a", 100, 152, 160, 170), written("b", 100, 150, 160, 170)]
    exact = one_cell._errors({"a": (0.052, [0.008, 0.010]), "b": (0.050, [0.010, 0.010])}, answers)
    assert exact["ttft_error_p99_ms"] == pytest.approx(0, abs=1e-9) and exact["gap_error_p99_ms"] == pytest.approx(0, abs=1e-9)
    late = one_cell._errors({"a": (0.057, [0.003, 0.010]), "b": (0.050, [0.010, 0.010])}, answers)
    assert late["ttft_error_p99_ms"] == pytest.approx(5) and late["gap_error_p99_ms"] == pytest.approx(5)


def test_a_client_that_merges_or_loses_chunks_is_told(one_cell):
    answers = [written("a", 0, 50, 60, 70)]
    assert one_cell._errors({"a": (0.050, [0.020])}, answers)["wrong_chunk_counts"] == 1


def test_requests_without_names_are_paired_by_order_of_sending(one_cell):
    answers = [written("", 0, 90), written("", 10, 60), written("", 20, 80)]  # the first is a warm-up
    assert one_cell._errors({"0": (0.050, []), "1": (0.060, [])}, answers)["ttft_error_p99_ms"] == pytest.approx(0, abs=1e-9)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs cores that can be chosen")
def test_the_benchmark_runs_and_finds_us_exact(tmp_path: Path):
    cores = [str(core) for core in sorted(os.sched_getaffinity(0))]
    command = [
        sys.executable, str(BENCHMARKS / "load_accuracy.py"), "--clients", "ours", "aiohttp", "--concurrency", "4", "--repeats", "1",
        "--rounds", "1", "--json", str(tmp_path / "told.json"), "--cores", cores[0], cores[-1], "--peer-env", str(tmp_path / "nowhere"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "told.json").read_text(encoding="utf-8"))
    figures = told["medians"]["ours"]["4"]
    assert figures["requests"] == 4 and figures["wrong_chunk_counts"] == 0
    # Half a gap: beyond what a busy machine adds, and below what a client that takes the role chunk for the first token would show.
    assert figures["ttft_error_p50_ms"] < 5 and told["medians"]["ours"]["one token"]["requests_per_s"] > 100
    assert "no interpreter" in told["missing"]["aiohttp"] and "| **`Client.exchange`** |" in done.stdout
