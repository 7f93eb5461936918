"""Ratings: who is better, by how much, and how sure that is. A pure function of votes, never stored.

    board = rate(store.ballots(), Method(cluster="voter", style=STYLE))     # ratings, intervals, and what else was estimated
    ratings = bradley_terry(store.vote_counts())                             # the plain table, from counted votes

Bradley-Terry is fitted exactly, by Newton's method on the votes counted per pair: a million votes cost no more than a hundred. A tie is
half a win for each side (Davidson's model gives ties a parameter instead); "both bad" says nothing about which is better, so it is counted
apart unless `both_bad="tie"` is asked for. Scale: 1000 + 400/ln 10 · θ, mean 1000, so that 400 points are odds of ten to one. Models that
votes do not connect in both directions have no rating rather than a made-up one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from arena import intervals
from arena.ballots import BOTH_BAD, SHARE_A, TIE, Array, Ballots, ballots_of, ballots_of_tallies
from arena.bradley_terry import Design, Fit, fit, information, maximise, win_probability
from arena.comparable import NO_BATTLE, largest_group, reasons
from arena.elo import ELO_K, POINTS, START, elo, mean_elo
from arena.errors import ArenaError
from arena.fragility import REFIT_MODELS, fragility
from arena.intervals import Z95, Cluster
from arena.style import differences, z_scores
from arena.votes import WINNERS, Outcome, Tally
from serving.documents import Noun

__all__ = [
    "ELO_K", "POINTS", "START", "Z95", "Board", "HeadToHead", "Method", "Rating", "Term", "bradley_terry", "fit",
    "head_to_head", "head_to_head_of", "online_elo", "rate", "tally", "win_probabilities",
]  # fmt: skip


class Rating(Noun):
    """One line of a leaderboard. Without comparable votes the numbers are None and `note` says why.

    `rank` is 1 + the number of models whose whole interval lies above this one's, so models that votes cannot tell apart share a rank;
    `rank_lower` and `rank_upper` are the best and the worst place that the intervals allow. `n_battles` excludes "both bad", which
    `n_both_bad` counts. `n_to_flip` is how many dropped votes put the next model above this one (where fragility was asked for).
    """

    model: str
    rating: float | None
    rating_lower: float | None = None
    rating_upper: float | None = None
    rank: int | None = None
    rank_lower: int | None = None
    rank_upper: int | None = None
    n_battles: int
    n_both_bad: int = 0
    n_to_flip: int | None = None
    note: str | None = None

    @property
    def both_bad_share(self) -> float | None:
        """Of all the votes on this model, the share that found both answers bad."""
        total = self.n_battles + self.n_both_bad
        return self.n_both_bad / total if total else None


class Term(Noun):
    """What was estimated besides the ratings, with its standard error and 95 % interval.

    `position` is what the left slot is worth, in rating points. `tie` is Davidson's log ν: between equals a tie has the odds
    ν : 2 of a decision. A style column is in log odds per standard deviation of its normalised difference.
    """

    name: str
    estimate: float
    standard_error: float
    lower: float
    upper: float


class Board(Noun):
    """The ratings, best first, then the models that are not comparable; and the further terms. `n_used` votes decided them.

    `n_without_columns` votes were left out because a style column is not known; `n_rounds` bootstrap rounds had a fit. `covariance` (where
    it was asked for) is of the ratings' errors in points², in the order of the rated models.
    """

    ratings: tuple[Rating, ...]
    terms: tuple[Term, ...] = ()
    n_used: int
    n_without_columns: int = 0
    n_rounds: int | None = None
    fragility_by: Literal["refit", "influence"] | None = None
    covariance: tuple[tuple[float, ...], ...] | None = None


@dataclass(frozen=True)
class Method:
    """How votes become ratings.

    `both_bad` is a deliberate choice: "apart" (counted, rates nobody) or "tie". `weights` "pairing" weighs a vote by the inverse of its
    pair's probability (mean 1; 1 where that was not recorded). `anchor` shifts all ratings so that one model has a given one. `bootstrap`
    rounds replace closed-form intervals by percentiles; Elo's `orders` is over how many random orders its mean is taken (0: as cast).
    """

    name: Literal["bt", "davidson", "elo"] = "bt"
    both_bad: Literal["apart", "tie"] = "apart"
    position: bool = False
    style: tuple[str, ...] = ()
    cluster: Cluster = "none"
    weights: Literal["none", "pairing"] = "none"
    anchor: tuple[str, float] | None = None
    bootstrap: int = 0
    orders: int = 0
    fragility: bool = False
    covariance: bool = False

    @property
    def counted(self) -> bool:
        """Whether counted votes are enough: neither order nor voter nor prompt nor any measure of an answer is asked about."""
        return self.name != "elo" and self.cluster == "none" and not self.style and self.weights == "none"

    @property
    def by_voter(self) -> bool:
        """Whether votes and who cast them are enough: neither order nor prompt nor any measure of an answer is asked about."""
        return self.name != "elo" and self.cluster == "voter" and not self.style and self.weights == "none"

    @property
    def plain(self) -> bool:
        """Whether the ratings alone are estimated, from counted votes."""
        return self.name == "bt" and not self.position and not self.style


@dataclass(frozen=True)
class HeadToHead:
    """Who beat whom: `wins[i, j]` times did models[i] beat models[j], on whichever side; `ties` and `n` (all of them) are symmetric."""

    models: tuple[str, ...]
    wins: Array
    ties: Array
    n: Array


def rate(ballots: Ballots, method: Method | None = None) -> Board:
    """The leaderboard by these votes. Raises ArenaError at options that exclude each other, NothingToRate where a term has no maximum."""
    method = method or Method()
    _check(method)
    if method.both_bad == "tie":
        ballots = replace(ballots, winner=np.where(ballots.winner == BOTH_BAD, TIE, ballots.winner))
    if method.counted:
        ballots = ballots.counted()
    counts = _per_model(ballots)
    if method.name == "elo":
        return _anchored(_elo_board(ballots, method, *counts), method.anchor)
    decided = ballots.where(ballots.winner != BOTH_BAD) if (ballots.winner == BOTH_BAD).any() else ballots
    columns = differences(decided, method.style)
    known: NDArray[np.bool_] = np.logical_not(np.isnan(columns).any(axis=1))
    if not known.all():
        decided, columns = decided.where(known), columns[known]
    score = _table(decided).score
    chosen = largest_group(score)
    notes = reasons(score, chosen)
    n_battles, n_both_bad = counts
    unrated = [
        Rating(model=ballots.models[i], rating=None, n_battles=n_battles[i], n_both_bad=n_both_bad[i], note=note)
        for i, note in notes.items()
    ]
    left_out = int((~known).sum())
    if not len(chosen):
        return _anchored(Board(ratings=tuple(unrated), n_used=0, n_without_columns=left_out), method.anchor)
    inside = decided.among(chosen)
    if len(inside) < len(decided) and method.style:
        numbers = np.isin(decided.a, chosen) & np.isin(decided.b, chosen)
        columns = columns[numbers]
    board = _rated(inside, columns, method, [(n_battles[i], n_both_bad[i]) for i in chosen])
    return _anchored(board.model_copy(update={"ratings": board.ratings + tuple(unrated), "n_without_columns": left_out}), method.anchor)


def bradley_terry(tallies: Iterable[Tally]) -> list[Rating]:
    """Ratings with 95 % intervals, best first, then the models that are not comparable.

    Intervals are the sandwich of the fit (White 1982), of a model against the mean of all; tallies counted per cluster (voter, prompt)
    give intervals that allow for votes of one cluster resembling each other.
    """
    return list(rate(ballots_of_tallies(tallies), Method(cluster="voter")).ratings)


def online_elo(outcomes: Iterable[Outcome]) -> list[Rating]:
    """Elo after every vote in turn (K = 4, base 10, scale 400, start 1000), best first; no intervals. "Both bad" moves nothing."""
    return list(rate(ballots_of(outcomes), Method(name="elo")).ratings)


def win_probabilities(ratings: Sequence[Rating]) -> tuple[tuple[str, ...], Array]:
    """How likely each rated model beats each other (a tie being half), K × K, in the order given."""
    rated = [rating for rating in ratings if rating.rating is not None]
    return tuple(rating.model for rating in rated), win_probability(np.array([rating.rating for rating in rated], dtype=float) / POINTS)


def head_to_head(tallies: Iterable[Tally]) -> HeadToHead:
    """The matrix of a set of counted votes; models in alphabetical order, "both bad" left out."""
    return head_to_head_of(ballots_of_tallies(tallies))


def head_to_head_of(ballots: Ballots) -> HeadToHead:
    """The matrix of these votes; models in alphabetical order, "both bad" left out."""
    table = _table(ballots)
    return HeadToHead(table.models, table.wins, table.ties, table.wins + table.wins.T + table.ties)


def tally(outcomes: Iterable[Outcome], clusters: Iterable[str | None] | None = None) -> list[Tally]:
    """Votes counted per ordered pair: what the store's GROUP BY gives, for votes that are in no store.

    `clusters` names each vote's voter or prompt, to be counted apart; a vote whose cluster is None is a cluster of its own.
    """
    counts: dict[tuple[str, str, str | None], dict[str, int]] = {}
    outcomes = list(outcomes)
    for outcome, cluster in zip(outcomes, [None] * len(outcomes) if clusters is None else clusters, strict=True):
        row = counts.setdefault((outcome.model_a, outcome.model_b, cluster), dict.fromkeys(WINNERS, 0))
        row[outcome.winner] += 1
    return [
        Tally(model_a, model_b, row["model_a"], row["model_b"], row["tie"], row["both_bad"], cluster)
        for (model_a, model_b, cluster), row in counts.items()
    ]


@dataclass(frozen=True)
class _Table:
    models: tuple[str, ...]
    wins: Array
    ties: Array

    @property
    def score(self) -> Array:
        return self.wins + self.ties / 2


def _table(ballots: Ballots, weight: Array | None = None) -> _Table:
    cells = ballots.cells(weight)
    return _Table(ballots.models, cells[..., 0] + cells[..., 1].T, cells[..., 2] + cells[..., 2].T)


def _check(method: Method) -> None:
    if method.name == "elo":
        clash = {
            f"--cluster {method.cluster}": method.cluster != "none",
            "--style-control": bool(method.style),
            "--position": method.position,
            f"--weights {method.weights}": method.weights != "none",
            "--bootstrap": method.bootstrap > 0,
            "--fragility": method.fragility,
        }
        for option in (option for option, given in clash.items() if given):
            raise ArenaError(
                f"{option} needs --method bt or davidson; --method elo has no likelihood and no intervals: leave one of them out"
            )
    elif method.orders:
        raise ArenaError(f"--orders needs --method elo; the order of the votes does not matter to --method {method.name}: leave it out")
    further = "--bootstrap" if method.bootstrap else "--fragility" if method.fragility else None
    if further and (not method.plain or method.weights != "none"):
        raise ArenaError(f"{further} refits plain Bradley-Terry: leave out --style-control, --position, --weights and --method davidson")


def _per_model(ballots: Ballots) -> tuple[list[int], list[int]]:
    """Battles and "both bad" votes of each model."""
    cells = ballots.cells()
    sides = cells.sum(axis=0) + cells.sum(axis=1)
    bad = sides[:, BOTH_BAD]
    return (sides.sum(axis=1) - bad).astype(int).tolist(), bad.astype(int).tolist()


def _rated(ballots: Ballots, columns: Array, method: Method, counts: list[tuple[int, int]]) -> Board:
    """The board of models that are all comparable."""
    weight = _weights(ballots) if method.weights == "pairing" else None
    features = z_scores(columns, ballots.counts, method.style) if method.style else np.zeros((len(ballots), 0))
    if method.position:
        features = np.column_stack([np.ones(len(ballots)), features])
    fitted = _fit(ballots, features, weight, method)
    covariance = intervals.sandwich(fitted, ballots, weight=weight, features=features, cluster=method.cluster)
    size = len(ballots.models)
    rating, error = START + POINTS * fitted.theta, np.sqrt(np.diag(covariance))
    half = Z95 * POINTS * error[:size]
    lower, upper = rating - half, rating + half
    best, worst = intervals.ranks(lower, upper)
    rank, n_rounds = best, None
    if method.bootstrap:
        thetas = intervals.bootstrap(ballots, method.bootstrap, cluster=method.cluster)
        if len(thetas) < 2:
            raise ArenaError(
                f"--bootstrap: {len(thetas)} of {method.bootstrap} rounds leave the models comparable: there are too few votes"
            )
        n_rounds = len(thetas)
        covariance = np.cov(thetas, rowvar=False)
        lower, upper = START + POINTS * np.percentile(thetas, [2.5, 97.5], axis=0)
        rank = intervals.ranks(lower, upper)[0]
        places = 1 + np.argsort(np.argsort(-thetas, axis=1, kind="stable"), axis=1)
        best, worst = (np.percentile(places, q, axis=0, method="nearest").astype(int).tolist() for q in (2.5, 97.5))
    order = sorted(range(size), key=lambda i: (-rating[i], ballots.models[i]))
    flips = fragility(ballots) if method.fragility else [None] * size
    ratings = tuple(
        Rating(
            model=ballots.models[i], rating=rating[i], rating_lower=lower[i], rating_upper=upper[i],
            rank=rank[i], rank_lower=best[i], rank_upper=worst[i], n_battles=counts[i][0], n_both_bad=counts[i][1], n_to_flip=flip,
        )
        for i, flip in zip(order, flips, strict=True)
    )  # fmt: skip
    by: Literal["refit", "influence"] = "refit" if size <= REFIT_MODELS else "influence"
    return Board(
        ratings=ratings,
        terms=_terms(fitted, error, method),
        n_used=int(ballots.counts.sum()),
        n_rounds=n_rounds,
        fragility_by=by if method.fragility else None,
        covariance=tuple(map(tuple, (POINTS**2 * covariance[np.ix_(order, order)]).tolist())) if method.covariance else None,
    )


def _fit(ballots: Ballots, features: Array, weight: Array | None, method: Method) -> Fit:
    size = len(ballots.models)
    if method.plain:
        score = _table(ballots, weight).score
        theta = fit(score)
        bread = np.linalg.inv(information(score + score.T, win_probability(theta)) + 1 / size).astype(float) - 1 / size
        return Fit(theta, np.zeros(0), -np.inf, bread)
    if method.style:
        total = ballots.counts if weight is None else weight * ballots.counts
        won, tied = total * SHARE_A[ballots.winner], total * (ballots.winner == TIE)
        design = Design(size, ballots.a, ballots.b, total, won, tied, features, method.name == "davidson")
    else:
        cells = ballots.cells(weight)
        a, b = np.nonzero(cells.sum(axis=2))
        kept: Array = cells[a, b]
        constant = np.ones((len(a), int(method.position)))
        design = Design(size, a, b, kept[:, :3].sum(axis=1), kept[:, :3] @ SHARE_A[:3], kept[:, TIE], constant, method.name == "davidson")
    return maximise(design)


def _weights(ballots: Ballots) -> Array:
    """1 / probability of the pair, scaled to mean 1 where it is known; 1 where it is not."""
    if ballots.probability is None or np.isnan(ballots.probability).all():
        raise ArenaError("--weights pairing: no vote says how likely its pair was drawn (imported votes do not): leave it out")
    inverse = 1 / ballots.probability
    return np.where(np.isnan(inverse), 1.0, inverse / np.nanmean(inverse))


def _terms(fitted: Fit, error: Array, method: Method) -> tuple[Term, ...]:
    names = [*(["position"] if method.position else []), *method.style, *(["tie"] if np.isfinite(fitted.log_nu) else [])]
    estimates = [*fitted.beta.tolist(), fitted.log_nu]
    further = error[len(fitted.theta) :]
    found = []
    for name, estimate, deviation in zip(names, estimates, further.tolist(), strict=False):
        unit = POINTS if name == "position" else 1.0
        estimate, deviation = unit * estimate, unit * deviation
        found.append(
            Term(name=name, estimate=estimate, standard_error=deviation, lower=estimate - Z95 * deviation, upper=estimate + Z95 * deviation)
        )
    return tuple(found)


def _elo_board(ballots: Ballots, method: Method, n_battles: list[int], n_both_bad: list[int]) -> Board:
    values = mean_elo(ballots, method.orders)[0] if method.orders else elo(ballots)
    ranked = [i for i, battles in enumerate(n_battles) if battles]
    order = sorted(ranked, key=lambda i: (-values[i], ballots.models[i]))
    rated = [
        Rating(
            model=ballots.models[i], rating=values[i], rank=1 + int((values[ranked] > values[i]).sum()),
            n_battles=n_battles[i], n_both_bad=n_both_bad[i],
        )
        for i in order
    ]  # fmt: skip
    none = [
        Rating(model=model, rating=None, n_battles=0, n_both_bad=n_both_bad[i], note=NO_BATTLE)
        for i, model in enumerate(ballots.models)
        if not n_battles[i]
    ]
    return Board(ratings=(*rated, *none), n_used=int((ballots.winner != BOTH_BAD).sum()))


def _anchored(board: Board, anchor: tuple[str, float] | None) -> Board:
    """The same board, shifted; differences and the widths of intervals stay."""
    if anchor is None:
        return board
    model, wanted = anchor
    rating = next((row.rating for row in board.ratings if row.model == model), None)
    if rating is None:
        raise ArenaError(f"--anchor: '{model}' has no rating here; name one of the rated models")
    shift = wanted - rating
    fields = ("rating", "rating_lower", "rating_upper")

    def moved(row: Rating) -> Rating:
        return row.model_copy(update={name: value + shift for name in fields if (value := getattr(row, name)) is not None})

    return board.model_copy(update={"ratings": tuple(moved(row) for row in board.ratings)})
