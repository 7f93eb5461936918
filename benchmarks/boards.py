"""How long does a page take with a million votes behind it? Each page of `dashboards up`, in Chromium, first and seen again.

    python benchmarks/boards.py                          # 1,000,000 votes x 200 models, 50,000 voters, a year
    python benchmarks/boards.py --votes 100000 --keep /tmp/large

Votes are simulated as in benchmarks/ratings.py, with battles, voters and times, without texts. The app is opened anew for "first" and
"again"; "by the menu" the page is chosen while the one before it is open (benchmarks/visits.py). Markdown on stdout.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import duckdb

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "e2e"))
from visits import chosen, loaded

from arena.store import Store

PAGES = ("battle", "leaderboard", "head-to-head", "votes-health", "training")
_DRAWN = """
    CREATE TEMP TABLE drawn AS
    SELECT
        i, (hash(i) % $2)::INTEGER AS a, ((hash(i) % $2 + 1 + hash(i, 1) % ($2 - 1)) % $2)::INTEGER AS b,
        (hash(i, 2) % 1000000) / 1e6 AS u, (hash(i, 3) % 5) = 0 AS tie,
        (hash(i, 4) % ($1 // 20))::INTEGER AS voter, (hash(i, 5) % 20000)::INTEGER AS prompt,
        TIMESTAMP '2025-11-01' + INTERVAL (i * 31536000 // $1) SECOND AS moment
    FROM range($1) AS votes(i)
"""
_BATTLES = """
    INSERT INTO battles (battle_id, created_at, messages, model_a, model_b, voter_id, prompt_id, pairing_policy, pairing_probability, mode)
    SELECT
        'b' || i::TEXT, moment, '[{"role":"user","content":"Question ' || prompt || '"}]',
        'model ' || lpad(a::TEXT, 4, '0'), 'model ' || lpad(b::TEXT, 4, '0'), 'voter ' || voter, 'p' || prompt,
        'uniform', 1.0 / ($1 * ($1 - 1)), 'blind'
    FROM drawn ORDER BY i
"""
_VOTES = """
    INSERT INTO votes (vote_id, battle_id, vote_order, voter_id, winner, reasons, voted_at, dwell_s, rated, source)
    SELECT
        'v' || i::TEXT, 'b' || i::TEXT, i + 1, 'voter ' || voter,
        CASE WHEN tie THEN 'tie' WHEN u < 1 / (1 + exp((b - a) * 4.0 / $1)) THEN 'model_a' ELSE 'model_b' END,
        '[]', moment + INTERVAL 30 SECOND, 9.5, TRUE, 'arena'
    FROM drawn ORDER BY i
"""


def fill(path: Path, votes: int, models: int) -> None:
    """A store with so many votes over a year, each with its battle and its ballot."""
    Store(path).close()
    with duckdb.connect(path) as connection:
        connection.execute(_DRAWN, [votes, models])
        connection.execute(_BATTLES, [models])
        connection.execute(_VOTES, [models])
    with Store(path, create=False) as store:
        store.write_ballots()


def _path(name: str) -> str:
    return "" if name == "battle" else name


def main() -> None:
    """Fill, serve, look."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--votes", type=int, default=1_000_000)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--pages", default=",".join(PAGES))
    parser.add_argument("--keep", type=Path, default=None, help="results folder to use again; filled when it is not there")
    asked = parser.parse_args()
    from browser import chromium, house

    scratch = tempfile.mkdtemp()
    try:
        results = asked.keep or Path(scratch) / "results"
        if not (results / "arena.duckdb").exists():
            results.mkdir(parents=True, exist_ok=True)
            started = time.monotonic()
            fill(results / "arena.duckdb", asked.votes, asked.models)
            sys.stderr.write(f"filled in {time.monotonic() - started:.0f} s\n")
        out = sys.stdout
        out.write(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {asked.votes:,} votes x {asked.models} models\n\n")
        out.write("| page | heading, first | whole, first | whole, again | by the menu |\n|---|---|---|---|---|\n")
        # The browser first, as a visitor's runs before he comes.
        with chromium(Path(scratch) / "profile") as page, house("dashboards", results=results) as url:
            names = asked.pages.split(",")
            seen = {name: (*loaded(page, f"{url}/{_path(name)}"), loaded(page, f"{url}/{_path(name)}")[1]) for name in names}
            for name in names:
                chosen_s = chosen(page, _path(name))
                out.write(f"| {name} | {' | '.join(f'{seconds:.2f}' for seconds in (*seen[name], chosen_s))} |\n")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
