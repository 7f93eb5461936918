"""Can this judge stand in for people? Its verdicts beside held-out human votes on the same battles.

document = calibrate(verdicts, votes, arena=True)

Agreement is per human vote, on decisive votes alone and on all outcomes, because the two differ widely and the first alone flatters. Beside
the judge stand what people say of each other and what the longer answer would have scored. Ratings are not computed here: `arena
leaderboard` rates both files, so that they mean what the leaderboard's mean.
"""

import csv
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evals.errors import JudgeError
from evals.judging.answers import HumanVote, read_human_votes
from evals.judging.figures import Z95, share
from evals.judging.judgments import Judgment, files_of, read_judgments

POINTS = 400 / math.log(10)
# One battle: the two models in alphabetical order, and the prompt.
Battle = tuple[str, str, str]
Outcome = int


class Verdict(NamedTuple):
    """What a judge said of one battle, as seen from its alphabetically first model: 1 it won, 0 a tie, -1 it lost; `longer` likewise."""

    judge: str
    battle: Battle
    outcome: Outcome
    longer: int | None = None


def find_verdicts(name: str, results: Path) -> list[Verdict]:
    """The verdicts of an id of judgments, of a <id>.jsonl, or of a CSV of votes that a model cast. Raises JudgeError."""
    for path in (files_of(name, results).judgments, Path(name)):
        if path.is_file():
            break
    else:
        raise JudgeError(f"no judgments '{name}' in {results / 'judgments'}, and no such file; 'evals judge' makes them")
    if path.suffix == ".jsonl":
        return [_of_judgment(one) for one in read_judgments(path) if one.winner is not None]
    return [Verdict(vote.voter_id or path.stem, *_of_vote(vote, path)) for vote in read_human_votes(path)]


def calibrate(verdicts: Sequence[Verdict], votes_path: Path) -> dict[str, Any]:
    """Agreement and rank correlation with the votes of a CSV. Raises JudgeError when they share no battle.

    A battle that was judged more than once counts with its first verdict. Runs `arena leaderboard` twice.
    """
    votes = read_human_votes(votes_path)
    humans = [(vote.voter_id, *_of_vote(vote, votes_path)) for vote in votes]
    judged: dict[Battle, Verdict] = {}
    for verdict in verdicts:
        judged.setdefault(verdict.battle, verdict)
    shared = [(voter, battle, outcome) for voter, battle, outcome in humans if battle in judged]
    if not shared:
        raise JudgeError(f"{votes_path}: none of its battles (two models, prompt_id) was judged; are models and prompts named alike?")
    said = [(judged[battle].outcome, outcome, battle) for _, battle, outcome in shared]
    longer = [(length, outcome, battle) for _, battle, outcome in shared if (length := judged[battle].longer) is not None]
    document: dict[str, Any] = {
        "judges": sorted({verdict.judge for verdict in judged.values()}),
        "n_votes": len(votes),
        "n_shared_votes": len(shared),
        "n_shared_battles": len({battle for _, battle, _ in shared}),
        "judge": agreement(said),
        "people": agreement(among_people(shared)),
        "longer_answer": agreement(longer) if any(length for length, _, _ in longer) else None,
        "kappa": kappa([(judge, human) for judge, human, _ in said]),
    }
    battles = {battle for _, battle, _ in shared}
    judge_ratings = arena_ratings((battle, verdict.outcome) for battle, verdict in judged.items() if battle in battles)
    document["rank_correlation"] = rank_correlation(judge_ratings, arena_ratings((battle, outcome) for _, battle, outcome in humans))
    return document


def agreement(pairs: Iterable[tuple[Outcome, Outcome, Battle]]) -> dict[str, Any]:
    """`decisive`: of the votes where neither side says tie; `all_outcomes`: of all, a tie being an outcome ("both bad" is one here: a
    judge cannot say it). Intervals allow for the votes on one battle resembling each other."""
    pairs = list(pairs)
    decisive = [pair for pair in pairs if pair[0] and pair[1]]
    return {
        name: share([float(one == other) for one, other, _ in chosen], [battle for _, _, battle in chosen])
        for name, chosen in (("decisive", decisive), ("all_outcomes", pairs))
    }


def among_people(votes: Iterable[tuple[str | None, Battle, Outcome]]) -> list[tuple[Outcome, Outcome, Battle]]:
    """Every two votes of different people on one battle: what a judge can be held to at most."""
    by_battle: dict[Battle, list[tuple[str | None, Outcome]]] = {}
    for voter, battle, outcome in votes:
        by_battle.setdefault(battle, []).append((voter, outcome))
    return [
        (one, other, battle)
        for battle, cast in by_battle.items()
        for index, (voter, one) in enumerate(cast)
        for also, other in cast[index + 1 :]
        if voter is None or voter != also
    ]


def kappa(pairs: Sequence[tuple[Outcome, Outcome]]) -> float | None:
    """Cohen's kappa (1960) over the three outcomes; None where chance alone agrees always."""
    n = len(pairs)
    observed = sum(one == other for one, other in pairs) / n
    expected = sum(sum(one == k for one, _ in pairs) * sum(other == k for _, other in pairs) for k in (-1, 0, 1)) / n**2
    return (observed - expected) / (1 - expected) if expected < 1 else None


def arena_ratings(outcomes: Iterable[tuple[Battle, Outcome]]) -> dict[str, float]:
    """Log-strengths by model, of those that can be rated: `arena leaderboard --votes FILE --json` in a process of its own."""
    winners = {1: "model_a", 0: "tie", -1: "model_b"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "votes.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("model_a", "model_b", "winner", "prompt_id"))
            writer.writerows((battle[0], battle[1], winners[outcome], battle[2]) for battle, outcome in outcomes)
        command = [sys.executable, "-m", "arena.cli", "leaderboard", "--votes", str(path), "--json"]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise JudgeError(f"arena leaderboard could not rate the votes: {done.stderr.strip() or done.returncode}")
    rows = json.loads(done.stdout.splitlines()[-1])["ratings"]
    return {row["model"]: (row["rating"] - 1000) / POINTS for row in rows if row["rating"] is not None}


def rank_correlation(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, Any] | None:
    """Spearman's correlation of the models that both rate: Pearson's of their places, as a leaderboard counts them: 1 + the models
    above, equal ones (log-strengths to 1e-9) sharing the better place. Interval: Bonett and
    Wright 2000. None for fewer than 4 models, or where all are tied."""
    from scipy.stats import pearsonr, rankdata

    models = sorted(set(one) & set(other))
    if len(models) < 4:
        return None
    ranks = [rankdata([-round(ratings[model], 9) for model in models], method="min") for ratings in (one, other)]
    if any(rank.std() == 0 for rank in ranks):
        return None
    value = float(pearsonr(*ranks).statistic)
    centre = math.atanh(max(min(value, 1 - 1e-12), -1 + 1e-12))
    half = Z95 * math.sqrt((1 + value**2 / 2) / (len(models) - 3))
    return {"value": value, "lower": math.tanh(centre - half), "upper": math.tanh(centre + half), "n": len(models)}


def _of_judgment(one: Judgment) -> Verdict:
    ordered = one.model_a < one.model_b
    outcome = {"model_a": 1, "tie": 0, "model_b": -1}[one.winner or ""]
    a, b = len(one.answer_a.text), len(one.answer_b.text)
    longer = (a > b) - (a < b)
    battle = (*sorted((one.model_a, one.model_b)), one.prompt_id)
    return Verdict(one.voter_id, (battle[0], battle[1], battle[2]), outcome if ordered else -outcome, longer if ordered else -longer)


def _of_vote(vote: HumanVote, path: Path) -> tuple[Battle, Outcome]:
    if vote.prompt_id is None:
        raise JudgeError(f"{path}:{vote.line}: prompt_id: is empty; without it nobody knows which answers were compared")
    outcome = {"model_a": 1, "model_b": -1}.get(vote.winner, 0)
    ordered = vote.model_a < vote.model_b
    first, second = (vote.model_a, vote.model_b) if ordered else (vote.model_b, vote.model_a)
    return (first, second, vote.prompt_id), outcome if ordered else -outcome
