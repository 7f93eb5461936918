"""Of the choices that are given 80 %, about 80 % are right: in markets of twelve with known truth, by the code that reads real runs."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from evals.stats import wilson

FILE = Path(__file__).parents[2] / "benchmarks" / "pick_calibration.py"


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pick_calibration", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["pick_calibration"] = module
    spec.loader.exec_module(module)
    return module


def test_in_fifteen_worlds_what_is_said_and_what_is_so_do_not_part(simulation: ModuleType):
    told = [pair for world in range(15) for pair in simulation.choices(world)]
    said, right = sum(said for said, _ in told), sum(right for _, right in told)
    low, high = wilson(right, len(told), level=0.99)
    assert len(told) > 40 and low < said / len(told) < high


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_of_the_choices_given_80_percent_75_to_85_percent_are_right(simulation: ModuleType):
    rows = simulation.table([pair for world in range(300) for pair in simulation.choices(100_000 + world)])
    (eighty,) = [row for row in rows if row["from"] == 0.75]
    assert eighty["n"] > 100 and 0.75 <= eighty["right"] <= 0.85
    # Nor is any other bin far from what it says.
    for row in rows:
        low, high = wilson(round(row["right"] * row["n"]), row["n"], level=0.999)
        assert low <= row["said"] <= high, row
