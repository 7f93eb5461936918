"""What `evals compare` computes on runs of simulated models whose accuracies are known: it does not cry wolf, and sees what there is.

The rates themselves are held to their per cent over thousands of worlds in test_stats.py; here the whole path is, over fewer.
"""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from scipy import stats as scipy_stats

from evals.compare import Comparison, compare
from evals.items import Side
from evals.runs import Run, RunFiles, Sample
from evals.stats import mcnemar_exact
from serving.completion import Completion, Request

ITEMS, WORLDS = 200, 150
AT = datetime(2026, 11, 20, tzinfo=UTC)
ASKED = [Request.user(f"What is {number}?") for number in range(ITEMS)]
HASHES = [request.request_hash for request in ASKED]
PAIRS = list(zip(ASKED, HASHES, strict=True))
# Counts above this would come once in a hundred times where 5 % of the worlds are false alarms.
FALSE_ALARMS = int(scipy_stats.binom.ppf(0.99, WORLDS, 0.05))


def side(endpoint: str, right: "np.ndarray[tuple[int], np.dtype[np.bool_]]", cluster_size: int | None) -> Side:
    run = Run(run_id="r", suite="s", endpoints=(endpoint,), started_at=AT, finished_at=AT, versions={}, seed=0, config={})
    samples = tuple(
        Sample(
            endpoint=endpoint,
            task="t",
            doc_id=number,
            filter="none",
            status="ok",
            metrics={"exact_match": float(value)},
            request_hash=HASHES[number],
            cluster=None if cluster_size is None else str(number // cluster_size),
        )
        for number, value in enumerate(right)
    )
    answers = tuple(
        Completion(endpoint=endpoint, request=request, request_hash=found) for request, found in zip(ASKED, HASHES, strict=True)
    )
    return Side(RunFiles(Path("r"), run, (), samples, answers), endpoint)


def worlds(accuracy_a: float, accuracy_b: float, *, seed: int, cluster_size: int | None = None) -> list[tuple[Comparison, float]]:
    """Each world's comparison, and the unpaired z-test's p. With clusters, a passage suits one model or the other."""
    draw, found = np.random.default_rng(seed), []
    a_below, b_below = scipy_stats.norm.ppf([accuracy_a, accuracy_b])
    for _ in range(WORLDS):
        shared = 0.8 * draw.normal(size=ITEMS)
        own = draw.normal(size=(2, ITEMS))
        if cluster_size:
            own = 0.8 * np.repeat(draw.normal(size=(2, ITEMS // cluster_size)), cluster_size, axis=1) + 0.6 * own
        a, b = shared + 0.6 * own[0] < a_below, shared + 0.6 * own[1] < b_below
        (one,) = compare([(side("a", a, cluster_size), side("b", b, cluster_size))], examples=0)
        x, y = a.mean(), b.mean()
        found.append((one, float(2 * scipy_stats.norm.sf(abs(x - y) / np.sqrt((x * (1 - x) + y * (1 - y)) / ITEMS)))))
    return found


def test_equal_models_are_seldom_told_apart():
    found = worlds(0.75, 0.75, seed=1)
    assert sum(one.settled for one, _ in found) <= FALSE_ALARMS
    assert (
        sum(bool(one.lower is not None and one.upper is not None and one.lower <= 0 <= one.upper) for one, _ in found)
        >= WORLDS - FALSE_ALARMS
    )


def test_a_true_difference_is_found_far_more_often_than_by_the_unpaired_test():
    found = worlds(0.70, 0.80, seed=2)
    paired, unpaired = sum(one.settled for one, _ in found), sum(p <= 0.05 for _, p in found)
    assert paired > unpaired + 0.1 * WORLDS
    assert paired > 0.8 * WORLDS
    assert all(one.test == "mcnemar_exact" for one, _ in found)


def test_clusters_keep_equal_models_equal_where_items_alone_would_not():
    found = worlds(0.75, 0.75, seed=3, cluster_size=5)
    assert {(one.test, one.n_clusters) for one, _ in found} == {("cluster_t", ITEMS // 5)}
    settled = sum(one.settled for one, _ in found)
    by_item = sum(mcnemar_exact(one.lost or 0, one.gained or 0) <= 0.05 for one, _ in found)
    assert settled <= FALSE_ALARMS < by_item
