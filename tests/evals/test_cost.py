"""The bill: equal to sums made by hand, its intervals those of the throughput, its command honest about what nobody knows."""

import json
import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.cost import (
    HOURS_PER_MONTH,
    ApiCost,
    Estimate,
    Machine,
    Shape,
    api_bill,
    break_even,
    machine_bills,
    price_api,
    read_demand,
)
from evals.cost_runs import shape_of, usd_per_correct
from evals.errors import CostError
from evals.runs import Run, RunFiles, Sample, write_lines, write_run
from serving.completion import Completion, Request, Usage
from serving.endpoints import Endpoint, Price, register
from tests.evals.conftest import Evals

MACHINE = Machine("gpu", 2.0, Estimate(value=2000, lower=1600, upper=2500))
SHAPE = Shape(((1000.0, 1000.0, 0.0),), "as stated")
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def flat(usd_per_mtok: float) -> ApiCost:
    return ApiCost(endpoint="api", usd_per_1000_requests=2 * usd_per_mtok, usd_per_mtok=usd_per_mtok)


def test_two_dollars_an_hour_at_2000_tokens_a_second():
    assert MACHINE.usd_per_mtok().value == pytest.approx(0.278, abs=0.0005)
    assert MACHINE.usd_per_mtok(0.2).value == pytest.approx(1.39, abs=0.005)
    found = break_even(MACHINE, flat(0.60), SHAPE)
    assert found is not None and found.utilisation.value == pytest.approx(0.46, abs=0.005) and found.pays is True
    # $2 buys 1,666.7 requests of $.0012.
    assert found.requests_per_hour == pytest.approx(2 / 0.0012)


def test_the_interval_of_the_throughput_is_the_interval_of_every_cost():
    price = MACHINE.usd_per_mtok()
    assert (price.lower, price.upper) == pytest.approx((2 / (2500 * 3600) * 1e6, 2 / (1600 * 3600) * 1e6))
    shares = break_even(MACHINE, flat(0.60), SHAPE)
    assert shares is not None and (shares.utilisation.lower, shares.utilisation.upper) == pytest.approx((0.370, 0.579), abs=0.001)
    # Between $.222 and $.347: the interval does not settle an API at $.25, and settles one at $.20.
    undecided, never = break_even(MACHINE, flat(0.25), SHAPE), break_even(MACHINE, flat(0.20), SHAPE)
    assert undecided is not None and undecided.pays is None
    assert never is not None and never.pays is False
    unlimited = Machine("gpu", 2.0, Estimate(value=2000, lower=0, upper=4000))
    assert unlimited.usd_per_mtok().upper is None
    open_ended = break_even(unlimited, flat(0.60), SHAPE)
    assert open_ended is not None and open_ended.pays is None


@given(speed=st.floats(1, 1e6), share=st.floats(0.01, 1), usd=st.floats(0.01, 1000), requests=st.floats(1, 1e6), into=st.integers(1, 10**5))
def test_at_break_even_both_options_cost_the_same(speed: float, share: float, usd: float, requests: float, into: int):
    machine, shape = Machine("m", usd, Estimate(value=speed)), Shape(((float(into), 10.0, 0.0),), "x")
    api = ApiCost(endpoint="a", usd_per_1000_requests=requests, usd_per_mtok=requests / 1000 / shape.tokens * 1e6)
    found = break_even(machine, api, shape)
    assert found is not None
    assert machine.usd_per_mtok(found.utilisation.value).value == pytest.approx(api.usd_per_mtok)
    assert found.requests_per_hour * api.usd_per_1000_requests / 1000 == pytest.approx(usd)
    capacity = machine.requests_per_hour(shape.tokens).value
    assert machine.usd_per_request(shape.tokens, share).value == pytest.approx(usd / (capacity * share))


def test_an_api_is_priced_request_by_request_because_tiers_are_not_linear():
    # gemini-3.1-pro-preview: $2 up to 200,000 input tokens, $4 above. The mean request (200,000) is below the tier, half of them are not.
    google = Endpoint(
        id="g", wire="openai", model="gemini-3.1-pro-preview", base_url="https://generativelanguage.googleapis.com/v1beta/openai"
    )  # fmt: skip
    both = Shape(((100_000.0, 0.0, 0.0), (300_000.0, 0.0, 0.0)), "x")
    found = price_api(google, both, NOON)
    assert found is not None and found.usd_per_1000_requests == pytest.approx(1000 * (0.1 * 2 + 0.3 * 4) / 2)
    assert found.usd_per_mtok == pytest.approx((0.1 * 2 + 0.3 * 4) / 0.4)
    hourly = Endpoint(id="h", wire="openai", model="m", base_url="http://127.0.0.1:9", price=Price(usd_per_hour=2))
    assert price_api(hourly, both, NOON) is None


def test_a_month_is_billed_in_whole_machines():
    # One machine answers 3,600 requests of 2,000 tokens an hour. 12 h of 5,000 need two, 11 h of 100 one, an hour of 0 none.
    exact = Machine("gpu", 2.0, Estimate(value=2000))
    demand = [5000.0] * 12 + [100.0] * 11 + [0.0]
    always, scaled = machine_bills(exact, SHAPE, demand)
    assert always.usd_per_month.value == pytest.approx(2 * 2 * 730)
    assert scaled.usd_per_month.value == pytest.approx((12 * 2 + 11) / 24 * 2 * 730)
    assert always.machines is not None and always.machines.value == 2
    assert always.utilisation == pytest.approx(sum(demand) / 24 / 7200)
    o3 = Endpoint(id="o3", wire="openai", model="o3", base_url="https://api.openai.com/v1")  # a cent for 1,000 and 1,000
    billed = api_bill(o3, SHAPE, demand, NOON)
    assert billed is not None and billed.usd_per_month.value == pytest.approx(sum(demand) / 24 * HOURS_PER_MONTH * 0.01)
    # At the lower bound (1,600 tok/s) 7,000 requests an hour need three machines instead of two; at the upper one two.
    always, _ = machine_bills(MACHINE, SHAPE, [7000.0])
    assert always.machines == Estimate(value=2, lower=2, upper=3)
    assert (always.usd_per_month.lower, always.usd_per_month.upper) == (2 * 2 * 730, 3 * 2 * 730)
    full, _ = machine_bills(exact, SHAPE, [3600.0])
    assert full.machines is not None and full.machines.value == 1, "exactly full is one machine, whatever the last bit says"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1 2 3", "holds 3 numbers"),
        ("1,2\nmany", r"demand\.txt:2: 'many' is no number"),
        ("-1 " * 24, "'-1' is no number of requests"),
        ("0 " * 24, "nothing to bill"),
        ("inf " * 24, "'inf' is no number"),
    ],
)
def test_a_demand_that_does_not_fit_is_told_by_file_and_line(tmp_path: Path, text: str, told: str):
    path = tmp_path / "demand.txt"
    path.write_text(text)
    with pytest.raises(CostError, match=told):
        read_demand(path)


def test_a_demand_is_a_day_or_a_week(tmp_path: Path):
    path = tmp_path / "demand.txt"
    path.write_text("# a weekday\n" + "10, 20,\n" * 12)
    assert read_demand(path) == (10.0, 20.0) * 12
    path.write_text("3\n" * 168)
    assert len(read_demand(path)) == 168
    with pytest.raises(CostError, match="cannot be read"):
        read_demand(tmp_path / "nowhere")


def test_an_api_that_is_dearer_by_day_is_billed_hour_by_hour():
    # deepseek-flash: $.15 and $.60, twice that from 01:00 to 04:00 and from 06:00 to 10:00 UTC.
    endpoint = Endpoint(id="d", wire="openai", model="deepseek-flash", base_url="https://api.deepseek.com")
    shape = Shape(((1e6, 0.0, 0.0),), "x")
    flat_day, night = [1.0] * 24, [0.0, 1.0] + [0.0] * 22
    bills = [api_bill(endpoint, shape, demand, NOON) for demand in (flat_day, flat_day * 7, night)]
    assert [bill.usd_per_month.value for bill in bills if bill] == pytest.approx(
        [730 * 0.15 * (24 + 7) / 24, 730 * 0.15 * (24 + 7) / 24, 730 / 24 * 0.30]
    )


def quality_run(folder: Path, *, right: list[bool], cost_usd: float | None, failed: int = 0, endpoint: str = "e") -> RunFiles:
    """A finished run on disk: a document a verdict, then so many that failed."""
    completions, samples = [], []
    for number, correct in enumerate(right):
        usage = Usage(input_tokens=1500, output_tokens=500)
        one = Completion(endpoint=endpoint, request=Request.user(f"q{number}"), text="a", usage=usage, cost_usd=cost_usd)
        completions.append(one)
        samples.append(
            Sample(
                endpoint=endpoint, task="t", doc_id=number, filter="f", status="ok", request_hash=one.request_hash,
                verdict="correct" if correct else "wrong", metrics={"acc": float(correct)},
            )
        )  # fmt: skip
    for number in range(len(right), len(right) + failed):
        request = Request.user(f"q{number}")
        completions.append(Completion(endpoint=endpoint, request=request, status="timeout"))
        samples.append(
            Sample(endpoint=endpoint, task="t", doc_id=number, filter="f", status="timeout", request_hash=request.request_hash)
        )  # fmt: skip
    now = datetime(2026, 11, 20, tzinfo=UTC)
    run = Run(run_id=folder.name, suite="s", endpoints=(endpoint,), started_at=now, finished_at=now, versions={}, seed=1, config={})
    folder.mkdir(parents=True)
    write_run(run, folder)
    write_lines(folder / "completions.jsonl", completions)
    write_lines(folder / "samples.jsonl", samples)
    write_lines(folder / "scores.jsonl", [])
    return RunFiles(folder, run, (), tuple(samples), tuple(completions))


def test_dollars_a_correct_answer_and_their_interval(tmp_path: Path):
    files = quality_run(tmp_path / "r", right=[True] * 60 + [False] * 140, cost_usd=0.003, failed=5)
    found = usd_per_correct(files, {})[0]
    assert (found.n, found.correct, found.n_failed) == (200, 60, 5)
    assert found.usd_per_correct is not None and found.usd_per_correct.value == pytest.approx(0.003 / 0.3)
    # With equal costs it is cost / accuracy, so that the binomial's interval of the accuracy gives the bounds.
    spread = 1.96 * math.sqrt(0.3 * 0.7 / 200)
    assert found.usd_per_correct.lower == pytest.approx(0.003 / (0.3 + spread), rel=0.03)
    assert found.usd_per_correct.upper == pytest.approx(0.003 / (0.3 - spread), rel=0.05)


def test_an_unknown_cost_or_no_correct_answer_gives_no_figure(tmp_path: Path):
    unknown = usd_per_correct(quality_run(tmp_path / "a", right=[True, False], cost_usd=None), {})[0]
    assert unknown.usd_per_correct is None and unknown.usd_per_request is None
    wrong = usd_per_correct(quality_run(tmp_path / "b", right=[False, False], cost_usd=0.1), {})[0]
    assert wrong.usd_per_correct is None and wrong.usd_per_request == pytest.approx(0.1)
    lucky = usd_per_correct(quality_run(tmp_path / "c", right=[True] + [False] * 40, cost_usd=0.1), {})[0]
    assert lucky.usd_per_correct is not None and lucky.usd_per_correct.upper is None, "one hit in 41 has no upper limit"


def test_on_a_machine_the_throughputs_interval_widens_that_of_a_correct_answer(tmp_path: Path):
    files = quality_run(tmp_path / "r", right=[True, False] * 100, cost_usd=None)
    exact = usd_per_correct(files, {"e": Machine("e", 2.0, Estimate(value=2000))})[0].usd_per_correct
    vague = usd_per_correct(files, {"e": Machine("e", 2.0, Estimate(value=2000, lower=1400, upper=2600))})[0].usd_per_correct
    assert exact is not None and vague is not None
    assert exact.value == vague.value == pytest.approx(2000 / 1e6 * 2 / (2000 * 3600) * 1e6 / 0.5)
    assert None not in (exact.lower, exact.upper, vague.lower, vague.upper)
    assert np.subtract(vague.upper, vague.lower) > 2 * np.subtract(exact.upper, exact.lower)


def test_a_shape_comes_from_the_answers_whose_tokens_were_counted(tmp_path: Path):
    files = quality_run(tmp_path / "r", right=[True, False], cost_usd=None, failed=1)
    found = shape_of(files.completions, "r")
    assert found is not None and (found.input_tokens, found.output_tokens, len(found.requests)) == (1500, 500, 2)
    assert shape_of([Completion(endpoint="e", request=Request.user("q"), text="a")], "r") is None


def load_run(results: Path, *, rates: tuple[float, ...], repeats: int = 3) -> str:
    """A kept run of `evals load` with exact figures: at each level, that many requests a second of 1,500 + 500 tokens, in ten seconds."""
    from evals.load.figures import summarise
    from evals.load.plan import Load, append_samples
    from evals.load.plan import Sample as Request
    from evals.load.plan import Shape as Asked
    from evals.load.prompts import Words
    from evals.load.run import Summary

    folder = results / "runs" / "20261123-101500-load"
    folder.mkdir(parents=True)
    samples, levels = [], []
    for point, rate in enumerate(rates):
        load = Load(rate=rate, arrivals="constant", duration_s=10)
        ours = [
            Request(
                point=point, repeat=repeat, request=number, phase="steady", scheduled_s=number / rate, sent_s=number / rate,
                ended_s=number / rate + 0.1, ttft_s=0.05,
                latency_s=0.1, latency_from_schedule_s=0.1, input_tokens=1500, output_tokens=500, status="ok",
            )
            for repeat in range(repeats)
            for number in range(int(rate * (10 + repeat)))
        ]  # fmt: skip
        samples += ours
        levels.append(summarise(ours, load))
    append_samples(folder / "load.jsonl", samples)
    shape = Asked(input_tokens=1500, output_tokens=500)
    summary = Summary(run_id=folder.name, endpoint="ours", model="m", shape=shape, words=Words(), seed=1, levels=tuple(levels))
    (folder / "load.json").write_text(summary.model_dump_json())
    now = datetime(2026, 11, 23, tzinfo=UTC)
    write_run(
        Run(run_id=folder.name, suite="load-ours", endpoints=("ours",), started_at=now, finished_at=now, versions={}, seed=1, config={}),
        folder,
    )
    return folder.name


def test_a_load_runs_best_level_is_the_machines_throughput(evals: Evals, results: Path):
    from evals.load.run import read_summary

    name = load_run(results, rates=(2.0, 20.0))
    found = document(evals, name, "--usd-per-hour", "2", "--against", "o3", "--results", results)
    level = read_summary(results / "runs" / name).levels[1].requests_per_s
    speed = found["machines"][0]["tokens_per_s"]  # type: ignore[index]
    assert speed == pytest.approx({key: 2000 * value for key, value in level.model_dump().items()})
    assert found["shape"]["input_tokens"] == 1500  # type: ignore[index]
    at_full = found["machines"][0]["at"][-1]["usd_per_mtok"]  # type: ignore[index]
    assert at_full["value"] == pytest.approx(2 / (speed["value"] * 3600) * 1e6)
    assert at_full["lower"] == pytest.approx(2 / (speed["upper"] * 3600) * 1e6)


def test_a_load_that_was_too_low_to_say_is_called_so(evals: Evals, results: Path):
    name = load_run(results, rates=(2.0,))
    code, _, err = evals("cost", name, "--usd-per-hour", "2", "--against", "o3", "--results", results)
    assert code == 0 and "may bear more: 'evals load --sweep'" in err
    code, _, err = evals("cost", name, "--against", "o3", "--results", results)
    assert code == 1 and "endpoint 'ours' has no price per hour (it is not known here now): give --usd-per-hour" in err


def test_a_machine_that_was_really_loaded_is_billed_by_what_it_answered(evals: Evals, results: Path):
    """Three repeats of 40 requests, four at once, 20 ms each: at most 200 a second of 7 + 3 tokens."""
    from evals.load.plan import Load
    from evals.load.plan import Shape as Asked
    from evals.load.run import Settings, read_summary, run_load
    from tests.model_server import ModelServer, sse

    with ModelServer([*sse("a", "b")[:1], 0.02, *sse("a", "b")[1:]]) as server:
        endpoint = server.endpoint("ours").model_copy(update={"price": Price(usd_per_hour=2, accelerators="1×L40S")})
        register(endpoint, results)
        load, shape = Load(concurrency=4, requests=40), Asked(input_tokens=7, output_tokens=3)
        folder = run_load(Settings(endpoint=endpoint, load=load, shape=shape, repeats=3, processes=1, seed=1), results)
    found = document(evals, folder.name, "--against", "o3", "--results", results)
    level = read_summary(folder).levels[0]
    speed = found["machines"][0]["tokens_per_s"]  # type: ignore[index]
    assert speed["value"] == pytest.approx(10 * level.requests_per_s.value) and 200 < speed["value"] <= 2000
    assert speed["lower"] < speed["value"] < speed["upper"]
    assert found["shape"]["input_tokens"] == 7  # type: ignore[index]
    assert found["machines"][0]["usd_per_hour"] == 2  # type: ignore[index]
    assert found["machines"][0]["at"][-1]["usd_per_mtok"]["value"] == pytest.approx(2 / (speed["value"] * 3600) * 1e6)  # type: ignore[index]


def document(evals: Evals, *arguments: str | Path) -> dict[str, object]:
    code, out, err = evals("cost", *arguments, "--json")
    assert code == 0, err
    loaded = json.loads(out.splitlines()[-1])
    assert isinstance(loaded, dict)
    return loaded


def test_the_command_bills_a_stated_machine_against_an_api(evals: Evals, results: Path, tmp_path: Path):
    (tmp_path / "day.txt").write_text("3600\n" * 12 + "0\n" * 12)
    stated = ["--usd-per-hour", "2", "--tokens-per-s", "2000:±200", "--input-tokens", "1000", "--output-tokens", "1000"]
    asked = [*stated, "--demand", tmp_path / "day.txt", "--against", "o3", "--on", "2026-11-20", "--results", results]
    found = document(evals, *asked)
    at = {row["utilisation"]: row for row in found["machines"][0]["at"]}  # type: ignore[index]
    assert len(at) == 10
    assert at[1.0]["usd_per_mtok"]["value"] == pytest.approx(0.2778, abs=1e-4)
    assert at[0.2]["usd_per_1000_requests"]["value"] == pytest.approx(1.389 * 2, abs=1e-3)
    # o3: $2 in, $8 out: $5 blended at 1:1.
    assert found["apis"][0]["usd_per_mtok"] == pytest.approx(5)  # type: ignore[index]
    months = {bill["option"]: bill["usd_per_month"]["value"] for bill in found["months"]}  # type: ignore[attr-defined]
    assert months["own machine, always on"] == pytest.approx(1460)
    assert months["own machine, scaled by the hour"] == pytest.approx(730)
    assert months["o3"] == pytest.approx(1800 * 730 * 0.01)
    code, out, _ = evals("cost", *asked)
    assert code == 0 and "100 %" in out and "own machine, always on" in out and "o3" in out


def test_the_command_takes_shape_and_correct_answers_from_a_run(evals: Evals, results: Path):
    quality_run(results / "runs" / "20261120-q", right=[True, False] * 50, cost_usd=0.002)
    found = document(evals, "20261120-q", "--against", "gpt-4o-mini", "--results", results)
    assert found["shape"]["input_tokens"] == 1500  # type: ignore[index]
    assert found["per_correct"][0]["usd_per_correct"]["value"] == pytest.approx(0.004)  # type: ignore[index]
    # gpt-4o-mini: $.15 in, $.60 out.
    assert found["apis"][0]["usd_per_1000_requests"] == pytest.approx(1.5 * 0.15 + 0.5 * 0.6)  # type: ignore[index]
    code, out, _ = evals("cost", "20261120-q", "--results", results)
    assert code == 0 and "50 of 100" in out


def test_a_stated_throughput_may_be_that_of_an_endpoint(evals: Evals, results: Path):
    (results / "endpoints").mkdir()
    (results / "endpoints" / "ours.yaml").write_text("id: ours\nwire: openai\nmodel: m\nbase_url: http://127.0.0.1:9\n")
    (results / "prices.yaml").write_text("endpoints: {ours: {usd_per_hour: 2, accelerators: 1×L40S}}\n")
    quality_run(results / "runs" / "20261120-q", right=[True, False] * 50, cost_usd=None, endpoint="ours")
    found = document(evals, "20261120-q", "--machine", "ours", "--tokens-per-s", "2000", "--against", "o3", "--results", results)
    assert found["machines"][0]["accelerators"] == "1×L40S"  # type: ignore[index]
    # 2,000 tokens at $.2778 per million, half of the answers right.
    assert found["per_correct"][0]["usd_per_correct"]["value"] == pytest.approx(2 * 2000 * 0.27778e-6, rel=1e-4)  # type: ignore[index]


def test_what_has_no_price_is_named_and_not_billed(evals: Evals, results: Path):
    (results / "endpoints").mkdir()
    (results / "endpoints" / "ours.yaml").write_text("id: ours\nwire: openai\nmodel: m\nbase_url: http://127.0.0.1:9\n")
    found = document(evals, "--input-tokens", "10", "--output-tokens", "10", "--against", "ours", "--against", "o3", "--results", results)
    assert found["not_priced"] == ["ours"] and [api["endpoint"] for api in found["apis"]] == ["o3"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "no shape: give --input-tokens"),
        (["--input-tokens", "5"], "needs both --input-tokens and --output-tokens"),
        (["--input-tokens", "0", "--output-tokens", "0"], "at least one token"),
        (["--input-tokens", "5", "--output-tokens", "5", "--tokens-per-s", "100"], "--tokens-per-s needs --usd-per-hour"),
        (["--input-tokens", "5", "--output-tokens", "5", "--machine", "o3"], "--machine names what --tokens-per-s is of"),
        (
            ["--input-tokens", "5", "--output-tokens", "5", "--machine", "o3", "--tokens-per-s", "9"],
            "endpoint 'o3' has no price per hour: give --usd-per-hour",
        ),
        (["--input-tokens", "5", "--output-tokens", "5", "--tokens-per-s", "fast", "--usd-per-hour", "1"], "--tokens-per-s fast: write"),
        (["--input-tokens", "5", "--output-tokens", "5", "--tokens-per-s", "0", "--usd-per-hour", "1"], "more than 0"),
        (["--input-tokens", "5", "--output-tokens", "5", "--demand", "nowhere.txt"], "--demand nowhere.txt: cannot be read"),
        (["--input-tokens", "5", "--output-tokens", "5", "--demand", "x", "--requests-per-hour", "1"], "give one"),
        (["--input-tokens", "5", "--output-tokens", "5", "--against", "gpt-44o-mini"], "no endpoint 'gpt-44o-mini'. Did you mean"),
        (["no-such-run"], "no run 'no-such-run'"),
    ],
)
def test_each_error_is_one_line_with_its_remedy(evals: Evals, results: Path, arguments: list[str], told: str):
    code, out, err = evals("cost", *arguments, "--results", results)
    assert code == 1 and told in err and len(err.strip().splitlines()) == 1 and out == ""
