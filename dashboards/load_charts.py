"""Seconds and throughput against load, and one load's percentiles, as charts."""

import math
from collections.abc import Sequence
from typing import Any

from dashboards.charts import ENDS, PALETTE, with_interval


def ladder(low: float, high: float, most: int = 7) -> list[float]:
    """Ticks of a logarithmic axis: 1, 2, 5 times powers of ten from `low` to `high`; the powers alone where those are too many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    fine, coarse = ([float(f"{step}e{power}") for power in powers for step in steps] for steps in ((1, 2, 5), (1,)))
    fine, coarse = ([tick for tick in ticks if low <= tick <= high] for ticks in (fine, coarse))
    return fine if len(fine) <= most else coarse


def against_load(
    rows: Sequence[dict[str, Any]],
    *,
    y: str,
    line: str,
    x_title: str,
    y_title: str,
    log: bool = False,
    marks: Sequence[dict[str, Any]] = (),
    limits: Sequence[dict[str, Any]] = (),
) -> Any:
    """Lines over load (`at`) with 95 % intervals; `marks` are named places on the axis, `limits` named heights."""
    import altair as alt
    import pandas as pd

    frame = pd.DataFrame(list(rows))
    names = list(dict.fromkeys(row[line] for row in rows))
    scale = alt.Scale(domain=names, range=[PALETTE[place % len(PALETTE)] for place in (1, 0, 2, 3, 4, 5)][: len(names)])
    places = sorted({row["at"] for row in rows})
    levels = places if len(places) <= 9 else ladder(places[0], places[-1])
    axis = alt.Axis(format=".3~g", values=levels, labelOverlap="greedy", grid=False)
    x = alt.X("at:Q", title=x_title, scale=alt.Scale(type="log", nice=False, padding=14), axis=axis)
    height, axis = alt.Scale(zero=True, nice=True), alt.Axis(format="~s", tickCount=5)
    if log:
        # Room for every interval and limit and no more: vega would go on to the next power of ten, with a line for each ninth of it.
        ends = [row[key] for row in rows for key in (y, *ENDS) if row[key]] + [limit["limit"] for limit in limits]
        low, high = min(ends) / 1.4, max(ends) * 1.4
        height, axis = alt.Scale(type="log", domain=[low, high], nice=False), alt.Axis(format="~g", values=ladder(low, high))
    top = alt.Y(f"{y}:Q", title=y_title, scale=height, axis=axis)
    tip = [
        alt.Tooltip("load:N"),
        alt.Tooltip(f"{line}:N"),
        *(alt.Tooltip(f"{key}:Q", format=".3~g") for key in (y, *ENDS)),
        alt.Tooltip("n:Q"),
    ]
    colour = alt.Color(f"{line}:N", scale=scale, sort=names, legend=alt.Legend(title=None, orient="top", columns=2, symbolOpacity=1))
    base = alt.Chart(frame).encode(x=x, color=colour, tooltip=tip)
    layers = [base.mark_line(strokeWidth=2).encode(y=top), base.mark_circle(size=60, opacity=1).encode(y=top)]
    # A layer without anything in it is an element without a name to a screen reader.
    if known := with_interval(rows):
        bars = base.properties(data=pd.DataFrame(known)).mark_rule(opacity=0.5, strokeWidth=2)
        layers.insert(0, bars.encode(y=alt.Y("lower:Q", scale=height), y2=alt.Y2("upper:Q")))
    if marks:
        places = alt.Chart(pd.DataFrame(list(marks))).encode(x=alt.X("at:Q"))
        layers.append(places.mark_rule(strokeDash=[4, 4], color="#8a8178"))
        for left, align, dx in ((True, "right", 5), (False, "left", -5)):
            if named := [mark for mark in marks if mark["left"] == left]:
                # Above the lines, which rise to the right.
                words = alt.Chart(pd.DataFrame(named)).mark_text(align=align, dx=dx, baseline="bottom", color="#8a8178")
                layers.append(words.encode(x=alt.X("at:Q"), text=alt.Text("mark:N"), y=alt.value(-3)))
    if limits:
        heights = alt.Chart(pd.DataFrame(list(limits))).encode(y=alt.Y("limit:Q", scale=height))
        layers.append(heights.mark_rule(strokeDash=[2, 3], color="#8a8178"))
        layers.append(heights.mark_text(align="left", dx=20, dy=-6, color="#8a8178").encode(text=alt.Text("name:N"), x=alt.value(0)))
    return alt.layer(*layers).properties(height=320)


def percentiles(rows: Sequence[dict[str, Any]]) -> Any:
    """One load's percentiles with their 95 % intervals."""
    import altair as alt
    import pandas as pd

    names = list(dict.fromkeys(row["line"] for row in rows))
    axis = alt.Axis(format="~g", tickCount=6)
    base = alt.Chart(pd.DataFrame(list(rows))).encode(
        y=alt.Y("line:N", sort=names, title=None, axis=alt.Axis(labelFlush=False)),
        color=alt.Color("quantity:N", scale=alt.Scale(domain=["latency", "TTFT"], range=[PALETTE[1], PALETTE[0]]), legend=None),
        tooltip=[alt.Tooltip("line:N"), *(alt.Tooltip(f"{key}:Q", format=".3~g") for key in ("seconds", *ENDS)), alt.Tooltip("n:Q")],
    )
    x_title = "seconds from schedule"
    layers = [base.mark_circle(size=100, opacity=1).encode(x=alt.X("seconds:Q", title=x_title, axis=axis))]
    if known := with_interval(rows):
        bars = base.properties(data=pd.DataFrame(known)).mark_rule(strokeWidth=3, opacity=0.6)
        layers.insert(0, bars.encode(x=alt.X("lower:Q", title=x_title), x2=alt.X2("upper:Q")))
    return alt.layer(*layers).properties(height=alt.Step(28))
