"""A chart as every window shows it: drawn, taken away as data or as a picture, and with a line that says where its numbers come from.

    figure(chart, rows, name="latency", origin="run 20260101-demo, 1 January 2026, n = 200")

The pictures are drawn on this machine by vl-convert, from the same specification that the page draws, when somebody asks for them.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

PNG_SCALE = 2.0
_MIME = {"csv": "text/csv", "svg": "image/svg+xml", "png": "image/png"}


def figure(
    chart: Any, rows: Sequence[Mapping[str, Any]], *, name: str, origin: str, alt: str | None = None, width: Any = "stretch"
) -> None:
    """Draw an altair chart of `rows`; below it where they come from, and CSV, SVG and PNG to take away as files called `name`.

    `alt` is what a screen reader says in its place. `name` is unique on its page.
    """
    st.altair_chart(chart, width=width, key=f"chart-{name}", alt=alt or name)
    downloads(rows, name=name, origin=origin, chart=chart)


def downloads(rows: Sequence[Mapping[str, Any]], *, name: str, origin: str, chart: Any = None) -> None:
    """The line below a chart or a table: its origin, and its data (with a chart: its pictures too) to take away."""
    with st.container(horizontal=True, horizontal_alignment="left", vertical_alignment="center", key=f"origin-{name}"):
        st.caption(origin)
        offered: dict[str, Callable[[], str | bytes]] = {"csv": lambda: as_csv(rows)}
        if chart is not None:
            offered |= {"svg": lambda: as_svg(chart), "png": lambda: as_png(chart)}
        with st.container(horizontal=True, width="content", gap="small"):
            for kind, made in offered.items():
                st.download_button(
                    kind.upper(), made, file_name=f"{name}.{kind}", mime=_MIME[kind], key=f"{kind}-{name}", type="tertiary",
                    on_click="ignore",
                )  # fmt: skip


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows with a heading of all their keys, in the order in which they first come."""
    names = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_svg(chart: Any) -> str:
    """The chart as a scalable picture, on white, without a network."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg(chart.to_dict(), allowed_base_urls=[]))


def as_png(chart: Any) -> bytes:
    """The chart as a picture of twice the pixels that a page shows."""
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(chart.to_dict(), scale=PNG_SCALE, allowed_base_urls=[]))
