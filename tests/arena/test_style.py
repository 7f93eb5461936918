"""Style control, position and ties: the published figures, and plain words where nothing can be estimated."""

import csv
from pathlib import Path

import numpy as np
import pytest
from ballot_box import demo_votes

from arena.ballots import Ballots, ballots_of
from arena.errors import ArenaError, NothingToRate, VotesFileError
from arena.ratings import Method, rate
from arena.store import Store
from arena.style import STYLE, read_columns
from arena.votes import Outcome

FEATURES = Path(__file__).parents[2] / ".." / "shared" / "data" / "llmfao" / "style_features.csv"


@pytest.fixture(scope="module")
def llmfao(tmp_path_factory: pytest.TempPathFactory):
    with Store(demo_votes(tmp_path_factory.mktemp("llmfao") / "arena.duckdb")) as store:
        yield store.ballots(columns=True)


def test_coefficients_and_their_errors_equal_the_exact_fit(llmfao: Ballots):
    terms = rate(llmfao, Method(style=STYLE)).terms
    assert [term.name for term in terms] == list(STYLE)
    assert [round(term.estimate, 5) for term in terms] == [0.11174, -0.23898, -0.07471, -0.01056]
    assert [term.standard_error for term in terms] == pytest.approx([0.0403721, 0.0218193, 0.0227410, 0.0162706], abs=1e-6)


def test_the_style_of_an_answer_is_counted_as_fastchat_counts_it(llmfao: Ballots):
    if not FEATURES.exists():
        pytest.skip("needs ../shared/data/llmfao/style_features.csv")
    with FEATURES.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for ours, theirs in zip(STYLE, ("tokens", "header", "list", "bold"), strict=True):
        assert (llmfao.columns[ours] == [[float(row[f"{theirs}_{side}"]) for side in "ab"] for row in rows]).all()


def test_the_left_slot_and_ties_are_worth_what_was_published(llmfao: Ballots):
    position, tie = rate(llmfao, Method(name="davidson", position=True)).terms
    assert round(position.estimate, 1) == 27.7 and round(tie.estimate, 3) == 0.395
    assert position.lower > 0 and tie.lower < tie.estimate < tie.upper


def test_a_planted_liking_for_length_is_found_and_taken_out():
    rng = np.random.default_rng(3)
    a = rng.integers(0, 4, 20_000)
    b = (a + rng.integers(1, 4, 20_000)) % 4
    # All models are alike, but the fourth writes more, and longer answers win.
    words = rng.gamma(3, 30, (20_000, 2)) * np.where(np.column_stack([a, b]) == 3, 3, 1)
    d = (words[:, 0] - words[:, 1]) / (words.sum(axis=1) + 1)
    z = (d - d.mean()) / d.std()
    winner = np.where(rng.random(20_000) < 1 / (1 + np.exp(-0.7 * z)), 0, 1)
    ballots = Ballots(tuple("abcd"), a, b, winner, columns={"words": words})
    raw, held = rate(ballots), rate(ballots, Method(style=("words",)))
    assert raw.ratings[0].model == "d" and raw.ratings[0].rating - raw.ratings[1].rating > 80
    assert abs(held.terms[0].estimate - 0.7) < 3 * held.terms[0].standard_error
    assert max(abs(row.rating - 1000) for row in held.ratings) < 25


def test_a_vote_without_the_column_is_left_out_and_counted(llmfao: Ballots):
    columns = {"tokens": llmfao.columns["tokens"].copy()}
    columns["tokens"][:100, 1] = np.nan
    board = rate(Ballots(llmfao.models, llmfao.a, llmfao.b, llmfao.winner, columns=columns), Method(style=("tokens",)))
    assert (board.n_without_columns, board.n_used) == (100, 8831)


def test_columns_that_say_nothing_are_named():
    cast = [Outcome("a", "b", "model_a"), Outcome("a", "b", "model_b"), Outcome("b", "a", "tie")]
    with pytest.raises(ArenaError, match="'tokens': these votes have words"):
        rate(ballots_of(cast, columns={"words": np.ones((3, 2))}), Method(style=("tokens",)))
    with pytest.raises(ArenaError, match="'words' is the same in every vote"):
        rate(ballots_of(cast, columns={"words": np.ones((3, 2))}), Method(style=("words",)))
    with pytest.raises(NothingToRate, match="leave a column out"):
        rate(ballots_of(cast[:2], columns={"words": np.array([[9.0, 1], [1, 9]])}), Method(style=("words",)))
    with pytest.raises(NothingToRate, match="every vote is a tie"):
        rate(ballots_of([cast[2]]), Method(name="davidson"))


def test_further_columns_of_a_file_come_in_pairs(tmp_path: Path):
    votes = tmp_path / "votes.csv"
    votes.write_text("model_a,model_b,winner,cost_a,cost_b\na,b,tie,1,2.5\na,b,tie,,3\n")
    found = read_columns(votes, ["cost", "tokens"])
    assert list(found) == ["cost"] and np.array_equal(found["cost"], [[1, 2.5], [np.nan, 3]], equal_nan=True)
    votes.write_text("model_a,model_b,winner,cost_a,cost_b\na,b,tie,1,cheap\n")
    with pytest.raises(VotesFileError, match=r"votes.csv:2: cost_b: 'cheap' is no number"):
        read_columns(votes, ["cost"])


def test_options_that_exclude_each_other_are_named(llmfao: Ballots):
    for options, told in (
        ({"name": "elo", "cluster": "voter"}, "--cluster voter needs --method bt or davidson"),
        ({"name": "davidson", "fragility": True}, "--fragility refits plain Bradley-Terry"),
        ({"orders": 3}, "--orders needs --method elo"),
        ({"weights": "pairing"}, "no vote says how likely its pair was drawn"),
        ({"anchor": ("GPT 5", 1200.0)}, "'GPT 5' has no rating here"),
    ):
        with pytest.raises(ArenaError, match=told):
            rate(llmfao, Method(**options))
