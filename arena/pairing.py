"""Who fights whom: which two endpoints answer, which of them stands on the left, and how probable that was.

    draw = choose_pair(["GPT 4", "command", "Dolly v2 (3B)"], random.Random())                       # every pair alike
    draw = choose_pair(able, rng, Policy(kind="adaptive", top=5), tallies=store.vote_counts())

Zero configuration is the uniform policy. `weighted` draws models by their weights. `adaptive` asks for the pair whose vote teaches most: it
lowers the widest intervals and settles who is in the top k; a share of the draws stays uniform, so that every pair has a probability that
is known and not small. That probability is stored with the battle: `inverse_propensity` makes weights of it, under which votes count as if
they had been drawn uniformly. Sides are always by the toss of a coin.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field, model_validator

from arena.errors import ArenaError
from arena.votes import Tally
from serving.documents import Noun, reread_if_there

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


class WarmUp(Noun):
    """A newcomer's: drawn `boost` times as often until it has `votes` votes or the day `until` (UTC) is over, whichever is first."""

    votes: int = Field(ge=1)
    boost: float = Field(default=3.0, ge=1)
    until: date | None = None


class Policy(Noun):
    """How pairs are drawn; results/pairing.yaml holds these keys, and without that file every pair is alike.

    `weights` by endpoint id (others 1), `boosts` multiply a weight, `outages` are not drawn, an endpoint with fewer than `warmup_votes`
    votes is drawn `warmup_boost` times as often; `warmups` are those of single endpoints by id. `top` is the k of adaptive pairing,
    `explore` the share of its draws that stays uniform.
    """

    kind: Literal["uniform", "weighted", "adaptive"] = "uniform"
    weights: Mapping[str, float] = {}
    boosts: Mapping[str, float] = {}
    outages: frozenset[str] = frozenset()
    warmup_votes: int = Field(default=0, ge=0)
    warmup_boost: float = Field(default=3.0, ge=1)
    warmups: Mapping[str, WarmUp] = {}
    top: int = Field(default=5, ge=1)
    explore: float = Field(default=0.2, gt=0, le=1)

    @model_validator(mode="after")
    def _positive(self) -> "Policy":
        for name in ("weights", "boosts"):
            for endpoint, value in getattr(self, name).items():
                if not value > 0:
                    raise ValueError(f"{name}: '{endpoint}' must be above zero; list it under outages to leave it out")
        return self

    @property
    def counts_votes(self) -> bool:
        """Whether a draw depends on the votes so far."""
        return self.kind == "adaptive" or self.warmup_votes > 0 or bool(self.warmups)


UNIFORM = Policy()


def read_policy(results: Path, today: date | None = None) -> Policy:
    """What results/pairing.yaml and results/warmups/<endpoint>.yaml say on this day (UTC); warm-ups that are over are left out.

    Raises DocumentError.
    """
    path = results / "pairing.yaml"
    policy = reread_if_there(path, Policy) or UNIFORM
    files = sorted((results / "warmups").glob("*.yaml"))
    entered = {file.stem: warm for file in files if (warm := reread_if_there(file, WarmUp)) is not None}
    today = today or datetime.now(UTC).date()
    warmups = {name: warm for name, warm in (entered | dict(policy.warmups)).items() if warm.until is None or warm.until >= today}
    return policy if warmups == policy.warmups else policy.model_copy(update={"warmups": warmups})


class Draw(NamedTuple):
    """The pair in the order shown and the probability of just that."""

    model_a: str
    model_b: str
    probability: float


def choose_pair(
    candidates: Iterable[str], rng: random.Random, policy: Policy = UNIFORM, *, tallies: Sequence[Tally] = (), dead: Iterable[str] = ()
) -> Draw:
    """Two different ids (left, right) and the probability of this pair in this order.

    `candidates` are the endpoints able to answer the request; their order and repetitions do not matter, so that one seed gives one pair.
    `tallies` are the votes so far (any models), `dead` the endpoints that failed lately: they are left out as outages are, unless fewer
    than two would remain (a battle that may fail is better than none). Raises ArenaError when there are fewer than two candidates.
    """
    ids = sorted(set(candidates) - policy.outages)
    ids = [name for name in ids if name not in set(dead)] if len(set(ids) - set(dead)) > 1 else ids
    if len(ids) < 2:
        only = f"only '{ids[0]}' can" if ids else "no endpoint can"
        raise ArenaError(f"a battle needs two different endpoints, {only} answer this prompt: choose another prompt or add an endpoint")
    if policy.kind == "uniform" and not policy.boosts and not policy.counts_votes:
        model_a, model_b = rng.sample(ids, 2)
        return Draw(model_a, model_b, 1 / (len(ids) * (len(ids) - 1)))
    chance = pair_probabilities(ids, policy, tallies)
    at = min(int(chance.cumsum().searchsorted(rng.random() * chance.sum(), side="right")), chance.size - 1)
    left, right = divmod(at, len(ids))
    return Draw(ids[left], ids[right], float(chance[left, right] / chance.sum()))


def pair_probabilities(ids: Sequence[str], policy: Policy, tallies: Sequence[Tally]) -> "Array":
    """The probability of each ordered pair (K × K, zero on the diagonal, sum 1)."""
    import numpy as np

    score = _score(ids, tallies)
    weight = np.array([policy.weights.get(name, 1.0) if policy.kind == "weighted" else 1.0 for name in ids])
    weight *= [policy.boosts.get(name, 1.0) for name in ids]
    if policy.warmup_votes or policy.warmups:
        weight *= [_warmth(name, votes, policy) for name, votes in zip(ids, (score + score.T).sum(axis=1), strict=True)]
    pairs = np.outer(weight, weight)
    np.fill_diagonal(pairs, 0.0)
    pairs /= pairs.sum()
    if policy.kind != "adaptive":
        return pairs
    gain = information_gain(score, policy.top) * pairs
    total = gain.sum()
    return policy.explore * pairs + (1 - policy.explore) * gain / total if total > 0 else pairs


def _warmth(name: str, votes: float, policy: Policy) -> float:
    """How much more often an endpoint is drawn for its few votes; of two reasons the greater."""
    general = policy.warmup_boost if votes < policy.warmup_votes else 1.0
    own = policy.warmups.get(name)
    return max(general, own.boost if own is not None and votes < own.votes else 1.0)


def information_gain(score: "Array", top: int) -> "Array":
    """How much one more vote on each pair would settle the top k (K × K, symmetric).

    θ is fitted with a prior of one tie per model against the average, which also rates models that nobody voted on. What matters is the gap
    of each model to the border between place k and k + 1: a vote on (i, j) with the chance p lowers the variance of model m's gap g by
    p (1 − p) (Σ g (e_i − e_j))² / (1 + p (1 − p) (e_i − e_j)' Σ (e_i − e_j)) (Sherman and Morrison). The lowering counts by how open the
    question is: by the normal density of the gap in units of its standard error, and by that error.
    """
    import numpy as np

    size = len(score)
    theta, covariance = posterior(score)
    order = np.argsort(-theta, kind="stable")
    k = min(top, size - 1)
    border = np.zeros(size)
    border[order[k - 1]] = border[order[k]] = 0.5
    gaps = np.eye(size) - border
    spread = gaps @ covariance
    variance = np.maximum(np.einsum("mi,mi->m", spread, gaps), 1e-12)
    distance = (theta - border @ theta) / np.sqrt(variance)
    openness = np.exp(-np.minimum(distance**2, 60) / 2) / np.sqrt(variance) + 1e-9
    p = 1 / (1 + np.exp(np.clip(theta[None, :] - theta[:, None], -30, 30)))
    information = p * (1 - p)
    diagonal = np.diag(covariance)
    between = diagonal[:, None] + diagonal[None, :] - 2 * covariance
    # Σ_m openness_m (spread_mi − spread_mj)², without a K × K × K array.
    weighted = spread.T @ (openness[:, None] * spread)
    own = np.diag(weighted)
    gain: Array = information * (own[:, None] + own[None, :] - 2 * weighted) / (1 + information * between)
    np.fill_diagonal(gain, 0.0)
    return np.maximum(gain, 0.0)


def inverse_propensity(probabilities: Sequence[float], n_models: int, *, most: float = 20.0) -> list[float]:
    """Weights that make votes drawn with these probabilities (of the shown order) count as if pairs had been drawn uniformly.

    The mean is 1; a weight is cut at `most` times the mean, which bounds the variance (Ionides 2008). Bradley-Terry needs no weights to be
    unbiased where it holds; they matter where it does not, and for shares of wins.
    """
    uniform = 1 / (n_models * (n_models - 1))
    weights = [uniform / probability for probability in probabilities]
    mean = sum(weights) / max(len(weights), 1)
    cut = [min(weight, most * mean) for weight in weights]
    mean = sum(cut) / max(len(cut), 1)
    return [weight / mean for weight in cut]


def _score(ids: Sequence[str], tallies: Sequence[Tally]) -> "Array":
    import numpy as np

    index = {name: number for number, name in enumerate(ids)}
    score = np.zeros((len(ids), len(ids)))
    for row in tallies:
        if row.model_a in index and row.model_b in index:
            a, b = index[row.model_a], index[row.model_b]
            score[a, b] += row.wins_a + row.ties / 2
            score[b, a] += row.wins_b + row.ties / 2
    return score


def posterior(score: "Array") -> tuple["Array", "Array"]:
    """θ and its covariance under a prior worth one tie of each model against the average: defined whatever the votes connect."""
    import numpy as np

    size = len(score)
    played = score + score.T
    theta = np.zeros(size)
    for _ in range(50):
        p = 1 / (1 + np.exp(np.clip(theta[None, :] - theta[:, None], -30, 30)))
        prior = 1 / (1 + np.exp(-np.clip(theta, -30, 30)))
        weight = played * p * (1 - p)
        information = np.diag(weight.sum(axis=1) + prior * (1 - prior)) - weight
        step = np.linalg.solve(information, (score - played * p).sum(axis=1) + 0.5 - prior)
        theta = theta + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-8:
            break
    covariance: Array = np.linalg.inv(information).astype(np.float64)
    return theta, covariance
