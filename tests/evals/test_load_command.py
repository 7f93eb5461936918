"""`evals load` as a person meets it: a run that can be recomputed, one line for what they can mend, and Ctrl-C that loses nothing."""

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from model_server import ModelServer, problem, sse
from paced_server import PacedServer
from timing import again_if_late, timely

from evals.load.plan import read_samples
from evals.load.run import read_summary
from evals.runs import Run, now, write_run
from serving.endpoints import Endpoint, register

Evals = Callable[..., tuple[int, str, str]]
SMALL = ("--input-tokens", "40", "--output-tokens", "8", "--processes", "1")


@pytest.fixture(scope="module")
def server() -> Iterator[PacedServer]:
    with PacedServer(ttft_ms=20, gap_ms=5, tokens=8) as running:
        yield running


@pytest.fixture
def known(server: PacedServer, results: Path) -> Path:
    """Results that know the paced server."""
    register(server.endpoint(), results)
    return results


@again_if_late
def test_a_closed_loop_from_command_to_report(evals: Evals, known: Path):
    code, out, err = evals("load", "--endpoint", "paced", "--concurrency", "4", "--requests", "60", *SMALL, "--results", known, "--json")
    assert code == 0, err
    document = json.loads(out.splitlines()[-1])
    (level,) = document["levels"]
    assert (level["n_requests"], level["failures"]) == (60, {})
    latency = level["figures"]["latency_s"]
    assert latency["percentiles"]["p50"]["value"] > 0.035
    timely(latency["percentiles"]["p50"]["value"] < 0.075, latency)
    assert latency["percentiles"]["p95"] is not None and latency["percentiles"]["p99"] is None
    assert level["output_tokens_per_s"]["value"] == pytest.approx(8 * level["requests_per_s"]["value"], rel=0.1)
    folder = Path(document["folder"])
    assert {path.name for path in folder.iterdir()} == {"run.json", "load.jsonl", "load.json", "report.md"}
    samples = read_samples(folder / "load.jsonl")
    assert sum(sample.phase == "steady" for sample in samples) == 60 and sum(sample.phase == "warmup" for sample in samples) == 4
    # Two prompts of the paced server's own counting, one token a word, fix the words of the others.
    assert document["words"] == {"tokens_per_word": 1.0, "other_tokens": 0.0, "counted_by": "usage"}
    assert {sample.input_tokens for sample in samples} == {40}
    report = (folder / "report.md").read_text()
    assert "not enough samples" in report and "4 at once" in report


@again_if_late
def test_two_processes_share_one_schedule(evals: Evals, known: Path):
    options = ("--rate", "40", "--arrivals", "constant", "--requests", "40", "--warmup", "2")
    code, out, err = evals("load", "--endpoint", "paced", *options, *SMALL[:4], "--processes", "2", "--results", known, "--json")
    assert code == 0, err
    document = json.loads(out.splitlines()[-1])
    assert document["levels"][0]["client"]["processes"] == 2
    samples = [sample for sample in read_samples(Path(document["folder"]) / "load.jsonl") if sample.phase == "steady"]
    assert sorted(sample.request for sample in samples) == list(range(40))
    assert sorted(sample.scheduled_s for sample in samples) == pytest.approx([number / 40 for number in range(40)])
    # Both started at the same moment of the same clock: each request left when it was due, whichever process had it.
    timely(sorted(sample.lateness_s for sample in samples)[20] < 0.005)


@again_if_late
def test_a_stored_run_is_told_again_under_other_definitions_and_promises(evals: Evals, known: Path):
    asked = ("load", "--endpoint", "paced", "--rate", "50", "--requests", "30", *SMALL, "--results", known, "--json")
    code, out, err = evals(*asked)
    assert code == 0, err
    first = json.loads(out.splitlines()[-1])
    name = first["run_id"]
    code, out, _ = evals("load", "--from", name, "--results", known, "--json")
    again = json.loads(out.splitlines()[-1])
    assert code == 0 and again == first
    code, out, _ = evals("load", "--from", name, "--slo", "latency=0.0001", "--results", known, "--json")
    assert json.loads(out.splitlines()[-1])["levels"][0]["attainment"]["good"] == 0
    tables = {}
    for peer in ("vllm", "guidellm", "aiperf"):
        code, out, _ = evals("load", "--from", name, "--as", peer, "--results", known, "--json")
        assert code == 0
        tables[peer] = {figure["name"]: figure for figure in json.loads(out)["levels"][0]["distributions"]}
    # The paced server sends an empty role chunk at once, its first token 20 ms later.
    assert tables["guidellm"]["time_to_first_token_ms"]["p50"] > 15
    timely(tables["vllm"]["ttft_ms"]["p50"] < 15, tables["vllm"])
    assert tables["aiperf"]["time_to_first_token_ms"] == tables["guidellm"]["time_to_first_token_ms"]
    code, out, _ = evals("report", name, "--results", known, "--markdown")
    assert code == 0 and out.startswith("# Load on paced")
    assert name in evals("ls", "--results", known)[1]


def test_a_sweep_under_an_slo_draws_its_plot(evals: Evals, results: Path):
    # One connection of 30 ms answers: 33 a second at most; asked at most 12 at once, it saturates as a server does.
    with PacedServer(ttft_ms=20, gap_ms=5, tokens=3) as slow:
        register(slow.endpoint(), results)
        options = ("--sweep", "--rate", "10", "--concurrency", "1", "--requests", "20", "--most-levels", "5")
        assert evals("load", "--endpoint", "paced", *options, *SMALL, "--results", results)[0] == 1, "which of the two is swept?"
        options = ("--sweep", "--concurrency", "1", "--duration", "0.5", "--most-levels", "4", "--slo", "ttft=5,tpot=5")
        code, out, err = evals("load", "--endpoint", "paced", *options, *SMALL, "--results", results, "--json")
    assert code == 0, err
    document = json.loads(out.splitlines()[-1])
    assert [level["load"]["concurrency"] for level in document["levels"]] == [1, 2, 4, 8]
    assert document["best"] == 3 and document["knee"] is not None
    plot = ElementTree.parse(Path(document["folder"]) / "latency.svg").getroot()
    assert len(plot.findall(".//{*}circle")) >= 8
    assert "latency.svg" in (Path(document["folder"]) / "report.md").read_text()
    assert "1: 1 at once" in err and "4: 8 at once" in err


def test_ctrl_c_keeps_what_was_measured(server: PacedServer, known: Path):
    command = [sys.executable, "-m", "evals.cli", "load", "--endpoint", "paced", "--concurrency", "2", "--duration", "60", *SMALL, "--json"]
    before = sum(server.stats()["outcomes"].values())
    options = ["--ramp-in", "0", "--results", str(known)]
    running = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    # Two calibrating requests, two to warm up, and then some that count.
    while sum(server.stats()["outcomes"].values()) < before + 16 and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=30)
    assert running.returncode == 130, err
    document = json.loads(out.splitlines()[-1])
    assert document["stopped"] and document["levels"][0]["n_measured"] >= 4
    assert read_summary(Path(document["folder"])).stopped
    assert not list(Path(document["folder"]).glob(".part-*"))


def test_a_server_that_answers_nothing_is_told_before_a_folder_is_made(evals: Evals, results: Path):
    with ModelServer(problem("401 Unauthorized", "who are you?")) as locked:
        code, out, err = evals("load", "--base-url", locked.base_url, "--model", "m", "--concurrency", "1", *SMALL, "--results", results)
    assert (code, out) == (1, "") and "who are you?" in err.splitlines()[-1]
    assert not (results / "runs").exists()


def test_a_run_in_which_everything_failed_fails_but_is_kept(evals: Evals, results: Path):
    turns = iter(range(1000))
    with ModelServer(lambda body: sse("a", "b") if next(turns) < 2 else problem("503 Service Unavailable", "full")) as full:
        options = ("--base-url", full.base_url, "--model", "m/1", "--concurrency", "2", "--requests", "6")
        code, out, err = evals("load", *options, *SMALL, "--results", results, "--json")
    assert code == 1 and "HTTP 503: full" in err.splitlines()[-1]
    (folder,) = (results / "runs").iterdir()
    assert json.loads(out)["levels"][0]["failures"] == {"api_error": 6}
    assert len(read_samples(folder / "load.jsonl")) == 8
    assert "6 of 6 failed (6 api_error); most often: HTTP 503: full" in (folder / "report.md").read_text()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--endpoint", "paced"], "how much load?"),
        (["--concurrency", "1"], "whom to load?"),
        (["--endpoint", "pacd", "--concurrency", "1"], "no endpoint 'pacd'"),
        (["--endpoint", "paced", "--model", "m", "--concurrency", "1"], "--model: goes with --base-url"),
        (["--base-url", "http://127.0.0.1:9/v1", "--concurrency", "1"], "needs --model"),
        (["--base-url", "ftp://x", "--model", "m", "--concurrency", "1"], "base_url"),
        (["--base-url", "http://127.0.0.1:9/v1", "--model", "m", "--concurrency", "1"], "does not answer at http://127.0.0.1:9/v1"),
        (["--endpoint", "paced", "--rate", "-3"], "--rate -3: must be above 0"),
        (["--endpoint", "paced", "--rate", "3", "--think", "1"], "belongs to a closed loop"),
        (["--endpoint", "paced", "--concurrency", "3", "--arrivals", "constant"], "belongs to an open loop"),
        (["--endpoint", "paced", "--rate", "3", "--arrivals", "gama:2"], "Did you mean 'gamma'"),
        (["--endpoint", "paced", "--arrivals", "trace:nowhere.txt"], "trace:nowhere.txt: cannot be read"),
        (["--endpoint", "paced", "--rate", "3", "--arrivals", "trace:nowhere.txt"], "a trace has its own times"),
        (["--endpoint", "paced", "--rate", "3", "--duration", "5", "--ramp-in", "5"], "leaves nothing"),
        (["--endpoint", "paced", "--rate", "3", "--shared-prefix-tokens", "1000"], "must leave some of input_tokens"),
        (["--endpoint", "paced", "--rate", "3", "--slo", "ttft"], "is not one of ttft"),
        (["--endpoint", "paced", "--rate", "3", "--as", "vllm"], "add --from RUN"),
        (["--from", "nothing"], "no run 'nothing'"),
        (["--endpoint", "gpt-4-0613", "--concurrency", "1"], "'serving replay FILE' makes it a server"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(evals: Evals, known: Path, options: list[str], says: str):
    code, out, err = evals("load", *options, "--results", known)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("error: ") and says in err.splitlines()[-1]
    assert not (known / "runs").exists()


def test_a_run_of_another_kind_is_not_taken_for_load(evals: Evals, results: Path):
    folder = results / "runs" / "20261123-000000-demo"
    write_run(Run(run_id=folder.name, suite="demo", endpoints=(), started_at=now(), versions={}, seed=1, config={}), folder)
    code, _, err = evals("load", "--from", folder.name, "--results", results)
    assert code == 1 and "no run of 'evals load'" in err


def test_a_key_is_nowhere_in_what_is_kept(evals: Evals, results: Path, monkeypatch: pytest.MonkeyPatch):
    secret = "sk-very-secret-key-0123456789abcdef"
    monkeypatch.setenv("LOAD_TEST_KEY", secret)
    turns = iter(range(1000))
    with ModelServer(lambda body: sse("a", "b") if next(turns) % 2 == 0 else problem("401 Unauthorized", f"bad key {secret}")) as leaky:
        register(Endpoint(id="leaky", wire="openai", model="m", base_url=leaky.base_url, api_key_env="LOAD_TEST_KEY"), results)
        code, out, err = evals("load", "--endpoint", "leaky", "--concurrency", "1", "--requests", "10", *SMALL, "--results", results)
        assert any(secret in head for head in leaky.heads), "the key is sent"
    assert code == 0, err
    everything = out + err + "".join(path.read_text() for path in results.rglob("*") if path.is_file())
    assert secret not in everything and "[key]" in everything


def test_no_load_outlives_a_command_that_was_killed(server: PacedServer, known: Path):
    command = [sys.executable, "-m", "evals.cli", "load", "--endpoint", "paced", "--concurrency", "2", "--duration", "60", *SMALL]
    before = sum(server.stats()["outcomes"].values())
    running = subprocess.Popen([*command, "--results", str(known)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while sum(server.stats()["outcomes"].values()) < before + 16 and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    running.kill()
    running.wait()
    counts = [0]
    # Quiet is: nothing answered for a second.
    while time.monotonic() < deadline and (len(counts) < 12 or counts[-1] != counts[-11]):
        counts.append(sum(server.stats()["outcomes"].values()))
        time.sleep(0.1)
    assert counts[-1] == counts[-11] >= before + 16
