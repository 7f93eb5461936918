"""The same questions asked in several ways: what is sent, how votes decide, and what a question then costs."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from model_server import ModelServer, problem, sse

from evals.errors import TaskError
from evals.measures import measures
from evals.neighbours import Neighbours
from evals.quality import rescore_run, run_suite
from evals.report import to_markdown
from evals.runs import RunFiles
from evals.suite import Suite
from serving.endpoints import Price, register

TASK = """\
task: facts
dataset_path: json
dataset_kwargs: {data_files: {test: test.jsonl, train: train.jsonl}}
test_split: test
training_split: train
output_type: generate_until
doc_to_text: "{{question}}{% for choice in choices %}\\n{{ 'ABCD'[loop.index0] }}) {{choice}}{% endfor %}"
doc_to_target: "{{ 'ABCD'[answer] }}"
generation_kwargs: {until: [], temperature: 0.0, max_gen_toks: 50}
filter_list: [{name: letter, filter: [{function: regex, regex_pattern: "Answer: ([A-D])"}, {function: take_first}]}]
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
ANIMALS = ["cat", "dog", "fox", "owl"]


def house(folder: Path, *, n: int = 8) -> Path:
    """Questions whose right choice is the animal that they name; the training questions are of the same kind."""
    folder.mkdir()

    def row(number: int, kind: str) -> dict[str, Any]:
        return {"question": f"{kind} {number}: which is the {ANIMALS[number % 4]}?", "choices": ANIMALS, "answer": number % 4}

    for name, kind in (("test", "Q"), ("train", "T")):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row(number, kind)) + "\n" for number in range(n)))
    (folder / "facts.yaml").write_text(TASK)
    return folder


def run(server: ModelServer, folder: Path, results: Path, *ways: dict[str, Any], **suite: Any) -> RunFiles:
    register(server.endpoint("m", price=Price(input_usd_per_mtok=0.0, output_usd_per_mtok=1e6)), results)
    wanted = Suite.model_validate({"name": "ways", "tasks": ["facts.yaml"], "endpoints": ["m"], "prompting": ways, **suite})
    return run_suite(wanted, wanted.parts, folder=folder, results=results)


def place_of(text: str) -> str:
    """The letter that really is right in the last question of a prompt."""
    question = text[text.rfind("which is the") :]
    animal = re.findall(r"which is the (\w+)", question)[0]
    return next(line[0] for line in question.split("\n") if line.endswith(f") {animal}"))


def knows(body: dict[str, Any]) -> list[bytes]:
    return sse(f"It is plain. Answer: {place_of(body['messages'][-1]['content'])}")


def always_a(body: dict[str, Any]) -> list[bytes]:
    return sse("Answer: A")


def test_each_way_is_a_score_of_its_own_and_sends_what_it_says(tmp_path: Path, results: Path) -> None:
    with ModelServer(knows) as server:
        files = run(
            server,
            house(tmp_path / "t"),
            results,
            {"name": "zero"},
            {"name": "cot", "instruction": "Think first."},
            {"name": "strict", "system": "Be strict."},
            {"name": "few", "examples": 3},
        )
        sent = server.requests
    assert {score.task: score.value for score in files.scores} == {f"facts@{name}": 1.0 for name in ("zero", "cot", "strict", "few")}
    assert [len(body["messages"]) for body in sent] == [1] * 16 + [2] * 8 + [7] * 8
    assert all(body["messages"][-1]["content"].endswith("Think first.") for body in sent[8:16])
    assert all(body["messages"][0] == {"role": "system", "content": "Be strict."} for body in sent[16:24])
    few = sent[24]["messages"]
    assert [turn["role"] for turn in few] == ["user", "assistant"] * 3 + ["user"]
    assert all(turn["content"].startswith("T ") for turn in few[:-1:2]) and few[1]["content"] in "ABCD"
    assert "## Per question, by the way of asking" in to_markdown(files)


def test_the_nearest_examples_are_of_the_same_kind(tmp_path: Path, results: Path) -> None:
    with ModelServer(knows) as server:
        run(server, house(tmp_path / "t"), results, {"name": "near", "examples": 2, "nearest": True})
        for body in server.requests:
            *examples, asked = [turn["content"] for turn in body["messages"] if turn["role"] == "user"]
            animal = re.findall(r"which is the (\w+)", asked)[0]
            assert all(f"which is the {animal}?" in example for example in examples)


def test_self_consistency_takes_the_answer_that_most_samples_gave_and_costs_as_many(tmp_path: Path, results: Path) -> None:
    turn: dict[str, int] = {}

    def three_of_five(body: dict[str, Any]) -> list[bytes]:
        text = body["messages"][-1]["content"]
        turn[text] = number = turn.get(text, 0) + 1
        right = place_of(text)
        wrong = "ABCD"[("ABCD".index(right) + 1) % 4]
        return sse(f"Answer: {right if number in (2, 4, 5) else wrong}")

    with ModelServer(three_of_five) as server:
        files = run(server, house(tmp_path / "t"), results, {"name": "vote", "samples": 5, "temperature": 0.7}, concurrency=1)
        assert {body["temperature"] for body in server.requests} == {0.7}
        assert len(server.requests) == 40
        again = rescore_run(files, folder=tmp_path / "t", results=results)
        assert len(server.requests) == 40
    assert files.scores[0].value == 1.0
    assert again.scores[0].value == 1.0
    (measure,) = measures(files)
    # Three tokens an answer at a dollar each, five answers a question.
    assert (measure.n_questions, measure.cost_usd_per_1000, measure.cost_usd_per_1000_questions) == (8, 3_000, 15_000)
    assert (measure.seconds_per_question or 0) > 4 * (measure.latency_s_p50 or 0)


def test_a_model_that_always_says_a_is_found_out_by_shuffling(tmp_path: Path, results: Path) -> None:
    with ModelServer(always_a) as server:
        files = run(server, house(tmp_path / "t", n=40), results, {"name": "plain"}, {"name": "orders", "shuffles": 4})
        assert len(server.requests) == 40 + 160
    plain, orders = files.scores
    assert plain.value == 0.25, "by position alone, the place A is right for one animal in four"
    chosen = {str(sample.extracted) for sample in files.samples if sample.task == "facts@orders"}
    assert len(chosen) > 1, "votes are for choices, not for places"
    with ModelServer(knows) as server:
        assert run(server, tmp_path / "t", results, {"name": "orders", "shuffles": 4}).scores[0].value == 1.0


def test_medprompt_shows_only_reasoning_that_came_out_right(tmp_path: Path, results: Path) -> None:
    def right_about_even_ones(body: dict[str, Any]) -> list[bytes]:
        text = body["messages"][-1]["content"]
        kind, number = re.findall(r"([QT]) (\d+):", text)[-1]
        right = kind == "Q" or int(number) % 2 == 0
        return sse(f"Because of {kind}{number}. Answer: {place_of(text) if right else 'Z'}")

    way = {"name": "med", "examples": 2, "nearest": True, "reasoning": True, "shuffles": 3}
    with ModelServer(right_about_even_ones) as server:
        files = run(server, house(tmp_path / "t"), results, way)
        asked = [body for body in server.requests if len(body["messages"]) > 1]
        training = [body for body in server.requests if len(body["messages"]) == 1]
    assert files.scores[0].value == 1.0
    assert len(asked) == 24 and {body["messages"][-1]["content"].startswith("T ") for body in training} == {True}
    shown = [turn["content"] for body in asked for turn in body["messages"] if turn["role"] == "assistant"]
    assert shown and all(int(re.findall(r"T(\d+)\.", text)[0]) % 2 == 0 for text in shown)
    (measure,) = measures(files)
    assert measure.n_requests == len(server.requests), "what the examples cost is on the bill"


def test_an_example_that_failed_makes_no_question_unanswered(tmp_path: Path, results: Path) -> None:
    def fails_on_training(body: dict[str, Any]) -> list[bytes]:
        return problem("400 Bad Request", "no") if body["messages"][-1]["content"].startswith("T ") else knows(body)

    with ModelServer(fails_on_training) as server:
        files = run(server, house(tmp_path / "t"), results, {"name": "med", "examples": 2, "reasoning": True})
    assert (files.scores[0].value, files.scores[0].n, files.scores[0].n_failed) == (1.0, 8, 0)


def test_votes_that_did_not_come_make_the_question_unanswered(tmp_path: Path, results: Path) -> None:
    def fails_on_q3(body: dict[str, Any]) -> list[bytes]:
        return problem("400 Bad Request", "no") if "Q 3:" in body["messages"][-1]["content"] else knows(body)

    with ModelServer(fails_on_q3) as server:
        files = run(server, house(tmp_path / "t"), results, {"name": "vote", "samples": 3, "temperature": 1.0})
    (score,) = files.scores
    assert (score.value, score.n, score.n_failed) == (1.0, 7, 1)


@pytest.mark.parametrize(
    ("change", "way", "says"),
    [
        ("training_split: train\n", {"name": "few", "examples": 2}, "no split to take examples from"),
        (None, {"name": "orders", "shuffles": 2}, "shuffles choices, so each document needs a list"),
    ],
)
def test_a_way_that_the_task_has_nothing_for_is_refused(
    change: str | None, way: dict[str, Any], says: str, tmp_path: Path, results: Path
) -> None:
    folder = house(tmp_path / "t")
    path = folder / "facts.yaml"
    if change:
        path.write_text(path.read_text().replace(change, "").replace(", train: train.jsonl", ""))
    else:
        rows = [{"question": "2 + 2", "choices": "ABCD", "answer": 0}]
        for name in ("test", "train"):
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with ModelServer(knows) as server, pytest.raises(TaskError, match=says):
        run(server, folder, results, way)


def test_similar_texts_are_near_and_rare_words_weigh_more() -> None:
    texts = ["the cat sat on the mat", "a dog in the fog", "the mat of the dog", "quantum electrodynamics of the cat"]
    index = Neighbours(texts)
    assert index.nearest("electrodynamics and the rest", 1) == [3]
    assert index.nearest("the cat sat", 4)[0] == 0
    assert index.nearest("zzz", 2) == [0, 1]
    assert [index.nearest(text, 1)[0] for text in texts] == [0, 1, 2, 3]
