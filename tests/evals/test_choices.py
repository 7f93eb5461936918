"""A letter is read where a model gives one, and nowhere else; the prompts are those that others use."""

from collections import Counter
from pathlib import Path

import pytest

from evals.quality import load_task
from evals.task_files import TASKS
from evals.tasks.choices import UNPARSED, choice_answer, shuffled


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("It has degree 4.\nAnswer: B", "B"),
        ("Answer: (c)", "C"),
        ("**Answer: D**", "D"),
        ("**Answer:** D", "D"),
        ("The correct answer is A. It says so.", "A"),
        ("The final answer is $\\boxed{B}$", "B"),
        ("Answer: A\nNo, wait.\nAnswer: B", "B"),
        ("B", "B"),
        ("(B)", "B"),
        ("B. Eight", "B"),
        ("So:\n\n**C**", "C"),
        ("A planet that rotates faster has shorter days.", UNPARSED),
        ("The answer is a shorter day.", UNPARSED),
        ("Answer: E", UNPARSED),
        ("I cannot answer that.", UNPARSED),
        ("", UNPARSED),
    ],
)
def test_a_letter_is_read(text: str, letter: str) -> None:
    assert choice_answer(text, 4) == letter


def test_truthfulqas_true_choice_stands_anywhere_and_always_in_the_same_place() -> None:
    first, second = (load_task(TASKS / "truthfulqa.yaml").eval_docs for _ in range(2))
    assert first["answer"] == second["answer"]
    places = Counter(first["answer"])
    assert places[0] < 300 and len(places) >= 8
    original = load_task(TASKS / "truthfulqa_mc.yaml").eval_docs
    for doc, listed in zip(first, original, strict=True):
        assert doc["choices"][doc["answer"]] == listed["choices"][0]
        assert sorted(doc["choices"]) == sorted(listed["choices"])
    assert shuffled(original)["answer"] == first["answer"]


def test_mmlus_prompt_is_lm_evals_with_five_shots(tmp_path: Path) -> None:
    import lm_eval

    ours = load_task(TASKS / "mmlu_mc.yaml")
    subject = "abstract_algebra"
    template = Path(lm_eval.__file__).parent / "tasks" / "mmlu" / "default" / "_default_template_yaml"
    files = {split: str(TASKS / "mmlu" / f"{split}.jsonl.gz") for split in ("test", "dev")}
    (tmp_path / "stock.yaml").write_text(
        f"include: {template}\ntask: stock\ndataset_path: json\ndataset_kwargs: {{data_files: {files}}}\nnum_fewshot: 5\n"
        'description: "The following are multiple choice questions (with answers) about abstract algebra.\\n\\n"\n'
        "process_docs: !function of_one.subject\n"
    )
    (tmp_path / "of_one.py").write_text(f"def subject(docs):\n    return docs.filter(lambda doc: doc['subject'] == '{subject}')\n")
    stock = load_task(tmp_path / "stock.yaml")
    theirs = [stock.fewshot_context(doc, 5) for doc in stock.eval_docs]
    mine = [ours.fewshot_context(doc, 0) for doc in ours.eval_docs if doc["subject"] == subject]
    assert len(mine) == 100
    assert mine == theirs
