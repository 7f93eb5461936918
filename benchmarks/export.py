"""How long does `arena export` take, and how much memory? A million votes, each on two answers of its own with their texts.

    python benchmarks/export.py                        # 1,000,000 votes
    python benchmarks/export.py --votes 100000 --dir /var/tmp

Prompts and answers are drawn from 20,000 sentences, so that hashing, comparing and clustering have real work; voters cast twenty votes
each, and a tenth of the votes is on prompts that several ask. Measured is the command as a user runs it, by the clock and by the processor,
with the peak of its resident memory. Markdown on stdout.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from arena.store import Store

_COMPLETIONS = """
    INSERT INTO completions (completion_id, endpoint, status, document)
    SELECT
        md5($1 || i::TEXT), 'model ' || (hash(i, 7) % 50)::TEXT, 'ok',
        '{"endpoint":"m","request":{"messages":[]},"text":"' || i::TEXT || $1 || ' '
        || array_to_string(list_transform([1, 2, 3, 4, 5, 6], lambda k: s[(1 + hash(i, k, $1) % 20000)::INT]), ' ')
        || '","status":"ok"}'
    FROM range($2) AS votes(i), (SELECT list(sentence ORDER BY n) AS s FROM sentences)
"""
_BATTLES = """
    INSERT INTO battles (battle_id, messages, model_a, model_b, completion_a, completion_b, voter_id, pairing_policy, mode)
    SELECT
        'b' || i::TEXT,
        '[{"role":"user","content":"'
        || s[(1 + hash(p, 8) % 20000)::INT] || ' ' || s[(1 + hash(p, 9) % 20000)::INT] || ' ' || p::TEXT || '?"}]',
        'model ' || (hash(i, 7) % 50)::TEXT, 'model ' || (50 + hash(i, 8) % 50)::TEXT, md5('a' || i::TEXT), md5('b' || i::TEXT),
        'voter ' || (i // 20)::TEXT, 'uniform', 'blind'
    FROM (SELECT i, CASE WHEN hash(i, 3) % 10 = 0 THEN hash(i, 4) % 1000 ELSE 1000 + i END AS p FROM range($1) AS votes(i)),
        (SELECT list(sentence ORDER BY n) AS s FROM sentences)
"""
_VOTES = """
    INSERT INTO votes (vote_id, battle_id, vote_order, voter_id, winner, reasons, dwell_s, rated, source)
    SELECT
        'v' || i::TEXT, 'b' || i::TEXT, i + 1, 'voter ' || (i // 20)::TEXT,
        ['model_a', 'model_b', 'model_a', 'model_b', 'tie'][(1 + hash(i, 5) % 5)::INT], '[]', 9.5, TRUE, 'arena'
    FROM range($1) AS votes(i)
"""


def fill(path: Path, votes: int) -> None:
    """A store with so many votes and twice as many answers of some 600 characters."""
    rng = np.random.default_rng(1)
    words = [
        f"{first}{second}" for first in ("ba", "ke", "lo", "mi", "su", "tra", "pol", "ne") for second in ("na", "rit", "do", "sk", "ven")
    ]
    sentences = [" ".join(rng.choice(words, rng.integers(10, 24))).capitalize() + "." for _ in range(20_000)]
    Store(path).close()
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TEMP TABLE sentences AS SELECT unnest(range(20000)) AS n, unnest($1::TEXT[]) AS sentence", [sentences])
        for side in ("a", "b"):
            connection.execute(_COMPLETIONS, [side, votes])
        connection.execute(_BATTLES, [votes])
        connection.execute(_VOTES, [votes])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--votes", type=int, default=1_000_000)
    parser.add_argument("--dir", type=Path, default=None, help="where the database and the dataset lie while it runs")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.dir) as folder:
        results = Path(folder)
        started = time.monotonic()
        # In a process of its own, so that its memory is not counted as the export's.
        code = "import sys; sys.path.insert(0, 'benchmarks'); from pathlib import Path; import export; "
        code += "export.fill(Path(sys.argv[1]), int(sys.argv[2]))"
        here = Path(__file__).parent.parent
        subprocess.run([sys.executable, "-c", code, str(results / "arena.duckdb"), str(asked.votes)], check=True, cwd=here)
        sys.stderr.write(f"filled in {time.monotonic() - started:.0f} s\n")
        command = ["-m", "arena.cli", "export", "--out", str(results / "set"), "--results", str(results), "--any-license", "--json"]
        started = time.monotonic()
        process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, cwd=here)
        assert process.stdout is not None
        told = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        took_s = time.monotonic() - started
        if status:
            sys.exit(1)
        document = json.loads(told.splitlines()[-1])
        size = sum(path.stat().st_size for path in (results / "set").iterdir())
        scale = 1024 if sys.platform != "darwin" else 1
        memory = used.ru_maxrss * scale
    columns = {
        "votes": f"{document['n_votes']:,}",
        "kept": f"{document['n_kept']:,}",
        "train / test": f"{document['n_train']:,} / {document['n_test']:,}",
        "written, GB": f"{size / 1e9:.2f}",
        "seconds": f"{took_s:.1f}",
        "processor s": f"{used.ru_utime + used.ru_stime:.1f}",
        "peak memory, GB": f"{memory / 1e9:.2f}",
        "cores": str(os.cpu_count()),
    }
    for line in (columns, ["---"] * len(columns), columns.values()):
        sys.stdout.write(f"| {' | '.join(line)} |\n")


if __name__ == "__main__":
    main()
