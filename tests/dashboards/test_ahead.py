"""What the first visitor would wait for is there before he comes."""

import threading
from pathlib import Path

import pytest
from ballot_box import demo_votes

from arena.battle import Arena, open_arena
from arena.errors import ArenaError
from arena.store import Store
from arena.views.boards import board_of
from dashboards import pick_records
from dashboards.ahead import prepare
from dashboards.vote_figures import health_of, pairs_of, past_of
from evals.pick.scope import scope_of
from evals.pick.wishes import Wishes
from evals.quality import run_suite
from evals.suite import choose_endpoints, find_suite, load_suite


def imported() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def test_pages_on_votes_need_the_store_no_more(results: Path):
    with Store(demo_votes(results / "arena.duckdb")) as store:
        with open_arena(Arena(store, results=results, demo=True, speed=1, secret="s")) as arena:
            counts = store.counts()
            prepare(arena, imported(), at_least=1)
    with pytest.raises(ArenaError):
        store.counts()
    board, n_votes, _ = board_of(arena, counts)
    assert n_votes == counts.n_votes and board.ratings[0].n_to_flip is not None
    assert past_of(arena, counts)[-1].ratings[0].model == board.ratings[0].model
    assert pairs_of(arena, counts)[0][0].model == board.ratings[0].model
    assert health_of(arena, counts).n_votes == n_votes


def test_pick_has_nothing_left_to_draw(results: Path, monkeypatch: pytest.MonkeyPatch):
    suite = load_suite(find_suite("demo")).model_copy(update={"limit": 25})
    run_suite(suite, choose_endpoints(suite, []), folder=find_suite("demo").parent, results=results)
    with Store(demo_votes(results / "arena.duckdb")) as store:
        with open_arena(Arena(store, results=results, demo=True, speed=1, secret="s")) as arena:
            prepare(arena, imported(), at_least=1)
            monkeypatch.setattr(pick_records, "read_records", None)
            monkeypatch.setattr(pick_records, "believe", None)
            scope = scope_of(pick_records.records_of(arena), Wishes())
            assert scope.tasks and set(pick_records.beliefs_of(scope.market).draws) == set(scope.market.measures) > {"rating"}


def test_a_house_that_closes_meanwhile_is_no_trouble(results: Path):
    with Store(results / "arena.duckdb") as store, open_arena(Arena(store, results=results, demo=False, speed=1, secret="s")) as arena:
        pass
    prepare(arena, imported(), at_least=0)
