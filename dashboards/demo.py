"""The demo's scores: `evals run demo` runs beside the first `dashboards up --demo`, so that the page opens at once and fills in by itself.

Rooms run each other's commands: this is the command that a user would type, in a process of its own that ends with the server.
"""

import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger("dashboards")


@contextmanager
def scored_in_the_background(results: Path, *, wanted: bool) -> Iterator[None]:
    """Score the demo suite while the `with` lasts, if `wanted` and results hold no finished run of it; stopped at the end."""
    if not wanted or _has_demo_run(results):
        yield
        return
    log_path = results / "runs" / "demo.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("wb") as chatter:
        process = subprocess.Popen(
            [sys.executable, "-m", "evals.cli", "run", "demo", "--results", str(results)],
            stdin=subprocess.DEVNULL, stdout=chatter, stderr=chatter, start_new_session=True,
        )  # fmt: skip
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _has_demo_run(results: Path) -> bool:
    from evals.runs import read_run_record, run_folders

    return any(run.suite == "demo" and run.finished_at is not None for run in map(read_run_record, run_folders(results)))
