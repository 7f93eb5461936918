"""The leaderboard in the whole house: the public board, then lines over time and a picture, each with its origin and its data."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from arena.importers import seed_demo
from arena.store import Store
from arena.views import leaderboard
from dashboards import rankings, vote_figures


def app() -> None:
    from dashboards import rankings

    rankings.page()


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with Store(tmp_path / "arena.duckdb") as store:
        for module in (leaderboard, rankings):
            monkeypatch.setattr(module, "current", lambda: SimpleNamespace(store=store, results=tmp_path))
        yield store


def test_the_best_six_have_a_line_each_and_the_order_of_the_votes_stands_for_time(opened: Store):
    seed_demo(opened)
    page = AppTest.from_function(app, default_timeout=60).run()
    assert not page.exception
    assert len(page.multiselect(key="lines").value) == 6 and page.multiselect(key="lines").value[0] == "GPT 4"
    origins = [caption.value for caption in page.caption]
    assert "12 exact fits" in origins[0] and "8,931 rated votes; when they were cast is not recorded" in origins[0]
    assert "The best 25 of 59" in origins[1]
    assert [button.proto.label for button in page.get("download_button")] == ["CSV"] + 2 * ["CSV", "SVG", "PNG"]


def test_the_last_point_of_a_line_is_the_rating_on_the_board(opened: Store):
    from arena.history import history
    from arena.ratings import rate

    seed_demo(opened)
    board = {row.model: row.rating for row in rate(opened.ballots(counted=True)).ratings}
    rows = rankings.lines(history(opened.ballots(times=True)), ["GPT 4"])
    assert rows[-1]["rating"] == pytest.approx(board["GPT 4"]) and rows[-1]["n_votes"] == 8931
    assert {row["model"] for row in rows} == {"GPT 4"}


def test_without_votes_only_the_empty_state_is_shown(opened: Store):
    page = AppTest.from_function(app, default_timeout=60).run()
    assert not page.exception and not page.multiselect
    assert "arena import" in "".join(element.proto.body for element in page.get("html"))


def test_a_large_arena_does_not_fit_its_past_anew_for_every_vote():
    assert vote_figures.recent(8_931) != vote_figures.recent(8_932)
    assert vote_figures.recent(1_000_000) == vote_figures.recent(1_000_999) != vote_figures.recent(1_001_000)
