"""How long does a person wait for a page: loaded whole, or chosen in the menu while another is open? For boards.py and pages.py.

    headed_s, whole_s = loaded(page, f"{url}/leaderboard")      # Streamlit's own start in the browser is in it
    chosen_s = chosen(page, "leaderboard")                      # from the click on the menu's link

A page is there when its heading stands and Streamlit no longer runs its script.
"""

import time
from typing import Any

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
