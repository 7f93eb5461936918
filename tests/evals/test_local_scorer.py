"""A model of one's own scores as lm-eval's `hf` backend says, to every digit: given texts from weights, answers through a server."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_llama import build_tiny_llama

from evals.asking import Asker
from evals.errors import TaskError
from evals.lm import EndpointLM
from evals.quality import ask_task, load_task, run_suite
from evals.scoring import score
from evals.suite import Suite
from serving.completion import Completion
from serving.endpoints import Endpoint, register

CHOICES = """\
task: capitals
dataset_path: json
dataset_kwargs: {data_files: {test: capitals.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""
WORDS = ["Paris", "Rome", "Madrid", "Lisbon", "a town that nobody knows"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_llama(tmp_path_factory.mktemp("model") / "tiny", texts=WORDS, seed=3)


@pytest.fixture
def task(tmp_path: Path) -> Path:
    rows = [
        {"question": f"Question {number}: the capital is", "choices": WORDS[: 2 + number % 4], "answer": number % 2} for number in range(40)
    ]
    (tmp_path / "capitals.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "capitals.yaml").write_text(CHOICES)
    return tmp_path / "capitals.yaml"


def test_multiple_choice_equals_lm_evals_hf_backend_to_every_digit(weights: Path, task: Path, results: Path) -> None:
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    register(Endpoint(id="tiny", wire="openai", model=str(weights), base_url="http://127.0.0.1:9/v1", engine="transformers"), results)
    recorded: list[Completion] = []
    endpoint = Endpoint(id="tiny", wire="openai", model=str(weights), base_url="http://127.0.0.1:9/v1", engine="transformers")
    loaded = load_task(task)
    samples = ask_task(EndpointLM(Asker(endpoint, recorded.append)), loaded)
    ours = {found.metric: found for found in score(loaded, samples, "r")}
    theirs = evaluate(
        HFLM(pretrained=str(weights), device="cpu", batch_size=1), {"tasks": {"capitals": load_task(task)}}, bootstrap_iters=0
    )
    expected = theirs["results"]["capitals"]
    for name in ("acc", "acc_norm"):
        assert ours[name].value == expected[f"{name},none"]
        assert f"{ours[name].stderr:.12f}" == f"{_stderr(expected, name, 40):.12f}"
    logged = {sample["doc_id"]: [pair[0][0] for pair in sample["resps"]] for sample in theirs["samples"]["capitals"]}
    asked = iter(recorded)
    for doc_id in range(40):
        assert [next(asked).loglikelihood for _ in logged[doc_id]] == logged[doc_id]
    assert {sample.verdict for sample in samples} == {"correct", "wrong"}


def _stderr(expected: dict[str, Any], name: str, n: int) -> float:
    share = expected[f"{name},none"]
    return float((share * (1 - share) / (n - 1)) ** 0.5)


def test_scores_of_given_texts_resume_like_answers(weights: Path, task: Path) -> None:
    from evals.asking import Held

    endpoint = Endpoint(id="tiny", wire="openai", model=str(weights), base_url="http://127.0.0.1:9/v1", engine="transformers")
    first: list[Completion] = []
    loaded = load_task(task)
    before = ask_task(EndpointLM(Asker(endpoint, first.append)), loaded, limit=6)
    kept = [Completion.model_validate_json(completion.to_line()) for completion in first]
    again: list[Completion] = []
    after = ask_task(EndpointLM(Asker(endpoint, again.append, held=Held.of(kept))), loaded, limit=6)
    assert again == [] and after == before


def test_where_neither_probe_nor_weights_are_there_the_task_is_refused(task: Path, results: Path) -> None:
    register(Endpoint(id="far", wire="openai", model="m", base_url="http://127.0.0.1:9/v1"), results)
    suite = Suite(name="caps", tasks=("capitals.yaml",), endpoints=("far",))
    with pytest.raises(TaskError, match="no probe has found those of endpoint 'far' right"):
        run_suite(suite, suite.parts, folder=task.parent, results=results)


GENERATED = """\
task: rambling
dataset_path: json
dataset_kwargs: {data_files: {test: capitals.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{choices[answer]}}"
generation_kwargs: {until: [], do_sample: false, max_gen_toks: 12}
metric_list: [{metric: bleu, aggregation: mean, higher_is_better: true}]
process_results: !function rambling.score
"""
SCORE = """\
def score(doc, results):
    return {"bleu": len(results[0].encode()) % 7 / 7}
"""


def test_what_a_served_model_writes_equals_lm_evals_hf_backend(weights: Path, task: Path, results: Path) -> None:
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    from serving.engines import up

    path = task.parent / "rambling.yaml"
    path.write_text(GENERATED)
    (task.parent / "rambling.py").write_text(SCORE)
    loaded = load_task(path)
    with up(weights, results=results) as engine:
        samples = ask_task(EndpointLM(Asker(engine.endpoint, lambda completion: None, concurrency=1)), loaded, limit=10)
    (ours,) = score(loaded, samples, "r")
    backend = HFLM(pretrained=str(weights), device="cpu", batch_size=1)
    theirs = evaluate(backend, {"tasks": {"rambling": load_task(path)}}, limit=10, bootstrap_iters=0, apply_chat_template=True)
    written = [sample["resps"][0][0] for sample in theirs["samples"]["rambling"]]
    assert [sample.extracted for sample in samples] == written
    assert len(set(written)) > 1
    assert ours.value == theirs["results"]["rambling"]["bleu,none"]
