"""Ticks that a reader can count by, and names that do not lie on each other."""

from typing import Any

from dashboards.charts import _sides_of_names
from dashboards.load_charts import ladder


def test_a_logarithmic_axis_has_a_handful_of_round_ticks():
    assert ladder(0.036, 1.4) == [0.05, 0.1, 0.2, 0.5, 1.0]
    assert ladder(0.9, 12_000) == [1, 10, 100, 1000, 10_000]
    assert ladder(3, 4) == []


def point(name: str, seconds: float, value: float) -> dict[str, Any]:
    return {"endpoint": name, "seconds": seconds, "value": value, "lower": value - 0.02, "upper": value + 0.02}


def sides_of(rows: list[dict[str, Any]]) -> list[tuple[Any, int]]:
    return _sides_of_names(rows, rows, "seconds", ("value", "lower", "upper"), log_x=True, width=420)


def test_a_name_gives_way_to_the_point_beside_it():
    rows = [point("far-left", 0.1, 0.2), point("gpt-3.5-turbo-0301", 0.5, 0.53), point("gpt-4-0613", 0.9, 0.54), point("right", 9, 0.9)]
    sides = sides_of(rows)
    assert [align for align, _ in sides] == ["left", "left", "left", "right"]
    assert sides[0][1] == sides[3][1] == -9 and sides[1][1] != -9


def test_points_on_one_spot_have_names_one_above_the_other():
    sides = sides_of([point(f"model-{number}", 1.0, 0.5) for number in range(2)])
    assert len({dy for _, dy in sides}) == 2
