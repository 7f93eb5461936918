"""A chart can be taken away as its data and as a picture, whatever the page shows."""

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboards.charts import points_with_intervals
from dashboards.figure import as_csv, as_png, as_svg

ROWS: list[dict[str, Any]] = [
    {"endpoint": name, "task": "gsm8k", "value": 0.5, "lower": 0.4, "upper": 0.6, "stderr": 0.05, "latency_s": seconds}
    for name, seconds in (("small", 0.5), ("large", 3.0))
]


@pytest.fixture
def chart() -> Any:
    return points_with_intervals(ROWS, x="latency_s", x_title="Latency (s)", x_format="~g")


def test_the_data_has_every_row_and_every_key_that_any_row_has() -> None:
    assert as_csv([{"a": 1, "b": "x, y"}, {"a": 2, "c": None}]) == 'a,b,c\n1,"x, y",\n2,,\n'


def test_the_picture_names_what_the_chart_names(chart: Any) -> None:
    svg = as_svg(chart)
    assert svg.startswith("<svg") and all(word in svg for word in ("small", "large", "Latency (s)"))


def test_the_png_is_a_picture(chart: Any) -> None:
    assert as_png(chart).startswith(b"\x89PNG\r\n")


def test_a_page_shows_the_origin_and_three_files_to_take_away() -> None:
    def script() -> None:
        from dashboards.charts import points_with_intervals
        from dashboards.figure import figure
        from tests.dashboards.test_figure import ROWS

        figure(points_with_intervals(ROWS, x="latency_s", x_title="Latency", x_format="~g"), ROWS, name="latency", origin="run 7, n = 200")

    page = AppTest.from_function(script).run(timeout=30)
    assert not page.exception
    assert [caption.value for caption in page.caption] == ["run 7, n = 200"]
    assert [button.proto.label for button in page.get("download_button")] == ["CSV", "SVG", "PNG"]
