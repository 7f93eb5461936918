"""The floors hold: serving imports no room, rooms do not import each other, only dashboards composes; no file shadows Python's own."""

import ast
import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "serving": set(),
    "arena": {"serving"},
    "evals": {"serving"},
    "trainers": {"serving"},
    "dashboards": {"serving", "arena", "evals", "trainers"},
}
FILES = [path for room in ALLOWED for path in sorted((ROOT / room).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """Top-level names of everything a file imports, lazily or not."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import rooms by their full name"
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_the_floors_below(path: Path):
    room = path.relative_to(ROOT).parts[0]
    above = imported(path) & (set(ALLOWED) - ALLOWED[room] - {room})
    assert not above, f"{path.relative_to(ROOT)} imports {above}"


def test_the_rooms_are_this_checkout_and_not_another_distribution():
    for room in ALLOWED:
        spec = importlib.util.find_spec(room)
        assert spec is not None and spec.origin is not None
        assert Path(spec.origin).parent == ROOT / room


def test_no_module_shadows_the_standard_library():
    # `streamlit run arena/app.py` puts arena/ first on the path, so that a module named types.py there would hide Python's own.
    shadows = [path for path in FILES if path.parent.name in ALLOWED and path.stem in sys.stdlib_module_names]
    assert not shadows


def test_no_drawer_for_whatever_has_no_room():
    drawers = {"utils", "util", "common", "helpers", "base", "manager", "misc", "core"}
    assert not [path for path in FILES if path.stem in drawers or path.parent.name in drawers]


def test_no_file_has_grown_past_reading():
    long = {str(path.relative_to(ROOT)): count for path in FILES if (count := path.read_text(encoding="utf-8").count("\n")) > 400}
    assert not long


def test_nothing_is_printed():
    calls = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not calls
