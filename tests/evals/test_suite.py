"""Suites are read strictly: what they say is what is asked, and a slip is told in one line."""

from pathlib import Path

import pytest

from evals.errors import EvalsError, UnknownSuite, UnknownTask
from evals.suite import Suite, choose_endpoints, find_suite, load_suite, shipped_suites
from evals.task_files import TASKS, find_task, shipped_tasks
from serving.errors import DocumentError


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: mine\ntask: [prime]\n", "task: unknown key. Did you mean 'tasks'?"),
        ("name: mine\nruns:\n- tasks: [prime]\n  endpoint: [a]\n", "runs[0].endpoint: unknown key. Did you mean 'endpoints'?"),
        ("name: mine\ntasks: [prime]\nparameters: {temprature: 0}\n", "parameters.temprature: unknown key. Did you mean 'temperature'?"),
        ("name: mine\ntasks: [prime]\nlimit: 0\n", "limit: Input should be greater than or equal to 1 (got 0)"),
        ("name: mine\n", "a suite has either tasks"),
        ("name: mine\nendpoints: [a]\nruns:\n- tasks: [prime]\n", "endpoints stand inside each block of runs"),
        ("name: mine\ntasks: [prime, prime]\nendpoints: [a]\n", "endpoint 'a' is asked task 'prime' twice"),
        ("name: a/b\ntasks: [prime]\n", "name: "),
        ("tasks: [prime]\n", "name: missing"),
    ],
)
def test_a_slip_is_told_in_one_line_with_file_and_key(tmp_path: Path, text: str, says: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DocumentError) as told:
        load_suite(path)
    assert str(told.value).startswith(f"{path}: ")
    assert says in str(told.value)
    assert "\n" not in str(told.value)


def test_every_shipped_suite_loads_and_names_shipped_tasks() -> None:
    assert "demo" in shipped_suites()
    for name in shipped_suites():
        suite = load_suite(find_suite(name))
        assert suite.name == name
        for part in suite.parts:
            assert {find_task(task, Path()) for task in part.tasks} <= {TASKS / f"{task}.yaml" for task in shipped_tasks()}


@pytest.mark.parametrize("name", ["demo", "demo.yaml", "suites/demo.yaml", "evals/suites/demo.yaml"])
def test_the_shipped_suite_is_found_by_name_from_any_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_suite(find_suite(name)).name == "demo"


def test_a_file_goes_before_a_shipped_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo.yaml").write_text("name: ours\ntasks: [prime]\n")
    assert load_suite(find_suite("demo.yaml")).name == "ours"


def test_unknown_suites_and_tasks_name_the_nearest_known_one(tmp_path: Path) -> None:
    with pytest.raises(UnknownSuite, match="Did you mean 'demo'"):
        find_suite("demmo")
    with pytest.raises(UnknownSuite):
        find_suite("elsewhere/demo.yaml")
    with pytest.raises(UnknownTask, match="Did you mean 'gsm8k'"):
        find_task("gsm8", tmp_path)


def test_a_task_path_is_relative_to_the_suite_file(tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text("task: ours\n")
    assert find_task("ours.yaml", tmp_path) == tmp_path / "ours.yaml"


def test_a_blocks_parameters_go_over_the_suites_and_null_takes_one_away() -> None:
    suite = Suite.model_validate(
        {
            "name": "s",
            "parameters": {"temperature": 0.5, "max_tokens": 100},
            "runs": [{"tasks": ["a"]}, {"tasks": ["b"], "parameters": {"temperature": None, "max_tokens": 7}}],
        }
    )
    first, second = (part.parameters for part in suite.parts)
    of_task = {"temperature": 0.1, "top_p": 0.9}
    assert first.over(of_task) == {"temperature": 0.5, "max_tokens": 100, "top_p": 0.9}
    assert second.over(of_task) == {"max_tokens": 7, "top_p": 0.9}


def test_a_chosen_endpoint_keeps_its_tasks_and_a_stranger_is_asked_all() -> None:
    suite = Suite.model_validate({"name": "s", "runs": [{"tasks": ["a"], "endpoints": ["x", "y"]}, {"tasks": ["b"], "endpoints": ["z"]}]})

    def asked(*chosen: str) -> list[tuple[str, tuple[str, ...]]]:
        return [(part.tasks[0], part.endpoints) for part in choose_endpoints(suite, chosen)]

    assert asked() == [("a", ("x", "y")), ("b", ("z",))]
    assert asked("y") == [("a", ("y",))]
    assert asked("new") == [("a", ("new",)), ("b", ("new",))]
    assert asked("z", "new", "new") == [("a", ("new",)), ("b", ("z", "new"))]


def test_a_suite_without_endpoints_asks_for_one() -> None:
    suite = Suite(name="s", tasks=("prime",))
    with pytest.raises(EvalsError, match="--endpoint ID"):
        choose_endpoints(suite, [])
    assert choose_endpoints(suite, ["x"])[0].endpoints == ("x",)
