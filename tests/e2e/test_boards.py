"""The windows on votes and trainings in a real browser: wide and narrow, light and dark, without an error and without a sideways scroll.

Pictures are kept in the folder that BAKEOFF_PICTURES names, else with the test's own files.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ballot_box import demo_votes
from browser import charts_drawn, chromium, house, needs_chromium

from trainers.record import Training, write_training

pytestmark = [needs_chromium, pytest.mark.timeout(240)]
WIDE, NARROW = {"width": 1440, "height": 1000}, {"width": 390, "height": 844}
ID = "20260502-090000-dpo-tiny"
# Each page, and what stands on it when it is whole.
PAGES = {
    "leaderboard": "The board as a picture",
    "head-to-head?first=GPT+4": "Every pair",
    "votes-health": "voters had votes enough to be tested",
    "training": "Its place on the leaderboard",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("boards") / "results"


@pytest.fixture(scope="module")
def url(home: Path) -> Iterator[str]:
    results = home
    folder = results / "trainings" / ID
    folder.mkdir(parents=True)
    begin = datetime(2026, 5, 2, 9, tzinfo=UTC)
    record = Training(
        training_id=ID, method="dpo", base="org/tiny", base_hash="ab" * 32, parent=None, dataset="results/datasets/votes",
        dataset_hash="cd" * 32, n_train=1234, n_test=56, recipe={}, versions={}, seed=7, adapter="adapter", merged="merged",
        started_at=begin, finished_at=begin + timedelta(minutes=9),
        gate={"verdict": "passed", "n_prompts": 43, "checks": {"wins": {"passed": True, "told": "by likeness: .16 [.02, .30]"}}},
        metrics={"eval_rewards/accuracies_before": 0.5, "eval_rewards/accuracies": 0.712, "eval_loss_before": 0.693, "eval_loss": 0.61},
    )  # fmt: skip
    write_training(record, folder)
    rows = [
        {"step": step, "loss": 0.7 / step**0.2, "rewards/accuracies": 1 - 0.5 / step**0.3, "rewards/margins": 0.1 * step,
         "logps/chosen": -40 + step / 9, "logps/rejected": -41 - step / 3, "learning_rate": 5e-5 * (1 - step / 60)}
        for step in range(1, 60)
    ]  # fmt: skip
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    demo_votes(results / "arena.duckdb")
    with house("dashboards", results=results) as address:
        yield address


def visit(page: Any, url: str, name: str) -> None:
    page.goto(f"{url}/{name}")
    page.get_by_text(PAGES[name]).first.wait_for()
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()
    # Every chart is drawn, if only as a frame.
    charts_drawn(page)


def told(message: Any) -> bool:
    """Whether the console speaks of an error of ours: opened at a page's own address, Streamlit's client first asks below that address."""
    return message.type == "error" and not ("404" in message.text and "/_stcore/" in message.location["url"])


def sideways(page: Any) -> int:
    """By how many pixels the page is wider than its window."""
    return int(page.evaluate("document.scrollingElement.scrollWidth - window.innerWidth"))


def keep(page: Any, name: str, folder: Path) -> None:
    """A picture of the whole page: the window is made as tall as what it shows."""
    shown = page.viewport_size
    tall = page.evaluate("Math.max(...[...document.querySelectorAll('.stMain, .stMainBlockContainer')].map(box => box.scrollHeight))")
    page.set_viewport_size({"width": shown["width"], "height": min(int(tall) + 40, 6000)})
    charts_drawn(page)
    page.screenshot(path=str(folder / f"{name}.png"))
    page.set_viewport_size(shown)


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_each_page_is_whole_wide_and_narrow(url: str, scheme: str, tmp_path: Path):
    pictures = Path(os.environ.get("BAKEOFF_PICTURES") or tmp_path / "pictures")
    pictures.mkdir(parents=True, exist_ok=True)
    errors: list[str] = []
    with chromium(tmp_path / "profile", viewport=WIDE, color_scheme=scheme) as page:
        page.on("console", lambda message: errors.append(f"{message.text} {message.location}") if told(message) else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        for name in PAGES:
            visit(page, url, name)
            for width, size in (("1440", WIDE), ("390", NARROW)):
                page.set_viewport_size(size)
                page.wait_for_function("width => window.innerWidth === width", arg=size["width"])
                keep(page, f"{name.partition('?')[0]}-{scheme}-{width}", pictures)
                assert sideways(page) <= 0, (name, width)
            page.set_viewport_size(WIDE)
    assert not errors


@pytest.mark.slow
def test_links_lead_from_window_to_window_and_the_keyboard_reaches_them(url: str, tmp_path: Path):
    with chromium(tmp_path / "profile", viewport=WIDE) as page:
        visit(page, url, "leaderboard")
        link = page.get_by_role("link", name="GPT 4 against")
        link.focus()
        page.keyboard.press("Enter")
        page.get_by_text("Every pair").wait_for()
        # What a control would show anyhow leaves the address.
        assert "second=Platypus" in page.url
        page.get_by_role("link", name="Leaderboard").last.click()
        page.get_by_text("GPT 4 is first; 13 dropped votes").wait_for()
        page.goto(f"{url}/votes-health")
        page.get_by_role("heading", name="Votes health").wait_for()


@pytest.mark.slow
def test_a_chart_is_taken_away_as_data_and_as_a_picture(url: str, tmp_path: Path):
    with chromium(tmp_path / "profile", viewport=WIDE) as page:
        visit(page, url, "leaderboard")
        for kind, begins in (("CSV", b"at,n_votes,model,"), ("SVG", b"<svg"), ("PNG", b"\x89PNG")):
            with page.expect_download() as taken:
                page.locator(".st-key-origin-ratings-over-time").get_by_role("button", name=kind).click()
            assert taken.value.path().read_bytes().startswith(begins), kind


@pytest.mark.slow
def test_the_report_of_a_running_arena_opens_without_a_network(url: str, home: Path, tmp_path: Path):
    pictures = Path(os.environ.get("BAKEOFF_PICTURES") or tmp_path)
    command = [sys.executable, "-m", "arena.cli", "report", "--results", str(home), "--out", str(tmp_path / "report")]
    subprocess.run(command, check=True, capture_output=True)
    (file,) = (tmp_path / "report").glob("*.html")
    errors: list[str] = []
    asked: list[str] = []
    for scheme in ("light", "dark"):
        with chromium(tmp_path / scheme, viewport=WIDE, color_scheme=scheme, offline=True) as page:
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            page.on("request", lambda request: asked.append(request.url))
            page.goto(file.as_uri())
            page.get_by_role("heading", name="Ratings").wait_for()
            for size in (NARROW, WIDE):
                page.set_viewport_size(size)
                assert sideways(page) <= 0
                page.screenshot(path=str(pictures / f"report-{scheme}-{size['width']}.png"), full_page=True)
    assert asked == [file.as_uri()] * 2 and not errors
    assert file.stat().st_size < 2_000_000
