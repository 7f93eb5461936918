"""How sure a rating is: closed-form sandwich intervals, bootstraps, and the ranks that they allow.

    covariance = sandwich(fitted, ballots, weight=…, features=…, cluster="voter")     # White 1982; clustered: Liang & Zeger 1986
    thetas = bootstrap(ballots, rounds=100)                                           # every round an exact fit

Votes of one voter, or on one prompt, resemble each other: independent intervals are then too narrow. Two-way clustering adds the voters'
and the prompts' part and takes off what both count (Cameron, Gelbach & Miller 2011).
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np

from arena.ballots import BOTH_BAD, SHARE_A, TIE, Array, Ballots, Ints
from arena.bradley_terry import Fit, fit, information, win_probability
from arena.comparable import reachable
from arena.errors import ArenaError

Cluster = Literal["none", "voter", "prompt", "both", "item"]
Z95 = 1.959963984540054
# Clusters whose scores are made dense at once: small enough for the cache.
_BLOCK = 2_000
_THREADS = 2
_Draw = Callable[[np.random.Generator], Array]


def clusters(ballots: Ballots, cluster: Cluster) -> list[tuple[int, Ints]]:
    """Sign and cluster number of each row, for every part of the clustered variance; -1 is a cluster of its own.

    `item` is a pair of models on a prompt. Raises ArenaError where the votes do not say who cast them or on what.
    """
    for name, column in (("voter", ballots.voter), ("prompt", ballots.prompt)):
        if column is None and (cluster in (name, "both") or (cluster == "item" and name == "prompt")):
            raise ArenaError(f"--cluster {cluster}: these votes have no {name}_id; give them one or use --cluster none")
    if cluster == "voter" and ballots.voter is not None:
        return [(1, ballots.voter)]
    if cluster == "none" or ballots.prompt is None:
        return [(1, np.full(len(ballots), -1, dtype=np.int64))]
    if cluster == "prompt":
        return [(1, ballots.prompt)]
    # Wide enough for the products below, whatever the store's columns are.
    voter, prompt = None if ballots.voter is None else ballots.voter.astype(np.int64), ballots.prompt.astype(np.int64)
    if cluster == "both" and voter is not None:
        crossed = np.where((voter < 0) | (prompt < 0), -1, voter * (prompt.max(initial=0) + 1) + prompt)
        return [(1, voter), (1, prompt), (-1, _renumber(crossed))]
    low, high = np.minimum(ballots.a, ballots.b), np.maximum(ballots.a, ballots.b)
    size = len(ballots.models)
    return [(1, _renumber(np.where(prompt < 0, -1, (prompt * size + low) * size + high)))]


def sandwich(
    fitted: Fit, ballots: Ballots, *, weight: Array | None = None, features: Array | None = None, cluster: Cluster = "none"
) -> Array:
    """Covariance of (θ, β, log ν), θ around its mean: H⁺ M H⁺ with M the sum over clusters of their scores' outer products.

    Where M says nothing of a parameter (only ties; a single cluster) its variance is the model's own, the diagonal of H⁺: an interval of
    no width would be a lie.
    """
    parts = clusters(ballots, cluster)
    plain = weight is None and ballots.count is None and not np.isfinite(fitted.log_nu) and (features is None or not features.shape[1])
    if plain and all(_few(member) for _, member in parts):
        return _covariance(fitted, [(sign, _meat_of_cells(fitted, ballots, member)) for sign, member in parts])
    columns = np.zeros((len(ballots), 0)) if features is None else features
    expected, tie = fitted.expected(ballots.a, ballots.b, columns)
    residual = SHARE_A[ballots.winner] - expected
    extra = columns * residual[:, None]
    if np.isfinite(fitted.log_nu):
        extra = np.column_stack([extra, (ballots.winner == TIE) - tie])
    if weight is not None:
        residual, extra = residual * weight, extra * weight[:, None]
    return _covariance(fitted, [(sign, _meat(ballots, residual, extra, member)) for sign, member in parts])


def _covariance(fitted: Fit, parts: list[tuple[int, Array]]) -> Array:
    meat: Array = sum((sign * part for sign, part in parts), np.zeros_like(fitted.bread))
    if len(parts) > 1:
        values, vectors = np.linalg.eigh(meat)
        meat = (vectors * np.maximum(values, 0)) @ vectors.T
    covariance: Array = fitted.bread @ meat @ fitted.bread
    model_based, found = np.diag(fitted.bread), np.diag(covariance)
    short = found <= 1e-9 * model_based
    covariance[short, short] = model_based[short]
    return covariance


def ranks(lower: Array, upper: Array) -> tuple[list[int], list[int]]:
    """The best and the worst place of each model that intervals allow: those wholly above it come before, those wholly below after."""
    above = len(lower) - np.searchsorted(np.sort(lower), upper, side="right")
    below = np.searchsorted(np.sort(upper), lower, side="left")
    return (1 + above).tolist(), (len(lower) - below).tolist()


def bootstrap(ballots: Ballots, rounds: int, *, cluster: Cluster = "none", seed: int = 0) -> Array:
    """θ of each round (rows) refitted exactly on votes drawn with replacement: single votes, or whole voters or prompts.

    A round whose draw makes some model incomparable has no maximum and is left out; the number of rows says how many are left.
    """
    kept = ballots.where(ballots.winner != BOTH_BAD)
    start = fit(_score(kept.cells()))
    streams = np.random.default_rng(seed).spawn(rounds)
    draw = _draw_votes(kept) if cluster == "none" else _draw_clusters(kept, cluster)
    # numpy draws and multiplies without the interpreter's lock.
    with ThreadPoolExecutor(_THREADS) as pool:
        chunks = [streams[at : at + 10] for at in range(0, rounds, 10)]
        found = list(pool.map(lambda chunk: refit(np.stack([draw(rng) for rng in chunk]), start), chunks))
    return np.concatenate(found) if found else np.zeros((0, len(start)))


def refit(scores: Array, start: Array) -> Array:
    """The exact fits of many win matrices (n × K × K) that resemble the one `start` maximises; those without a maximum are left out.

    One factorised Hessian serves all of them: each step then costs a product instead of a solution, and the few that do not settle
    are fitted by Newton's method alone.
    """
    played = scores + scores.transpose(0, 2, 1)
    size = len(start)
    inverse = np.linalg.inv(information(played.mean(axis=0), win_probability(start)) + 1 / size)
    won = scores.sum(axis=2)
    exists = np.array([bool(reachable(score > 0).all()) for score in scores], dtype=bool)
    theta = np.tile(start, (len(scores), 1))
    settled = ~exists
    for _ in range(60):
        open_ = np.flatnonzero(~settled)
        if not len(open_):
            break
        step = (won[open_] - _expected_wins(played[open_], theta[open_])) @ inverse
        step -= step.mean(axis=1, keepdims=True)
        theta[open_] += step
        settled[open_] = np.abs(step).max(axis=1) < 1e-9
    for round_ in np.flatnonzero(~settled):
        theta[round_] = fit(scores[round_])
    kept: Array = theta[exists]
    return kept


def _expected_wins(played: Array, theta: Array) -> Array:
    gap = theta[:, None, :] - theta[:, :, None]
    np.clip(gap, -700, 700, out=gap)
    np.exp(gap, out=gap)
    gap += 1
    np.divide(played, gap, out=gap)
    expected: Array = gap.sum(axis=2)
    return expected


def _score(cells: Array) -> Array:
    """K × K: what the row won against the column, on whichever side."""
    return cells[..., 0] + cells[..., 1].T + (cells[..., 2] + cells[..., 2].T) / 2


def _draw_votes(ballots: Ballots) -> _Draw:
    """Multinomial draws of as many votes, of the unordered pairs' three outcomes."""
    cells = ballots.cells()
    size = len(ballots.models)
    low, high = np.triu_indices(size, 1)
    wins = cells[..., 0] + cells[..., 1].T
    ties = cells[..., 2] + cells[..., 2].T
    counts = np.concatenate([wins[low, high], wins[high, low], ties[low, high]])
    filled = np.flatnonzero(counts)
    total, share = int(counts.sum()), counts[filled] / counts.sum()

    def draw(rng: np.random.Generator) -> Array:
        drawn = np.zeros(len(counts))
        drawn[filled] = rng.multinomial(total, share)
        left, right, tied = drawn.reshape(3, -1)
        score = np.zeros((size, size))
        score[low, high] = left + tied / 2
        score[high, low] = right + tied / 2
        return score

    return draw


def _draw_clusters(ballots: Ballots, cluster: Cluster) -> _Draw:
    if cluster == "both":
        raise ArenaError("a bootstrap draws voters or prompts, not both at once: use --cluster voter or prompt, or leave --bootstrap out")
    ((_, member),) = clusters(ballots, cluster)
    alone = member < 0
    member = np.where(alone, member.max(initial=-1) + np.cumsum(alone), member)
    n = int(member.max(initial=-1)) + 1

    def draw(rng: np.random.Generator) -> Array:
        times = np.bincount(rng.integers(0, n, n), minlength=n)[member]
        return _score(ballots.cells(times * ballots.counts))

    return draw


def _meat(ballots: Ballots, residual: Array, extra: Array, member: Ints) -> Array:
    """The sum over clusters of the outer products of their summed scores."""
    size = len(ballots.models)
    counts = ballots.counts if ballots.count is not None else None
    rows = np.bincount(member[member >= 0])
    # A cluster of one row is no cluster: it goes the cheap way, by pairs.
    alone = (member < 0) if counts is not None else ((member < 0) | (rows[member] == 1 if len(rows) else True))
    if alone.all():
        return _single(ballots, residual, extra)
    meat = np.zeros((size + extra.shape[1],) * 2)
    kept: slice | Ints = slice(None)
    if alone.any():
        meat += _single(ballots.where(alone), residual[alone], extra[alone])
        kept = np.flatnonzero(~alone)
    a, b, residual, extra = ballots.a[kept], ballots.b[kept], residual[kept], extra[kept]
    if counts is not None:
        residual, extra = residual * counts[kept], extra * counts[kept][:, None]
    member = member[kept]
    from scipy.sparse import csr_array

    # Row by row: each cluster's scores by model, then of the further parameters. Adding up duplicates is left to toarray.
    width = size + extra.shape[1]
    places = np.column_stack([a, b, *[np.full(len(a), size + column) for column in range(extra.shape[1])]]).astype(np.int32)
    values = np.column_stack([residual, -residual, extra])
    order, starts = _grouped(member)
    per_row = places.shape[1]
    scores = csr_array(
        (values.take(order, axis=0).reshape(-1), places.take(order, axis=0).reshape(-1), starts * per_row), shape=(len(starts) - 1, width)
    )
    return meat + _outer((scores[first : first + _BLOCK] for first in range(0, len(starts) - 1, _BLOCK)), width)


def _outer(blocks: Iterable[Any], width: int) -> Array:
    """The sum of the rows' outer products, block by block; a symmetric product takes half the work of a general one."""
    from scipy.linalg.blas import dsyrk

    lower = np.zeros((width, width), order="F")
    buffer = np.empty((_BLOCK, width))
    for block in blocks:
        dense = block.toarray(out=buffer[: block.shape[0]])
        # The transposed view is in Fortran's order: no copy is made of it.
        lower = dsyrk(1.0, dense.T, beta=1.0, c=lower, lower=1, overwrite_c=1)
    whole: Array = lower + np.tril(lower, -1).T
    return whole


def _few(member: Ints) -> bool:
    """Whether all rows have a cluster, and clusters have several rows: then blocks of clusters are worth making dense."""
    return bool(len(member)) and int(member.min()) >= 0 and 4 * (int(member.max()) + 1) <= len(member)


def _meat_of_cells(fitted: Fit, ballots: Ballots, member: Ints) -> Array:
    """The same where a vote's score depends only on who met and who won: looked up block by block, nothing else is as long as the votes."""
    from scipy.sparse import csr_array

    size = len(ballots.models)
    pair = np.arange(size * size)
    left, right = pair // size, pair % size
    expected, _ = fitted.expected(left, right, np.zeros((len(pair), 0)))
    residual = np.nan_to_num(SHARE_A[None, :] - expected[:, None]).reshape(-1)
    values = np.column_stack([residual, -residual])
    places = np.repeat(np.column_stack([left, right]).astype(np.int32), len(SHARE_A), axis=0)
    cell = ((ballots.a * size + ballots.b) * len(SHARE_A) + ballots.winner).astype(np.int32)
    order, starts = _grouped(member)
    cell = cell[order]

    def outer(part: int) -> Array:
        def blocks() -> Iterator[Any]:
            for first in range(part * _BLOCK, len(starts) - 1, _THREADS * _BLOCK):
                bounds = starts[first : first + _BLOCK + 1]
                found = cell[bounds[0] : bounds[-1]]
                shape = (len(bounds) - 1, size)
                yield csr_array((values[found].reshape(-1), places[found].reshape(-1), 2 * (bounds - bounds[0])), shape=shape)

        return _outer(blocks(), size)

    with ThreadPoolExecutor(_THREADS) as pool:
        meat: Array = sum(pool.map(outer, range(_THREADS)), np.zeros((size, size)))
    return meat


def _grouped(member: Ints) -> tuple[Ints, Ints]:
    """The order that brings the rows of each cluster together, and where each cluster begins (and the last one ends)."""
    from scipy.sparse import csr_array

    # A matrix of one entry per row, transposed: that is a counting sort, ten times as fast as argsort.
    n = len(member)
    rows = np.arange(n + 1, dtype=np.int32 if n < 2**31 else np.int64)
    sorted_ = csr_array((np.ones(n, dtype=np.int8), member, rows), shape=(n, int(member.max()) + 1)).tocsc()
    many = np.diff(sorted_.indptr)
    return sorted_.indices, np.concatenate([[0], np.cumsum(many[many > 0])])


def _single(ballots: Ballots, residual: Array, extra: Array) -> Array:
    """The meat of votes that are clusters of their own."""
    size = len(ballots.models)
    heavy = residual if ballots.count is None else residual * ballots.count
    pairs = np.bincount(ballots.a * size + ballots.b, heavy * residual, minlength=size * size).reshape(size, size)
    pairs = pairs + pairs.T
    meat: Array = np.diag(pairs.sum(axis=1)) - pairs
    if not extra.shape[1]:
        return meat
    cross = np.column_stack(
        [
            np.bincount(ballots.a, heavy * column, minlength=size) - np.bincount(ballots.b, heavy * column, minlength=size)
            for column in extra.T
        ]
    )
    return np.block([[meat, cross], [cross.T, (extra * ballots.counts[:, None]).T @ extra]])


def _renumber(keys: Ints) -> Ints:
    """Small numbers for large keys; -1 stays."""
    known, place = np.unique(keys, return_inverse=True)
    return place - 1 if len(known) and known[0] < 0 else place
