"""Pick in a real browser: the answer, its chart and its sliders, wide and narrow, light and dark, without an error on the console."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import chromium, house, looks, needs_chromium

from evals.quality import run_suite
from evals.suite import choose_endpoints, find_suite, load_suite

pytestmark = [needs_chromium, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    results = tmp_path_factory.mktemp("house") / "results"
    suite = load_suite(find_suite("demo")).model_copy(update={"limit": 60})
    run_suite(suite, choose_endpoints(suite, []), folder=find_suite("demo").parent, results=results)
    with house("dashboards", results=results) as url:
        yield url
    shutil.rmtree(results, ignore_errors=True)


def opened(page: Any, url: str) -> list[str]:
    """The page by its address; returns what the console has said that is an error."""
    complaints: list[str] = []

    def heard(message: Any) -> None:
        # Streamlit looks for its own routes below a page's address first, and finds them on the second try.
        if message.type == "error" and "/pick/_stcore/" not in message.location["url"]:
            complaints.append(f"{message.text} {message.location['url']}")

    page.on("console", heard)
    page.goto(f"{url}/pick")
    page.locator(".pick h2").wait_for()
    page.locator('[data-testid="stVegaLiteChart"] :is(canvas, svg)').first.wait_for()
    return complaints


@pytest.mark.parametrize(("scheme", "width"), looks(("light", 1440)))
def test_answer_chart_and_table_are_drawn_within_the_page(address: str, tmp_path: Path, scheme: str, width: int):
    with chromium(tmp_path / "reader", viewport={"width": width, "height": 900}, color_scheme=scheme) as page:
        complaints = opened(page, address)
        assert page.locator(".pick h2").inner_text().startswith("gpt-")
        assert "Runner-up: gpt-" in page.locator(".pick").inner_text()
        page.locator("table.board tbody tr").nth(3).wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert not complaints


@pytest.mark.slow
def test_a_slider_moved_by_the_keyboard_and_a_limit_change_the_answer(address: str, tmp_path: Path):
    from playwright.sync_api import expect

    with chromium(tmp_path / "chooser", viewport={"width": 1440, "height": 1200}) as page:
        opened(page, address)
        first = page.locator(".pick h2").inner_text()
        # Nothing but quality counts: then the dear one is the best.
        for name in ("weigh-latency", "weigh-cost"):
            slider = page.locator(f".st-key-{name} :is([role=slider], input[type=range])").first
            slider.focus()
            slider.press("Home")
        expect(page.locator(".pick h2")).to_have_text("gpt-4-0314")
        assert first != "gpt-4-0314"
        page.get_by_text("Open weights only").click()
        expect(page.locator(".pick h2")).to_have_text("Nobody")
        expect(page.locator(".pick")).to_contain_text("Leave out open weights")
