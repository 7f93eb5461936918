"""The report says how sure, and shows a dash for what is not known."""

from pathlib import Path

import pytest
from rich.console import Console

from evals.report import notes, rows, to_markdown, to_screen
from evals.runs import RunFiles, Sample, Score
from serving.completion import Completion, Request


@pytest.fixture
def half_failed(demo: RunFiles) -> RunFiles:
    """Two documents, one of them not answered; a metric that is no share; a name that Markdown and rich would eat."""
    name = "a|b [bold]"
    requests = [Request.user("0"), Request.user("1")]
    completions = (
        Completion(endpoint=name, request=requests[0], text="hm", cost_usd=0.0002, latency_s=0.5),
        Completion(endpoint=name, request=requests[1], status="timeout", error="nothing came", latency_s=99.0),
    )
    common = {"endpoint": name, "task": "t", "filter": "none"}
    samples = (
        Sample(**common, doc_id=0, status="ok", metrics={"f1": 0.25}, request_hash=requests[0].request_hash),
        Sample(**common, doc_id=1, status="timeout", error="nothing came", request_hash=requests[1].request_hash),
    )
    score = Score(run_id="r", endpoint=name, task="t", metric="f1", value=0.25, stderr=None, n=1, n_failed=1, coverage=0.5)
    return RunFiles(Path(), demo.run, (score,), samples, completions)


def test_the_page_shows_score_error_time_tokens_and_dollars(demo: RunFiles) -> None:
    page = to_markdown(demo)
    assert "| gpt-4-0314 | 84.00 ± 1.16 % | 1,000 | 0 | 4 | 6.70 s | 215.4 | $13.83 |" in page
    assert "| gsm8k-175b-verification | 56.25 ± 1.37 % | 1,319 | 0 | 1 | – | – | – |" in page
    assert "9,276 requests to 8 endpoints" in page
    assert "not answered" not in page


def test_the_screen_shows_the_same_cells(demo: RunFiles) -> None:
    console = Console(width=120)
    with console.capture() as captured:
        console.print(to_screen(demo))
    for row in rows(demo):
        line = next(line for line in captured.get().splitlines() if line.startswith(f"{row.cells[0]} "))
        assert all(cell in line for cell in row.cells)


def test_failures_are_told_and_enter_no_figure(half_failed: RunFiles) -> None:
    (row,) = rows(half_failed)
    assert row.cells == ("a|b [bold]", "0.25", "1", "1", "–", "0.50 s", "–", "$0.2")
    assert notes(half_failed) == ["a|b [bold] on t: 1 of 2 requests failed; most often (1) timeout: nothing came."]
    assert r"| a\|b [bold] | 0.25 |" in to_markdown(half_failed)
    console = Console(width=120)
    with console.capture() as captured:
        console.print(to_screen(half_failed))
    assert "a|b [bold] on t: 1 of 2 requests failed" in captured.get()
