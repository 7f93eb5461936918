"""A table as every window shows it: a name first, figures on the right, nothing that a file says taken for markup.

st.html(board(("Endpoint", "Quality"), [("gpt-4", "84.0 %")]))
"""

import html
from collections.abc import Sequence

from dashboards.charts import number

DASH = "–"


def board(headings: Sequence[str], rows: Sequence[Sequence[str]], *, text: int = 1, titles: Sequence[str] = ()) -> str:
    """HTML of a table whose first `text` columns are words; `titles` are what each row says when pointed at."""
    head = "".join(f'<th class="{_side(place, text)}">{html.escape(name)}</th>' for place, name in enumerate(headings))
    body = "".join(_row(row, text, titles[place] if titles else "") for place, row in enumerate(rows))
    # The scrolling part can be reached and scrolled by keyboard.
    label = html.escape(", ".join(filter(None, headings)))
    start = f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">'
    return f'{start}<table class="board"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _row(row: Sequence[str], text: int, title: str) -> str:
    cells = "".join(f'<td class="{_side(place, text, "model")}">{html.escape(cell)}</td>' for place, cell in enumerate(row))
    return f'<tr title="{html.escape(title)}">{cells}</tr>' if title else f"<tr>{cells}</tr>"


def _side(place: int, text: int, word: str = "") -> str:
    return word if place < text else "num"


def percent(value: float | None) -> str:
    """A share of one, with three significant digits at the most."""
    return DASH if value is None else f"{100 * value:.1f} %"


def seconds(value: float | None) -> str:
    """Seconds, below one in milliseconds."""
    return number(value, " s") if value is None or value >= 1 else number(1000 * value, " ms")


def dollars(value: float | None) -> str:
    """Dollars; cents where there are any to see."""
    return DASH if value is None else f"${number(value)}"
