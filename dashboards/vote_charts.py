"""Charts of votes and of what was trained on them, in the look of dashboards/charts.py."""

from collections.abc import Sequence
from typing import Any

from dashboards.charts import PALETTE, colours

_Rows = Sequence[dict[str, Any]]


def ratings_with_intervals(rows: _Rows) -> Any:
    """A dot and its 95 % interval for each `model`, best first: `rating`, `rating_lower`, `rating_upper`."""
    import altair as alt
    import pandas as pd

    order = [row["model"] for row in rows]
    base = alt.Chart(pd.DataFrame(rows)).encode(
        y=alt.Y("model:N", sort=order, title=None, axis=alt.Axis(labelLimit=220, labelOverlap=False, labelFlush=False)),
        tooltip=[
            alt.Tooltip("model:N"),
            *(alt.Tooltip(f"{name}:Q", format=".0f") for name in ("rating", "rating_lower", "rating_upper")),
            alt.Tooltip("n_battles:Q", title="votes", format=","),
        ],
    )
    x = alt.X("rating:Q", title="rating", scale=alt.Scale(zero=False, padding=12), axis=alt.Axis(tickCount=6))
    bars = base.mark_rule(strokeWidth=3, opacity=0.5, color=PALETTE[1]).encode(
        x=alt.X("rating_lower:Q", title="rating", axis=alt.Axis(tickCount=6)), x2=alt.X2("rating_upper:Q")
    )
    dots = base.mark_circle(size=70, opacity=1, color=PALETTE[1]).encode(x=x)
    return alt.layer(bars, dots).properties(height=alt.Step(22))


def over_time(rows: _Rows, *, timed: bool) -> Any:
    """A line with its 95 % band for each `model` against `at` or, where nobody knows when, against `n_votes`."""
    import altair as alt
    import pandas as pd

    frame = pd.DataFrame(rows)
    colour = colours(sorted({row["model"] for row in rows}))
    x = alt.X("at:T", title=None) if timed else alt.X("n_votes:Q", title="votes so far", axis=alt.Axis(format="~s"))
    base = alt.Chart(frame).encode(
        x=x,
        color=alt.Color(
            "model:N",
            scale=alt.Scale(domain=list(colour), range=list(colour.values())),
            legend=alt.Legend(
                title=None, orient="top", columns=2, labelLimit=150, symbolType="stroke", symbolStrokeWidth=3, symbolOpacity=1
            ),
        ),
        tooltip=[
            alt.Tooltip("model:N"),
            alt.Tooltip("n_votes:Q", title="votes so far", format=","),
            *(alt.Tooltip(f"{name}:Q", format=".0f") for name in ("rating", "rating_lower", "rating_upper")),
        ],
    )
    y = alt.Y("rating:Q", title="rating", scale=alt.Scale(zero=False))
    band = base.mark_area(opacity=0.08).encode(
        y=alt.Y("rating_lower:Q", title="rating", scale=alt.Scale(zero=False)), y2=alt.Y2("rating_upper:Q")
    )
    return alt.layer(band, base.mark_line(strokeWidth=2).encode(y=y), base.mark_circle(size=28, opacity=1).encode(y=y)).properties(
        height=340
    )


def by_day(rows: _Rows) -> Any:
    """Stacked bars: `votes` per `day` and `kind`."""
    import altair as alt
    import pandas as pd

    return (
        alt.Chart(pd.DataFrame(rows))
        .mark_bar()
        .encode(
            x=alt.X("day:T", title=None),
            y=alt.Y("votes:Q", title="votes a day"),
            color=alt.Color(
                "kind:N",
                scale=alt.Scale(domain=["rated", "not rated"], range=[PALETTE[1], PALETTE[0]]),
                legend=alt.Legend(title=None, orient="top"),
            ),
            tooltip=[alt.Tooltip("day:T"), alt.Tooltip("kind:N"), alt.Tooltip("votes:Q", format=",")],
        )
        .properties(height=220)
    )


def bars(rows: _Rows, *, x: str, y: str, x_title: str) -> Any:
    """A horizontal bar of `x` for each `y`, in the order given."""
    import altair as alt
    import pandas as pd

    return (
        alt.Chart(pd.DataFrame(rows))
        .mark_bar(color=PALETTE[1], height={"band": 0.7})
        .encode(
            x=alt.X(f"{x}:Q", title=x_title, axis=alt.Axis(format="~s", tickMinStep=1, tickCount=6)),
            y=alt.Y(f"{y}:N", sort=[row[y] for row in rows], title=None, axis=alt.Axis(labelLimit=190, labelOverlap=False)),
            tooltip=[alt.Tooltip(f"{y}:N"), alt.Tooltip(f"{x}:Q", format=",")],
        )
        .properties(height=alt.Step(24))
    )


def shares(rows: _Rows) -> Any:
    """The share of draws that each `model` had (a dot) beside what the policy gives it (a bar, `lower` to `upper` by chance)."""
    import altair as alt
    import pandas as pd

    order = [row["model"] for row in rows]
    base = alt.Chart(pd.DataFrame(rows)).encode(
        y=alt.Y("model:N", sort=order, title=None, axis=alt.Axis(labelLimit=190, labelOverlap=False, labelFlush=False)),
        tooltip=[
            alt.Tooltip("model:N"),
            alt.Tooltip("n:Q", title="draws", format=","),
            alt.Tooltip("share:Q", title="share", format=".2%"),
            alt.Tooltip("expected:Q", title="by the policy", format=".2%"),
        ],
    )
    x = alt.X("share:Q", title="share of the draws", axis=alt.Axis(format="%", tickCount=6), scale=alt.Scale(zero=False, padding=10))
    band = base.mark_bar(opacity=0.3, color=PALETTE[1], height={"band": 0.6}).encode(
        x=alt.X("lower:Q", title="share of the draws", axis=alt.Axis(format="%", tickCount=6)), x2=alt.X2("upper:Q")
    )
    colour = alt.condition("datum.share < datum.lower || datum.share > datum.upper", alt.value(PALETTE[0]), alt.value(PALETTE[1]))
    return alt.layer(band, base.mark_circle(size=70, opacity=1).encode(x=x, color=colour)).properties(height=alt.Step(22))


def curves(rows: _Rows, *, title: str, format: str | None = None) -> Any:
    """Lines of `value` against `step`, one for each `name`; what was measured on held-out rows (`eval_…`) in the same colour, dashed."""
    import altair as alt
    import pandas as pd

    frame = pd.DataFrame(rows)
    frame["measure"] = frame["name"].str.removeprefix("eval_")
    frame["of"] = ["held out" if name.startswith("eval_") else "training" for name in frame["name"]]
    colour = colours(sorted(set(frame["measure"])))
    several = len(colour) > 1
    return (
        alt.Chart(frame)
        .mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=22))
        .encode(
            x=alt.X("step:Q", title="step", axis=alt.Axis(tickMinStep=1)),
            y=alt.Y("value:Q", title=None, axis=alt.Axis(format=format) if format else alt.Axis(), scale=alt.Scale(zero=False)),
            color=alt.Color(
                "measure:N",
                scale=alt.Scale(domain=list(colour), range=list(colour.values())),
                legend=alt.Legend(title=None, orient="top", columns=2, labelLimit=200, offset=4) if several else None,
            ),
            strokeDash=alt.StrokeDash("of:N", scale=alt.Scale(domain=["training", "held out"], range=[[1, 0], [5, 4]]), legend=None),
            tooltip=[alt.Tooltip("name:N"), alt.Tooltip("step:Q"), alt.Tooltip("value:Q", format=".4g")],
        )
        .properties(height=270, title=alt.TitleParams(title, anchor="start", fontSize=14))
    )
