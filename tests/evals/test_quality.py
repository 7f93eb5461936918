"""An error is never an answer; where nothing failed, the scores are lm-eval's own; a run keeps what it was given."""

import re
from pathlib import Path

import pytest
from lm_eval.evaluator import evaluate
from model_server import CUT, ModelServer, problem, sse
from sums import SUMS, adds, run_sums, sums_task

from evals.asking import Asker
from evals.errors import TaskError
from evals.lm import EndpointLM
from evals.measures import measures
from evals.quality import Progress, ask_task, load_task, run_suite
from evals.report import notes
from evals.runs import read_run_record
from evals.scoring import score
from evals.suite import Suite
from evals.task_files import TASKS
from serving.endpoints import load_endpoints, register

TWO_FILTERS = """\
filter_list:
  - {name: first, filter: [{function: regex, regex_pattern: "([0-9]+)"}, {function: take_first}]}
  - {name: last, filter: [{function: regex, regex_pattern: "([0-9]+)", group_select: -1}, {function: take_first}]}
"""


def test_failed_requests_are_counted_and_never_scored(tmp_path: Path, results: Path) -> None:
    failures = {
        "1 + 1 =": problem("500 Internal Server Error", "boom"),
        "2 + 2 =": problem("429 Too Many Requests", "slow down"),
        "3 + 3 =": [*sse("6")[:2], CUT],
        "4 + 4 =": sse("8", finish="content_filter"),
    }
    with ModelServer(lambda body: failures.get(body["messages"][0]["content"]) or adds(body)) as server:
        files = run_sums(server, sums_task(tmp_path / "tasks").parent, results)
    (found,) = files.scores
    # Six answers came, five of them right (5 + 5 = 11 is the model's own mistake); four never came.
    assert (found.n, found.n_failed, found.coverage) == (6, 4, 0.6)
    assert found.value == pytest.approx(5 / 6)
    by_doc = {sample.doc_id: sample for sample in files.samples}
    assert [by_doc[number].verdict for number in range(10)] == ["correct", None, None, None, None, "wrong", *["correct"] * 4]
    assert [by_doc[number].status for number in range(1, 5)] == ["api_error", "api_error", "malformed", "filtered"]
    assert len((files.folder / "completions.jsonl").read_text().splitlines()) == 10
    (measure,) = measures(files)
    assert measure.statuses == {"ok": 6, "api_error": 2, "malformed": 1, "filtered": 1}
    (note,) = notes(files)
    assert "adder on sums: 4 of 10 requests failed" in note
    assert "between 50.00 % and 90.00 %" in note


def test_where_nothing_was_answered_there_is_no_score(tmp_path: Path, results: Path) -> None:
    with ModelServer(problem("401 Unauthorized", "who are you?")) as server:
        files = run_sums(server, sums_task(tmp_path / "tasks").parent, results)
    (found,) = files.scores
    assert (found.metric, found.value, found.stderr, found.n, found.n_failed, found.coverage) == ("exact_match", None, None, 0, 10, 0.0)
    assert "who are you?" in notes(files)[0]


def test_mean_and_standard_error_equal_lm_evals_own(tmp_path: Path) -> None:
    task = load_task(sums_task(tmp_path / "tasks", TWO_FILTERS))
    with ModelServer(lambda body: sse(f"1 or {body['messages'][0]['content'][0]}?")) as server:
        lm = EndpointLM(Asker(server.endpoint(), lambda completion: None))
        ours = {found.metric: found for found in score(task, ask_task(lm, task), "r")}
        theirs = evaluate(lm, {"tasks": {"sums": task}}, apply_chat_template=True)["results"]["sums"]
    assert set(ours) == {"exact_match,first", "exact_match,last"}
    for name, found in ours.items():
        assert found.value == theirs[name]
        assert found.stderr == theirs[name.replace("exact_match,", "exact_match_stderr,")]
    assert 0 < theirs["exact_match,last"] < 1


def test_a_shipped_tasks_score_equals_lm_evals_own() -> None:
    task = load_task(TASKS / "prime.yaml")
    lm = EndpointLM(Asker(load_endpoints()["gpt-3.5-turbo-0613"], lambda completion: None))
    ours = {found.metric: found for found in score(task, ask_task(lm, task, limit=900), "r")}
    theirs = evaluate(lm, {"tasks": {"prime": task}}, apply_chat_template=True, fewshot_as_multiturn=True, limit=900)["results"]["prime"]
    for name in ("exact_match", "unparsed"):
        assert (ours[name].value, ours[name].stderr) == (theirs[f"{name},answer"], theirs[f"{name}_stderr,answer"])
        assert 0 < theirs[f"{name},answer"] < 1


def test_few_shot_examples_are_turns_drawn_by_the_suites_seed(tmp_path: Path, results: Path) -> None:
    folder = sums_task(tmp_path / "tasks", "num_fewshot: 2\nfewshot_split: test\n").parent
    with ModelServer(adds) as server:
        first, same, other = (run_sums(server, folder, results, seed=seed, limit=5) for seed in (1, 1, 2))
        roles = [turn["role"] for turn in server.requests[0]["messages"]]
    assert roles == ["user", "assistant", "user", "assistant", "user"]
    hashes = [[sample.request_hash for sample in files.samples] for files in (first, same, other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_an_endpoint_that_cannot_chat_is_asked_with_a_text_prompt(tmp_path: Path) -> None:
    with ModelServer(sse("0")) as server:
        lm = EndpointLM(Asker(server.endpoint(capabilities={"chat": False, "completions": True}), lambda completion: None))
        (sample,) = ask_task(lm, load_task(sums_task(tmp_path / "tasks")), limit=1)
    assert server.requests[0]["prompt"] == "0 + 0 ="
    assert sample.verdict == "correct"


def test_a_document_without_a_metric_of_its_own_is_answered_all_the_same(tmp_path: Path) -> None:
    path = sums_task(tmp_path / "tasks", "process_results: !function choosy.score\n")
    source = "def score(doc, results):\n    return {'exact_match': 1.0} if doc['answer'] == '0' else {}\n"
    (path.parent / "choosy.py").write_text(source)
    task = load_task(path)
    with ModelServer(adds) as server:
        samples = ask_task(EndpointLM(Asker(server.endpoint(), lambda completion: None)), task)
    (found,) = score(task, samples, "r")
    assert (found.n, found.n_failed, found.coverage, found.value) == (1, 0, 1.0, 1.0)


def test_an_error_rate_of_one_is_a_wrong_answer(tmp_path: Path) -> None:
    path = sums_task(tmp_path / "tasks", "process_results: !function strict.score\n")
    path.write_text(path.read_text().replace("exact_match", "missed").replace("true", "false"))
    (path.parent / "strict.py").write_text("def score(doc, results):\n    return {'missed': int(results[0] != doc['answer'])}\n")
    with ModelServer(adds) as server:
        samples = ask_task(EndpointLM(Asker(server.endpoint(), lambda completion: None)), load_task(path))
    assert [sample.verdict for sample in samples].count("wrong") == 1
    assert samples[5].verdict == "wrong"


def test_a_run_writes_down_what_was_asked_and_with_what(tmp_path: Path, results: Path) -> None:
    folder = sums_task(tmp_path / "tasks").parent
    with ModelServer(adds) as server:
        files = run_sums(server, folder, results, parameters={"temperature": None, "max_tokens": 4}, limit=3, seed=7)
        again = run_sums(server, folder, results, limit=3)
        assert {(body.get("temperature"), body["max_tokens"]) for body in server.requests[:3]} == {(None, 4)}
    assert files.folder == results / "runs" / files.run.run_id
    assert again.folder != files.folder
    assert files.run.run_id.endswith("-sums")
    assert files.run.started_at <= (files.run.finished_at or files.run.started_at)
    assert (files.run.seed, files.run.config["limit"], files.run.endpoints) == (7, 3, ("adder",))
    assert files.run.config["endpoints"]["adder"]["base_url"] == server.base_url
    assert {"python", "lm_eval"} <= set(files.run.versions)
    assert {sample.request_hash for sample in files.samples} == {completion.request_hash for completion in files.completions}


def test_progress_is_told_request_by_request(tmp_path: Path, results: Path) -> None:
    told: list[Progress] = []
    folder = sums_task(tmp_path / "tasks").parent
    suite = Suite(name="sums", tasks=("sums.yaml",), endpoints=("adder",), limit=4)
    with ModelServer(adds) as server:
        register(server.endpoint("adder"), results)
        run_suite(suite, suite.parts, folder=folder, results=results, on_progress=told.append)
    assert [(progress.done, progress.total) for progress in told] == [(done, 4) for done in range(5)]


def test_a_run_that_breaks_off_keeps_its_completions(tmp_path: Path, results: Path) -> None:
    path = sums_task(tmp_path / "tasks", "process_results: !function broken.score\n")
    (path.parent / "broken.py").write_text("def score(doc, results):\n    raise ArithmeticError('a slip in the task')\n")
    with ModelServer(adds) as server, pytest.raises(ArithmeticError):
        run_sums(server, path.parent, results)
    (folder,) = (results / "runs").iterdir()
    assert len((folder / "completions.jsonl").read_text().splitlines()) == 10
    assert read_run_record(folder).finished_at is None


def test_a_tasks_data_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sums_task(tmp_path / "tasks")
    monkeypatch.chdir("/")
    assert len(load_task(path).eval_docs) == 10
    assert len(load_task(TASKS / "gsm8k_chat.yaml").eval_docs) == 1319


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SUMS.replace("doc_to_text", "doc_to_txt"), "doc_to_txt"),
        (SUMS.replace("sums.jsonl", "gone.jsonl"), "gone.jsonl"),
        ("group: many\ntask: [a, b]\n", "must hold 'task: NAME'"),
        ("task: [\n", "cannot be loaded"),
    ],
)
def test_a_task_that_cannot_be_loaded_names_its_file(tmp_path: Path, text: str, says: str) -> None:
    path = sums_task(tmp_path / "tasks")
    path.write_text(text)
    with pytest.raises(TaskError, match=says) as told:
        load_task(path)
    assert str(path) in str(told.value)


def test_a_log_probability_task_is_refused_before_anything_is_written(tmp_path: Path, results: Path) -> None:
    path = sums_task(tmp_path / "tasks")
    choices = SUMS.replace("generate_until", "multiple_choice").replace("exact_match", "acc")
    path.write_text(re.sub("generation_kwargs.*\n", 'doc_to_choice: ["0", "2"]\n', choices).replace('"{{answer}}"', "0"))
    with ModelServer(adds) as server, pytest.raises(TaskError, match="log-probabilities"):
        run_sums(server, path.parent, results)
    assert server.requests == []
    assert not (results / "runs").exists()
