"""What a judge's verdicts add up to: who won, how steady the judge is, how much it likes length and layout, what it cost.

figures = judgment_figures(judgments, said, mode="pairwise")

Unparsed and failed battles have no verdict: they are counted apart and enter no share. Formulas: docs/measuring.md.
"""

import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from statistics import fmean, median, stdev
from typing import Any

from evals.judging.judgments import Judgment, Mode
from serving.completion import Completion

Z95 = 1.959963984540054
# A prior of this spread on the logit scale keeps a fit finite where one side won every battle; it moves others by less than 1 %.
PRIOR_SD = 10.0
_WON = {"model_a": 1.0, "tie": 0.5, "model_b": 0.0}
_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_MARKS = {
    "headers": re.compile(r"^#{1,6}\s", re.MULTILINE),
    "lists": re.compile(r"^\s*(?:[-*+]|\d+[.)])\s", re.MULTILINE),
    "bold": re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__"),
}


def judgment_figures(judgments: Sequence[Judgment], said: Mapping[str, Completion], *, mode: Mode) -> dict[str, Any]:
    """Everything that the report and <id>.json say; a share is {value, lower, upper, n}, None where nothing can be said."""
    outcomes = Counter(one.outcome for one in judgments)
    voted = [one for one in judgments if one.winner is not None]
    answered = len(judgments) - outcomes["failed"]
    document: dict[str, Any] = {
        "mode": mode,
        "n_battles": len(judgments),
        "n_voted": len(voted),
        "outcomes": {name: number for name, number in outcomes.most_common()},
        "unparsed_share": outcomes["unparsed"] / answered if answered else None,
        "longer_won": longer_won(voted),
        "pairs": pair_figures(voted),
    }
    if mode == "pairwise":
        document |= steadiness(judgments)
    else:
        document["grades"] = grades(judgments)
    return document | bill(said)


def share(values: Sequence[float], clusters: Sequence[Hashable] | None = None) -> dict[str, Any] | None:
    """The mean of values between 0 and 1 with Wilson's 95 % interval (1927) for the number of independent values that its standard error
    amounts to; values of one cluster (a prompt, a battle) may resemble each other. Values that are all alike count once per cluster, so
    that no interval is without width. None for no values."""
    if not len(values):
        return None
    n, mean = len(values), fmean(values)
    sums: dict[Hashable, float] = {}
    for value, cluster in zip(values, range(n) if clusters is None else clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + value - mean
    count = len(sums)
    variance = sum(total**2 for total in sums.values()) / n**2 * (count / (count - 1) if count > 1 else 1.0)
    effective = min(mean * (1 - mean) / variance, float(n)) if variance > 1e-12 and count > 1 else float(count)
    centre = (mean + Z95**2 / (2 * effective)) / (1 + Z95**2 / effective)
    half = Z95 / (1 + Z95**2 / effective) * math.sqrt(mean * (1 - mean) / effective + Z95**2 / (4 * effective**2))
    return {"value": mean, "lower": max(centre - half, 0.0), "upper": min(centre + half, 1.0), "n": n}


def steadiness(judgments: Iterable[Judgment]) -> dict[str, Any]:
    """Position consistency: the share of battles whose two verdicts agree, of those where both were read; and how often the answer that
    was shown first won, of the flipped battles with a decisive verdict in both orders (.5: no leaning)."""
    read = [one for one in judgments if one.outcome in ("agreed", "flipped")]
    leaning = [one.verdicts[0] == "model_a" for one in read if set(one.verdicts) == {"model_a", "model_b"}]
    return {
        "position_consistency": share([float(one.outcome == "agreed") for one in read], [one.prompt_id for one in read]),
        "first_shown_won_when_flipped": share([float(first) for first in leaning]),
    }


def grades(judgments: Iterable[Judgment]) -> list[dict[str, Any]]:
    """Mean grade of each endpoint with its standard error, best first; an answer that is in several battles counts once."""
    found: dict[str, dict[str, float]] = {}
    for one in judgments:
        for model, grade, request_hash in zip((one.model_a, one.model_b), one.verdicts, one.request_hashes, strict=True):
            if isinstance(grade, float | int):
                found.setdefault(model, {})[f"{one.prompt_id} {request_hash}"] = float(grade)
    rows = [
        {
            "endpoint": model,
            "mean": fmean(marks.values()),
            "stderr": stdev(marks.values()) / math.sqrt(len(marks)) if len(marks) > 1 else None,
            "n": len(marks),
        }
        for model, marks in found.items()
    ]
    return sorted(rows, key=lambda row: -float(row["mean"] or 0))


def longer_won(voted: Iterable[Judgment]) -> dict[str, Any] | None:
    """How often the answer with more characters won, of the decisive battles between answers of different lengths."""
    values, clusters = [], []
    for one in voted:
        gap = len(one.answer_a.text) - len(one.answer_b.text)
        if one.winner != "tie" and gap:
            values.append(float((gap > 0) == (one.winner == "model_a")))
            clusters.append(one.prompt_id)
    return share(values, clusters)


def pair_figures(voted: Iterable[Judgment]) -> list[dict[str, Any]]:
    """Each pair of endpoints: wins, ties, the win rate of `model_a` (a tie is half), and what it would be at equal length and style."""
    pairs: dict[tuple[str, str], list[Judgment]] = {}
    for one in voted:
        # A votes file may show a pair in both orders; a pair is one line.
        key = (one.model_a, one.model_b) if (one.model_b, one.model_a) not in pairs else (one.model_b, one.model_a)
        pairs.setdefault(key, []).append(one)
    controlled = {name: controlled_win_rates(pairs, name) for name in ("length", "style")}
    rows = []
    for (a, b), ones in pairs.items():
        points = [_points(one, a) for one in ones]
        rows.append(
            {
                "model_a": a,
                "model_b": b,
                "n": len(ones),
                "wins_a": points.count(1.0),
                "ties": points.count(0.5),
                "wins_b": points.count(0.0),
                "win_rate": share(points, [one.prompt_id for one in ones]),
                "win_rate_length_controlled": controlled["length"].get((a, b)),
                "win_rate_style_controlled": controlled["style"].get((a, b)),
            }
        )
    return rows


def controlled_win_rates(pairs: Mapping[tuple[str, str], Sequence[Judgment]], control: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The win rate of each pair's first endpoint between answers alike in length (or in length, headers, lists and bold).

    One logistic regression over all battles, with an intercept for each pair and the coefficients of d = (a - b) / (a + b + 1), scaled by
    its standard deviation, shared by all; the rate is the logistic function of the intercept (after Dubois et al. 2024, "Length-Controlled
    AlpacaEval"). Interval: sandwich, clustered by prompt, on the logit scale. A pair has none with fewer than 10 battles or 2 prompts.
    """
    import numpy as np
    from scipy import sparse

    names = {pair: number for number, pair in enumerate(pair for pair, ones in pairs.items() if len(ones) >= 10)}
    rows = [(pair, one) for pair in names for one in pairs[pair]]
    clusters = {prompt: number for number, prompt in enumerate(dict.fromkeys(one.prompt_id for _, one in rows))}
    if len(clusters) < 2:
        return {}
    features = np.array([_differences(one, pair[0], control) for pair, one in rows])
    spread = features.std(axis=0)
    # Sparse: fifty models make 1,225 pairs, and each row is about one of them.
    member = ([names[pair] for pair, _ in rows], np.arange(len(rows)))
    intercepts = sparse.csr_array((np.ones(len(rows)), member[::-1]), shape=(len(rows), len(names)))
    design = sparse.hstack([intercepts, sparse.csr_array(features / np.where(spread > 0, spread, 1.0))], format="csr")
    won = np.array([_points(one, pair[0]) for pair, one in rows])
    theta = np.zeros(design.shape[1])
    for _ in range(100):
        chance = 1 / (1 + np.exp(-np.clip(design @ theta, -500, 500)))
        bread = np.linalg.inv((design.T @ (design * (chance * (1 - chance))[:, None])).toarray() + np.eye(len(theta)) / PRIOR_SD**2)
        step = bread @ (design.T @ (won - chance) - theta / PRIOR_SD**2)
        # Steps of more than 4 on the logit scale overshoot where a side won nearly everything.
        theta = theta + step * min(1.0, 4.0 / max(float(np.abs(step).max()), 1e-12))
        if float(np.abs(step).max()) < 1e-10:
            break
    told = (won - chance, ([clusters[one.prompt_id] for _, one in rows], np.arange(len(rows))))
    scores = (sparse.csr_array(told, shape=(len(clusters), len(rows))) @ design).toarray()
    spread_of = np.sqrt(np.diag(bread @ (scores.T @ scores) @ bread) * len(clusters) / (len(clusters) - 1))
    return {
        pair: {
            "value": _logistic(theta[number]),
            "lower": _logistic(theta[number] - Z95 * spread_of[number]),
            "upper": _logistic(theta[number] + Z95 * spread_of[number]),
            "n": len(pairs[pair]),
        }
        for pair, number in names.items()
    }


def bill(said: Mapping[str, Completion]) -> dict[str, Any]:
    """What the judging took, its failed requests included in the count; dollars and tokens of answers that do not tell theirs are left out
    and counted."""
    answers = [one for one in said.values() if one.answered]
    costs = [one.cost_usd for one in answers if one.cost_usd is not None]
    latencies = [one.latency_s for one in answers if one.latency_s is not None]
    return {
        "n_requests": len(said),
        "n_failed": len(said) - len(answers),
        "cost_usd": math.fsum(costs) if costs else None,
        "n_cost_unknown": len(answers) - len(costs),
        "input_tokens": sum(one.usage.input_tokens or 0 for one in answers),
        "output_tokens": sum(one.usage.output_tokens or 0 for one in answers),
        "judging_s": math.fsum(latencies) if latencies else None,
        "latency_s_p50": median(latencies) if latencies else None,
    }


def _points(one: Judgment, first: str) -> float:
    """1, .5 or 0 for the endpoint `first` of the pair."""
    won = _WON[one.winner or ""]
    return won if one.model_a == first else 1 - won


def _differences(one: Judgment, first: str, control: str) -> list[float]:
    texts = (one.answer_a.text, one.answer_b.text) if one.model_a == first else (one.answer_b.text, one.answer_a.text)
    a, b = (_style(text) if control == "style" else _style(text)[:1] for text in texts)
    return [(x - y) / (x + y + 1) for x, y in zip(a, b, strict=True)]


def _style(text: str) -> list[int]:
    """Characters; headers, list items and bold phrases outside code fences."""
    prose = _FENCE.sub("", text)
    return [len(text), *(len(pattern.findall(prose)) for pattern in _MARKS.values())]


def _logistic(value: float) -> float:
    return float(1 / (1 + math.exp(-value))) if value >= 0 else float(math.exp(value) / (1 + math.exp(value)))
