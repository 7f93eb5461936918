"""Do the pages open at once, whatever lies in results/? Made-up runs and votes in the project's own files, each page in a real browser.

    python benchmarks/pages.py                            # 1,000,000 votes, 200 runs x 2,000 samples, 40 load tests of 8 levels
    python benchmarks/pages.py --results /tmp/many        # keep them, and use them again

"Whole" is the app opened anew at that page, by another browser the second time; "by the menu" it is chosen while another page is open
(benchmarks/visits.py). Both begin with a fresh server that nobody has looked at.
"""

import argparse
import math
import os
import random
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "e2e"))
from browser import chromium, house
from many_votes import fill
from visits import READING_S, loaded, toured

from evals.load.figures import client_of, summarise
from evals.load.plan import Load, Shape, append_samples
from evals.load.plan import Sample as Sent
from evals.load.prompts import Words
from evals.load.run import Settings, Watching, summary_of
from evals.load.slo import parse_slo
from evals.measures import measures
from evals.runs import Run, Sample, Score, read_run, write_lines, write_run
from serving.completion import Completion, Request, Usage
from serving.documents import write_text_atomically
from serving.endpoints import Endpoint

ENDPOINTS = tuple(f"model-{letter}" for letter in "abcdefghijkl")
TASKS = ("arithmetic", "extraction", "reasoning", "translation", "summaries", "code")
PAGES = (
    "", "leaderboard", "pick", "head-to-head", "votes-health", "training", "benchmarks", "benchmarks?first=model-a&second=model-b",
    "samples", "samples?endpoint=model-a&verdict=wrong&page=3", "load", "cost", "cost?source=LOAD", "trade-offs", "drift",
)  # fmt: skip
START = datetime(2026, 1, 1, tzinfo=UTC)


def write_many(results: Path, runs: int, samples: int) -> None:
    """Runs of two endpoints on two tasks each, with answers of some 400 letters, all in the files that `evals run` writes."""
    draw = random.Random(1)
    for number in range(runs):
        started = START + timedelta(hours=12 * number)
        folder = results / "runs" / f"{started:%Y%m%d-%H%M%S}-nightly"
        folder.mkdir(parents=True)
        pair = [ENDPOINTS[number % len(ENDPOINTS)], ENDPOINTS[(number + 1) % len(ENDPOINTS)]]
        tasks = [TASKS[number // 2 % len(TASKS)], TASKS[(number // 2 + 1) % len(TASKS)]]
        _write_run(folder, started, pair, tasks, samples // 4, draw)


def _write_run(folder: Path, started: datetime, endpoints: list[str], tasks: list[str], documents: int, draw: random.Random) -> None:
    config = {"tasks": {task: {"path": f"{task}.yaml", "sha256": f"{task:0<64}"} for task in tasks}, "endpoints": {}, "limit": documents}
    record = Run(
        run_id=folder.name, suite="nightly", endpoints=tuple(endpoints), started_at=started, finished_at=started + timedelta(minutes=5),
        versions={"python": "3.11"}, seed=0, config=config,
    )  # fmt: skip
    verdicts, answers, scores = [], [], []
    for endpoint in endpoints:
        for task in tasks:
            right = 0
            for document in range(documents):
                request = Request.user(f"{task}: question {document}")
                correct = draw.random() < 0.5 + 0.03 * ENDPOINTS.index(endpoint)
                right += correct
                latency = draw.lognormvariate(0, 0.4)
                chunks = tuple(round(latency * part / 20, 4) for part in range(4, 21))
                answers.append(
                    Completion(endpoint=endpoint, request=request, text=f"{draw.random()} " * 20,
                               usage=Usage(input_tokens=60, output_tokens=90), ttft_s=chunks[0], latency_s=chunks[-1],
                               chunk_times_s=chunks, cost_usd=0.0001)
                )  # fmt: skip
                verdicts.append(
                    Sample(endpoint=endpoint, task=task, doc_id=document, filter="none", status="ok", target=str(document), extracted="7",
                           verdict="correct" if correct else "wrong", metrics={"exact_match": float(correct)},
                           request_hash=request.request_hash)
                )  # fmt: skip
            value = right / documents
            scores.append(
                Score(run_id=folder.name, endpoint=endpoint, task=task, metric="exact_match", value=value,
                      stderr=math.sqrt(value * (1 - value) / documents), n=documents, n_failed=0, coverage=1.0)
            )  # fmt: skip
    write_lines(folder / "completions.jsonl", answers)
    write_lines(folder / "samples.jsonl", verdicts)
    write_lines(folder / "scores.jsonl", scores)
    write_run(record, folder)
    write_lines(folder / "measures.jsonl", measures(read_run(folder)))


def write_loads(results: Path, loads: int) -> None:
    """Sweeps of 8 levels, 400 requests each, in the files that `evals load` writes."""
    draw = random.Random(2)
    slo = parse_slo("ttft=2,tpot=0.1")
    for number in range(loads):
        started = START + timedelta(hours=12 * number + 6)
        endpoint = Endpoint(id=ENDPOINTS[number % len(ENDPOINTS)], wire="openai", model="m", base_url="http://127.0.0.1:9/v1")
        run_id = f"{started:%Y%m%d-%H%M%S}-load-{endpoint.id}"
        folder = results / "runs" / run_id
        folder.mkdir(parents=True)
        settings = Settings(endpoint=endpoint, load=Load(concurrency=1, requests=400), sweep=True, shape=Shape(), slo=slo, seed=number)
        levels = []
        for point in range(8):
            samples = _sent(2**point, point, draw)
            append_samples(folder / "load.jsonl", samples)
            client = client_of(samples, [0.0001], processes=1, cpu_s=1.0, cpu_share=0.1)
            level = summarise(samples, Load(concurrency=2**point, requests=400), slo=slo)
            levels.append(level.model_copy(update={"client": client}))
        summary = summary_of(run_id, settings, levels, Watching(words=Words()))
        write_text_atomically(folder / "load.json", summary.model_dump_json(indent=1) + "\n")
        record = Run(
            run_id=run_id, suite="load", endpoints=(endpoint.id,), started_at=started, finished_at=started + timedelta(minutes=5),
            versions={"python": "3.11"}, seed=number, config=settings.model_dump(mode="json", exclude_defaults=True),
        )  # fmt: skip
        write_run(record, folder)


def _sent(at_once: int, point: int, draw: random.Random) -> list[Sent]:
    """400 answered requests, `at_once` of them at a time, 200 tokens each."""
    free, samples = [0.0] * at_once, []
    for request in range(400):
        place = free.index(min(free))
        begin, ttft, gap = free[place], 0.1 * draw.lognormvariate(0, 0.3) * (1 + at_once / 40), 0.01 * (1 + at_once / 60)
        chunks = tuple(round(ttft + gap * token, 4) for token in range(200))
        free[place] = begin + chunks[-1]
        samples.append(
            Sent(point=point, request=request, phase="steady", scheduled_s=begin, sent_s=begin, ended_s=free[place], ttft_s=ttft,
                 latency_s=chunks[-1], latency_from_schedule_s=chunks[-1], chunk_times_s=chunks, input_tokens=1000, output_tokens=200,
                 tokens_from="server", status="ok")
        )  # fmt: skip
    return samples


def main() -> None:
    """Write the runs and the votes where there are none, open every page, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--votes", type=int, default=1_000_000)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--loads", type=int, default=40)
    parser.add_argument("--results", type=Path, help="where all that is, or is made and left")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        results = options.results or Path(name) / "results"
        if not (results / "runs").exists():
            write_many(results, options.runs, options.samples)
            write_loads(results, options.loads)
        if not (results / "arena.duckdb").exists():
            fill(results / "arena.duckdb", options.votes, options.models)
        newest = max((folder.name for folder in (results / "runs").glob("*-load-*")), default="")
        paths = [path.replace("LOAD", newest) for path in PAGES]
        in_menu = [path for path in paths if "?" not in path]
        wide: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
        load = os.getloadavg()[0]
        # The browser first, as a visitor's runs before he comes.
        with chromium(Path(name) / "first", **wide) as page, house("dashboards", results=results) as url:
            first = [loaded(page, f"{url}/{path}")[1] for path in paths]
            another = page.context.browser.new_context(**wide).new_page()
            again = [loaded(another, f"{url}/{path}")[1] for path in paths]
        with chromium(Path(name) / "second", **wide) as page, house("dashboards", results=results) as url:
            menu = dict(zip(in_menu, zip(*toured(page, url, in_menu), strict=True), strict=True))
    said = [
        f"| page | whole, first, s | whole, again | by the menu, {READING_S:g} s after the first page | again |",
        "|---|---|---|---|---|",
    ]
    for title, path, *whole in zip(PAGES, paths, first, again, strict=True):
        seconds = [f"{one:.2f}" for one in (*whole, *menu.get(path, ()))]
        said.append(f"| {title or 'battle'} | {' | '.join([*seconds, '', ''][:4])} |")
    what = (
        f"{options.votes:,} votes x {options.models} models, {options.runs} runs x {options.samples:,} samples, {options.loads} load tests"
    )
    sys.stdout.write("\n".join([*said, f"\n{what}; {os.cpu_count()} cores, load average {load:.1f} at the start.", ""]))


if __name__ == "__main__":
    main()
