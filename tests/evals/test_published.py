"""What others published about real models' answers comes out of our code, verdict by verdict, from recordings asked like any endpoint.

BBH's recording ships; the others are made here from the published files, which lie beside the checkout (../shared).
"""

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import serving
from evals.asking import Asker
from evals.lm import EndpointLM
from evals.quality import ask_task, load_task
from evals.runs import Sample, Score
from evals.sandbox import allowing_code
from evals.scoring import score
from evals.task_files import TASKS, listed_tasks
from serving.completion import Completion, Request
from serving.endpoints import Endpoint, load_endpoints

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def recorded(folder: Path, requests: Iterable[Request], texts: Iterable[str], *, chat: bool) -> Endpoint:
    """An endpoint that gave these texts to these requests."""
    path = folder / "recording.jsonl"
    answers = (Completion(endpoint="m", request=request, text=text).to_line() for request, text in zip(requests, texts, strict=True))
    path.write_text("\n".join(answers) + "\n", encoding="utf-8")
    capabilities = {"chat": chat, "completions": not chat}
    return Endpoint.model_validate({"id": "m", "model": "m", "wire": "recorded", "recording": path, "capabilities": capabilities})


def asked(endpoint: Endpoint, task: Any) -> tuple[dict[str, Score], list[Sample]]:
    samples = ask_task(EndpointLM(Asker(endpoint, lambda completion: None)), task)
    return {found.metric: found for found in score(task, samples, "r")}, samples


@pytest.mark.parametrize(("mode", "mean"), [("direct", 52.76), ("cot", 73.71)])
def test_bbh_gives_the_54_published_accuracies(mode: str, mean: float) -> None:
    path = TASKS / f"bbh_{mode}.yaml"
    endpoint = load_endpoints()["code-davinci-002"]
    accuracies = {}
    for name in listed_tasks(path):
        scores, _ = asked(endpoint, load_task(path, name))
        assert scores["exact_match"].coverage == 1
        accuracies[f"{mode}/{name.removeprefix(f'bbh_{mode}_')}"] = 100 * (scores["exact_match"].value or 0)
    assert (len(accuracies), round(sum(accuracies.values()) / 27, 2)) == (27, mean)
    published = DATA / "bbh" / "code-davinci-002_published_accuracy.json"
    if not published.exists():
        pytest.skip(f"{published} is not on this machine: the accuracies were compared by their mean alone")
    for name, values in json.loads(published.read_text()).items():
        if name.startswith(mode):
            assert accuracies.pop(name) == pytest.approx(values["accuracy"], abs=1e-9), name
    assert not accuracies


def test_bbhs_shipped_questions_and_answers_are_the_published_ones() -> None:
    outputs = lines(DATA / "bbh" / "code-davinci-002_outputs.jsonl.gz")
    shipped = lines(Path(serving.__file__).parent / "recordings" / "bbh.jsonl.gz")
    assert [row.get("text", "") for row in shipped] == [row["prediction"] for row in outputs]
    cut = [row["task"] for row, line in zip(outputs, shipped, strict=True) if not line["request"]["prompt"].endswith("Q: " + row["input"])]
    # One question holds "A:" itself; the authors' data file cuts it there, their outputs have it whole.
    assert cut == ["snarks", "snarks"]
    for mode in ("direct", "cot"):
        for name in listed_tasks(TASKS / f"bbh_{mode}.yaml"):
            subject = name.removeprefix(f"bbh_{mode}_")
            targets = [row["target"] for row in outputs if (row["mode"], row["task"]) == (mode, subject)]
            assert [doc["target"] for doc in lines(TASKS / "bbh" / f"{subject}.jsonl.gz")] == targets


def test_ifeval_gives_every_published_verdict(tmp_path: Path) -> None:
    strict, loose = (lines(DATA / "ifeval" / f"podtech_eval_results_{kind}.jsonl") for kind in ("strict", "loose"))
    task = load_task(TASKS / "ifeval.yaml")
    assert [doc["prompt"] for doc in task.eval_docs] == [row["prompt"] for row in strict] == [row["prompt"] for row in loose]
    requests = [Request.user(row["prompt"]) for row in strict]
    scores, samples = asked(recorded(tmp_path, requests, [row["response"] for row in strict], chat=True), task)
    for sample, row_strict, row_loose in zip(samples, strict, loose, strict=True):
        assert sample.metrics["inst_level_strict_acc"] == row_strict["follow_instruction_list"], row_strict["prompt"]
        assert sample.metrics["inst_level_loose_acc"] == row_loose["follow_instruction_list"], row_loose["prompt"]
    values = {name: round(100 * (found.value or 0), 2) for name, found in scores.items()}
    assert values == {
        "prompt_level_strict_acc": 77.22,
        "inst_level_strict_acc": 83.77,
        "prompt_level_loose_acc": 79.63,
        "inst_level_loose_acc": 85.58,
    }


def test_humanevals_canonical_solutions_all_pass(tmp_path: Path) -> None:
    problems = lines(DATA / "humaneval" / "HumanEval.jsonl.gz")
    task = load_task(TASKS / "humaneval_completion.yaml")
    requests = [Request(prompt=problem["prompt"]) for problem in problems]
    endpoint = recorded(tmp_path, requests, [problem["canonical_solution"] for problem in problems], chat=False)
    with allowing_code(True):
        scores, samples = asked(endpoint, task)
    assert [sample.extracted for sample in samples if sample.verdict != "correct"] == []
    assert (scores["pass@1"].value, scores["pass@1"].n) == (1.0, 164)


def test_humanevals_example_samples_pass_half_the_time(tmp_path: Path) -> None:
    (problem,) = lines(DATA / "humaneval" / "example_problem.jsonl")
    completions = [row["completion"] for row in lines(DATA / "humaneval" / "example_samples.jsonl")]
    # One request has one answer in a recording: a comment tells the six apart.
    problems = [{**problem, "prompt": f"# {number}\n{problem['prompt']}"} for number in range(len(completions))]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(one) + "\n" for one in problems))
    (tmp_path / "example.yaml").write_text(
        f"include: {TASKS / 'humaneval_completion.yaml'}\ntask: example\ndataset_kwargs: {{data_files: {{test: test.jsonl}}}}\n"
    )
    endpoint = recorded(tmp_path, [Request(prompt=one["prompt"]) for one in problems], completions, chat=False)
    with allowing_code(True):
        scores, samples = asked(endpoint, load_task(tmp_path / "example.yaml"))
    assert scores["pass@1"].value == 0.5
    assert ["timed out"] in [sample.extracted for sample in samples]
