"""The leaderboard page: every method and category shows a board or says why there is none."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from arena.importers import seed_demo
from arena.store import Store
from arena.views import leaderboard


def app() -> None:
    from arena.views import leaderboard

    leaderboard.page()


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with Store(tmp_path / "arena.duckdb") as store:
        seed_demo(store)
        monkeypatch.setattr(leaderboard, "current", lambda: SimpleNamespace(store=store, results=tmp_path))
        yield AppTest.from_function(app, default_timeout=60)


def shown(page: AppTest) -> str:
    assert not page.exception
    return "".join(element.proto.body for element in page.get("html"))


def test_rank_interval_fragility_and_categories_are_shown(page: AppTest):
    board = shown(page.run())
    assert "To flip" in board and "<small>1–" in board and "GPT 4" in board
    assert ">13</td>" in board.split("GPT 4")[1].split("</tr>")[0]
    assert {"code", "maths", "hard"} < set(page.selectbox(key="category").options)


def test_a_category_shows_its_battles_only(page: AppTest):
    page.run()
    board = shown(page.selectbox(key="category").select("code").run())
    assert "from 624 votes in “code”" in board
    assert "Nothing to rank" in shown(page.selectbox(key="category").select("german").run())
