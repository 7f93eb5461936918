"""`evals` at the terminal: one JSON document for machines, one line for what a person can mend."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from model_server import ModelServer, problem, sse

from evals.runs import RunFiles
from serving.endpoints import Endpoint, register

Evals = Callable[..., tuple[int, str, str]]


def test_the_last_line_of_stdout_is_one_json_document(evals: Evals, results: Path) -> None:
    code, out, err = evals("run", "suites/demo.yaml", "--endpoint", "gpt-4-0613", "--limit", "20", "--results", results, "--json")
    assert code == 0
    (line,) = out.splitlines()
    document = json.loads(line)
    assert {score["metric"]: score["n"] for score in document["scores"]} == {"exact_match": 20, "unparsed": 20}
    (measure,) = document["measures"]
    assert (measure["endpoint"], measure["task"], measure["statuses"]) == ("gpt-4-0613", "prime", {"ok": 20})
    assert Path(document["folder"]) == results / "runs" / document["run_id"]
    assert (Path(document["folder"]) / "report.md").read_text().startswith("# demo: ")
    assert "1/1 gpt-4-0613: prime" in err


def test_run_shows_its_report_and_where_it_lies(evals: Evals, results: Path, tmp_path: Path) -> None:
    out_folder = tmp_path / "this one"
    code, out, err = evals("run", "demo", "--endpoint", "gpt-4-0613", "--limit", "20", "--results", results, "--out", out_folder)
    assert code == 0
    assert "gpt-4-0613" in out and "prime, exact_match" in out
    assert f"kept in {out_folder}" in err
    assert not (results / "runs").exists()
    code, _, err = evals("run", "demo", "--endpoint", "gpt-4-0613", "--limit", "20", "--results", results, "--out", out_folder)
    assert code == 1
    assert "never overwrites" in err


def test_ls_and_report_find_the_runs(evals: Evals, demo: RunFiles) -> None:
    results = demo.folder.parents[1]
    assert demo.run.run_id in evals("ls", "--results", results)[1]
    listed = json.loads(evals("ls", "--results", results, "--json")[1])
    assert {"gsm8k", "prime"} <= set(listed["tasks"]) and "demo" in listed["suites"]
    assert [run["run_id"] for run in listed["runs"]] == [demo.run.run_id]
    code, out, _ = evals("report", demo.run.run_id, "--results", results, "--markdown")
    assert (code, "84.00 ± 1.16 %" in out) == (0, True)
    document = json.loads(evals("report", demo.run.run_id, "--results", results, "--json")[1])
    assert len(document["measures"]) == 8


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "demoo"], "Did you mean 'demo'"),
        (["run", "demo", "--endpoint", "gpt-4-0314x"], "Did you mean 'gpt-4-0314'"),
        (["run", "demo", "--endpoint", "asleep"], "endpoint 'asleep' does not answer at http://127.0.0.1:"),
        (["run", "demo", "--endpoint", "locked"], "set the environment variable NO_SUCH_KEY"),
        (["run", "typo.yaml"], "concurency: unknown key. Did you mean 'concurrency'"),
        (["report", "nothing"], "'evals ls' lists"),
    ],
)
def test_what_a_person_can_mend_is_one_line_and_leaves_nothing_behind(
    evals: Evals, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "typo.yaml").write_text("name: typo\ntasks: [prime]\nconcurency: 3\n")
    address = f"http://127.0.0.1:{closed_port()}/v1"
    register(Endpoint(id="asleep", wire="openai", model="m", base_url=address), results)
    register(Endpoint(id="locked", wire="openai", model="m", base_url=address, api_key_env="NO_SUCH_KEY"), results)
    code, out, err = evals(*arguments, "--results", results)
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1 and err.startswith("error: ")
    assert says in err
    assert not (results / "runs").exists()


def test_a_run_without_any_answer_fails_but_is_kept(evals: Evals, results: Path) -> None:
    with ModelServer(problem("500 Internal Server Error", "no memory left")) as server:
        register(server.endpoint("broken"), results)
        code, out, err = evals("run", "demo", "--endpoint", "broken", "--limit", "2", "--results", results, "--json")
    assert (code, out) == (1, "")
    assert "no memory left" in err.splitlines()[-1]
    (folder,) = (results / "runs").iterdir()
    assert len((folder / "completions.jsonl").read_text().splitlines()) == 4
    assert "no memory left" in (folder / "report.md").read_text()


def test_failures_among_answers_are_told_on_stderr(evals: Evals, results: Path) -> None:
    turns = iter(range(100))
    with ModelServer(lambda body: problem("400 Bad Request", "busy") if next(turns) == 0 else sse("[Yes]")) as server:
        register(server.endpoint("shaky"), results)
        code, out, err = evals("run", "demo", "--endpoint", "shaky", "--limit", "3", "--results", results, "--json")
    assert code == 0
    assert sum(score["n_failed"] for score in json.loads(out)["scores"] if score["metric"] == "exact_match") == 1
    assert "1 of 3 requests failed" in err and "busy" in err


def test_help_imports_nothing_heavy() -> None:
    heavy = "{'pydantic', 'lm_eval', 'datasets', 'pandas', 'torch', 'rich.progress'}"
    code = f"import sys, evals.cli; loaded = {heavy} & set(sys.modules); sys.exit(str(loaded) if loaded else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
