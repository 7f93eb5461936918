"""An endpoint that changed is found, one that did not is left in peace, and cron can tell which by the exit code."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evals.drift import Drift, find_drift, find_series, frozen_series
from evals.errors import NotComparable
from evals.items import read_sides
from evals.runs import RunFiles, read_run, read_run_record, run_folders, write_lines, write_run
from tests.evals.conftest import Evals
from tests.evals.test_compare import kept_run

DAY_ONE = datetime(2026, 11, 1, 6, tzinfo=UTC)
RIGHT = [1.0] * 80 + [0.0] * 20


def canary(results: Path, name: str, days: float, values: list[float | None] | None = None, **more: Any) -> RunFiles:
    """The endpoint `gpt` asked the frozen items some days after the first."""
    return kept_run(results, name, {"gpt": list(RIGHT) if values is None else values}, started_at=DAY_ONE + timedelta(days=days), **more)


def drift(results: Path, *names: str, **options: Any) -> Drift:
    return find_drift([side for sides in read_sides(names, results) for side in sides], **options)


def test_the_published_drift_of_gpt_4_is_an_alarm(evals: Evals, demo: RunFiles):
    run, results = demo.run.run_id, demo.folder.parents[1]
    code, out, err = evals("drift", f"{run}:gpt-4-0314", f"{run}:gpt-4-0613", "--json", "--results", results)
    document = json.loads(out.splitlines()[-1])
    changes = {change["metric"]: change for change in document["changes"]}
    assert (code, err, document["drifted"]) == (3, "", True)
    right = changes["exact_match"]
    assert (right["before"], right["after"], right["lost"], right["gained"]) == pytest.approx((0.840, 0.511, 476, 147))
    assert right["p"] == pytest.approx(2.1e-41, rel=0.01)
    tokens, dollars = changes["output_tokens"], changes["cost_usd"]
    assert (tokens["before"], tokens["after"]) == pytest.approx((215.4, 2.9), abs=0.05)
    assert (1000 * dollars["before"], 1000 * dollars["after"]) == pytest.approx((13.83, 1.07), abs=0.005)
    assert [name for name, change in changes.items() if not change["drifted"]] == ["unparsed", "truncated"]
    assert len(document["flips"]) == 4 and all("prime number" in flip["prompt"] for flip in document["flips"])
    code, out, _ = evals("drift", f"{run}:gpt-4-0314", f"{run}:gpt-4-0613", "--results", results)
    assert code == 3 and "(476:147)" in out and "$13.83" in out and "DRIFT" in out


def test_the_pair_of_gpt_3_5_drifted_in_format_and_length_too(demo: RunFiles):
    run = demo.run.run_id
    found = drift(demo.folder.parents[1], f"{run}:gpt-3.5-turbo-0301", f"{run}:gpt-3.5-turbo-0613")
    changes = {change.metric: change for change in found.drifted}
    assert (changes["unparsed"].lost, changes["unparsed"].gained) == (0, 47)
    assert (changes["truncated"].lost, changes["truncated"].gained) == (6, 32)
    assert (changes["exact_match"].before, changes["exact_match"].after) == pytest.approx((0.529, 0.760))


def test_the_newest_run_is_held_against_the_first_on_the_same_items(evals: Evals, results: Path):
    canary(results, "old-file", -9, sha256="b" * 64)
    canary(results, "first", 0)
    canary(results, "middle", 10)
    canary(results, "newest", 20)
    canary(results, "unfinished", 30)
    folder = results / "runs" / "unfinished"
    write_run(read_run(folder).run.model_copy(update={"finished_at": None}), folder)
    copied = canary(results, "rescored", 25)
    write_run(copied.run.model_copy(update={"config": {**copied.run.config, "rescored_from": "first"}}), copied.folder)
    series, notes = find_series(results, "gpt", "suite")
    assert [side.files.folder.name for side in series] == ["first", "newest"]
    records = [(folder, read_run_record(folder)) for folder in run_folders(results)]
    whole, _ = frozen_series(records, "gpt", "suite", where=results)
    assert [run.run_id for _, run in whole] == ["first", "middle", "newest"]
    assert "1 runs of 'gpt'" in notes[0]
    code, out, _ = evals("drift", "--endpoint", "gpt", "--results", results)
    assert code == 0 and "no drift in 4 metrics of newest:gpt" in out
    canary(results, "worse", 21, [0.0] * 30 + RIGHT[30:])
    code, out, _ = evals("drift", "--endpoint", "gpt", "--suite", "suite", "--results", results)
    assert code == 3 and "DRIFT of worse:gpt in" in out and "80.0 % -> 50.0 %" in out


def test_what_moves_between_repeats_is_noise(results: Path):
    draw = np.random.default_rng(0)

    def seconds(mean: float) -> list[float]:
        return (mean + 0.05 * draw.random(100)).tolist()

    canary(results, "first", 0, latency_s=seconds(1.0))
    canary(results, "later", 9, latency_s=seconds(1.04))
    alone = drift(results, "first", "later")
    assert [change.metric for change in alone.drifted] == ["latency_s"]
    assert alone.drifted[0].noise is None and any("run it twice within a day" in note for note in alone.notes)
    canary(results, "repeat", 0.2, latency_s=seconds(1.045))
    found = drift(results, "first", "repeat", "later")
    (latency,) = [change for change in found.changes if change.metric == "latency_s"]
    assert found.repeats == ("repeat:gpt",) and not found.drifted
    assert latency.noise is not None and latency.q is not None and latency.q < 0.01 and latency.moved <= latency.noise
    # A week later is no repeat: it may itself have drifted.
    canary(results, "week", 7, latency_s=seconds(1.045))
    assert drift(results, "first", "week", "later").repeats == ()


def test_failures_and_lengths_are_watched_while_the_score_stands_still(results: Path):
    canary(results, "first", 0, tokens=list(range(100, 200)))
    canary(results, "later", 5, [*RIGHT[:70], *[None] * 30], tokens=list(range(150, 250)))
    found = drift(results, "first", "later")
    changes = {change.metric: change for change in found.changes}
    assert changes["failed"].drifted and (changes["failed"].lost, changes["failed"].gained) == (0, 30)
    assert changes["output_tokens"].drifted and changes["output_tokens"].difference == pytest.approx(50)
    assert not changes["exact_match"].drifted and changes["exact_match"].n == 70
    assert not drift(results, "first", "later", tolerance=0.9).drifted[0].kind == "quantity"


def test_an_endpoint_that_is_as_it_was_raises_few_alarms(tmp_path: Path):
    draw = np.random.default_rng(4)
    alarms = 0
    for world in range(40):
        ability, length = draw.random(60), draw.lognormal(4, 1, 60)
        for name, days in (("then", 0), ("now", 9)):
            values = (draw.random(60) < ability).astype(float).tolist()
            tokens = (length * draw.lognormal(0, 0.3, 60)).astype(int).tolist()
            canary(
                tmp_path / str(world), name, days, values, tokens=tokens, latency_s=(0.02 * length * draw.lognormal(0, 0.3, 60)).tolist()
            )
        alarms += bool(drift(tmp_path / str(world), "then", "now", examples=0).drifted)
    # Two in forty are allowed by q ≤ 5 %; more than six would come three times in a thousand.
    assert alarms <= 6


def test_an_entry_that_we_changed_ourselves_is_told(results: Path):
    for name, days, model in (("first", 0, "gpt-4o"), ("later", 5, "gpt-4o-mini")):
        files = canary(results, name, days)
        write_run(files.run.model_copy(update={"config": {**files.run.config, "endpoints": {"gpt": {"model": model}}}}), files.folder)
    assert "the endpoint's own entry changed between the runs: model" in drift(results, "first", "later").notes


def test_several_tasks_share_one_false_discovery_rate(results: Path):
    for name, days in (("first", 0), ("later", 5)):
        files = canary(results, name, days)
        both = [*files.samples, *(sample.model_copy(update={"task": "products"}) for sample in files.samples)]
        write_lines(files.folder / "samples.jsonl", both)
    found = drift(results, "first", "later")
    assert [(change.task, change.metric) for change in found.changes if change.kind == "share"] == [
        ("sums", "exact_match"),
        ("products", "exact_match"),
    ]
    assert not found.drifted and not found.flips


def test_each_error_is_one_line_with_its_remedy(evals: Evals, results: Path):
    canary(results, "first", 0)
    kept_run(results, "two", {"gpt": [1.0], "other": [1.0]}, started_at=DAY_ONE)
    canary(results, "changed", 5, sha256="b" * 64)
    for arguments, told in [
        ([], "which endpoint? Give --endpoint ID"),
        (["first"], "drift needs two runs"),
        (["first", "two"], "two: name one of its endpoints, as two:ENDPOINT or with --endpoint ID; it has gpt, other"),
        (["first", "changed"], "its file is not the same in first:gpt and changed:gpt"),
        (["--endpoint", "gptt"], "no finished run of endpoint 'gptt'"),
        (
            ["--endpoint", "gpt"],
            "one run of suite 'suite' with these tasks, seed and limit (changed); drift needs two: run 'evals run suite",
        ),
    ]:
        code, out, err = evals("drift", *arguments, "--results", results)
        assert (code, out) == (1, "") and told in err and len(err.strip().splitlines()) == 1
    with pytest.raises(NotComparable, match="Did you mean 'gpt'"):
        find_series(results, "gpt4")
