"""Two endpoints on the same items: the published drift of GPT-4, what failed, what was asked differently, and each refusal in one line."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from model_server import ModelServer
from sums import adds, run_sums, sums_task

from evals.compare import Comparison, compare
from evals.compare_report import says
from evals.errors import TaskError
from evals.items import choose_pairs, cluster_of, match, read_sides
from evals.runs import Run, RunFiles, Sample, Score, read_run, write_lines, write_run
from serving.completion import Completion, Request, Usage
from tests.evals.conftest import Evals


def kept_run(
    results: Path,
    name: str,
    answers: dict[str, list[float | None]],
    *,
    sha256: str = "a" * 64,
    seed: int = 0,
    prompts: str = "What is {}?",
    targets: str = "{}",
    metric: str = "exact_match",
    started_at: datetime = datetime(2026, 11, 20, 12, tzinfo=UTC),
    tokens: int | list[int] = 10,
    latency_s: float | list[float] = 1.0,
) -> RunFiles:
    """A finished run: for each endpoint the metric of documents 0, 1, …; None for a request that failed."""
    folder = results / "runs" / name
    folder.mkdir(parents=True)
    run = Run(
        run_id=name,
        suite="suite",
        endpoints=tuple(answers),
        started_at=started_at,
        finished_at=started_at,
        versions={},
        seed=seed,
        config={"tasks": {"sums": {"path": "sums.yaml", "sha256": sha256}}, "limit": None},
    )
    samples, completions = [], []
    for endpoint, values in answers.items():
        for number, value in enumerate(values):
            status: Any = "api_error" if value is None else "ok"
            request = Request.user(prompts.format(number))
            words = "right" if value else "wrong"
            completions.append(
                Completion(
                    endpoint=endpoint,
                    request=request,
                    text="" if value is None else words,
                    status=status,
                    usage=Usage() if value is None else Usage(output_tokens=tokens if isinstance(tokens, int) else tokens[number]),
                    latency_s=None if value is None else latency_s if isinstance(latency_s, float) else latency_s[number],
                )
            )
            samples.append(
                Sample(
                    endpoint=endpoint,
                    task="sums",
                    doc_id=number,
                    filter="none",
                    status=status,
                    verdict=None if value not in (0, 1) else "correct" if value else "wrong",
                    target=targets.format(number),
                    extracted=None if value is None else words,
                    metrics={} if value is None else {metric: value},
                    request_hash=request.request_hash,
                )
            )
    write_run(run, folder)
    write_lines(folder / "samples.jsonl", samples)
    write_lines(folder / "completions.jsonl", completions)
    scores = [
        Score(run_id=name, endpoint=one, task="sums", metric=metric, value=None, stderr=None, n=0, n_failed=0, coverage=1)
        for one in answers
    ]
    write_lines(folder / "scores.jsonl", scores)
    return read_run(folder)


def compared(results: Path, *names: str, **options: Any) -> list[Comparison]:
    return compare(choose_pairs(read_sides(names, results)), **options)


def test_the_published_drift_of_gpt_4(demo: RunFiles):
    run = demo.run.run_id
    (found,) = compared(demo.folder.parents[1], f"{run}:gpt-4-0314", f"{run}:gpt-4-0613")
    assert (found.value_a, found.value_b) == pytest.approx((0.840, 0.511))
    assert (found.lost, found.gained, found.n) == (476, 147, 1000)
    assert found.test == "mcnemar_exact" and found.p == pytest.approx(2.1e-41, rel=0.01)
    assert found.lower is not None and found.upper is not None and found.lower < -0.329 < found.upper < -0.28
    shifts = {shift.quantity: shift for shift in found.shifts}
    tokens, dollars, seconds = shifts["output_tokens"], shifts["cost_usd"], shifts["latency_s"]
    assert (tokens.mean_a, tokens.mean_b) == pytest.approx((215.4, 2.9), abs=0.05)
    assert (1000 * dollars.mean_a, 1000 * dollars.mean_b) == pytest.approx((13.83, 1.07), abs=0.005)
    assert (seconds.median_a, seconds.median_b) == pytest.approx((6.7, 1.46), abs=0.01)
    assert all(shift.p == pytest.approx(1 / 4001) and shift.upper is not None and shift.upper < 0 for shift in shifts.values())
    # 62.6 % of the answers changed.
    assert found.changed == 626
    fell = [flip for flip in found.flips if flip.verdict_a == "correct"]
    assert len(fell) == len(found.flips) - len(fell) == 3
    assert all("prime number" in flip.prompt and flip.verdict_b == "wrong" for flip in fell)


def test_gpt_3_5_went_the_other_way(demo: RunFiles):
    run = demo.run.run_id
    (found,) = compared(demo.folder.parents[1], f"{run}:gpt-3.5-turbo-0301", f"{run}:gpt-3.5-turbo-0613")
    assert (found.value_a, found.value_b, found.lost, found.gained) == pytest.approx((0.529, 0.760, 173, 404))
    assert found.p is not None and found.p < 1e-20


def test_one_run_means_all_pairs_that_share_a_task_with_q_over_all(demo: RunFiles):
    found = compared(demo.folder.parents[1], demo.run.run_id, examples=0)
    assert [one.task for one in found] == ["gsm8k"] * 6 + ["prime"] * 6
    assert all(one.q is not None and one.p is not None and one.q >= one.p for one in found)
    (close,) = [one for one in found if "gpt-4-0613" in one.a and "gpt-3.5-turbo-0301" in one.b]
    assert (close.lost, close.gained) == (18, 36) and close.settled


def test_runs_are_compared_endpoint_by_endpoint_with_the_first(results: Path):
    for name in ("r1", "r2", "r3"):
        kept_run(results, name, {"x": [1.0, 0.0, 1.0], "y": [1.0, 1.0, 1.0]})
    pairs = [(a.name, b.name) for a, b in choose_pairs(read_sides(["r1", "r2", "r3"], results))]
    assert pairs == [("r1:x", "r2:x"), ("r1:y", "r2:y"), ("r1:x", "r3:x"), ("r1:y", "r3:y")]
    kept_run(results, "r4", {"z": [1.0, 0.0, 1.0]})
    assert [(a.name, b.name) for a, b in choose_pairs(read_sides(["r4", "r1"], results))] == [("r4:z", "r1:x"), ("r4:z", "r1:y")]


def test_an_endpoints_name_may_hold_colons(results: Path):
    kept_run(results, "r", {"llama3:8b": [1.0], "llama3:70b": [0.0]})
    ((one,),) = read_sides(["r:llama3:70b"], results)
    assert (one.endpoint, one.name) == ("llama3:70b", "r:llama3:70b")
    ((folder,),) = read_sides([f"{results / 'runs' / 'r'}:llama3:8b"], results / "elsewhere")
    assert folder.endpoint == "llama3:8b"


def test_what_failed_is_in_no_pair_and_widens_the_bounds(results: Path):
    kept_run(results, "r", {"x": [1.0] * 50 + [0.0] * 40 + [None] * 10, "y": [None] * 5 + [1.0] * 60 + [0.0] * 35})
    (found,) = compared(results, "r")
    assert (found.n, found.n_failed_a, found.n_failed_b) == (85, 10, 5)
    assert (found.lost, found.gained) == (0, 15)
    # At best the fifteen unknown items are no difference, at worst each is one lost: 15 or 0 gained on balance, of 100.
    assert found.bounds is not None and found.lower is not None
    assert found.bounds[0] < 0.0 < found.lower and 0.15 < found.bounds[1] < 0.26
    assert "10 and 5 requests failed: had they been answered, it would lie within [" in says(found)


def test_two_that_are_not_told_apart_say_how_many_items_it_takes(results: Path):
    kept_run(results, "r", {"x": [1.0] * 60 + [0.0] * 40, "y": [0.0] * 6 + [1.0] * 64 + [0.0] * 30})
    (found,) = compared(results, "r")
    assert not found.settled and found.items_more is not None and found.detectable is not None
    # 6 lost, 10 gained: sd² of a difference is .16 − .04², detectable 2.8 sd/√n.
    assert found.detectable == pytest.approx(2.8016 * ((0.16 - 0.0016) / 99) ** 0.5, rel=1e-3)
    assert found.items_more == pytest.approx(100 * (found.detectable / 0.04) ** 2 - 100, abs=1)
    assert f"you need about {found.items_more:,} more items" in says(found)


def test_a_metric_that_is_no_share_is_bootstrapped(results: Path):
    kept_run(results, "r", {"x": [3.0, 5.0, 7.0, 4.0] * 10, "y": [4.0, 6.0, 9.0, 4.5] * 10}, metric="grade")
    (found,) = compared(results, "r", examples=1)
    assert (found.test, found.lost, found.metric) == ("bootstrap_t", None, "grade")
    assert found.difference == pytest.approx(1.125) and found.settled
    (flip,) = found.flips
    assert (flip.doc_id, flip.verdict_a, flip.verdict_b) == (2, "7", "9")


def test_prompts_that_differ_are_told_and_different_limits_meet_on_what_both_asked(results: Path):
    kept_run(results, "plain", {"x": [1.0, 0.0, 1.0]})
    kept_run(results, "thinking", {"x": [1.0, 1.0, 1.0, 0.0]}, prompts="Think. What is {}?")
    (found,) = compared(results, "plain", "thinking")
    assert found.n == 3
    assert "3 of 3 documents were asked differently" in found.notes[0]
    assert found.notes[1] == "1 documents were asked of thinking:x alone and are left out"


def test_each_refusal_is_one_line_with_its_remedy(evals: Evals, results: Path):
    kept_run(results, "r", {"x": [1.0, 0.0], "y": [1.0, 1.0]})
    kept_run(results, "other-file", {"x": [1.0, 0.0]}, sha256="b" * 64)
    kept_run(results, "other-data", {"x": [1.0, 0.0]}, targets="<{}>")
    kept_run(results, "other-seed", {"x": [1.0, 0.0]}, seed=1, prompts="1 + 1 = 2. What is {}?")
    kept_run(results, "failed", {"x": [None, None]})
    kept_run(results, "single", {"x": [1.0]})
    (results / "runs" / "load").mkdir()
    (results / "runs" / "load" / "load.json").write_text("{}")
    (results / "runs" / "load" / "run.json").write_text("{}")
    for arguments, told in [
        (["r", "other-file"], "task 'sums': its file is not the same in r:x and other-file:x (sha256 aaaaaaaaaaaa and bbbbbbbbbbbb)"),
        (["r", "other-data"], "document 0 has target '0' in the one and '<0>' in the other (2 of 2 differ)"),
        (["r", "other-seed"], "seeds 0 and 1, and 2 of 2 documents were asked with different prompts; run both with the same seed"),
        (["r", "failed"], "no document was answered by both r:x and failed:x"),
        (["r:x"], "r:x is one endpoint; name another"),
        (["r:x", "r:x"], "r:x is named twice"),
        (["r:z", "r:x"], "this run has no endpoint 'z'"),
        (["load", "r"], "a load test has no scores"),
        (["rr", "r"], "no run 'rr'"),
        (["r", "single", "--metric", "exactmatch"], "no metric 'exactmatch' that is a number. Did you mean 'exact_match'"),
    ]:
        code, out, err = evals("compare", *arguments, "--results", results)
        assert (code, out) == (1, "") and told in err and len(err.strip().splitlines()) == 1


def test_the_command_prints_tables_or_one_document(evals: Evals, demo: RunFiles):
    run, results = demo.run.run_id, demo.folder.parents[1]
    sides = (f"{run}:gpt-4-0314", f"{run}:gpt-4-0613")
    code, out, err = evals("compare", *sides, "--results", results)
    assert (code, err) == (0, "")
    assert "476:147" in out and "2e-41" in out and "$13.83" in out and "gpt-4-0613 is 32.9 points below gpt-4-0314" in out
    code, out, _ = evals("compare", *sides, "--examples", 1, "--json", "--results", results)
    document = json.loads(out.splitlines()[-1])
    assert code == 0 and Comparison.model_validate(document["comparisons"][0]).lost == 476
    assert len(document["comparisons"][0]["flips"]) == 2


def test_items_of_one_cluster_count_as_one(results: Path):
    files = kept_run(results, "r", {"x": [1.0, 1.0, 0.0, 0.0] * 5, "y": [0.0, 0.0, 0.0, 0.0] * 5})
    ((x, y),) = read_sides(["r"], results)
    matched = match(x, y, "sums")
    assert matched.clusters is None and len(matched.a) == 20 and matched.metric == "exact_match"
    assert [item.output_tokens for item in matched.a] == [10] * 20
    write_lines(files.folder / "samples.jsonl", [one.model_copy(update={"cluster": str(one.doc_id // 4)}) for one in files.samples])
    (found,) = compared(results, "r")
    assert (found.n, found.n_clusters, found.test) == (20, 5, "cluster_t")


def test_a_task_names_its_clusters_by_a_field_of_its_documents():
    class Task:
        task_name = "reading"

        def get_config(self, key: str) -> dict[str, str] | None:
            return {"cluster": "passage"} if key == "metadata" else None

    assert cluster_of(Task(), {"passage": 7, "question": "Who?"}) == "7"
    with pytest.raises(TaskError, match="metadata.cluster is 'passage', which its documents lack; they have question"):
        cluster_of(Task(), {"question": "Who?"})


def test_a_run_keeps_each_documents_cluster_and_refuses_a_misspelt_one_before_asking(tmp_path: Path, results: Path):
    folder = sums_task(tmp_path / "tasks", "metadata: {version: 1.0, cluster: answer}\n").parent
    with ModelServer(adds) as server:
        files = run_sums(server, folder, results)
        assert [sample.cluster for sample in files.samples] == [str(2 * number) for number in range(10)]
        asked = len(server.requests)
        sums_task(folder, "metadata: {version: 1.0, cluster: passage}\n")
        with pytest.raises(TaskError, match="its documents lack; they have question, answer"):
            run_sums(server, folder, results)
        assert len(server.requests) == asked


def test_a_named_metric_leaves_out_the_tasks_without_it(results: Path):
    files = kept_run(results, "r", {"x": [1.0, 0.0, 1.0], "y": [1.0, 1.0, 1.0]})
    graded = [sample.model_copy(update={"task": "essays", "metrics": {"grade": 7.0 + sample.doc_id}}) for sample in files.samples]
    write_lines(files.folder / "samples.jsonl", [*files.samples, *graded])
    assert [(one.task, one.metric) for one in compared(results, "r")] == [("sums", "exact_match"), ("essays", "grade")]
    assert [one.task for one in compared(results, "r", metric="grade")] == ["essays"]
