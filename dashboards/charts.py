"""How every chart of the house looks: one palette, one mark size, colours that hold in the light and in the dark.

Every encoding is written as its class, `alt.Y2("upper:Q")`: to find out what a bare "upper:Q" is, altair looks through its whole schema.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal
from zlib import crc32

# Okabe and Ito's colours for the colour-blind (2008), the blue lighter, without the black and the yellow that vanish on one of the grounds.
PALETTE = ("#D55E00", "#3388C8", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

ENDS = ("lower", "upper")


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name, its own wherever it is drawn: from the name alone. Of two on one chart that would share it, the later in the
    alphabet takes the next that is free.
    """
    found: dict[str, str] = {}
    for name in sorted(set(names)):
        start = crc32(name.encode()) % len(PALETTE)
        order = [*PALETTE[start:], *PALETTE[:start]]
        found[name] = next((colour for colour in order if colour not in found.values()), order[0])
    return found


def number(value: float | None, unit: str = "") -> str:
    """Three significant digits with a unit, or a dash for what is not known."""
    if value is None:
        return "–"
    text = f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:#.3g}".rstrip(".")
    return f"{text}{unit}"


def points_with_intervals(rows: Sequence[dict[str, Any]], *, x: str, x_title: str, x_format: str) -> Any:
    """Quality (0 to 1, with `lower` and `upper`) against `x` on a log scale, each point labelled with its endpoint."""
    import altair as alt
    import pandas as pd

    colour = colours([row["endpoint"] for row in rows])
    scale = alt.Scale(domain=list(colour), range=list(colour.values()))
    low, high = min(row[x] for row in rows), max(row[x] for row in rows)
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X(
            f"{x}:Q",
            title=x_title,
            scale=alt.Scale(type="log", domain=[low / 1.5, high * 1.5], nice=False),
            axis=alt.Axis(format=x_format, tickCount=5, grid=False),
        ),
        color=alt.Color("endpoint:N", scale=scale, legend=None),
        tooltip=[
            alt.Tooltip("endpoint:N"),
            alt.Tooltip("task:N"),
            alt.Tooltip("value:Q", title="quality", format=".1%"),
            alt.Tooltip("stderr:Q", title="standard error", format=".2%"),
            alt.Tooltip(f"{x}:Q", title=x_title, format=x_format),
        ],
    )
    y = alt.Y("value:Q", title="quality", axis=alt.Axis(format="%"), scale=alt.Scale(zero=False, padding=14))
    bars = base.mark_rule(strokeWidth=2, opacity=0.7).encode(y=alt.Y("lower:Q"), y2=alt.Y2("upper:Q"))
    dots = base.mark_circle(size=110, opacity=1).encode(y=y)
    colour_and_place = {"x": base.encoding.x, "y": y, "color": base.encoding.color}
    names = _names(rows, rows, x, ("value", "lower", "upper"), log_x=True, width=420, encoding=colour_and_place)
    return alt.layer(bars, dots, *names).properties(height=340)


def _names(
    named: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], x: str, heights: tuple[str, str, str], *, log_x: bool, width: int,
    encoding: dict[str, Any],
) -> list[Any]:  # fmt: skip
    """The names of these of the rows beside their points. `heights` are the keys of the value and its bounds."""
    import altair as alt
    import pandas as pd

    layers = []
    for place in sorted(set(sides := _sides_of_names(named, rows, x, heights, log_x=log_x, width=width))):
        mine = [row for row, side in zip(named, sides, strict=True) if side == place]
        text = alt.Chart(pd.DataFrame(mine)).mark_text(align=place[0], dx=10 if place[0] == "left" else -10, dy=place[1], fontSize=13)
        layers.append(text.encode(text=alt.Text("endpoint:N"), **encoding))
    return layers


def _sides_of_names(
    named: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], x: str, heights: tuple[str, str, str], *, log_x: bool, width: int
) -> list[tuple[Literal["left", "right"], int]]:
    """Where each name stands (align, dy): towards the middle, where there is room; below its point where one above would lie on another.

    Reckoned in pixels of a plot of `width` x 230.
    """
    value, lower, upper = heights
    places = [float(row[x]) for row in rows]
    low, high = (min(places) / 1.5, max(places) * 1.5) if log_x else (min(places), max(places))
    bottom, top = min(row[lower] for row in rows), max(row[upper] for row in rows)

    def across(row: dict[str, Any]) -> float:
        share = math.log(float(row[x]) / low) / math.log(high / low) if log_x else (float(row[x]) - low) / max(high - low, 1e-9)
        return width * share

    def up(height: float) -> float:
        return float(230 * (height - bottom) / max(top - bottom, 1e-9))

    taken = [(across(row) - 6, across(row) + 6, up(row[lower]) - 5, up(row[upper]) + 5) for row in rows]
    sides: list[tuple[Literal["left", "right"], int]] = []
    for row in named:
        align: Literal["left", "right"] = "left" if across(row) <= width / 2 else "right"
        wide, mine = 7.5 * len(row["endpoint"]), rows.index(row)
        start = across(row) + 10 if align == "left" else across(row) - 10 - wide
        # A line of `line`'s rows rises to the right: below it there is room to the right of a point, above it to the left.
        order = (11, -9, 22, -20, 36, -34) if align == "left" and row.get("line") else (-9, 11, -20, 22, -34, 36)
        boxes = {dy: (start, start + wide, up(row[value]) - dy - 8, up(row[value]) - dy + 8) for dy in order}
        others = [box for number, box in enumerate(taken) if number != mine]
        free = [dy for dy, (a, b, c, d) in boxes.items() if not any(a < f and e < b and c < h and g < d for e, f, g, h in others)]
        sides.append((align, dy := free[0] if free else order[0]))
        taken.append(boxes[dy])
    return sides


def matrix(rows: Sequence[dict[str, Any]], order: Sequence[str]) -> Any:
    """Share of wins of the row's model against the column's, as a heat map; blue below one half, orange above."""
    import altair as alt
    import pandas as pd

    cell = max(18, min(34, 760 // max(len(order), 1)))
    return (
        alt.Chart(pd.DataFrame(rows))
        .mark_rect(stroke=None)
        .encode(
            x=alt.X(
                "opponent:N",
                sort=list(order),
                title=None,
                axis=alt.Axis(orient="top", labelAngle=-60, labelLimit=170, labelOverlap=False),
            ),
            y=alt.Y("model:N", sort=list(order), title=None, axis=alt.Axis(labelLimit=190, labelOverlap=False)),
            color=alt.Color(
                "share:Q",
                scale=alt.Scale(domain=[0, 0.5, 1], range=["#0072B2", "#cfc8bd", "#D55E00"], interpolate="rgb"),
                legend=alt.Legend(title="wins of the row", format="%", orient="bottom", gradientLength=220),
            ),
            tooltip=[
                alt.Tooltip("model:N"),
                alt.Tooltip("opponent:N", title="against"),
                alt.Tooltip("share:Q", title="share won", format=".0%"),
                alt.Tooltip("wins:Q", title="wins"),
                alt.Tooltip("ties:Q"),
                alt.Tooltip("losses:Q"),
            ],
        )
        .properties(width=alt.Step(cell), height=alt.Step(cell))
        .configure_view(stroke=None)
    )


def front(rows: Sequence[dict[str, Any]], *, x: str, y: str, titles: tuple[str, str], formats: tuple[str, str], log_x: bool) -> Any:
    """What may be chosen, what may not, and the front between them. A row has `endpoint`, `x` and `y` with their bounds, and `role`.

    `role` is "choice", "front", "beaten" or "excluded"; a name stands beside the first two. The dashed line joins the rows with `line`.
    Points carry 95 % intervals both ways.
    """
    import altair as alt
    import pandas as pd

    order = ["choice", "front", "beaten", "excluded"]
    colour = alt.Scale(domain=order, range=["#D55E00", "#3388C8", "#8a8178", "#8a8178"])
    shape = alt.Scale(domain=order, range=["diamond", "circle", "circle", "cross"])
    low, high = min(row[x] for row in rows), max(row[x] for row in rows)
    x_scale = alt.Scale(type="log", domain=[low / 1.5, high * 1.5], nice=False) if log_x else alt.Scale(zero=False, padding=30)
    base = alt.Chart(pd.DataFrame(rows))
    horizontal = alt.X(f"{x}:Q", title=titles[0], scale=x_scale, axis=alt.Axis(format=formats[0], tickCount=5, grid=False))
    vertical = alt.Y(f"{y}:Q", title=titles[1], axis=alt.Axis(format=formats[1]), scale=alt.Scale(zero=False, padding=18))
    painted = alt.Color("role:N", scale=colour, legend=None)
    bars = [
        base.mark_rule(strokeWidth=1.5, opacity=0.55).encode(x=horizontal, y=alt.Y(f"{y}_lower:Q"), y2=f"{y}_upper:Q", color=painted),
        base.mark_rule(strokeWidth=1.5, opacity=0.55).encode(x=alt.X(f"{x}_lower:Q"), x2=f"{x}_upper:Q", y=vertical, color=painted),
    ]
    line = (
        base.transform_filter("datum.line")
        .mark_line(interpolate="linear", strokeDash=[4, 3], strokeWidth=1.5, color="#3388C8", opacity=0.8)
        .encode(x=horizontal, y=vertical, order=alt.Order(f"{x}:Q"))
    )
    points = base.mark_point(filled=True, opacity=1).encode(
        x=horizontal, y=vertical, color=painted, shape=alt.Shape("role:N", scale=shape, legend=None),
        size=alt.Size("role:N", scale=alt.Scale(domain=order, range=[260, 120, 80, 70]), legend=None),
        tooltip=[
            alt.Tooltip("endpoint:N"), alt.Tooltip(f"{x}:Q", title=titles[0], format=formats[0]),
            alt.Tooltip(f"{y}:Q", title=titles[1], format=formats[1]), alt.Tooltip("best:N", title="best"),
            alt.Tooltip("why:N", title="not chosen"),
        ],
    )  # fmt: skip
    named = [row for row in rows if row["role"] in ("choice", "front")]
    # As wide as a telephone shows it; where there is more room they stand as well.
    place = {"x": horizontal, "y": vertical, "color": painted}
    names = _names(named, rows, x, (y, f"{y}_lower", f"{y}_upper"), log_x=log_x, width=260, encoding=place)
    return alt.layer(*bars, line, points, *names).properties(height=340)


def dots(rows: Sequence[dict[str, Any]], *, x: str, title: str, format: str) -> Any:
    """One measure of each endpoint with its 95 % interval, best first: for a choice by one thing alone. Rows as in `front`."""
    import altair as alt
    import pandas as pd

    order = ["choice", "front", "beaten", "excluded"]
    colour = alt.Color("role:N", scale=alt.Scale(domain=order, range=["#D55E00", "#3388C8", "#8a8178", "#8a8178"]), legend=None)
    names = alt.Axis(labelLimit=220, labelOverlap=False, labelFlush=False)
    endpoints = alt.Y("endpoint:N", sort=[row["endpoint"] for row in rows], title=None, axis=names)
    base = alt.Chart(pd.DataFrame(rows)).encode(y=endpoints, color=colour)
    bars = base.mark_rule(strokeWidth=2, opacity=0.6).encode(x=alt.X(f"{x}_lower:Q"), x2=f"{x}_upper:Q")
    value = alt.X(f"{x}:Q", title=title, axis=alt.Axis(format=format), scale=alt.Scale(zero=False))
    return alt.layer(bars, base.mark_circle(size=90, opacity=1).encode(x=value)).properties(height=alt.Step(24))


def intervals(rows: Sequence[dict[str, Any]], *, y: str, x: str, x_title: str, percent: bool) -> Any:
    """A dot with its 95 % interval (`lower`, `upper`) for each row, in the rows' order, coloured by endpoint."""
    import altair as alt
    import pandas as pd

    colour = colours([row["endpoint"] for row in rows])
    form = ".1%" if percent else ".3~g"
    bounds = [value for row in rows for value in (row[x], row["lower"], row["upper"]) if value is not None]
    base = alt.Chart(pd.DataFrame(rows)).encode(
        y=alt.Y(f"{y}:N", sort=[row[y] for row in rows], title=None, axis=alt.Axis(labelLimit=190, labelFontSize=13, labelFlush=False)),
        color=alt.Color("endpoint:N", scale=alt.Scale(domain=list(colour), range=list(colour.values())), legend=None),
        tooltip=[alt.Tooltip(f"{y}:N"), alt.Tooltip(f"{x}:Q", format=form), *(alt.Tooltip(f"{end}:Q", format=form) for end in ENDS)],
    )
    scale = alt.Scale(domain=[min(bounds), max(bounds)], nice=True, zero=False, padding=8)
    axis = alt.Axis(format="%" if percent else "~g", tickCount=5)
    bars = base.mark_rule(strokeWidth=3, opacity=0.6).encode(
        x=alt.X("lower:Q", title=x_title, scale=scale, axis=axis), x2=alt.X2("upper:Q")
    )
    dots = base.mark_circle(size=110, opacity=1).encode(x=alt.X(f"{x}:Q", title=x_title, scale=scale, axis=axis))
    return alt.layer(bars, dots).properties(height=alt.Step(30))


def differences(rows: Sequence[dict[str, Any]]) -> Any:
    """Paired differences of shares with their 95 % intervals by task; right of the line the other is better, left of it the baseline."""
    import altair as alt
    import pandas as pd

    base = alt.Chart(pd.DataFrame(rows)).encode(
        y=alt.Y("task:N", sort=[row["task"] for row in rows], title=None, axis=alt.Axis(labelLimit=190, labelFlush=False)),
        tooltip=[
            alt.Tooltip("task:N"),
            alt.Tooltip("difference:Q", format="+.1%"),
            *(alt.Tooltip(f"{end}:Q", format="+.1%") for end in ENDS),
            alt.Tooltip("n:Q"),
        ],
    )
    title = "other − baseline"
    axis = alt.Axis(format="+%", tickCount=5)
    bars = base.mark_rule(strokeWidth=3, color=PALETTE[1], opacity=0.6).encode(
        x=alt.X("lower:Q", title=title, axis=axis), x2=alt.X2("upper:Q")
    )
    dots = base.mark_circle(size=110, color=PALETTE[1], opacity=1).encode(x=alt.X("difference:Q", title=title, axis=axis))
    zero = alt.Chart(pd.DataFrame([{"zero": 0}])).mark_rule(strokeDash=[4, 4], color="#8a8178").encode(x=alt.X("zero:Q"))
    return alt.layer(zero, bars, dots).properties(height=alt.Step(34))


def waterfall(rows: Sequence[dict[str, Any]], chunks: Sequence[dict[str, Any]]) -> Any:
    """Each answer on one line of seconds since its sending: waiting for the first token, then writing, a tick for each chunk."""
    import altair as alt
    import pandas as pd

    order = [row["sample"] for row in rows]
    parts = []
    for row in rows:
        shared = {"sample": row["sample"], "latency_s": row["latency_s"], "ttft_s": row["ttft_s"], "cost_usd": row["cost_usd"]}
        first = row["ttft_s"]
        if first is None:
            parts.append({**shared, "part": "whole answer", "from_s": 0.0, "to_s": row["latency_s"]})
            continue
        parts.append({**shared, "part": "waiting", "from_s": 0.0, "to_s": first})
        parts.append({**shared, "part": "writing", "from_s": first, "to_s": row["latency_s"]})
    look = {"waiting": "#b9a894", "writing": PALETTE[1], "whole answer": PALETTE[2]}
    names = [name for name in look if any(part["part"] == name for part in parts)]
    y = alt.Y("sample:N", sort=order, title=None, axis=alt.Axis(labelLimit=230))
    bars = (
        alt.Chart(pd.DataFrame(parts))
        .mark_bar(height=9)
        .encode(
            y=y,
            x=alt.X("from_s:Q", title="seconds since sending", axis=alt.Axis(format="~g", tickCount=6)),
            x2=alt.X2("to_s:Q"),
            color=alt.Color(
                "part:N",
                scale=alt.Scale(domain=names, range=[look[name] for name in names]),
                # One below the other: beside long names a telephone leaves a hundred pixels.
                legend=alt.Legend(title=None, orient="top", direction="vertical"),
            ),
            tooltip=[
                alt.Tooltip("sample:N"),
                alt.Tooltip("part:N"),
                *(alt.Tooltip(f"{key}:Q", format=".3~g") for key in ("ttft_s", "latency_s", "cost_usd")),
            ],
        )
    )
    if not chunks:
        return bars.properties(height=alt.Step(24))
    ticks = (
        alt.Chart(pd.DataFrame(list(chunks))).mark_tick(thickness=1, height=15, color="#7a7066", opacity=0.6).encode(y=y, x=alt.X("at_s:Q"))
    )
    return alt.layer(bars, ticks).properties(height=alt.Step(24))


def with_interval(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those whose interval has both ends."""
    return [row for row in rows if row["lower"] is not None and row["upper"] is not None]


def over_time(rows: Sequence[dict[str, Any]], *, percent: bool) -> Any:
    """Scores by the day of their run, a line for each task, with 95 % intervals."""
    import altair as alt
    import pandas as pd

    names = list(dict.fromkeys(row["task"] for row in rows))
    form = ".1%" if percent else ".3~g"
    scale = alt.Scale(domain=names, range=[PALETTE[place % len(PALETTE)] for place in range(1, len(names) + 1)])
    frame = pd.DataFrame(list(rows))
    frame["at"] = pd.to_datetime(frame["at"])
    day = "%-d %b" if frame["at"].max() - frame["at"].min() > pd.Timedelta(days=2) else "%-d %b %H:%M:%S"
    base = alt.Chart(frame).encode(
        x=alt.X("at:T", title=None, scale=alt.Scale(padding=16), axis=alt.Axis(grid=False, tickCount=5, labelOverlap=True, format=day)),
        color=alt.Color("task:N", scale=scale, legend=alt.Legend(title=None, orient="top", columns=2, symbolOpacity=1)),
        tooltip=[
            alt.Tooltip("run_id:N"),
            alt.Tooltip("task:N"),
            *(alt.Tooltip(f"{key}:Q", format=form) for key in ("value", *ENDS)),
            alt.Tooltip("n:Q"),
        ],
    )
    y = alt.Y(
        "value:Q", title="score", scale=alt.Scale(zero=False, padding=10), axis=alt.Axis(format="%" if percent else "~g", tickCount=5)
    )
    bars = base.mark_rule(opacity=0.35, strokeWidth=2).encode(y=alt.Y("lower:Q", title="score"), y2=alt.Y2("upper:Q"))
    return alt.layer(bars, base.mark_line(strokeWidth=2).encode(y=y), base.mark_circle(size=40, opacity=1).encode(y=y)).properties(
        height=300
    )
