"""Pick in the browser says what `evals pick` says, reacts to what is wished, and says what to run where nothing is known."""

import time
import timeit
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from ballot_box import demo_votes
from pick_market import level, records
from streamlit.testing.v1 import AppTest

from arena.store import Store
from arena.views.kept import Kept
from dashboards import pick_records, picking
from evals.pick.certainty import believe
from evals.pick.choosing import decide
from evals.pick.evidence import Loaded, Market, read_records
from evals.pick.report import second
from evals.pick.scope import scope_of
from evals.pick.wishes import Under, Weights, Wishes
from evals.quality import run_suite
from evals.suite import choose_endpoints, find_suite, load_suite


def app() -> None:
    from dashboards import picking

    picking.page()


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("results")
    suite = load_suite(find_suite("demo")).model_copy(update={"limit": 100})
    run_suite(suite, choose_endpoints(suite, []), folder=find_suite("demo").parent, results=results)
    return results


@pytest.fixture(scope="module")
def voted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(demo_votes(tmp_path_factory.mktemp("votes") / "arena.duckdb")) as store:
        yield store


@pytest.fixture
def page(scored: Path, voted: Store, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setattr(picking, "current", lambda: SimpleNamespace(store=voted, results=scored))
    return AppTest.from_function(app, default_timeout=60)


def shown(page: AppTest) -> str:
    assert not page.exception
    return "".join(element.proto.body for element in page.get("html"))


def test_the_page_says_what_the_command_says(page: AppTest, scored: Path):
    scope = scope_of(read_records(scored), Wishes())
    decision = decide(scope, Wishes(), believe(scope.market))
    text = shown(page.run())
    assert decision.choice and f"<h2>{decision.choice}</h2>" in text
    assert decision.runner_up and second(decision) in text.replace("&lt;", "<").replace("&gt;", ">")
    assert "Not weighed: rating" in text


def test_a_limit_that_nobody_keeps_says_what_to_relax(page: AppTest):
    page.run()
    page.number_input(key="limit-quality-prime").set_value(99.0).run()
    text = shown(page)
    assert "<h2>Nobody</h2>" in text and "Lower min_quality:prime from 0.99 to" in text


def test_weighing_people_alone_chooses_among_the_rated(page: AppTest):
    page.run()
    for name, weight in (("rating", 1.0), ("quality", 0.0), ("latency", 0.0), ("cost", 0.0)):
        page.slider(key=f"weigh-{name}").set_value(weight)
    assert "<h2>GPT 4</h2>" in shown(page.run())


def test_a_change_is_answered_within_half_a_second(page: AppTest):
    page.run()
    took = []
    for weight in (0.5, 2.0, 1.5):
        began = time.process_time()
        page.slider(key="weigh-cost").set_value(weight).run()
        took.append(time.process_time() - began)
    # Longer on a machine that needs longer for everything: a million additions are .06 s where half a second is meant.
    million = min(timeit.repeat("for _ in range(1_000_000): x += 1", "x = 0", repeat=5, number=1, timer=time.process_time))
    assert not page.exception and min(took) < max(0.5, 8 * million)


def test_weights_and_limits_draw_nothing_anew(page: AppTest, monkeypatch: pytest.MonkeyPatch):
    drawn: list[Market] = []
    monkeypatch.setattr(pick_records, "_BELIEFS", Kept(4))
    monkeypatch.setattr(pick_records, "believe", lambda market: drawn.append(market) or believe(market))
    page.run()
    page.slider(key="weigh-cost").set_value(2.5).run()
    page.number_input(key="limit-quality-prime").set_value(40.0).run()
    page.slider(key="weigh-rating").set_value(1.5).run()
    assert not page.exception and len(drawn) == 1


def test_each_load_has_its_own_draws_and_few_are_kept():
    levels = {rate: level(seconds, rate=rate) for rate, seconds in ((2, 0.5), (4, 1.0), (8, 4.0), (16, 9.0), (32, 20.0), (64, 50.0))}
    one = Loaded(tuple(("load", found) for found in levels.values()))
    found = replace(records({"a": 100, "b": 120, "c": 150}), loaded={"a": one, "b": one, "c": one})
    for rate in (*levels, *levels):
        market = scope_of(found, Wishes(weigh=Weights(latency=1), under=Under(rate=rate))).market
        own, kept = believe(market), pick_records.beliefs_of(market)
        assert {name: draws.tolist() for name, draws in kept.draws.items()} == {name: draws.tolist() for name, draws in own.draws.items()}
    assert len(pick_records._BELIEFS._entries) == 4


def test_what_is_computed_of_records_is_bounded():
    found = records({"a": 100})
    for number in range(2_000):
        assert found.once(number, lambda number=number: number) == number
    assert len(found.known) <= 500 and found.once(1_999, lambda: -1) == 1_999


def test_wishes_start_from_the_file(page: AppTest, scored: Path):
    (scored / "pick.yaml").write_text("require: {open_weights: true}\nweigh: {quality: 2, cost: 1}\n")
    try:
        page.run()
        assert page.toggle[0].value and page.slider(key="weigh-quality").value == 2.0
        assert "its weights are closed" in shown(page)
    finally:
        (scored / "pick.yaml").unlink()


def test_a_file_that_does_not_fit_is_one_line(page: AppTest, scored: Path):
    (scored / "pick.yaml").write_text("wiegh: {quality: 2}\n")
    try:
        page.run()
        assert not page.exception and "wiegh: unknown key. Did you mean 'weigh'?" in page.error[0].value
    finally:
        (scored / "pick.yaml").unlink()


def test_without_any_evidence_it_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with Store(tmp_path / "arena.duckdb") as store:
        monkeypatch.setattr(picking, "current", lambda: SimpleNamespace(store=store, results=tmp_path))
        assert "evals run demo" in shown(AppTest.from_function(app, default_timeout=60).run())


def test_names_cannot_become_markup(scored: Path):
    scope = scope_of(read_records(scored), Wishes())
    decision = decide(scope, Wishes(), believe(scope.market))
    candidates = tuple(one.model_copy(update={"endpoint": "<script>"}) for one in decision.candidates)
    hostile = decision.model_copy(update={"choice": "<script>", "runner_up": "<script>", "candidates": candidates})
    measures = [measure for parts in hostile.objectives.values() for measure in parts]
    assert "<script>" not in picking.headline(hostile) + picking.table(hostile, measures)
