"""How long does a person wait for a page: loaded whole, or chosen in the menu while another is open? For pages.py.

    headed_s, whole_s = loaded(page, f"{url}/leaderboard")      # Streamlit's own start in the browser is in it
    chosen_s = chosen(page, "leaderboard")                      # from the click on the menu's link
    first, again = toured(page, url, ["leaderboard", "pick"])   # both of each page, of a house that nobody has looked at

A page is there when its heading stands and Streamlit no longer runs its script.
"""

import time
from collections.abc import Sequence
from typing import Any

READING_S = 8.0
HEADING = ".page-head h1"
_DONE = '[data-testid="stApp"][data-test-script-state="notRunning"]'
_LINKS = ", ".join(f"[data-testid={link}][href$='/{{path}}']" for link in ("stTopNavLink", "stTopNavDropdownLink"))


def loaded(page: Any, url: str) -> tuple[float, float]:
    """Seconds until the page's heading stands, and until everything on it is drawn."""
    started = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.locator(HEADING).first.wait_for()
    headed = time.perf_counter() - started
    page.locator(_DONE).wait_for()
    return headed, time.perf_counter() - started


def chosen(page: Any, path: str) -> float:
    """Seconds from the click on this page's link in the menu; another page of the house is open."""
    link = page.locator(_LINKS.format(path=path))
    for section in page.get_by_test_id("stTopNavSection").all():
        if link.count():
            break
        page.keyboard.press("Escape")
        section.click()
        page.wait_for_timeout(300)
    page.evaluate(f"document.querySelectorAll('{HEADING}').forEach(heading => heading.dataset.left = 'yes')")
    started = time.perf_counter()
    link.click()
    page.locator(f"{HEADING}:not([data-left])").first.wait_for()
    page.locator(_DONE).wait_for()
    return time.perf_counter() - started


def toured(page: Any, url: str, paths: Sequence[str], *, reading_s: float = READING_S) -> tuple[list[float], list[float]]:
    """Seconds of each page by the menu, for the first time and again; before that the house's first page is opened and read for so long."""
    loaded(page, url)
    page.wait_for_timeout(1000 * reading_s)
    # The first page is come back to, so that it is chosen as well.
    order = sorted(paths, key=lambda path: path == "")
    first, again = ({path: chosen(page, path) for path in order} for _ in range(2))
    return [first[path] for path in paths], [again[path] for path in paths]
