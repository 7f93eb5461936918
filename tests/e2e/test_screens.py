"""The arena's pages as people see them, light and dark, on a phone and on a desk: nothing sticks out, every word can be read.

The pictures stay in pytest's folder, or in the one that BAKEOFF_SCREENS names.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import chromium, house, looks, needs_chromium
from model_server import ModelServer, sse

from serving.endpoints import register

pytestmark = [needs_chromium, pytest.mark.timeout(240)]
SIZES = {390: 844, 1440: 900}
ANSWER = """## How it works

A model is asked **twice**, by two people who do not know each other:

- the first one reads the question aloud, word by word, until nobody in the room can have missed it;
- the second one writes down `what(he, heard)`, and compares.

```python
def compare(first: str, second: str) -> bool:
    return first.strip().casefold() == second.strip().casefold() or len(first) == len(second) == 0
```

| who | heard |
|---|---|
| the first | everything |

> Nobody is perfect, and that is the point of it."""
# Text is read at 4.5:1 or more (WCAG 2.2, 1.4.3; large text at 3:1), its colour laid over the grounds and opacities that it lies in.
CONTRAST = """() => {
  const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d', {willReadFrequently: true});
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], ground) => [r, g, b].map((c, i) => c * a + ground[i] * (1 - a));
  const luminance = colour => {
    const [r, g, b] = colour.map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const poor = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let looked = 0;
  while (walker.nextNode()) {
    const node = walker.currentNode, element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    if (element.closest('[data-testid="stIconMaterial"], [aria-hidden="true"], :disabled, style, script')) continue;
    const range = document.createRange(); range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    if (box.width < 2 || box.height < 2) continue;
    const chain = []; for (let e = element; e; e = e.parentElement) chain.unshift(e);
    let ground = [255, 255, 255], opacity = 1;
    for (const e of chain) {
      ground = over(rgba(getComputedStyle(e).backgroundColor), ground); opacity *= Number(getComputedStyle(e).opacity);
    }
    const style = getComputedStyle(element), [r, g, b, a] = rgba(style.color);
    const [one, two] = [luminance(over([r, g, b, a * opacity], ground)), luminance(ground)];
    const ratio = (Math.max(one, two) + .05) / (Math.min(one, two) + .05), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    looked++;
    if (ratio < (large ? 3 : 4.5)) {
      const where = element.closest('[class*="st-key-"], [data-testid]');
      const name = where?.dataset.testid || where?.className;
      poor.push(`${ratio.toFixed(2)}:1 ${element.tagName} in ${name}: ${node.data.trim().slice(0, 40)}`);
    }
  }
  return [looked, poor];
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    results = tmp_path_factory.mktemp("arena") / "results"
    results.mkdir()
    other = "\n\n".join(reversed(ANSWER.split("\n\n")))
    first, second = ([text[start : start + 16] for start in range(0, len(text), 16)] for text in (ANSWER, other))
    with ModelServer(sse(*first), pace_s=0.2) as one, ModelServer(sse(*second), pace_s=0.15) as two:
        for name, server in (("zebra-model-70b-instruct", one), ("okapi-model", two)):
            register(server.endpoint(name), results)
        with house("arena", "--demo", results=results) as url:
            yield url


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("BAKEOFF_SCREENS")
    path = Path(named) if named else tmp_path_factory.mktemp("screens")
    path.mkdir(parents=True, exist_ok=True)
    return path


def look(page: Any, picture: Path) -> list[str]:
    """Keep a picture of the whole page; what sticks out of it, cannot be read, or is of Streamlit's demo look."""
    width, height = page.viewport_size["width"], page.viewport_size["height"]
    whole = page.evaluate("document.querySelector('.stMainBlockContainer').scrollHeight")
    page.set_viewport_size({"width": width, "height": max(height, whole)})
    page.screenshot(path=picture)
    assert picture.stat().st_size > 10_000
    page.set_viewport_size({"width": width, "height": height})
    wide = page.evaluate(
        "Math.max(...[document.documentElement, document.querySelector('.stMain')].map(e => e.scrollWidth - e.clientWidth))"
    )
    looked, poor = page.evaluate(CONTRAST)
    assert looked > 5
    demo = [mark for mark in ("stAppDeployButton", "stMainMenu", "stStatusWidget") if page.get_by_test_id(mark).is_visible()]
    return [f"{picture.stem}: {problem}" for problem in ([f"{wide} px too wide"] if wide > 0 else []) + poor + demo]


@pytest.mark.parametrize(("theme", "width"), looks(("dark", 390)))
def test_every_page_fits_and_reads(address: str, folder: Path, tmp_path: Path, theme: str, width: int):
    viewport = {"width": width, "height": SIZES[width]}
    problems: list[str] = []
    with chromium(tmp_path / "voter", viewport=viewport, color_scheme=theme) as page:

        def picture(name: str) -> Path:
            return folder / f"{name}-{theme}-{width}.png"

        page.goto(address)
        page.get_by_role("button", name="Start the battle").wait_for()
        page.locator(".st-key-prompts .stButton").nth(5).wait_for()
        problems += look(page, picture("ask"))
        page.get_by_role("textbox").fill("How can two people tell whether they heard the same?\nAnswer in Markdown.")
        page.get_by_role("button", name="Start the battle").click()
        page.locator(".answer pre").nth(1).wait_for()
        page.locator(".st-key-stop button").wait_for()
        problems += look(page, picture("streaming"))
        page.locator(".st-key-live-tie button:enabled").wait_for()
        problems += look(page, picture("votable"))
        page.locator(".st-key-live-model_a button").click()
        page.get_by_text("You preferred A. Thank you, the vote is counted").wait_for()
        page.locator(".st-key-votes").wait_for(state="detached")
        problems += look(page, picture("revealed"))
        page.goto(f"{address}/leaderboard")
        page.locator("table.board tbody tr").nth(58).wait_for()
        page.get_by_test_id("stSelectbox").wait_for()
        problems += look(page, picture("leaderboard"))
    assert not problems
