"""A name in a suite becomes tasks: one, a whole list, a file of one's own, or one of lm-eval's; a slip is told before anything is asked."""

from pathlib import Path

import pytest

from evals.errors import TaskError, UnknownTask
from evals.quality import load_task
from evals.suite import load_suite
from evals.task_files import TASKS, expand_tasks, find_stock_task, find_task, listed_tasks, shipped_tasks, task_config

LISTED = """\
dataset_path: json
test_split: test
output_type: generate_until
doc_to_text: "{{q}}"
doc_to_target: "{{a}}"
generation_kwargs: {until: []}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
task_list:
  - {task: first, dataset_kwargs: {data_files: {test: one.jsonl}}}
  - {task: second, dataset_kwargs: {data_files: {test: two.jsonl}}, doc_to_text: "Say {{q}}"}
"""


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    (tmp_path / "one.jsonl").write_text('{"q": "1", "a": "1"}\n')
    (tmp_path / "two.jsonl").write_text('{"q": "2", "a": "2"}\n' * 2)
    (tmp_path / "mine.yaml").write_text(LISTED)
    return tmp_path / "mine.yaml"


def test_a_list_stands_for_all_its_tasks(tmp_path: Path) -> None:
    names = expand_tasks(("prime", "bbh_cot"), tmp_path)
    assert names[:2] == ("prime", "bbh_cot_boolean_expressions") and len(names) == 28
    assert {find_task(name, tmp_path) for name in names[1:]} == {TASKS / "bbh_cot.yaml"}
    (tmp_path / "all.yaml").write_text("name: all\nruns:\n- {tasks: [bbh_direct], endpoints: [a]}\n- {tasks: [bbh_cot], endpoints: [a]}\n")
    assert [len(part.tasks) for part in load_suite(tmp_path / "all.yaml").parts] == [27, 27]


def test_a_suite_can_name_one_task_of_a_list(tmp_path: Path) -> None:
    task = load_task(find_task("bbh_direct_snarks", tmp_path), "bbh_direct_snarks")
    assert (task.task_name, len(task.eval_docs)) == ("bbh_direct_snarks", 178)
    assert expand_tasks(("bbh_direct_snarks",), tmp_path) == ("bbh_direct_snarks",)


def test_a_list_of_ones_own_is_named_by_its_path(listed: Path) -> None:
    names = expand_tasks(("mine.yaml",), listed.parent)
    assert names == ("mine.yaml:first", "mine.yaml:second")
    first, second = (load_task(find_task(name, listed.parent), name) for name in names)
    assert (len(first.eval_docs), len(second.eval_docs)) == (1, 2)
    assert [task.doc_to_text(task.eval_docs[0]) for task in (first, second)] == ["1", "Say 2"]


def test_a_name_that_a_list_does_not_hold_is_told_with_those_it_holds(listed: Path) -> None:
    with pytest.raises(TaskError, match="none named 'frist'. Did you mean 'first'"):
        load_task(listed, "mine.yaml:frist")
    listed.write_text("task_list: [first]\n")
    with pytest.raises(TaskError, match="mine.yaml: cannot be read as a list of tasks"):
        listed_tasks(listed)


def test_the_same_task_twice_is_found_behind_its_lists_name(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("name: twice\ntasks: [bbh_cot, bbh_cot_snarks]\nendpoints: [a]\n")
    with pytest.raises(Exception, match="asked task 'bbh_cot_snarks' twice"):
        load_suite(path)


def test_lm_evals_own_tasks_are_found_without_its_index() -> None:
    assert find_stock_task("hellaswag").name == "hellaswag.yaml"
    # A file named otherwise is found by what it holds.
    assert find_stock_task("bbh_cot_fewshot_snarks").name == "snarks.yaml"
    with pytest.raises(UnknownTask, match="'stock:helaswag': lm-eval has no task of that name. Did you mean 'hellaswag'"):
        find_task("stock:helaswag", Path())


def test_every_shipped_task_loads_and_says_what_it_is() -> None:
    lengths = {}
    for stem in shipped_tasks():
        path = TASKS / f"{stem}.yaml"
        assert path.read_text().startswith("# "), f"{stem} has no first line for 'evals ls'"
        for name in listed_tasks(path)[:2] or [stem]:
            lengths[name] = len(load_task(path, name).eval_docs)
    assert lengths["mmlu"] == lengths["mmlu_mc"] == 14042
    assert (lengths["arc_challenge"], lengths["arc_easy"], lengths["arc_challenge_mc"], lengths["arc_easy_mc"]) == (1172, 2376, 1172, 2376)
    assert (lengths["truthfulqa"], lengths["truthfulqa_mc"], lengths["ifeval"], lengths["humaneval"]) == (816, 816, 540, 164)


def test_a_task_without_a_name_is_told_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "nameless.yaml").write_text("group: many\ntask: [a, b]\n")
    with pytest.raises(TaskError, match="nameless.yaml: must hold 'task: NAME'"):
        task_config(tmp_path / "nameless.yaml")
