"""BBH's prompts are the authors', and an answer is what follows "the answer is"."""

import json

import pytest

from evals.quality import load_task
from evals.task_files import TASKS
from evals.tasks.bbh import UNPARSED, cot_answer, direct_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("not True = False. So the answer is False.", "False"),
        ("I thought the answer is 3, but the answer is 42.", "42"),
        ("So the answer is **(B)**.", "(B)"),
        ("So the answer is ] ] }.\n\nQ: the next one", "] ] }"),
        ("Either, really.", UNPARSED),
        ("the answer is ", UNPARSED),
    ],
)
def test_an_answer_after_reasoning(text: str, answer: str) -> None:
    assert cot_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (" (A)", "(A)"),
        ("Yes.\nBecause", "Yes"),
        ("So the answer is no.", "no"),
        ("**valid**", "valid"),
        ("2 ** 3 ** 2", "2 ** 3 ** 2"),
        ("\n", UNPARSED),
    ],
)
def test_an_answer_without_reasoning(text: str, answer: str) -> None:
    assert direct_answer(text) == answer


def test_direct_prompts_are_the_authors_examples_without_their_reasoning() -> None:
    name = "bbh_direct_boolean_expressions"
    prompt = load_task(TASKS / "bbh_direct.yaml", name).doc_to_text(
        {"task": "boolean_expressions", "input": "not True is", "target": "False"}
    )
    assert prompt.endswith("Q: not True is\nA:")
    assert prompt.count("\n\nQ: ") == 4 and prompt.count("\nA: ") == 3
    assert "step by step" not in prompt and "the answer is" not in prompt
    with_reasoning = load_task(TASKS / "bbh_cot.yaml", "bbh_cot_snarks")
    shown = with_reasoning.doc_to_text(with_reasoning.eval_docs[0])
    assert shown.startswith(json.loads((TASKS / "bbh" / "prompts.json").read_text())["snarks"])
    assert shown.endswith("\nA: Let's think step by step.")
    assert "canary" not in shown
