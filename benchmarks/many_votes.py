"""A store of a million votes: simulated as in benchmarks/ratings.py, over a year, with battles, voters and times, without texts.

fill(results / "arena.duckdb", votes=1_000_000, models=200)
"""

import sys
from pathlib import Path

import duckdb

sys.path.insert(0, str(Path(__file__).parent.parent))
from arena.store import Store

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
