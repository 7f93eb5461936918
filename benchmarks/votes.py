"""How many votes a second does the store take? Acknowledged after the commit, from 1, 16 and 64 clients at once.

    python benchmarks/votes.py                                          # DuckDB, in a folder of its own
    python benchmarks/votes.py --database postgresql://user@host/empty  # PostgreSQL; writes into that database
    python benchmarks/votes.py --clients 64 --seconds 20 --json votes.json
    python benchmarks/votes.py --one-core                               # what a core does: Python's lock does not travel between two
    python benchmarks/votes.py --one-core --priority                    # as root, where others use the machine too: before everybody else

The battles, with two answers of their own each, lie in the store before the clock starts; a client sends a vote, waits for its
acknowledgement, and sends the next. What a vote writes besides itself (its numbers in ballots, new labels) is in the figure. Clients are
threads of the store's own process, as in the arena. Markdown on stdout.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
from arena.database import locate
from arena.store import Store
from arena.votes import WINNERS, Battle, Vote, new_id, now
from arena.writer import Work
from serving.completion import Completion, Request

MODELS, VOTES_OF_A_VOTER, WORDS = 50, 20, 150
_AT_ONCE = 500


def battles(store: Store, number: int) -> list[tuple[str, str]]:
    """(battle_id, voter_id) of so many fresh battles that are in the store."""
    draw, made = random.Random(1), []
    words = ["scattering", "light", "**sky**", "blue", "because", "wavelength", "the", "of", "\n- ", "\n## "]
    for start in range(0, number, _AT_ONCE):
        work = Work()
        for place in range(start, min(start + _AT_ONCE, number)):
            models = [f"model {n}" for n in draw.sample(range(MODELS), 2)]
            asked = Request.user(f"Question {draw.randrange(number)}: why is the sky blue?")
            left, right = (
                Completion(endpoint=model, request=asked, text=" ".join(draw.choices(words, k=WORDS)), latency_s=1.5) for model in models
            )
            voter = f"voter {place // VOTES_OF_A_VOTER}"
            battle = Battle(
                battle_id=new_id(), created_at=now(), messages=asked.messages or (), model_a=models[0], model_b=models[1], voter_id=voter,
                pairing_probability=1 / MODELS,
            )  # fmt: skip
            work.add(battle, (left, right), {})
            made.append((battle.battle_id, voter))
        store._writer.submit(work)
    # As PostgreSQL's autovacuum does within a minute.
    store.run(("analyze", []))
    return made


def measure(store: Store, clients: int, waiting: list[tuple[str, str]], seconds: float) -> dict[str, Any]:
    """Let so many clients vote on the battles that wait, until the time or the battles are over."""
    latencies: list[list[float]] = [[] for _ in range(clients)]
    together = threading.Barrier(clients + 1)
    end_s = 0.0

    def client(mine: list[float]) -> None:
        together.wait()
        while time.perf_counter() < end_s:
            try:
                battle_id, voter = waiting.pop()
            except IndexError:
                return
            winner = random.choice(WINNERS)
            vote = Vote(vote_id=new_id(), battle_id=battle_id, voter_id=voter, winner=winner, voted_at=now(), dwell_s=3.5)
            sent_s = time.perf_counter()
            assert store.save_vote(vote)
            mine.append(time.perf_counter() - sent_s)

    threads = [threading.Thread(target=client, args=(mine,)) for mine in latencies]
    for thread in threads:
        thread.start()
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    end_s = began_s + seconds
    together.wait()
    for thread in threads:
        thread.join()
    # The ballots of the last votes belong to their price.
    store.write_ballots()
    wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    times = sorted(latency for mine in latencies for latency in mine)
    centiles = statistics.quantiles(times, n=100)
    return {
        "clients": clients,
        "n_votes": len(times),
        "votes_per_s": len(times) / wall_s,
        "p50_s": centiles[49],
        "p99_s": centiles[98],
        "cpu_s_per_vote": cpu_s / len(times),
        "wall_s": wall_s,
        "load_average": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", help="a file or postgresql://…; a fresh DuckDB file by default")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--seconds", type=float, default=5.0, help="per number of clients")
    parser.add_argument("--battles", type=int, default=30_000, help="the most votes that one round can take")
    parser.add_argument("--one-core", action="store_true", help="keep store and clients on one core")
    parser.add_argument("--priority", action="store_true", help="as root: before everybody else (real-time scheduling)")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if asked.one_core:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if asked.priority:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    # One thread for DuckDB, as the arena opens it.
    with tempfile.TemporaryDirectory(prefix="bakeoff-votes-") as folder, Store(locate(asked.database, Path(folder)), threads=1) as store:
        rows = [measure(store, clients, battles(store, asked.battles), asked.seconds) for clients in asked.clients]
        assert store.count_votes() == len(store.ballots()) >= sum(row["n_votes"] for row in rows)
    lines = ["| clients | votes/s | p50 | p99 | CPU per vote | votes | load average |", "|---|---|---|---|---|---|---|"]
    lines += [
        f"| {row['clients']} | {row['votes_per_s']:,.0f} | {row['p50_s'] * 1e3:.1f} ms | {row['p99_s'] * 1e3:.1f} ms "
        f"| {row['cpu_s_per_vote'] * 1e6:.0f} µs | {row['n_votes']:,} | {row['load_average']:.1f} |"
        for row in rows
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
