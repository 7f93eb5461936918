"""The leaderboard page: every method and category shows a board or says why there is none."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from ballot_box import demo_votes
from streamlit.testing.v1 import AppTest

from arena.store import Record, Store
from arena.views import leaderboard
from arena.votes import Battle, Vote, Winner


def app() -> None:
    from arena.views import leaderboard

    leaderboard.page()


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with Store(demo_votes(tmp_path / "arena.duckdb")) as store:
        monkeypatch.setattr(leaderboard, "current", lambda: SimpleNamespace(store=store, results=tmp_path))
        yield AppTest.from_function(app, default_timeout=60)


def shown(page: AppTest) -> str:
    assert not page.exception
    return "".join(element.proto.body for element in page.get("html"))


def test_rank_interval_fragility_and_categories_are_shown(page: AppTest):
    board = shown(page.run())
    assert "To flip" in board and "<small>1–" in board and "GPT 4" in board
    assert ">13</td>" in board.split('<td class="model">GPT 4')[1].split("</tr>")[0]
    assert "<b>GPT 4</b> is first; 13 dropped votes, at most, would put <b>Platypus-2 Instruct (70B)</b> above it." in board
    assert {"code", "maths", "hard"} < set(page.selectbox(key="category").options)


def test_style_control_says_what_length_is_worth_and_clusters_widen_the_intervals(page: AppTest):
    page.run()
    plain = _width(shown(page.run()))
    clustered = shown(page.toggle(key="cluster").set_value(True).run())
    assert "votes of one voter" in clustered and _width(clustered) > plain
    board = shown(page.toggle(key="style").set_value(True).run())
    assert "worth in log odds: tokens +" in board and "To flip" not in board
    assert "Each vote in the order" in shown(page.segmented_control(key="method").set_value("elo").run())


def test_style_control_without_texts_says_why_there_is_no_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    battles = [Battle(battle_id=f"b{n}", created_at=None, messages=(), model_a="x", model_b="y") for n in range(4)]
    with Store(tmp_path / "arena.duckdb") as store:
        winners: tuple[Winner, ...] = ("model_a", "model_b", "tie", "model_a")
        votes = [
            Vote(vote_id=b.battle_id, battle_id=b.battle_id, voter_id=None, winner=w, voted_at=None)
            for b, w in zip(battles, winners, strict=True)
        ]
        store.save_all(Record(battle, None, vote) for battle, vote in zip(battles, votes, strict=True))
        monkeypatch.setattr(leaderboard, "current", lambda: SimpleNamespace(store=store, results=tmp_path))
        page = AppTest.from_function(app, default_timeout=60).run()
        assert "2 models from 4 votes" in shown(page)
        assert "4 votes came without texts" in shown(page.toggle(key="style").set_value(True).run())


def test_what_is_chosen_stands_in_the_address(page: AppTest):
    page.query_params["category"] = "code"
    assert "from 624 votes in “code”" in shown(page.run())


def _width(board: str) -> int:
    """Of the first model's interval, in points."""
    found = re.search(r'title="(\d+) to (\d+)"', board)
    assert found
    return int(found[2]) - int(found[1])


def test_a_category_shows_its_battles_only(page: AppTest):
    page.run()
    board = shown(page.selectbox(key="category").select("code").run())
    assert "from 624 votes in “code”" in board
    assert "Nothing to rank" in shown(page.selectbox(key="category").select("german").run())
