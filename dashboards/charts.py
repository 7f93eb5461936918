"""How every chart of the house looks: one palette, one mark size, colours that hold in the light and in the dark."""

from collections.abc import Sequence
from typing import Any

# Okabe and Ito's colours for the colour-blind (2008), the blue lighter, without the black and the yellow that vanish on one of the grounds.
PALETTE = ("#D55E00", "#3388C8", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name: the same names get the same colours on every page and every day."""
    return {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(sorted(names))}


def number(value: float | None, unit: str = "") -> str:
    """Three significant digits with a unit, or a dash for what is not known."""
    if value is None:
        return "–"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")
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
    bars = base.mark_rule(strokeWidth=2, opacity=0.7).encode(y=alt.Y("lower:Q"), y2="upper:Q")
    dots = base.mark_circle(size=110, opacity=1).encode(y=y)
    # A name stands on the side of its point where there is room for it.
    middle = (low * high) ** 0.5
    left = base.mark_text(align="left", dx=9, dy=-7, fontSize=13).transform_filter(f"datum.{x} <= {middle}")
    right = base.mark_text(align="right", dx=-9, dy=-7, fontSize=13).transform_filter(f"datum.{x} > {middle}")
    names = [layer.encode(y=y, text="endpoint:N") for layer in (left, right)]
    return alt.layer(bars, dots, *names).properties(height=340)


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

    `role` is "choice", "front", "beaten" or "excluded"; a name stands beside the first two, under its point where `below`. The dashed line
    joins the rows with `line`. Points carry 95 % intervals both ways.
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
    middle = (low * high) ** 0.5 if log_x else (low + high) / 2
    named = base.transform_filter("datum.role == 'front' || datum.role == 'choice'")
    names = [
        named.transform_filter(f"datum.{x} {sign} {middle} && {'' if below else '!'}datum.below")
        .mark_text(align=align, dx=dx, dy=11 if below else -9, fontSize=13)
        .encode(x=horizontal, y=vertical, text="endpoint:N", color=painted)
        for sign, align, dx in (("<=", "left", 10), (">", "right", -10))
        for below in (False, True)
    ]
    return alt.layer(*bars, line, points, *names).properties(height=340)


def dots(rows: Sequence[dict[str, Any]], *, x: str, title: str, format: str) -> Any:
    """One measure of each endpoint with its 95 % interval, best first: for a choice by one thing alone. Rows as in `front`."""
    import altair as alt
    import pandas as pd

    order = ["choice", "front", "beaten", "excluded"]
    colour = alt.Color("role:N", scale=alt.Scale(domain=order, range=["#D55E00", "#3388C8", "#8a8178", "#8a8178"]), legend=None)
    endpoints = alt.Y("endpoint:N", sort=[row["endpoint"] for row in rows], title=None, axis=alt.Axis(labelLimit=220, labelOverlap=False))
    base = alt.Chart(pd.DataFrame(rows)).encode(y=endpoints, color=colour)
    bars = base.mark_rule(strokeWidth=2, opacity=0.6).encode(x=alt.X(f"{x}_lower:Q"), x2=f"{x}_upper:Q")
    value = alt.X(f"{x}:Q", title=title, axis=alt.Axis(format=format), scale=alt.Scale(zero=False))
    return alt.layer(bars, base.mark_circle(size=90, opacity=1).encode(x=value)).properties(height=alt.Step(24))
