"""Latency against load as one small SVG: no script, no font, no package; readable on white and on black.

    path.write_text(to_svg(summary))

The vertical axis is logarithmic, as latency near saturation needs it. Lines end in their names; a percentile that a level does not carry
leaves a gap.
"""

import math
from collections.abc import Callable, Sequence
from html import escape

from evals.load.figures import Level
from evals.load.run import Summary
from evals.load.slo import limits
from evals.load.sweep import of

WIDTH, HEIGHT = 720, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 130, 46, 52
# Two hues that hold their contrast on white and on #111, and differ in lightness for eyes that do not tell them apart.
STYLE = """
  .ink { fill: #24292f; stroke: none; } .faint { fill: #6e7781; stroke: none; } .grid { stroke: #d0d7de; }
  .a { stroke: #0969da; fill: #0969da; } .b { stroke: #bc4c00; fill: #bc4c00; } .mark { stroke: #6e7781; stroke-dasharray: 4 4; }
  @media (prefers-color-scheme: dark) {
    .ink { fill: #e6edf3; } .faint { fill: #8d96a0; } .grid { stroke: #30363d; }
    .a { stroke: #58a6ff; fill: #58a6ff; } .b { stroke: #f0883e; fill: #f0883e; } .mark { stroke: #8d96a0; }
  }
  text { font: 12px system-ui, sans-serif; } .title { font-size: 14px; font-weight: 600; }
  path { fill: none !important; stroke-width: 2; } .thin { stroke-width: 1; } .dashed { stroke-dasharray: 6 4; }
"""
SERIES = (
    ("latency_from_schedule_s", "p50", "latency p50", "a", ""),
    ("latency_from_schedule_s", "p99", "latency p99", "a", "dashed"),
    ("ttft_from_schedule_s", "p50", "TTFT p50", "b", ""),
    ("ttft_from_schedule_s", "p99", "TTFT p99", "b", "dashed"),
)


def to_svg(summary: Summary) -> str:
    """The plot of a run with two or more load levels: seconds over requests a second, or over requests at once. Raises ValueError for
    fewer.
    """
    levels = sorted(summary.levels, key=of)
    lines = [(title, colour, dash, _points(levels, name, percentile)) for name, percentile, title, colour, dash in SERIES]
    values = [seconds for *_, points in lines for _, seconds in points if seconds is not None]
    if len(levels) < 2 or not values:
        raise ValueError("a plot of latency against load needs two load levels with answers")
    x, y = _axis_x([of(level) for level in levels]), _axis_y(values)
    unit = "requests a second (asked for)" if levels[0].load.rate is not None else "requests at once"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Latency against load">',
        f"<style>{STYLE}</style>",
        _text(LEFT, 20, f"{summary.endpoint}: seconds from schedule against load", "ink title"),
        *_grid(levels, values, x, y),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, unit, "faint", "middle"),
        *_marks(summary, x, y, values),
    ]
    ends = []
    for title, colour, dash, points in lines:
        parts += _line(points, colour, dash, x, y)
        last = next(((at, seconds) for at, seconds in reversed(points) if seconds is not None), None)
        if last is not None:
            ends.append((y(last[1]), x(last[0]), title, colour))
    return "\n".join([*parts, *_names(ends), "</svg>", ""])


def _points(levels: Sequence[Level], name: str, percentile: str) -> list[tuple[float, float | None]]:
    found = []
    for level in levels:
        figure = level.figures.get(name)
        value = figure.percentiles[percentile] if figure else None
        found.append((of(level), value.value if value else None))
    return found


def _axis_x(values: Sequence[float]) -> Callable[[float], float]:
    high = max(values)
    return lambda value: LEFT + (WIDTH - LEFT - RIGHT) * value / high


def _axis_y(values: Sequence[float]) -> Callable[[float], float]:
    low, high = _decades(values)
    span = math.log10(high / low)
    return lambda value: HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * math.log10(max(value, low) / low) / span


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """The axis from a round number below the least to one above the most."""
    low, high = max(min(values), 1e-6), max(values)
    steps = [base * 10**power for power in range(-6, 7) for base in (1, 2, 5)]
    return max(step for step in steps if step <= low * 1.000001), min(step for step in steps if step > high)


def _grid(levels: Sequence[Level], values: Sequence[float], x: Callable[[float], float], y: Callable[[float], float]) -> list[str]:
    low, high = _decades(values)
    parts = []
    ticks = [base * 10**power for power in range(-6, 7) for base in (1, 2, 5) if low <= base * 10**power <= high]
    for tick in ticks if len(ticks) <= 10 else [tick for tick in ticks if math.log10(tick) % 1 < 1e-9]:
        parts.append(f'<path class="grid thin" d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_text(LEFT - 8, y(tick) + 4, _seconds(tick), "faint", "end"))
    drawn = -math.inf
    for level in levels:
        # Levels that lie too near to each other share one label.
        if x(of(level)) - drawn > 34:
            drawn = x(of(level))
            parts.append(_text(drawn, HEIGHT - BOTTOM + 18, f"{of(level):.3g}", "faint", "middle"))
    return parts


def _marks(summary: Summary, x: Callable[[float], float], y: Callable[[float], float], values: Sequence[float]) -> list[str]:
    """Dashed lines: the knee, the highest level that kept the SLO, the limits."""
    parts = []
    titles: dict[int, list[str]] = {}
    for position, title in ((summary.knee, "knee"), (summary.best, "keeps the SLO")):
        if position is not None:
            titles.setdefault(position, []).append(title)
    places = sorted((x(of(summary.levels[position])), ", ".join(names)) for position, names in titles.items())
    # Two names stand away from each other, one above its line.
    for (at, title), anchor in zip(places, ("middle",) if len(places) < 2 else ("end", "start"), strict=False):
        parts.append(f'<path class="mark thin" d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
        parts.append(_text(at, TOP - 6, title, "faint", anchor))
    low, high = _decades(values)
    for name, limit in (limits(summary.slo) if summary.slo else {}).items():
        if name != "tpot" and low <= limit <= high:
            parts.append(f'<path class="mark thin" d="M{LEFT} {y(limit):.1f}H{WIDTH - RIGHT}"/>')
            parts.append(_text(LEFT + 4, y(limit) - 4, f"{name.replace('ttft', 'TTFT')} limit", "faint"))
    return parts


def _line(
    points: Sequence[tuple[float, float | None]], colour: str, dash: str, x: Callable[[float], float], y: Callable[[float], float]
) -> list[str]:
    path, parts, pen = "", [], "M"
    for at, seconds in points:
        if seconds is None:
            pen = "M"
            continue
        path += f"{pen}{x(at):.1f} {y(seconds):.1f}"
        pen = "L"
        parts.append(f'<circle class="{colour}" cx="{x(at):.1f}" cy="{y(seconds):.1f}" r="2.5"/>')
    return [f'<path class="{colour} {dash}" d="{path}"/>', *parts] if path else []


def _names(ends: list[tuple[float, float, str, str]]) -> list[str]:
    """The lines' names at their ends, pushed apart so that none covers another."""
    parts, below = [], -math.inf
    for height, at, title, colour in sorted(ends):
        below = max(height + 4, below + 15)
        parts.append(f'<text class="{colour}" style="stroke: none" x="{at + 8:.1f}" y="{below:.1f}">{escape(title)}</text>')
    return parts


def _text(x: float, y: float, text: str, style: str, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _seconds(value: float) -> str:
    return f"{value:g} s" if value >= 1 else f"{1000 * value:g} ms"
