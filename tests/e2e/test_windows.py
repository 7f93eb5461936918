"""The windows in a real browser, on the demo's recordings and a load test of a loopback server: light and dark, wide and narrow.

BAKEOFF_PICTURES=/tmp/pictures pytest tests/e2e/test_windows.py        # keep the screenshots
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import chromium, house, looks, needs_chromium
from paced_server import PacedServer

from evals.load.plan import Load, Shape
from evals.load.run import Settings, run_load
from evals.load.slo import parse_slo
from evals.quality import run_suite
from evals.suite import choose_endpoints, find_suite, load_suite
from serving.endpoints import register

pytestmark = [needs_chromium, pytest.mark.timeout(300)]
GPT4 = ("gpt-4-0314", "gpt-4-0613")
VIEWS = {
    "benchmarks": f"benchmarks?first={GPT4[0]}&second={GPT4[1]}",
    "samples": f"samples?endpoint={GPT4[0]}",
    "load": "load",
    "cost": "cost",
    "trade-offs": "trade-offs",
    "drift": f"drift?watched={GPT4[0]}",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of the demo's suite and a sweep over a paced server that bears eight at once."""
    folder = tmp_path_factory.mktemp("windows") / "results"
    folder.mkdir()
    suite = load_suite(find_suite("demo")).model_copy(update={"limit": 25})
    for _ in range(2):
        run_suite(suite, choose_endpoints(suite, []), folder=find_suite("demo").parent, results=folder)
    with PacedServer(ttft_ms=10, gap_ms=2, tokens=8) as server:
        register(server.endpoint(), folder)
        settings = Settings(
            endpoint=server.endpoint(), load=Load(concurrency=1, requests=40), sweep=True, most_levels=3, seed=1, processes=1,
            shape=Shape(input_tokens=20, output_tokens=8), slo=parse_slo("latency=0.5,p=90"),
        )  # fmt: skip
        run_load(settings, folder)
    return folder


@pytest.fixture(scope="module")
def address(results: Path) -> Iterator[str]:
    with house("dashboards", "--demo", results=results) as url:
        yield url


def is_ours(message: Any) -> bool:
    """An error, other than Streamlit's own when it looks for its server below the page's address before it looks at the root."""
    return bool(message.type == "error" and "/_stcore/" not in message.location["url"])


def open_view(page: Any, url: str) -> None:
    """Wait until the page is whole: its script has ended and every chart is drawn."""
    page.goto(url)
    page.locator("[data-test-script-state='notRunning'] .page-head h1").first.wait_for()
    page.locator("[data-stale='true']").first.wait_for(state="detached")
    for place in range(page.locator("[data-testid='stVegaLiteChart']").count()):
        page.locator("[data-testid='stVegaLiteChart']").nth(place).locator("canvas, svg.marks").first.wait_for()


@pytest.mark.parametrize(("scheme", "width"), looks(("dark", 390)))
def test_every_window_is_whole_without_a_complaint_or_a_sideways_scroll(
    address: str, pictures: Path, tmp_path: Path, scheme: str, width: int
) -> None:
    complaints: list[str] = []
    with chromium(tmp_path / "profile", viewport={"width": width, "height": 2600}, color_scheme=scheme) as page:
        page.on("console", lambda message: complaints.append(message.text + message.location["url"]) if is_ours(message) else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        for name, path in VIEWS.items():
            open_view(page, f"{address}/{path}")
            page.screenshot(path=pictures / f"{name}-{scheme}-{width}.png")
            assert page.get_by_text("This page broke").count() == 0, f"{name} broke"
            wide = page.evaluate("""() => [document.documentElement, document.querySelector("[data-testid='stMain']")]
                .map(element => element.scrollWidth - element.clientWidth)""")
            assert max(wide) <= 0, f"{name} scrolls sideways at {width} px"
            assert not complaints, f"{name}: {complaints}"


def test_a_charts_scripts_are_there_before_the_first_chart_is(address: str, tmp_path: Path) -> None:
    complaints: list[str] = []
    fetched = "performance.getEntriesByType('resource').filter(one => one.name.includes('/ArrowVegaLiteChart.')).length"
    with chromium(tmp_path / "profile") as page:
        page.on("console", lambda message: complaints.append(message.text) if is_ours(message) else None)
        open_view(page, f"{address}/about")
        for _ in range(300):
            if page.evaluate(fetched):
                break
            page.wait_for_timeout(100)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.get_by_test_id("stTopNavLink").filter(has_text="Leaderboard").click()
        page.locator("[data-testid='stVegaLiteChart'] canvas, svg.marks").first.wait_for()
        assert not complaints and not [url for url in asked if "/ArrowVegaLiteChart." in url]


@pytest.mark.slow
def test_what_is_chosen_is_in_the_address_and_leads_from_window_to_window(address: str, tmp_path: Path) -> None:
    with chromium(tmp_path / "profile", viewport={"width": 1440, "height": 1600}) as page:
        open_view(page, f"{address}/benchmarks?task=is_prime_chat")
        page.get_by_role("link", name="Each answer of").first.click()
        page.get_by_role("heading", name="Samples").wait_for()
        assert "run=" in page.url or page.get_by_role("combobox", name="Run").input_value()
        open_view(page, f"{address}/samples?endpoint={GPT4[1]}&verdict=wrong")
        summary = page.locator("[data-testid='stExpander'] summary", has_text="wrong").first
        summary.focus()
        page.keyboard.press("Enter")
        page.get_by_text("Answer", exact=True).first.wait_for()
        with page.expect_download() as download:
            page.get_by_role("button", name="CSV").first.click()
        assert GPT4[1] in Path(download.value.path()).read_text()


@pytest.mark.slow
def test_an_empty_house_says_what_to_run(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    with house("dashboards", results=results) as url, chromium(tmp_path / "profile") as page:
        for name, command in (
            ("benchmarks", "evals run demo"),
            ("samples", "evals run demo"),
            ("load", "evals load"),
            ("drift", "evals run"),
        ):
            open_view(page, f"{url}/{name}")
            page.locator(".empty", has_text=command).wait_for()
        open_view(page, f"{url}/cost")
        page.locator("th", has_text="$ a month").wait_for()
