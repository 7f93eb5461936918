"""A judge beside people: LLMFAO's published rank correlations; agreement that neither flatters nor ends in an interval without width."""

import csv
import json
import math
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from evals.judging.calibration import kappa, rank_correlation
from evals.judging.figures import controlled_win_rates, share
from evals.judging.judgments import Judgment
from serving.completion import Completion, Request

Evals = Callable[..., tuple[int, str, str]]
LLMFAO = Path(__file__).parents[2].parent / "shared" / "data" / "llmfao"
needs_llmfao = pytest.mark.skipif(not LLMFAO.is_dir(), reason="the original LLMFAO files are not beside this checkout")


def votes_file(name: str, folder: Path) -> Path:
    """One of LLMFAO's comparison files in the columns of a votes file."""
    path = folder / f"{name}.csv"
    winners = {"left": "model_a", "right": "model_b", "tie": "tie"}
    with (LLMFAO / f"{name}-comparisons.csv").open() as source, path.open("w", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(("model_a", "model_b", "winner", "voter_id", "prompt_id"))
        for row in csv.DictReader(source):
            writer.writerow((row["left"], row["right"], winners[row["winner"]], row.get("worker") or name, row["prompt"]))
    return path


@needs_llmfao
@pytest.mark.parametrize(
    ("judge", "humans", "published"),
    [("gpt4-crowd", "crowd", 0.730918), ("gpt3-crowd", "crowd", 0.716610), ("gpt4-crowd", "gpt3-crowd", 0.717136)],
)
def test_the_rank_correlations_are_the_published_ones(evals: Evals, tmp_path: Path, judge: str, humans: str, published: float) -> None:
    code, out, err = evals("calibrate", votes_file(judge, tmp_path), votes_file(humans, tmp_path), "--json")
    assert code == 0, err
    document = json.loads(out)
    assert round(document["rank_correlation"]["value"], 6) == published and document["rank_correlation"]["n"] == 59
    assert document["n_shared_battles"] == 2139
    decisive, everything = document["judge"]["decisive"], document["judge"]["all_outcomes"]
    assert everything["value"] < decisive["value"] and decisive["lower"] < decisive["value"] < decisive["upper"]


@needs_llmfao
def test_people_agree_with_each_other_more_than_with_the_judge(evals: Evals, tmp_path: Path) -> None:
    code, out, _ = evals("calibrate", votes_file("gpt4-crowd", tmp_path), votes_file("crowd", tmp_path))
    assert code == 0
    assert "judge gpt4-crowd: 66.2 % (64.5 to 67.8) and 41.5 %" in out and "people among themselves: 70.1 %" in out


def test_votes_that_share_no_battle_are_refused(evals: Evals, tmp_path: Path) -> None:
    one, other = tmp_path / "judge.csv", tmp_path / "people.csv"
    one.write_text("model_a,model_b,winner,prompt_id\na,b,tie,1\n")
    other.write_text("model_a,model_b,winner,prompt_id\na,b,tie,2\n")
    code, _, err = evals("calibrate", one, other)
    assert code == 1 and "none of its battles" in err
    other.write_text("model_a,model_b,winner,prompt_id\na,b,draw,1\n")
    code, _, err = evals("calibrate", one, other)
    assert code == 1 and f"{other}:2: winner: unknown label 'draw'" in err


def test_the_interval_of_a_share_is_wilsons_and_grows_with_clusters() -> None:
    alone = share([1.0] * 8 + [0.0] * 2)
    assert alone is not None
    # Wilson's interval for 8 of 10 (Newcombe 1998 gives the formula): .4902 to .9433; the variance here has n - 1 in place of n.
    assert (alone["lower"], alone["upper"]) == pytest.approx((0.4902, 0.9433), abs=0.03)
    twins = share([1.0] * 8 + [0.0] * 2, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    assert twins is not None and twins["upper"] - twins["lower"] > alone["upper"] - alone["lower"]
    certain = share([1.0, 1.0, 1.0])
    assert certain is not None and 0.3 < certain["lower"] < 0.5 and share([]) is None


def test_kappa_and_rank_correlation_have_their_textbook_values() -> None:
    # Cohen's 2 x 2 example: 20 and 15 agreements, 5 and 10 disagreements: po .7, pe .5.
    assert kappa([(1, 1)] * 20 + [(1, -1)] * 5 + [(-1, 1)] * 10 + [(-1, -1)] * 15) == pytest.approx(0.4)
    mirrored = rank_correlation({"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}, {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0})
    assert mirrored is not None and mirrored["value"] == pytest.approx(-1)
    assert rank_correlation({"a": 1.0}, {"a": 1.0}) is None


def test_a_judge_that_only_loves_length_leaves_even_odds_at_equal_length() -> None:
    draw = random.Random(7)
    ones = []
    for number in range(400):
        # `wordy` writes more most of the time, and the judge's taste is length alone.
        lengths = (draw.randint(60, 200), draw.randint(40, 140))
        gap = (lengths[0] - lengths[1]) / (sum(lengths) + 1)
        winner = "model_a" if draw.random() < 1 / (1 + math.exp(-6 * gap)) else "model_b"
        sides = {
            side: Completion(endpoint=name, request=Request.user(str(number)), text="x" * length)
            for side, name, length in (("answer_a", "wordy", lengths[0]), ("answer_b", "brief", lengths[1]))
        }
        ones.append(
            Judgment(
                vote_id=str(number), battle_id=str(number), voter_id="j", model_a="wordy", model_b="brief", winner=winner,
                prompt_id=str(number), voted_at=None, outcome="agreed", verdicts=(winner, winner), source="judge:j", messages=(),
                request_hashes=("", ""), **sides,
            )
        )  # fmt: skip
    raw = share([float(one.winner == "model_a") for one in ones])
    even = controlled_win_rates({("wordy", "brief"): ones}, "length")["wordy", "brief"]
    assert raw is not None and raw["lower"] > 0.6
    assert even["lower"] < 0.5 < even["upper"] and abs(even["value"] - 0.5) < 0.06
