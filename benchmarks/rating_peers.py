"""One peer on the votes of benchmarks/ratings.py, in the environment that has it: {task: [seconds, the task of ours to hold it against]}.

    python benchmarks/rating_peers.py evalica|fastchat|arena-rank VOTES.npz

Imports only what the peer needs, so that its environment needs nothing of ours. FastChat's procedure is the published one: logistic
regression of scikit-learn on one row per ordered pair and outcome, a tie counting for both, no intercept, no penalty.
"""

import json
import math
import sys
import time

import numpy as np

FIT, INTERVALS, BOOTSTRAPS = "ranks, independent intervals", "ranks, independent intervals", "100 bootstraps, exact fits"


def evalica(votes) -> dict[str, tuple[float, str]]:
    import evalica as peer

    models = votes["models"].tolist()
    left, right = [models[i] for i in votes["a"]], [models[i] for i in votes["b"]]
    winners = [(peer.Winner.X, peer.Winner.Y, peer.Winner.Draw)[i] for i in votes["winner"]]
    found = {}
    for task, work, own in (
        ("Bradley-Terry, no intervals", lambda: peer.bradley_terry(left, right, winners), FIT),
        ("online Elo", lambda: peer.elo(left, right, winners), "online Elo"),
    ):
        start = time.perf_counter()
        work()
        found[task] = (time.perf_counter() - start, own)
    return found


def fastchat(votes) -> dict[str, tuple[float, str]]:
    from sklearn.linear_model import LogisticRegression

    size = len(votes["models"])

    def fit(a, b, winner):
        cells = np.bincount((a * size + b) * 3 + winner, minlength=size * size * 3).reshape(-1, 3)
        pairs = np.flatnonzero(cells.sum(axis=1))
        rows = np.zeros((len(pairs), size))
        rows[np.arange(len(pairs)), pairs // size] = math.log(10)
        rows[np.arange(len(pairs)), pairs % size] = -math.log(10)
        counts = cells[pairs]
        weight = np.concatenate([2 * counts[:, 0] + counts[:, 2], 2 * counts[:, 1] + counts[:, 2]])
        target = np.repeat([1, 0], len(pairs))
        kept = weight > 0
        model = LogisticRegression(fit_intercept=False, C=math.inf, tol=1e-6)
        model.fit(np.concatenate([rows, rows])[kept], target[kept], sample_weight=weight[kept])

    a, b, winner = (votes[name].astype(np.int64) for name in ("a", "b", "winner"))
    start = time.perf_counter()
    fit(a, b, winner)
    return {"Bradley-Terry, no intervals": (time.perf_counter() - start, FIT)}


def arena_rank(votes) -> dict[str, tuple[float, str]]:
    import pandas as pd

    try:
        from arena_rank.models.bradley_terry import BradleyTerry
        from arena_rank.utils.data_utils import PairDataset
    except ImportError:
        from arena.models.bradley_terry import BradleyTerry
        from arena.utils.data_utils import PairDataset
    models = votes["models"]
    frame = pd.DataFrame(
        {
            "model_a": models[votes["a"]],
            "model_b": models[votes["b"]],
            "winner": np.array(["model_a", "model_b", "tie"])[votes["winner"]],
        }
    )
    start = time.perf_counter()
    data = PairDataset.from_pandas(frame)
    BradleyTerry(n_competitors=len(data.competitors)).compute_ratings_and_cis(data, significance_level=0.05)
    return {"ratings with intervals": (time.perf_counter() - start, INTERVALS)}


PEERS = {"evalica": evalica, "fastchat": fastchat, "arena-rank": arena_rank}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(PEERS[sys.argv[1]](np.load(sys.argv[2]))) + "\n")
