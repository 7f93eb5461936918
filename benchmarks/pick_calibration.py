"""Are the probabilities of `evals pick` what they say? Markets of twelve endpoints with known truth, measured as real ones are.

    python benchmarks/pick_calibration.py                 # 300 worlds: a table of what was said and how often it was so
    python benchmarks/pick_calibration.py --worlds 60 --json

In each world true ratings, qualities, seconds and dollars are drawn (abler endpoints tend to be dearer, slower and better liked), then
votes, items and load repeats from them. Votes are rated by the arena and published, load repeats are summarised by `evals load`'s own
figures, items and dollars are what runs hold: `read`, `believe` and `decide` do not know that they are in a simulation. Several people
with wishes of their own choose in each world. Of the choices that were given 80 % (75 to 85), 75 to 85 % should be truly best: the best
of those that truly keep the constraints.
"""

import argparse
import json
import sys
from dataclasses import dataclass

import numpy as np

from arena.ballots import ballots_of
from arena.leaderboard_command import published
from arena.ratings import Method, rate
from arena.votes import Outcome
from evals.load.figures import summarise
from evals.load.plan import Load, Sample
from evals.pick.certainty import believe
from evals.pick.choosing import Decision, decide
from evals.pick.evidence import Asked, Loaded, Market, Records
from evals.pick.front import UNITS
from evals.pick.scope import scope_of
from evals.pick.wishes import Require, Under, Weights, Wishes
from evals.stats import wilson
from serving.endpoints import Endpoint

N_ENDPOINTS, N_VOTES, N_REPEATS, N_REQUESTS = 12, 1200, 3, 120
TASKS = {"sums": 250, "words": 120}
BINS = ((0.0, 0.35), (0.35, 0.45), (0.45, 0.55), (0.55, 0.65), (0.65, 0.75), (0.75, 0.85), (0.85, 0.95), (0.95, 1.01))
POINTS = 400 / np.log(10)


@dataclass(frozen=True)
class Truth:
    """What nobody can see: per endpoint points, the share right of each task, p95 seconds, dollars per 1,000; and its terms."""

    rating: np.ndarray
    quality: dict[str, np.ndarray]
    seconds: np.ndarray
    usd: np.ndarray
    open_weights: np.ndarray


def main() -> None:
    """Simulate, print the table."""
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--worlds", type=int, default=300)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    told = [pair for world in range(given.worlds) for pair in choices(given.seed * 100_000 + world)]
    rows = table(told)
    if given.json:
        sys.stdout.write(json.dumps({"worlds": given.worlds, "bins": rows}) + "\n")
        return
    sys.stdout.write("said          choices   mean said   right   95 % interval\n")
    for row in rows:
        low, high = row["interval"]
        bin_ = f"{row['from']:4.0%} to {min(row['to'], 1):4.0%}"
        sys.stdout.write(f"{bin_} {row['n']:9,} {row['said']:11.1%} {row['right']:7.1%}   {low:.0%} to {high:.0%}\n")


def table(told: list[tuple[float, bool]]) -> list[dict[str, object]]:
    """A row per bin of what was said: how many choices, the mean of what was said, the share that was right."""
    rows = []
    for low, high in BINS:
        inside = [(said, right) for said, right in told if low <= said < high]
        if inside:
            n, right = len(inside), sum(right for _, right in inside)
            mean = float(np.mean([said for said, _ in inside]))
            rows.append({"from": low, "to": high, "n": n, "said": mean, "right": right / n, "interval": wilson(right, n)})
    return rows


def choices(seed: int) -> list[tuple[float, bool]]:
    """(probability that was said, whether it was so) of every choice in one world."""
    draw = np.random.default_rng(seed)
    truth = true_values(draw)
    records = measured(truth, draw)
    found = []
    for wishes in people(truth, draw):
        scope = scope_of(records, wishes)
        decision = decide(scope, wishes, believe(scope.market))
        if decision.choice is not None and decision.probability is not None:
            found.append((decision.probability, decision.choice == truly_best(truth, wishes, scope.market)))
    return found


def true_values(draw: np.random.Generator) -> Truth:
    """One market. Ability is shared: it moves rating, qualities, seconds and dollars together, each with a part of its own."""
    able = draw.standard_normal(N_ENDPOINTS)

    def own() -> np.ndarray:
        return draw.standard_normal(N_ENDPOINTS)

    rating = 1000 + draw.uniform(20, 90) * (0.7 * able + 0.7 * own())
    quality = {task: 1 / (1 + np.exp(-(0.6 + 0.35 * (0.8 * able + 0.6 * own())))) for task in TASKS}
    seconds = np.exp(np.log(1.5) + 0.35 * (0.4 * able + 0.9 * own()))
    usd = np.exp(np.log(2.0) + 0.8 * (0.6 * able + 0.8 * own()))
    return Truth(rating - rating.mean() + 1000, quality, seconds, usd, draw.random(N_ENDPOINTS) < 0.6)


def measured(truth: Truth, draw: np.random.Generator) -> Records:
    """The world as results/ would hold it."""
    names = [f"endpoint-{number:02d}" for number in range(N_ENDPOINTS)]
    endpoints = {
        name: Endpoint(id=name, wire="openai", model=name, base_url="http://127.0.0.1:9", open_weights=bool(truth.open_weights[place]))
        for place, name in enumerate(names)
    }
    asked = {}
    for task, n in TASKS.items():
        hard = draw.standard_normal(n)  # what makes an item hard is the same for all
        for place, name in enumerate(names):
            right = draw.random(n) < _chance(truth.quality[task][place], hard)
            costs = truth.usd[place] / 1000 * draw.gamma(4, 1 / 4, n)
            items = {("file", item): (float(value), None) for item, value in enumerate(right)}
            asked[name, task] = Asked("run", "exact_match", items, "file", cost_usd=tuple(costs.tolist()), n_answered=n)
    loaded = {name: Loaded((("load", _level(float(truth.seconds[place]), draw)),)) for place, name in enumerate(names)}
    return Records(endpoints, asked, loaded, _votes(truth, names, draw))


def _chance(share: float, hard: np.ndarray) -> np.ndarray:
    """Each item's chance of being right, so that over all items it is right with `share`: a logit with the item's difficulty."""
    # E[Φ((a − hard)/s)] over hard ~ N(0, 1) is Φ(a/√(s² + 1)); with s = 1 the shift that gives `share` is √2 Φ⁻¹(share).
    from scipy.special import ndtr, ndtri

    return ndtr(np.sqrt(2) * ndtri(share) - hard)


def _level(p95: float, draw: np.random.Generator):
    """Repeats of a load test whose true p95 is given; each repeat has a day of its own (8 %)."""
    load = Load(rate=4, duration_s=30)
    samples = []
    for repeat in range(N_REPEATS):
        day = np.exp(draw.normal(0, 0.08))
        # A lognormal whose 95th percentile is p95.
        took = p95 * day * np.exp(0.4 * (draw.standard_normal(N_REQUESTS) - 1.6448536))
        for number, seconds in enumerate(took.tolist()):
            due = number / 4
            samples.append(
                Sample(
                    repeat=repeat, request=number, phase="steady", scheduled_s=due, sent_s=due, ended_s=due + seconds, status="ok",
                    ttft_s=seconds / 4, latency_s=seconds, latency_from_schedule_s=seconds,
                )
            )  # fmt: skip
    return summarise(samples, load)


def _votes(truth: Truth, names: list[str], draw: np.random.Generator):
    pairs = [draw.choice(N_ENDPOINTS, 2, replace=False) for _ in range(N_VOTES)]
    outcomes = []
    for left, right in pairs:
        wins = 1 / (1 + np.exp(-(truth.rating[left] - truth.rating[right]) / POINTS))
        outcomes.append(Outcome(names[left], names[right], "model_a" if draw.random() < wins else "model_b"))
    method, ballots = Method(covariance=True), ballots_of(outcomes)
    return {"n_battles": N_VOTES, **published(rate(ballots, method), method, ballots)}


def people(truth: Truth, draw: np.random.Generator) -> list[Wishes]:
    """Four who choose in one world: without constraints, with one that splits the field, with several, and by two objectives alone."""
    under = Under(rate=4)

    def weights(*names: str) -> Weights:
        return Weights(**{name: round(float(draw.uniform(0.5, 2)), 2) for name in names})

    tight = Require(
        open_weights=True,
        max_latency_p95_s=float(np.quantile(truth.seconds, draw.uniform(0.4, 0.8))),
        min_quality={"sums": float(np.quantile(truth.quality["sums"], draw.uniform(0.2, 0.6)))},
    )
    everything = ("rating", "quality", "latency", "cost")
    return [
        Wishes(under=under, weigh=weights(*everything)),
        Wishes(
            under=under, weigh=weights(*everything), require=Require(min_rating=float(np.quantile(truth.rating, draw.uniform(0.3, 0.7))))
        ),
        Wishes(under=under, weigh=weights(*everything), require=tight),
        Wishes(under=under, weigh=weights(*draw.choice(["rating", "quality"], 1), "latency"), tasks=("sums",)),
    ]


def truly_best(truth: Truth, wishes: Wishes, market: Market) -> str | None:
    """Who is best of those that truly keep every constraint; None where nobody does."""
    require, tasks = wishes.require, market.tasks
    keeps = np.ones(N_ENDPOINTS, dtype=bool)
    if require.open_weights:
        keeps &= truth.open_weights
    if require.max_latency_p95_s is not None:
        keeps &= truth.seconds <= require.max_latency_p95_s
    for task, share in require.min_quality.items():
        keeps &= truth.quality[task] >= share
    if require.min_rating is not None:
        keeps &= truth.rating >= require.min_rating
    if not keeps.any():
        return None
    assert wishes.weigh is not None
    columns = {
        "rating": truth.rating,
        "quality": np.mean([truth.quality[task] for task in tasks], axis=0),
        "latency": np.log(truth.seconds),
        "cost": np.log(truth.usd),
    }
    utility = sum(getattr(wishes.weigh, name) * columns[name] / UNITS[name] for name in wishes.weigh.asked)
    best = int(np.where(keeps, utility, -np.inf).argmax())
    return f"endpoint-{best:02d}"


__all__ = ["Decision", "choices", "table"]

if __name__ == "__main__":
    main()
