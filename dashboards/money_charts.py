"""The charts of a bill: dollars by how busy a machine is, a month's bills, the demand of a day."""

import math
from collections.abc import Sequence
from typing import Any

from dashboards.charts import PALETTE, with_interval

GREY = "#8a8178"
_HEIGHT_PX, _LINE_PX, _NAMES_PX = 330, 15, 140


def by_utilisation(rows: Sequence[dict[str, Any]], flat: Sequence[dict[str, Any]]) -> Any:
    """Machines' dollars for 1,000 requests falling with the share of the time they are busy, across the level lines of the APIs."""
    import altair as alt
    import pandas as pd

    height = alt.Scale(type="log", nice=False, padding=12)
    y = alt.Y("value:Q", title="$ for 1,000 requests", scale=height, axis=alt.Axis(format="$~g", tickCount=5, grid=False))
    x = alt.X(
        "utilisation:Q",
        title="share of the time that the machine is busy",
        axis=alt.Axis(format="%", tickCount=5),
        scale=alt.Scale(domain=[0, 1]),
    )
    dear = [row for row in rows if row["value"] > 0]
    base = alt.Chart(pd.DataFrame(dear)).encode(x=x, tooltip=[alt.Tooltip("option:N"), *_money("value", "lower", "upper")])
    layers = [base.mark_line(color=PALETTE[0], strokeWidth=3).encode(y=y, detail=alt.Detail("option:N"))]
    known = [row for row in dear if row["lower"] is not None and row["upper"] is not None]
    if known:
        band = (
            alt.Chart(pd.DataFrame(known))
            .mark_area(color=PALETTE[0], opacity=0.2)
            .encode(x=x, y=alt.Y("lower:Q", scale=height), y2=alt.Y2("upper:Q"))
        )
        layers.insert(0, band)
    priced = [row for row in flat if row["value"] > 0]
    if priced:
        apis = alt.Chart(pd.DataFrame(priced)).encode(
            y=alt.Y("value:Q", scale=height), tooltip=[alt.Tooltip("option:N"), *_money("value", "usd_per_mtok")]
        )
        # Names stand to the left of all lines, so that none lies on the line of an API that is too near to be named.
        layers.append(apis.mark_rule(color=PALETTE[1], opacity=0.7).encode(x=alt.value(_NAMES_PX), x2=alt.value("width")))
        values = [row["value"] for row in (*dear, *priced)]
        named = _apart(priced, math.log(max(values) / min(values)) * _LINE_PX / _HEIGHT_PX)
        names = alt.Chart(pd.DataFrame(named)).mark_text(
            align="left", baseline="middle", limit=_NAMES_PX - 6, color=PALETTE[1], fontSize=11
        )
        layers.append(names.encode(y=alt.Y("value:Q", scale=height), text=alt.Text("option:N"), x=alt.value(0)))
    return alt.layer(*layers).properties(height=_HEIGHT_PX)


def _apart(rows: Sequence[dict[str, Any]], gap: float) -> list[dict[str, Any]]:
    """The rows, cheapest first, without those nearer than `gap` (in log) to one before: their names would lie on each other."""
    kept: list[dict[str, Any]] = []
    for row in sorted(rows, key=lambda row: float(row["value"])):
        if not kept or math.log(row["value"] / kept[-1]["value"]) >= gap:
            kept.append(row)
    return kept


def bills(rows: Sequence[dict[str, Any]]) -> Any:
    """A month on each option, machines in their own colour, with the interval of the throughput."""
    import altair as alt
    import pandas as pd

    axis = alt.Axis(format="$,~r", tickCount=4)
    colour = alt.Color("own:N", scale=alt.Scale(domain=[True, False], range=[PALETTE[0], PALETTE[1]]), legend=None)
    base = alt.Chart(pd.DataFrame(list(rows))).encode(
        y=alt.Y("option:N", sort=[row["option"] for row in rows], title=None, axis=alt.Axis(labelLimit=230)),
        tooltip=[alt.Tooltip("option:N"), *_money("value", "lower", "upper")],
    )
    bars = base.mark_bar(height=14).encode(x=alt.X("value:Q", title="$ a month", axis=axis), color=colour)
    layers = [bars]
    if known := with_interval(rows):
        layers.append(
            base.properties(data=pd.DataFrame(known)).mark_rule(color=GREY, strokeWidth=2).encode(x=alt.X("lower:Q"), x2=alt.X2("upper:Q"))
        )
    return alt.layer(*layers).properties(height=alt.Step(26))


def bars_by_hour(rows: Sequence[dict[str, Any]], capacity: float | None) -> Any:
    """Requests in each hour of the day, and what one machine answers."""
    import altair as alt
    import pandas as pd

    most = max(row["requests"] for row in rows)
    x = alt.X("hour:O", title="hour of the day (UTC)", axis=alt.Axis(labelAngle=0, values=list(range(0, 24, 3))))
    bars = alt.Chart(pd.DataFrame(list(rows))).mark_bar(color=PALETTE[1]).encode(
        x=x,
        y=alt.Y("requests:Q", title="requests an hour", axis=alt.Axis(format="~s", tickCount=4)),
        tooltip=[alt.Tooltip("hour:O"), alt.Tooltip("requests:Q")],
    )  # fmt: skip
    # A machine that could answer ten times as much would flatten the day to nothing.
    if capacity is None or capacity > 3 * most:
        return bars.properties(height=170)
    line = alt.Chart(pd.DataFrame([{"capacity": capacity}])).mark_rule(color=PALETTE[0], strokeDash=[4, 4]).encode(y=alt.Y("capacity:Q"))
    return alt.layer(bars, line).properties(height=170)


def _money(*names: str) -> list[Any]:
    import altair as alt

    return [alt.Tooltip(f"{name}:Q", format="$.3~g") for name in names]
