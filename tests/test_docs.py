"""The documentation is true: each command has help that answers at once and is described, each YAML loads, the README's file map exists."""

import re
import resource
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = README + "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md")))
LIMIT_S = 0.3
BARE, BARE_S = "import typer._adapters", 0.13
ROOMS = ("serving", "arena", "evals", "trainers", "dashboards")
# Subcommands as typer knows them, read in a process of each room's own, so that a new one cannot be forgotten here.
LIST = """
import importlib, sys, typer
print(*typer.main.get_command(importlib.import_module(sys.argv[1] + ".cli").app).commands)
"""
# Runs `ROOM COMMAND --help` and tells on stderr which heavy packages that imported.
HELP = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_module(sys.argv[0], run_name="__main__")
except SystemExit:
    pass
sys.stderr.write(" ".join({"torch", "pandas", "streamlit", "lm_eval", "duckdb", "trl"} & set(sys.modules)))
"""
YAMLS = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.yaml"))


def commands(room: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", LIST, room], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.split()


COMMANDS = [(room, command) for room in ROOMS for command in commands(room)]


def children_s() -> float:
    """Processor time of all commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def seconds(*command: str) -> float:
    """Processor time of one command."""
    before = children_s()
    subprocess.run([sys.executable, *command], capture_output=True, cwd=ROOT, check=True)
    return children_s() - before


def answers_at_once(*arguments: str) -> bool:
    """Whether `--help` takes less than .3 s, the best of up to ten calls.

    A machine that is busy with other things runs everything slower: there the limit grows by as much as a bare import of typer takes
    longer at the same moment (BARE_S on the quiet machine where the limit was set).
    """
    for _ in range(10):
        slower = max(1.0, seconds("-c", BARE) / BARE_S)
        if seconds("-m", *arguments, "--help") < LIMIT_S * slower:
            return True
    return False


@cache
def slowness() -> float:
    """How much slower than that machine this one is at its best."""
    return max(1.0, min(seconds("-c", BARE) for _ in range(3)) / BARE_S)


@pytest.mark.parametrize("room", ROOMS)
def test_help_answers_at_once(room: str):
    assert answers_at_once(f"{room}.cli")


@pytest.mark.parametrize(("room", "command"), COMMANDS)
def test_each_command_is_helpful_light_and_documented(room: str, command: str):
    before = children_s()
    done = subprocess.run([sys.executable, "-c", HELP, f"{room}.cli", command, "--help"], capture_output=True, text=True, cwd=ROOT)
    took_s = children_s() - before
    summary = done.stdout.split("\n\n")[1].strip() if "\n\n" in done.stdout else ""
    assert "Usage" in done.stdout and len(summary) > 10
    assert done.stderr.strip() == "", f"--help imports {done.stderr}"
    assert f"{room} {command}" in DOCS, f"'{room} {command}' is not documented in README.md or docs/"
    assert took_s < LIMIT_S * slowness() or answers_at_once(f"{room}.cli", command)


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_yaml_is_yaml(path: Path):
    class Loader(yaml.SafeLoader):
        """lm-eval's tasks name Python functions with a tag of their own."""

    Loader.add_constructor("!function", lambda loader, node: node.value)
    assert isinstance(yaml.load(path.read_text(encoding="utf-8"), Loader), dict)  # noqa: S506


def file_map() -> list[str]:
    block = re.search(r"## Where things are\n.*?```\n(.*?)```", README, re.DOTALL)
    assert block, "README.md has a file map under '## Where things are'"
    return [line.split()[0] for line in block.group(1).splitlines() if line.strip() and not line.startswith(" ")]


def test_the_readmes_file_map_is_true():
    missing = [name for name in file_map() if not (ROOT / name).exists()]
    assert not missing


def test_the_file_map_names_every_module():
    mapped = set(file_map())
    modules = {str(path.relative_to(ROOT)) for room in ROOMS for path in (ROOT / room).rglob("*.py") if path.name != "__init__.py"}
    folders = {name.rstrip("/") for name in mapped if name.endswith("/")}
    unmapped = {name for name in modules - mapped if not any(name.startswith(folder + "/") for folder in folders if folder not in ROOMS)}
    assert not unmapped


def test_every_link_and_picture_in_the_docs_exists():
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not target.startswith(("http://", "https://")):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
