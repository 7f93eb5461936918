"""The tutorial is true: each of its commands runs, in order, in a fresh clone, and prints what stands under it.

A block `sh` runs; `sh setup` is what `make` did before this test could run; `sh fails` must end with an error; `sh server` is started, says
where it is, and lives until the text says Ctrl-C. A block `text` is what the block before it prints, `…` standing for anything.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"
READY_S, STOP_S, BLOCK_S = 180, 60, 600


@dataclass(frozen=True)
class Step:
    """What the tutorial says next: `kind` is sh, a variant of it, text, or stop."""

    kind: str
    body: str


def steps(text: str) -> Iterator[Step]:
    for found in re.finditer(r"^```(\w+(?: \w+)?)\n(.*?)^```$|(Ctrl-C)", text, re.MULTILINE | re.DOTALL):
        yield Step("stop", "") if found[3] else Step(found[1], found[2])


def test_there_is_something_to_run() -> None:
    kinds = [step.kind for step in steps(TUTORIAL.read_text(encoding="utf-8"))]
    assert kinds.count("sh") >= 8 and "sh server" in kinds and "text" in kinds and set(kinds) <= {
        "sh", "sh setup", "sh fails", "sh server", "text", "stop",
    }  # fmt: skip


def test_the_commands_end_where_the_tutorial_says(tmp_path: Path) -> None:
    clone = tmp_path / "bakeoff"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BAKEOFF_")} | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(clone), "HOME": str(tmp_path),
        "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "160",
    }  # fmt: skip
    servers: list[subprocess.Popen[bytes]] = []
    said, block = "", ""
    try:
        for step in steps((clone / "docs" / "tutorial.md").read_text(encoding="utf-8")):
            if step.kind in ("sh", "sh fails"):
                block = step.body
                done = subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", block], cwd=clone, env=environment, text=True, timeout=BLOCK_S,
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                )  # fmt: skip
                said = done.stdout
                assert (done.returncode != 0) == (step.kind == "sh fails"), f"{block}ended with {done.returncode}:\n{said}"
            elif step.kind == "sh server":
                log = tmp_path / f"server-{len(servers)}.log"
                with log.open("wb") as chatter:
                    servers.append(
                        subprocess.Popen(
                            ["bash", "-c", f"exec {step.body}"],
                            cwd=clone,
                            env=environment,
                            stdout=chatter,
                            stderr=chatter,
                            start_new_session=True,
                        )  # fmt: skip
                    )
                _wait_for(servers[-1], step.body, log)
            elif step.kind == "stop":
                for server in servers:
                    _interrupt(server)
                servers.clear()
            elif step.kind == "text":
                assert _says(step.body, said), f"{block}prints\n{said}\nbut the tutorial says\n{step.body}"
    finally:
        for server in servers:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _says(expected: str, said: str) -> bool:
    """Whether each expected line is found in the output, in order."""
    pattern = ".*".join(".*?".join(re.escape(part.strip()) for part in line.split("…")) for line in expected.strip().splitlines())
    return re.search(pattern, said, re.DOTALL) is not None


def _wait_for(server: subprocess.Popen[bytes], command: str, log: Path) -> None:
    """Until what was started says where it is."""
    limit = time.monotonic() + READY_S
    while " at http://" not in log.read_text(errors="replace"):
        assert server.poll() is None and time.monotonic() < limit, f"{command} is not up:\n{log.read_text(errors='replace')}"
        time.sleep(0.2)


def _interrupt(server: subprocess.Popen[bytes]) -> None:
    """Ctrl-C, as a terminal sends it to the whole group; it must end by itself."""
    os.killpg(server.pid, signal.SIGINT)
    server.wait(STOP_S)
