"""A run that was killed goes on where it stopped; answers are asked for once; a run of another kind is refused."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from model_server import ModelServer, problem, sse
from sums import adds, asked_number, run_sums, sums_task

from evals.errors import CannotResume, TaskError, UnknownRun
from evals.quality import rescore_run
from evals.resuming import answers_in
from evals.runs import completions_log, read_run
from serving.endpoints import Price, register

N = 120
SUITE = "name: sums\ntasks: [sums.yaml]\nendpoints: [adder]\nconcurrency: 4\n"


def hashes(lines: list[str]) -> list[str]:
    return [json.loads(line)["request_hash"] for line in lines]


def start(folder: Path, results: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "evals.cli", "run", str(folder / "suite.yaml"), "--results", str(results), *more]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("most_kills", [4, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_at_any_moment_and_resumed_the_scores_are_those_of_an_undisturbed_run(
    tmp_path: Path, results: Path, most_kills: int
) -> None:
    folder = sums_task(tmp_path / "tasks", n=N).parent
    (folder / "suite.yaml").write_text(SUITE)
    asked: Counter[int] = Counter()

    def slowly(body: dict[str, Any]) -> list[bytes]:
        asked[asked_number(body)] += 1
        return adds(body)

    with ModelServer(slowly, pace_s=0.01) as server:
        undisturbed = run_sums(server, folder, results, concurrency=4)
        asked.clear()
        out, answered_before, moment = tmp_path / "killed", set[str](), random.Random(7)
        path = out / "completions.jsonl"
        kills = 0
        for attempt in range(20):
            process = start(folder, results, *(["--resume", str(out)] if attempt else ["--out", str(out)]))
            try:
                had = len(path.read_bytes().split(b"\n")) if path.exists() else 0
                wanted = had + moment.randrange(4, 14)
                deadline = time.monotonic() + 60
                while process.poll() is None and time.monotonic() < deadline:
                    if path.exists() and len(path.read_bytes().split(b"\n")) >= wanted:
                        process.send_signal(signal.SIGKILL)
                        kills += 1
                        break
                    time.sleep(0.002)
            finally:
                process.kill() if process.poll() is None and kills == 0 else None
                process.wait(60)
            lines = hashes([line for line in path.read_text().split("\n")[:-1] if line])
            assert len(lines) == len(set(lines)), "an answer was asked for again"
            assert answered_before <= set(lines), "an answer was lost"
            answered_before = set(lines)
            if process.returncode == 0:
                break
            if kills == most_kills:
                assert start(folder, results, "--resume", str(out)).wait(60) == 0
                break
    files = read_run(out)
    assert kills >= min(most_kills, 5)
    assert [score.model_dump(exclude={"run_id"}) for score in files.scores] == [
        score.model_dump(exclude={"run_id"}) for score in undisturbed.scores
    ]
    assert len(files.completions) == N
    # Asked twice at most: what was in flight (four at a time) when the process was killed, and had not been answered.
    assert sum(asked.values()) - N <= 4 * kills


def test_a_line_that_a_crash_cut_is_asked_again(tmp_path: Path, results: Path) -> None:
    folder = sums_task(tmp_path / "tasks").parent
    with ModelServer(adds) as server:
        whole = run_sums(server, folder, results)
        path = whole.folder / "completions.jsonl"
        content = path.read_bytes()
        cut = content.rstrip(b"\n").rfind(b"\n") + 40
        os.truncate(path, cut)
        _unfinish(whole.folder)
        assert len(answers_in(whole.folder)) == 9
        before = len(server.requests)
        again = run_sums(server, folder, results, resume=whole.folder)
        assert len(server.requests) == before + 1
    assert (again.run.n_held, again.scores) == (9, whole.scores)
    assert len(again.completions) == 10


def test_failures_are_asked_again_and_a_whole_run_is_not(tmp_path: Path, results: Path) -> None:
    folder = sums_task(tmp_path / "tasks").parent
    broken = {3, 4}
    with ModelServer(lambda body: problem("400 Bad Request", "not now") if asked_number(body) in broken else adds(body)) as server:
        partly = run_sums(server, folder, results)
        assert partly.scores[0].coverage == 0.8
        broken.clear()
        whole = run_sums(server, folder, results, resume=partly.folder)
        assert len(server.requests) == 12
        assert (whole.scores[0].coverage, whole.scores[0].value) == (1.0, 0.9)
        assert whole.run.run_id == partly.run.run_id
        with pytest.raises(CannotResume, match="is whole"):
            run_sums(server, folder, results, resume=partly.folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"limit": 5}, "limit: None, now it is 5"),
        ({"seed": 3}, "seed: 0, now it is 3"),
        ({"parameters": {"temperature": 0.5}}, "0.5"),
    ],
)
def test_another_suite_is_not_a_resumption(change: dict[str, Any], says: str, tmp_path: Path, results: Path) -> None:
    folder = sums_task(tmp_path / "tasks").parent
    with ModelServer(adds) as server:
        files = run_sums(server, folder, results)
        _unfinish(files.folder)
        with pytest.raises(CannotResume, match="start a new one") as told:
            run_sums(server, folder, results, resume=files.folder, **change)
        assert says in str(told.value)
        assert len(server.requests) == 10
        run_sums(server, folder, results, resume=files.folder, concurrency=2, max_usd=1.0)


def test_a_run_that_did_not_finish_says_how_to_go_on(tmp_path: Path, results: Path) -> None:
    folder = sums_task(tmp_path / "tasks").parent
    with ModelServer(adds) as server:
        files = run_sums(server, folder, results)
    _unfinish(files.folder)
    with pytest.raises(UnknownRun, match=f"--resume {files.run.run_id}"):
        read_run(files.folder)


def test_a_run_under_way_is_not_resumed_by_a_second_process(tmp_path: Path, results: Path) -> None:
    folder = sums_task(tmp_path / "tasks").parent
    with ModelServer(adds) as server:
        files = run_sums(server, folder, results)
        _unfinish(files.folder)
        path = files.folder / "completions.jsonl"
        half_written = path.read_bytes()[:-20]
        path.write_bytes(half_written)
        with completions_log(files.folder), pytest.raises(CannotResume, match="being written by another process"):
            run_sums(server, folder, results, resume=files.folder)
        assert path.read_bytes() == half_written, "what the other process is writing was mended"
        assert run_sums(server, folder, results, resume=files.folder).run.n_held == 9


def test_a_run_killed_while_it_reads_earlier_answers_can_be_resumed(tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, out = sums_task(tmp_path / "tasks").parent, tmp_path / "out"

    def killed(*_: Any) -> list[Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr("evals.quality.earlier_answers", killed)
    with ModelServer(adds) as server:
        with pytest.raises(KeyboardInterrupt):
            run_sums(server, folder, results, out=out, cache=True)
        assert run_sums(server, folder, results, resume=out).scores and read_run(out).run.finished_at


def test_a_full_disk_is_one_clear_line_and_loses_no_answer(tmp_path: Path, results: Path) -> None:
    folder = sums_task(tmp_path / "tasks", n=N).parent
    (folder / "suite.yaml").write_text(SUITE)
    out = tmp_path / "full"

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    with ModelServer(adds) as server:
        register(server.endpoint("adder"), results)
        command = [sys.executable, "-m", "evals.cli", "run", str(folder / "suite.yaml"), "--results", str(results), "--out", str(out)]
        full = subprocess.run(command, capture_output=True, text=True, preexec_fn=little_room)
        assert full.returncode == 1 and "Traceback" not in full.stderr
        assert "error: File too large: what was written before is kept" in full.stderr
        kept = len(answers_in(out))
        assert 0 < kept < N
        done = start(folder, results, "--resume", str(out)).wait(60)
        asked = len(server.requests)
    assert done == 0 and read_run(out).run.n_held == kept
    # Again only what was in flight, four at a time, when there was no room for it.
    assert asked <= N + 4 + 1


def test_the_cache_holds_the_answers_of_the_very_same_endpoint_only(tmp_path: Path, results: Path) -> None:
    folder = sums_task(tmp_path / "tasks").parent
    with ModelServer(adds) as server:
        first = run_sums(server, folder, results)
        cached = run_sums(server, folder, results, cache=True, endpoint={"price": Price(input_usd_per_mtok=1, output_usd_per_mtok=1)})
        assert len(server.requests) == 10
        assert (cached.run.n_held, cached.scores[0].value) == (10, first.scores[0].value)
        assert len(cached.completions) == 10, "a run holds its answers itself, wherever they came from"
        run_sums(server, folder, results, cache=True, endpoint={"model": "another"})
        assert len(server.requests) == 20
        run_sums(server, folder, results, cache=True, parameters={"temperature": 1.0})
        assert len(server.requests) == 30


def test_rescoring_applies_todays_task_to_yesterdays_answers_and_asks_nothing(tmp_path: Path, results: Path) -> None:
    path = sums_task(tmp_path / "tasks")
    with ModelServer(lambda body: sse(f"it is {2 * asked_number(body)}")) as server:
        files = run_sums(server, path.parent, results)
    assert files.scores[0].value == 0.0
    path.write_text(
        path.read_text() + 'filter_list: [{name: last, filter: [{function: regex, regex_pattern: "([0-9]+)"}, {function: take_first}]}]\n'
    )
    scored = rescore_run(files, folder=path.parent, results=results)
    assert (scored.scores[0].value, scored.run.config["rescored_from"]) == (1.0, files.run.run_id)
    assert scored.folder != files.folder and len(scored.completions) == 10
    assert read_run(files.folder).scores[0].value == 0.0
    path.write_text(path.read_text().replace("{{question}}", "Please: {{question}}"))
    with pytest.raises(TaskError, match="was not asked 'Please: 0 \\+ 0 ='.*run the suite anew"):
        rescore_run(files, folder=path.parent, results=results)


def _unfinish(folder: Path) -> None:
    """The folder as a crash leaves it."""
    record = json.loads((folder / "run.json").read_text())
    record["finished_at"] = None
    (folder / "run.json").write_text(json.dumps(record))
    for name in ("samples.jsonl", "scores.jsonl"):
        (folder / name).unlink()
