"""From a name in a suite to an lm-eval task: one file may hold one task, several (lm-eval's `task_list`), or a team's own questions.

    tasks: [bbh_cot]                    every task of a shipped list; bbh_cot_snarks is one of them
    tasks: [tasks/ours.yaml]            a file; tasks/ours.yaml:first is one task of a file that lists several
    tasks: ["stock:hellaswag"]          lm-eval's own, found by its file; its data are downloaded

A team's own questions (evals/own_task.py) are three lines:

    task: ours
    data: questions.csv
    match: number
"""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from evals.errors import TaskError, UnknownTask
from serving.errors import did_you_mean

TASKS = Path(__file__).parent / "tasks"
STOCK = "stock:"


class _Loader(yaml.SafeLoader):
    """Reads lm-eval's tags without importing what they name."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: None)


def shipped_tasks() -> list[str]:
    """Names of the shipped files, sorted; one of them may hold several tasks."""
    return sorted(path.stem for path in TASKS.glob("*.yaml"))


def find_task(name: str, folder: Path) -> Path:
    """The YAML file of a task or of a list of them, by shipped name, `stock:` name or path from `folder` or here. Raises UnknownTask."""
    if name.startswith(STOCK):
        return find_stock_task(name.removeprefix(STOCK))
    if name in (known := shipped_tasks()):
        return TASKS / f"{name}.yaml"
    for file in (TASKS / f"{stem}.yaml" for stem in known if name.startswith(f"{stem}_")):
        if name in listed_tasks(file):
            return file
    for written in (name, name.rpartition(":")[0]):
        for path in (folder / written, Path(written)):
            if written and path.is_file():
                return path.resolve()
    raise UnknownTask(
        f"task '{name}': no such file, and no shipped task.{did_you_mean(name, known)} "
        f"Shipped: {', '.join(known)}; any YAML in lm-eval's format can be named by its path, lm-eval's own tasks as {STOCK}NAME"
    )


def expand_tasks(names: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """The names with each list of tasks replaced by its members'. Raises UnknownTask or TaskError."""
    expanded: list[str] = []
    for name in names:
        path = find_task(name, folder)
        listed = listed_tasks(path) if name == path.stem or name.endswith(path.name) else []
        shipped = path.parent == TASKS
        expanded += [member if shipped else f"{name}:{member}" for member in listed] or [name]
    return tuple(expanded)


def listed_tasks(path: Path) -> list[str]:
    """The names in a file's `task_list`, in its order; none where it has no such key. Raises TaskError."""
    try:
        text = path.read_text(encoding="utf-8")
        if "task_list" not in text:
            return []
        loaded = yaml.load(text, _Loader)  # noqa: S506
        return [str(item["task"]) for item in loaded.get("task_list") or []]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise TaskError(f"{path}: cannot be read as a list of tasks (task_list: [{{task: NAME, …}}, …]): {_one_line(error)}") from None


def task_config(path: Path, name: str | None = None) -> dict[str, Any]:
    """The lm-eval configuration of the task that `name` names in this file, its paths made absolute. Raises TaskError.

    `name` is needed only where the file lists several tasks.
    """
    from lm_eval.tasks._yaml_loader import load_yaml

    config: dict[str, Any] = load_yaml(path)
    if "data" in config:
        from evals.own_task import own_config

        return own_config(config, path)
    if members := config.pop("task_list", None):
        wanted = (name or "").rpartition(":")[2]
        config |= next((item for item in members if item["task"] == wanted), {})
        if config.get("task") != wanted:
            known = [item["task"] for item in members]
            raise TaskError(
                f"{path}: holds {len(known)} tasks, none named '{wanted}'.{did_you_mean(wanted, known)} Known: {', '.join(known)}"
            )
    if not isinstance(config.get("task"), str):
        raise TaskError(f"{path}: must hold 'task: NAME' (groups of tasks are named one by one in the suite, or listed in task_list)")
    kwargs = config.get("dataset_kwargs") or {}
    # Those of lm-eval's own tasks lie where their data sets do.
    if "data_files" in kwargs and not path.is_relative_to(_stock_folder()):
        config["dataset_kwargs"] = {**kwargs, "data_files": _anchored(kwargs["data_files"], path.parent)}
    return config


def find_stock_task(name: str) -> Path:
    """The file of one of lm-eval's own tasks, without the index of its 14,000 names: by its file's name, else by reading what they hold.

    Raises UnknownTask.
    """
    holds = re.compile(rf"^task: *['\"]?{re.escape(name)}['\"]? *$", re.MULTILINE)
    files = list(_stock_folder().rglob("*.yaml"))
    for path in (*(path for path in files if path.stem == name), *files):
        if holds.search(path.read_text(encoding="utf-8", errors="replace")):
            return path
    known = [path.stem for path in files]
    raise UnknownTask(f"task '{STOCK}{name}': lm-eval has no task of that name.{did_you_mean(name, known)} Groups are named task by task")


def _stock_folder() -> Path:
    found = find_spec("lm_eval")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent / "tasks"


def _anchored(data_files: Any, folder: Path) -> Any:
    """The paths of lm-eval's `data_files`, in whatever shape, from `folder`; addresses are left alone."""
    if isinstance(data_files, dict):
        return {split: _anchored(files, folder) for split, files in data_files.items()}
    if isinstance(data_files, list):
        return [_anchored(file, folder) for file in data_files]
    return data_files if "://" in str(data_files) else str(folder / data_files)


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
