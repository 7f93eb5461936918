"""Every page on the demo's data and a real local engine's (lived_in.py), in four looks: no error, no overlap, nothing that axe-core minds.

    BAKEOFF_PICTURES=/tmp/pictures make test-slow           # keep the screenshots
    BAKEOFF_LIVED=/tmp/results pytest -m slow tests/e2e/test_lived_in.py      # on what an earlier run left

axe-core is fetched by `make test-slow`, or found by AXE=…/axe.min.js or in node_modules; without it its part is skipped.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import charts_drawn, chromium, house, needs_chromium
from lived_in import HOUSE, live
from test_windows import is_ours, open_view

pytestmark = [needs_chromium, pytest.mark.slow, pytest.mark.timeout(1500)]
ROOT = Path(__file__).parents[2]
FOUR = [(scheme, width) for scheme in ("light", "dark") for width in (1440, 390)]
# Each page, and words of the engine's own data that stand on it.
PAGES = {
    "battle": ("", "Blind battle"),
    "leaderboard": ("leaderboard", HOUSE),
    "pick": ("pick?task=prime", HOUSE),
    "head-to-head": (f"head-to-head?first={HOUSE}", f"{HOUSE} and"),
    "votes-health": ("votes-health", "rated"),
    "training": ("training", "Where it came from"),
    "benchmarks": (f"benchmarks?first={HOUSE}&second=gpt-4-0314", HOUSE),
    "samples": (f"samples?endpoint={HOUSE}", HOUSE),
    "load": ("load", "prompts of 24 tokens"),
    "cost": ("cost", "A month of"),
    "trade-offs": ("trade-offs", HOUSE),
    "drift": (f"drift?watched={HOUSE}", "DRIFT"),
    "about": ("about", "votes"),
}
# What axe-core finds in Streamlit's own chrome, which is not ours to mend.
STREAMLITS = {"stHeader", "stToolbar", "stTopNavSection"}
# Pairs of lines of text that lie on each other by more than a hair, whatever they belong to; what a scroller hides is not looked at.
OVERLAPS = """() => {
  const lines = [], walker = document.createTreeWalker(document.querySelector('.stMainBlockContainer'), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    if (element.closest('[data-testid="stIconMaterial"], svg, style, script')) continue;
    const clip = element.closest('.scroll, pre, [data-testid="stExpander"]')?.getBoundingClientRect();
    const range = document.createRange(); range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      if (box.width < 2 || box.height < 2) continue;
      if (clip && (box.left >= clip.right - 2 || box.top >= clip.bottom - 2)) continue;
      lines.push({node, box, right: Math.min(box.right, clip?.right ?? box.right)});
    }
  }
  lines.sort((one, other) => one.box.top - other.box.top);
  const found = [];
  for (let i = 0; i < lines.length; i++) {
    for (let k = i + 1; k < lines.length && lines[k].box.top < lines[i].box.bottom - 6; k++) {
      const [one, other] = [lines[i], lines[k]];
      const wide = Math.min(one.right, other.right) - Math.max(one.box.left, other.box.left);
      if (one.node !== other.node && wide > 3) found.push([one, other].map(line => line.node.data.trim().slice(0, 40)).join(' on '));
    }
  }
  return [lines.length, found];
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    made = os.environ.get("BAKEOFF_LIVED")
    results = Path(made) if made else live(tmp_path_factory.mktemp("lived-in") / "results")
    with house("dashboards", "--demo", results=results) as url:
        yield url


def keep(page: Any, picture: Path) -> None:
    """A picture of the whole page; charts are drawn anew in the taller window."""
    shown = page.viewport_size
    for _ in range(2):
        tall = page.evaluate("document.querySelector('.stMainBlockContainer').scrollHeight")
        page.set_viewport_size({"width": shown["width"], "height": max(shown["height"], min(int(tall) + 60, 8000))})
        charts_drawn(page)
        page.wait_for_timeout(500)
    page.screenshot(path=picture)
    page.set_viewport_size(shown)


@pytest.mark.parametrize(("scheme", "width"), FOUR)
def test_every_page_shows_the_engine_and_is_whole(address: str, pictures: Path, tmp_path: Path, scheme: str, width: int) -> None:
    problems: list[str] = []
    at = ""
    with chromium(tmp_path / "profile", viewport={"width": width, "height": 900}, color_scheme=scheme) as page:
        page.set_default_timeout(90_000)
        page.on("console", lambda message: problems.append(f"{at}: {message.text}") if is_ours(message) else None)
        page.on("pageerror", lambda error: problems.append(f"{at}: {error}"))
        for at, (path, words) in PAGES.items():
            open_view(page, f"{address}/{path}")
            page.get_by_text(words).first.wait_for(state="attached")
            keep(page, pictures / f"{at}-{scheme}-{width}.png")
            wide = page.evaluate(
                "Math.max(...[document.documentElement, document.querySelector('.stMain')].map(e => e.scrollWidth - e.clientWidth))"
            )
            looked, overlaps = page.evaluate(OVERLAPS)
            assert looked > 3
            problems += [f"{at}: {wide} px too wide"] * (wide > 0) + [f"{at}: {pair}" for pair in overlaps]
            problems += [f"{at} broke"] * page.get_by_text("This page broke").count()
    assert not problems, "\n".join(problems)


def axe() -> Path | None:
    """axe-core's file, where somebody has it."""
    for path in (Path(os.environ.get("AXE") or ROOT / ".venv/axe/axe.min.js"), ROOT / "node_modules" / "axe-core" / "axe.min.js"):
        if path.is_file():
            return path
    return None


@pytest.mark.skipif(axe() is None, reason="axe-core is not here: make test-slow fetches it with npm; or AXE=…/axe.min.js")
@pytest.mark.parametrize(("scheme", "width"), FOUR)
def test_axe_core_has_no_serious_finding(address: str, tmp_path: Path, scheme: str, width: int) -> None:
    found = []
    with chromium(tmp_path / "profile", viewport={"width": width, "height": 1600}, color_scheme=scheme, bypass_csp=True) as page:
        page.set_default_timeout(90_000)
        for name, (path, _) in PAGES.items():
            open_view(page, f"{address}/{path}")
            page.add_script_tag(path=str(axe()))
            for violation in page.evaluate("axe.run({exclude: [['[data-testid=stSidebar]']]}).then(result => result.violations)"):
                nodes = [node for node in violation["nodes"] if not any(word in str(node["html"]) for word in STREAMLITS)]
                if violation["impact"] in ("serious", "critical") and nodes:
                    found.append(f"{name}: {violation['id']} ({len(nodes)}): {nodes[0]['html'][:200]} {nodes[0]['any'][:1]}")
    assert not found, "\n".join(found)
