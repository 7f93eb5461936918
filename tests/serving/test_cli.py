"""`serving` at the terminal: data on stdout, one line per error, exit 1."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from serving.completion import Completion, Request


def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", "serving.cli", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    return done


def test_ls_lists_what_is_known(results: Path):
    listed = json.loads(run("ls", "--results", str(results), "--json").stdout)
    assert any(entry["id"] == "GPT 4" and entry["wire"] == "recorded" for entry in listed)
    assert "GPT 4" in run("ls", "--results", str(results)).stdout


def test_ping_asks_a_recording_its_first_prompt(results: Path):
    answer = json.loads(run("ping", "GPT 4", "--results", str(results), "--json").stdout.splitlines()[-1])
    assert answer["status"] == "ok" and answer["latency_s"] > 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ping", "GPT 44"], "no endpoint 'GPT 44'. Did you mean 'GPT 4'?"),
        (["ping", "GPT 4", "--prompt", "never recorded"], "gave no answer (api_error): NotRecorded"),
        (["replay", "nowhere.jsonl"], "nowhere.jsonl: no such recording"),
        (["ping", "down"], "does not answer at http://127.0.0.1:9/v1"),
        (["ping", "keyless"], "set the environment variable NO_SUCH_KEY"),
    ],
)
def test_each_error_is_one_line_with_its_remedy(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
):
    (tmp_path / "c.yaml").write_text(
        "defaults: {wire: openai, model: m, base_url: 'http://127.0.0.1:9/v1'}\n"
        "endpoints:\n- {id: down}\n- {id: keyless, api_key_env: NO_SUCH_KEY}\n"
    )
    monkeypatch.setenv("BAKEOFF_CATALOGUE", str(tmp_path / "c.yaml"))
    done = run(*arguments, *(["--results", str(results)] if arguments[0] == "ping" else []), code=1)
    assert told in done.stderr and len(done.stderr.strip().splitlines()) == 1 and done.stdout == ""


def test_a_taken_port_is_told(tmp_path: Path):
    import socket

    path = tmp_path / "c.jsonl"
    path.write_text(Completion(endpoint="m", request=Request.user("q"), text="a").to_line() + "\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("replay", str(path), "--port", str(port), code=1)
    assert f"port {port} on 127.0.0.1 cannot be used" in done.stderr
