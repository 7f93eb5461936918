"""Generated code can do no harm, by the kernel's refusal and by Python's, each for itself; and it does not run unless somebody said so."""

import json
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from model_server import ModelServer, sse

from evals.errors import TaskError
from evals.quality import load_task
from evals.sandbox import Limits, Outcome, _run, allowing_code, run_programs
from evals.task_files import TASKS
from serving.endpoints import register

# By the clock nobody is ended who would end by himself, however busy the machine.
QUICK = Limits(cpu_s=1, wall_s=30, memory_mb=256, file_mb=1)
IMPATIENT = replace(QUICK, wall_s=3)
EACH = pytest.mark.parametrize("layer", ["kernel", "hook"] if sys.platform == "linux" else ["hook"])
linux = pytest.mark.skipif(sys.platform != "linux", reason="namespaces, Landlock and seccomp are Linux's")


def ran(source: str, *layers: str, limits: Limits = QUICK) -> Outcome:
    return _run(source, limits, layers or ("kernel", "hook"))


def needs_landlock(outcome: Outcome, layer: str) -> None:
    if layer == "kernel" and outcome.confinement["files"] != "landlock":
        pytest.skip("this kernel has no Landlock of version 3 or later")


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert list(folder.iterdir()) == [], "temporary folders are removed"


def test_nothing_runs_unless_it_was_allowed() -> None:
    with pytest.raises(TaskError, match="--allow-code"):
        run_programs(["x = 1"])
    with allowing_code(False), pytest.raises(TaskError, match="--allow-code"):
        run_programs(["x = 1"])
    with allowing_code(True):
        fine, failing = run_programs(["x = 1", "assert not 1, 'no\\nway'"])
    assert (fine.says, failing.says) == ("passed", "failed: AssertionError: no way")


def test_a_program_that_does_its_work_passes() -> None:
    assert ran("import math, re, collections, hashlib, typing\nassert hashlib.md5(b'x').hexdigest()").passed
    assert ran("print('x' * 100)\nopen('mine', 'w').write('1')\nassert open('mine').read() == '1'").passed


@pytest.mark.parametrize("early", ["import os; os._exit(0)", "raise SystemExit(0)", "import sys; sys.exit()", "exit(", "\ud800"])
def test_a_program_that_ends_early_or_is_none_does_not_pass(early: str) -> None:
    assert ran(early).says.startswith("failed: ")


@pytest.mark.parametrize("endless", ["while True: pass", "import time; time.sleep(60)", "while True: print('y' * 10000)"])
def test_an_endless_program_is_ended(endless: str) -> None:
    assert ran(endless, limits=IMPATIENT).says == "timed out"


def test_memory_is_bounded() -> None:
    assert ran("grown = []\nwhile True: grown.append(' ' * 10**7)").says == "failed: MemoryError:"


def test_files_are_bounded() -> None:
    assert "File too large" in ran("open('big', 'wb').write(b'x' * 10**7)").says


@pytest.mark.parametrize("flood", ["while True: os.write(1, b'x' * 10**6)", "while True: os.write(5, b'x' * 100)"])
def test_a_flood_of_output_is_not_read(flood: str) -> None:
    said = ran(f"import os\n{flood}", limits=IMPATIENT).says
    assert said != "passed" and len(said) < 400


@EACH
def test_a_fork_bomb_has_no_first_child(layer: str) -> None:
    expected = {"kernel": "Operation not permitted", "hook": "may not use os.fork"}[layer]
    assert expected in ran("import os\nfor _ in range(50): os.fork()", layer).says


@linux
def test_no_thread_and_no_other_program_starts_past_pythons_hook() -> None:
    assert "can't start new thread" in ran("import threading\nthreading.Thread(target=print).start()", "kernel").says
    assert "Operation not permitted" in ran("import os\nos.execv('/bin/true', ['true'])", "kernel").says


@EACH
def test_the_network_is_out_of_reach(layer: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        tried = ran(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 1)", layer)
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()
    assert not tried.passed
    assert tried.confinement["network"] in (("namespace", "system-call filter") if layer == "kernel" else ("audit hook",))


DEEDS = ["open({!r}, 'w')", "os.remove({!r})", "os.rename({!r}, 'x')", "os.truncate({!r}, 0)", "os.mkdir({!r} + 'd')"]


@EACH
@pytest.mark.parametrize("deed", DEEDS)
def test_no_file_outside_its_folder_is_touched(tmp_path: Path, layer: str, deed: str) -> None:
    (target := tmp_path / "target").write_text("whole")
    said = ran("import os\n" + deed.format(str(target)), layer)
    needs_landlock(said, layer)
    assert "PermissionError" in said.says or "OSError: [Errno 18]" in said.says
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("target", "whole")]


@linux
def test_secrets_are_not_there_to_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    (tmp_path / "secret").write_text("x")
    assert ran("import os\nassert 'OPENAI_API_KEY' not in os.environ", "kernel").passed
    needs_landlock(ran("x = 1", "kernel"), "kernel")
    assert "Permission denied" in ran(f"open({str(tmp_path / 'secret')!r})", "kernel").says


@linux
def test_a_signal_does_not_reach_whoever_started_it() -> None:
    assert "Operation not permitted" in ran(f"import os\nos.kill({os.getpid()}, 9)", "kernel").says


CODE = "name: code\ntasks: [humaneval]\nendpoints: [coder]\nlimit: 3\n"


def test_evals_run_names_the_flag_and_runs_code_with_it(tmp_path: Path, results: Path, evals: Callable[..., tuple[int, str, str]]) -> None:
    (tmp_path / "code.yaml").write_text(CODE)
    task = load_task(TASKS / "humaneval.yaml")
    problems = list(task.eval_docs.select(range(3)))
    # The whole function in a fenced block; of the first problem, a wrong one.
    functions = {task.doc_to_text(problem): problem["prompt"] + problem["canonical_solution"] for problem in problems}
    functions[task.doc_to_text(problems[0])] = problems[0]["prompt"] + "    return 7"
    with ModelServer(lambda body: sse(f"Here:\n```python\n{functions[body['messages'][0]['content']]}\n```\nDone.")) as server:
        register(server.endpoint("coder"), results)
        code, _, said = evals("run", tmp_path / "code.yaml", "--results", results)
        assert code == 1 and "runs code that the model writes" in said and "--allow-code" in said
        assert server.requests == []
        code, out, _ = evals("run", tmp_path / "code.yaml", "--results", results, "--allow-code", "--json")
    assert code == 0
    (score,) = json.loads(out.splitlines()[-1])["scores"]
    assert (score["metric"], score["value"], score["n"]) == ("pass@1", pytest.approx(2 / 3), 3)
    # Nothing is asked again, but the code would run again.
    run_id = json.loads(out.splitlines()[-1])["run_id"]
    code, _, said = evals("rescore", run_id, "--results", results)
    assert code == 1 and "--allow-code" in said
    code, out, _ = evals("rescore", run_id, "--results", results, "--allow-code", "--json")
    assert json.loads(out.splitlines()[-1])["scores"][0]["value"] == score["value"]
