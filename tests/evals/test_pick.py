"""`evals pick` chooses whoever is best of those that keep every constraint, and never takes what is unknown for anything."""

from dataclasses import replace

import pytest
from pick_market import asked, board, choose, endpoint, level, records

from evals.errors import PickError
from evals.pick.constraints import Require
from evals.pick.report import advice, reasons, relaxed, verdict
from evals.pick.wishes import Under, Weights, Wishes

QUALITY = {"good": 180, "fair": 150, "poor": 80}
ONLY_QUALITY = {"quality": 1.0}


def test_the_better_one_is_chosen_and_the_next_is_the_runner_up():
    decision = choose(records(QUALITY), weigh=ONLY_QUALITY)
    assert decision.choice == "good" and decision.runner_up == "fair"
    assert decision.probability is not None and decision.probability > 0.95
    assert verdict(decision).startswith("good: almost certainly the best")


def test_probabilities_of_all_who_may_be_chosen_add_up_to_one():
    decision = choose(records({"a": 160, "b": 158, "c": 156}), weigh=ONLY_QUALITY)
    assert sum(one.probability_best for one in decision.candidates) == pytest.approx(1)
    assert decision.probability is not None and decision.probability < 0.8


def test_one_that_breaks_a_constraint_is_left_out_with_the_reason():
    decision = choose(records(QUALITY, usd=0.01), weigh=ONLY_QUALITY, require={"min_quality": {"sums": 0.6}})
    assert [one.endpoint for one in decision.excluded] == ["poor"]
    assert reasons(decision.excluded[0]) == "quality on sums 40.0 % < 60.0 %"


@pytest.mark.parametrize(
    ("require", "why"),
    [
        ({"open_weights": True}, "open weights: unknown"),
        ({"data_stays": True}, "data stay: unknown"),
        ({"licenses": ["mit"]}, "licence: unknown"),
        ({"min_rating": 900}, "human rating unknown"),
        ({"max_ttft_p95_s": 2}, "time to first token, p95 unknown"),
    ],
)
def test_what_is_unknown_never_passes(require: dict[str, object], why: str):
    decision = choose(records(QUALITY, seconds=None), weigh=ONLY_QUALITY, require=require)
    assert decision.choice is None and {reasons(one) for one in decision.excluded} == {why}
    assert all(one.probability_feasible is None for one in decision.excluded)


def test_terms_come_from_the_catalogue():
    terms = {
        "good": endpoint("good", open_weights=False, data_leaves=True, license="proprietary"),
        "fair": endpoint("fair", open_weights=True, data_leaves=False, license="MIT"),
        "poor": endpoint("poor", open_weights=True, data_leaves=False, license="llama2"),
    }
    decision = choose(
        records(QUALITY, endpoints=terms), weigh=ONLY_QUALITY, require={"open_weights": True, "data_stays": True, "licenses": ["mit"]}
    )
    assert decision.choice == "fair" and decision.runner_up is None
    assert {one.endpoint: reasons(one) for one in decision.excluded} == {
        "poor": "its licence is llama2",
        "good": "its weights are closed; data leave; its licence is proprietary",
    }


def test_one_without_a_measure_that_counts_cannot_be_chosen():
    rated = board(("good", 1050, 10), ("fair", 1000, 10), ("stranger", 1300, 10))
    decision = choose(records(QUALITY, rated=rated), weigh={"quality": 1, "rating": 1})
    assert decision.choice == "good"
    unknown = {one.endpoint: one.unknown for one in decision.excluded}
    assert unknown == {"poor": ("rating",), "stranger": ("quality",)}


def test_a_model_of_the_arena_is_the_endpoint_that_its_name_is_mapped_to():
    rated = board(("Good (7B)", 1200, 10), ("fair", 1000, 10))
    decision = choose(records(QUALITY, rated=rated), weigh={"rating": 1}, names={"Good (7B)": "good"})
    assert decision.choice == "good"


def test_without_weights_the_widest_comparison_is_taken_and_said():
    rated = board(("good", 1000, 10), ("elsewhere", 1000, 10))
    decision = choose(records(QUALITY, rated=rated))
    assert {name for name, weight in decision.weigh.items() if weight} == {"quality", "latency", "cost"}
    assert any("not weighed: rating" in note for note in decision.notes)


def test_one_more_endpoint_does_not_change_the_order_of_the_others():
    two = choose(records({"a": 160, "b": 150}), weigh={"quality": 1, "cost": 1})
    three = choose(records({"a": 160, "b": 150, "c": 20}), weigh={"quality": 1, "cost": 1})
    assert [one.endpoint for one in two.candidates] == [one.endpoint for one in three.candidates][:2]


def test_a_weight_is_what_a_unit_is_worth():
    found = records({"good": 180, "cheap": 140})
    cheap = replace(found.asked["cheap", "sums"], cost_usd=(0.0005,) * 200)
    found = replace(found, asked={**found.asked, ("cheap", "sums"): cheap})
    # 20 points of quality are two units, half the dollars one.
    assert choose(found, weigh={"quality": 1, "cost": 1}).choice == "good"
    assert choose(found, weigh={"quality": 1, "cost": 3}).choice == "cheap"


def test_an_infeasible_set_says_what_to_relax_and_by_how_much_and_that_is_enough():
    asks = {"min_quality": {"sums": 0.95}, "max_usd_per_1000": 2.0}
    decision = choose(records(QUALITY), weigh=ONLY_QUALITY, require=asks)
    assert decision.choice is None
    (change,) = decision.relaxations[0].changes
    assert (change.constraint, change.to) == ("min_quality:sums", 0.9)
    assert relaxed(decision)[0] == "lower min_quality:sums from 0.95 to 0.9 (by 5 points): lets good in"
    assert choose(records(QUALITY), weigh=ONLY_QUALITY, require=asks | {"min_quality": {"sums": change.to}}).choice == "good"


def test_every_relaxation_lets_its_endpoint_in():
    found = records({"a": 171, "b": 133, "c": 97}, usd=0.00373, seconds=1.7713)
    asks = {"min_quality": {"sums": 0.99}, "max_usd_per_1000": 1.1, "max_latency_p95_s": 1.01}
    decision = choose(found, weigh=ONLY_QUALITY, require=asks)
    for relaxation in decision.relaxations:
        eased: dict[str, object] = dict(asks)
        for change in relaxation.changes:
            if change.constraint.startswith("min_quality"):
                eased["min_quality"] = {"sums": change.to}
            else:
                eased[change.constraint] = change.to
        assert relaxation.endpoint in [one.endpoint for one in choose(found, weigh=ONLY_QUALITY, require=eased).candidates]
    assert decision.relaxations


def test_seconds_under_a_load_are_those_of_the_lowest_tested_load_that_is_enough():
    loads = {"good": level(2.0, rate=8), "fair": level(1.0, rate=4), "poor": level(0.5, rate=2)}
    decision = choose(records(QUALITY, loads=loads), weigh={"quality": 1, "latency": 1}, under={"rate": 4})
    assert {one.endpoint for one in decision.candidates} == {"good", "fair"}
    assert {one.endpoint: reasons(one) for one in decision.excluded} == {"poor": "latency unknown"}


def test_failures_under_load_break_a_promise_of_seconds():
    loads = {"good": level(0.1, failed=10), "fair": level(1.0)}
    decision = choose(records(QUALITY, loads=loads), weigh=ONLY_QUALITY, under={"rate": 4}, require={"max_latency_p95_s": 5})
    assert decision.choice == "fair"
    assert "30 of 300 requests failed at 4 req/s poisson" in {reasons(one) for one in decision.excluded if one.endpoint == "good"}


def test_a_month_is_billed_for_the_demand():
    decision = choose(records(QUALITY), under={"requests_per_month": 100_000}, require={"max_usd_per_month": 150}, weigh={"cost": 1})
    assert decision.candidates[0].values["usd_per_month"].value == pytest.approx(100)


def test_near_a_limit_the_doubt_is_told():
    decision = choose(records({"a": 121, "b": 90, "c": 60}), weigh=ONLY_QUALITY, require={"min_quality": {"sums": 0.6}})
    assert decision.choice == "a" and decision.probability_feasible is not None and 0.3 < decision.probability_feasible < 0.8
    assert "It keeps every constraint with a probability of" in verdict(decision)
    # One that is best wherever it is feasible is the best as often as it is feasible.
    assert decision.probability == pytest.approx(decision.probability_feasible, abs=0.03)


def test_the_advice_names_a_measurement_that_raises_the_probability():
    decision = choose(records({}, rated=board(("a", 1010, 5), ("b", 1000, 20), ("c", 900, 5))), weigh={"rating": 1})
    first = decision.measure_next[0]
    # The less that is known of it, the more there is to learn.
    assert (first.measure, first.endpoint, first.n_more, first.unit) == ("rating", "b", 100, "votes")
    assert first.now < first.then <= first.most <= 1
    assert advice(decision)[0].startswith("Measure next: human rating of b, 100 more votes: the probability of a right choice goes from")


def test_a_settled_choice_needs_no_measurement():
    decision = choose(records({"a": 190, "b": 100, "c": 60}), weigh=ONLY_QUALITY)
    assert not decision.measure_next and "settled" in advice(decision)[0]


def test_one_that_was_never_measured_on_something_is_offered_for_a_first_measurement():
    rated = board(("good", 1000, 10), ("fair", 990, 10), ("poor", 980, 10), ("stranger", 1200, 10))
    found = records(QUALITY, rated=rated)
    decision = choose(found, weigh={"quality": 1, "rating": 1})
    assert decision.measure_first[0].endpoint == "stranger" and decision.measure_first[0].missing == ("quality:sums",)
    assert decision.measure_first[0].probability_best > 0.2


def test_only_the_named_are_chosen_among():
    decision = choose(records(QUALITY), weigh=ONLY_QUALITY, endpoints=["fair", "poor"])
    assert decision.choice == "fair" and not decision.excluded


@pytest.mark.parametrize(
    ("wished", "told"),
    [
        ({"tasks": ("summs",)}, "task 'summs': no finished run has asked it. Did you mean 'sums'?"),
        ({"endpoints": ("goood",)}, "endpoint 'goood': unknown. Did you mean 'good'?"),
        ({"require": {"min_quality": {"words": 0.5}}}, "task 'words': no finished run has asked it"),
    ],
)
def test_a_name_that_nobody_knows_is_one_clear_line(wished: dict[str, object], told: str):
    with pytest.raises(PickError, match=told.replace("?", r"\?")):
        choose(records(QUALITY), **wished)


def test_nothing_at_all_says_what_to_run():
    with pytest.raises(PickError, match="evals run demo"):
        choose(records({}))


def test_wishes_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="needs a demand"):
        Wishes(require=Require(max_usd_per_month=5))
    with pytest.raises(ValueError, match="two kinds of load"):
        Under(rate=1, concurrency=2)
    with pytest.raises(ValueError, match="every weight is 0"):
        Wishes(weigh=Weights())
    with pytest.raises(ValueError, match="share from 0 to 1"):
        Require(min_quality={"sums": 80})


def test_tasks_that_were_not_asked_of_all_leave_the_others_unknown():
    found = records(QUALITY)
    found = replace(found, asked={**found.asked, ("good", "words"): asked(100), ("fair", "words"): asked(120)})
    both = choose(found, weigh=ONLY_QUALITY, tasks=["sums", "words"])
    assert both.choice == "good" or both.choice == "fair"
    assert {one.endpoint: reasons(one) for one in both.excluded} == {"poor": "task quality unknown"}
    assert {one.endpoint for one in choose(found, weigh=ONLY_QUALITY, tasks=["s*"]).candidates} == set(QUALITY)
