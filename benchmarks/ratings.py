"""How fast are exact ratings? From votes in DuckDB to ranks with clustered intervals, beside the peers, in one run.

    python benchmarks/ratings.py                                       # 1 M votes x 200 models; evalica, scikit-learn
    python benchmarks/ratings.py --large                               # and 10 M votes, with the memory it takes
    python benchmarks/ratings.py --peer-env /path/to/venv/bin/python   # and arena-rank, from an environment of its own

Votes are simulated (Bradley-Terry strengths, 20 votes a voter, one in five a tie). They lie in the store's own table of ballots, which
every vote writes; ours starts at the query, the peers start with the votes in memory in the form they take. One BLAS thread for all.
Markdown on stdout: seconds by the clock, and ours also in processor time, which tells more on a machine that others use too.
"""

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from arena.elo import elo
from arena.intervals import bootstrap
from arena.ratings import Method, rate
from arena.store import Store

PEERS = Path(__file__).parent / "rating_peers.py"
_FILL = """
    INSERT INTO ballots (vote_order, model_a, model_b, winner, voter, prompt)
    WITH drawn AS (
        SELECT i, (hash(i) % $2)::INTEGER AS a, ((hash(i) % $2 + 1 + hash(i, 1) % ($2 - 1)) % $2)::INTEGER AS b,
            (hash(i, 2) % 1000000) / 1e6 AS u, (hash(i, 3) % 5) = 0 AS tie
        FROM range($1) AS votes(i)
    )
    SELECT
        i + 1, a, b,
        CASE WHEN tie THEN 2 WHEN u < 1 / (1 + exp((b - a) * 4.0 / $2)) THEN 0 ELSE 1 END,
        (hash(i, 4) % ($1 // 20))::INTEGER, (hash(i, 5) % 20000)::INTEGER
    FROM drawn ORDER BY i
"""


def fill(path: Path, votes: int, models: int) -> None:
    """A store with so many ballots."""
    Store(path).close()
    with duckdb.connect(path) as connection:
        connection.execute("INSERT INTO labels SELECT 'model', 'model ' || lpad(i::TEXT, 4, '0'), i FROM range($1) AS models(i)", [models])
        connection.execute(_FILL, [votes, models])


def best_of(rounds: int, work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds by the clock and of processor time, each of the quickest round: what else ran on the machine only ever adds."""
    times = []
    for _ in range(rounds):
        start, used = time.perf_counter(), time.process_time()
        work()
        times.append((time.perf_counter() - start, time.process_time() - used))
    return min(clock for clock, _ in times), min(used for _, used in times)


def ours(path: Path, rounds: int) -> dict[str, tuple[float, float]]:
    """Seconds (clock, processor) of each task, and the peak memory of this process in GB."""
    with Store(path, create=False) as store:
        ballots = store.ballots()
        figures = {
            "query": best_of(rounds, store.ballots),
            "ranks, independent intervals": best_of(rounds, lambda: rate(store.ballots(counted=True))),
            "ranks, clustered by voter": best_of(rounds, lambda: rate(store.ballots(by_voter=True), Method(cluster="voter"))),
        }
        figures["peak memory, GB"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,) * 2
        if len(ballots) <= 1_000_000:
            figures["ranks, clustered by voter and prompt"] = best_of(rounds, lambda: rate(store.ballots(), Method(cluster="both")))
            figures["100 bootstraps, exact fits"] = best_of(rounds, lambda: bootstrap(ballots, 100))
            figures["online Elo"] = best_of(rounds, lambda: elo(ballots))
    return figures


def peer(python: str, name: str, votes: Path) -> dict[str, tuple[float, str]] | None:
    """The figures of a peer in its own process, None where it is not installed."""
    done = subprocess.run([python, str(PEERS), name, str(votes)], capture_output=True, text=True, check=False)
    if done.returncode:
        logging.warning("%s: not measured: %s", name, (done.stderr.strip().splitlines() or ["?"])[-1])
        return None
    figures: dict[str, tuple[float, str]] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Measure, print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--votes", type=int, default=1_000_000)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5, help="the best of so many counts")
    parser.add_argument("--large", action="store_true", help="also ten times as many votes")
    parser.add_argument("--peer-env", default=None, metavar="PYTHON", help="interpreter with arena-rank")
    parser.add_argument("--one", type=Path, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    if arguments.one:
        # A process of its own, so that its peak memory is its own.
        sys.stdout.write(json.dumps(ours(arguments.one, arguments.rounds)) + "\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments, Path(folder))


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    """All tables."""
    out = sys.stdout
    out.write(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, best of {arguments.rounds}\n\n")
    out.write("| task | seconds | processor seconds |\n|---|---|---|\n")
    fill(folder / "votes.duckdb", arguments.votes, arguments.models)
    figures = in_process(folder / "votes.duckdb", arguments.rounds)
    for task, (clock, used) in figures.items():
        out.write(f"| {task} ({arguments.votes:,} votes x {arguments.models} models) | {clock:.3f} | {used:.3f} |\n")
    with Store(folder / "votes.duckdb", create=False) as store:
        ballots = store.ballots()
    np.savez(folder / "votes.npz", a=ballots.a, b=ballots.b, winner=ballots.winner, models=np.array(ballots.models))
    out.flush()
    if arguments.large:
        fill(folder / "large.duckdb", 10 * arguments.votes, arguments.models)
        for task, (clock, used) in in_process(folder / "large.duckdb", 1).items():
            out.write(f"| {task} ({10 * arguments.votes:,} votes) | {clock:.3f} | {used:.3f} |\n")
    out.write("\n| peer | its task | seconds | ours | ratio |\n|---|---|---|---|---|\n")
    names = [("evalica", sys.executable), ("fastchat", sys.executable)] + [("arena-rank", arguments.peer_env)] * bool(arguments.peer_env)
    for name, python in names:
        for task, (seconds, own) in (peer(python, name, folder / "votes.npz") or {}).items():
            out.write(f"| {name} | {task} | {seconds:.2f} | {figures[own][0]:.3f} | {seconds / figures[own][0]:.1f} |\n")
            out.flush()


def in_process(path: Path, rounds: int) -> dict[str, tuple[float, float]]:
    """`ours` in a fresh process."""
    command = [sys.executable, __file__, "--one", str(path), "--rounds", str(rounds)]
    figures: dict[str, tuple[float, float]] = json.loads(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    )
    return figures


if __name__ == "__main__":
    main()
