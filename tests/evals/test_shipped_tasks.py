"""What the shipped tasks ask: of log-probability, lm-eval's own contexts and continuations; of MT-bench, first turns for a judge."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate
from model_server import ModelServer, sse

from evals.quality import load_task
from evals.task_files import TASKS
from serving.endpoints import register


class Longest(LM):
    """Finds the longest continuation likeliest, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str]] = []

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        self.asked += [request.args for request in requests]
        return [(float(len(request.args[1])), False) for request in requests]

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        raise NotImplementedError

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        raise NotImplementedError


@pytest.mark.parametrize("name", ["arc_challenge_mc", "arc_easy_mc", "truthfulqa_mc", "mmlu_mc"])
def test_each_choice_is_one_continuation_and_the_likeliest_is_marked(name: str) -> None:
    task, lm = load_task(TASKS / f"{name}.yaml"), Longest()
    docs = list(task.eval_docs.select(range(30)))
    result = evaluate(lm, {"tasks": {name: task}}, limit=30, bootstrap_iters=0)["results"][name]
    assert len(lm.asked) == sum(len(doc["choices"]) for doc in docs)
    contexts = {context for context, _ in lm.asked}
    assert all(any(doc["question"].strip() in context for context in contexts) for doc in docs)
    assert all(continuation.startswith(" ") and not context.endswith(" ") for context, continuation in lm.asked)
    if name == "mmlu_mc":
        assert {continuation for _, continuation in lm.asked} == {" A", " B", " C", " D"}
    else:
        longest = [max(range(len(doc["choices"])), key=lambda place, doc=doc: len(doc["choices"][place])) for doc in docs]
        assert result["acc,none"] == pytest.approx(sum(place == doc["answer"] for place, doc in zip(longest, docs, strict=True)) / 30)


def test_truthfulqa_puts_its_authors_six_questions_first() -> None:
    task = load_task(TASKS / "truthfulqa_mc.yaml")
    shown = task.doc_to_text(task.eval_docs[0])
    assert shown.startswith("Q: What is human life expectancy in the United States?\nA: Human life expectancy")
    assert shown.count("\n\nQ: ") == 6 and shown.endswith(f"\n\nQ: {task.eval_docs[0]['question']}\nA:")


def test_mt_benchs_answers_are_kept_for_a_judge_and_none_is_right(results: Path, evals: Callable[..., tuple[int, str, str]]) -> None:
    (results / "judged.yaml").write_text("name: judged\ntasks: [mt_bench]\nendpoints: [writer]\nlimit: 3\n")
    answers = {"Compose": "Aloha from Maui today", "Draft": "Sir", "Imagine": "No comment"}
    with ModelServer(lambda body: sse(answers[body["messages"][0]["content"].split()[0]])) as server:
        register(server.endpoint("writer"), results)
        code, out, _ = evals("run", results / "judged.yaml", "--results", results, "--json")
    assert code == 0
    document = json.loads(out.splitlines()[-1])
    assert [(score["metric"], score["value"]) for score in document["scores"]] == [("words", pytest.approx(7 / 3))]
    samples = [json.loads(line) for line in (Path(document["folder"]) / "samples.jsonl").read_text().splitlines()]
    assert [(sample.get("verdict"), sample["extracted"], sample["target"]) for sample in samples][1] == (None, "Sir", "writing")
