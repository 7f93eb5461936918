"""The left side of Pick: what counts, what must be kept, under which conditions.

Widgets into `Wishes`, starting from results/pick.yaml.
"""

from typing import Any

import streamlit as st

from evals.pick.evidence import Records
from evals.pick.scope import Scope
from evals.pick.wishes import OBJECTIVES, Wishes
from serving.documents import parse_document

LABELS = {
    "rating": ("Human rating", "What 100 rating points are worth."),
    "quality": ("Task quality", "What 10 points of quality are worth."),
    "latency": ("Latency", "What half the seconds are worth."),
    "cost": ("Cost", "What half the dollars are worth."),
}
NO_LOAD = "as the suites asked"


def controls(records: Records, start: Wishes, scope: Scope) -> Wishes:
    """The widgets, and what they say. Raises DocumentError for what does not go together."""
    weigh = _weights(start, scope)
    require = _terms(start, scope)
    asked = start.require.model_dump(exclude_defaults=True).keys() - require.keys()
    with st.expander("Limits", expanded=bool(asked)):
        require |= _require(start, scope)
    with st.expander("Under which conditions"):
        under, tasks = _conditions(records, start, scope)
    if under.get("requests_per_month") or under.get("demand"):
        require["max_usd_per_month"] = _limit("$ a month, at most", start.require.max_usd_per_month, "usd-month", step=100.0)
    wished: dict[str, Any] = {
        "require": require,
        "under": under,
        "tasks": tasks or start.tasks,
        "latency": start.latency,
        "endpoints": start.endpoints,
        "names": start.names,
        # All at zero: as if nobody had said anything.
        "weigh": weigh if any(weigh.values()) else None,
    }
    return parse_document(wished, Wishes, where="Pick")


def _weights(start: Wishes, scope: Scope) -> dict[str, float]:
    st.markdown("**What counts**")
    return {
        name: st.slider(label, 0.0, 3.0, float(min(getattr(scope.weigh, name), 3.0)), 0.5, "%.1f", key=f"weigh-{name}", help=told)
        for name, (label, told) in ((name, LABELS[name]) for name in OBJECTIVES)
    }


def _terms(start: Wishes, scope: Scope) -> dict[str, Any]:
    asked = start.require
    licences = sorted({one.license for name in scope.market.endpoints if (one := scope.market.endpoints[name]) and one.license})
    st.markdown("**What it must keep**")
    return {
        "open_weights": st.toggle("Open weights only", asked.open_weights),
        "data_stays": st.toggle("Data may not leave", asked.data_stays),
        "licenses": st.multiselect("Licences", sorted({*licences, *asked.licenses}), asked.licenses, placeholder="any", key="licences"),
    }


def _require(start: Wishes, scope: Scope) -> dict[str, Any]:
    asked = start.require
    found: dict[str, Any] = {
        "max_ttft_p95_s": _limit("First token, p95, s at most", asked.max_ttft_p95_s, "ttft", step=0.5),
        "max_latency_p95_s": _limit("Latency, p95, s at most", asked.max_latency_p95_s, "latency", step=1.0),
        "max_usd_per_1000": _limit("$ per 1,000 requests, at most", asked.max_usd_per_1000, "usd", step=0.5),
        "min_rating": _limit("Human rating, at least", asked.min_rating, "rating", step=10.0, least=-10_000.0),
    }
    quality = {}
    for task in dict.fromkeys((*scope.tasks, *asked.min_quality)):
        least = asked.min_quality.get(task)
        percent = _limit(f"Quality on {task}, % at least", None if least is None else 100 * least, f"quality-{task}", step=5.0, most=100.0)
        if percent is not None:
            quality[task] = percent / 100
    found["min_quality"] = quality
    return found


def _conditions(records: Records, start: Wishes, scope: Scope) -> tuple[dict[str, Any], list[str]]:
    under: dict[str, Any] = start.under.model_dump()
    levels: dict[str, dict[str, float]] = {NO_LOAD: {}}
    for loaded in records.loaded.values():
        for _, level in loaded.levels:
            if level.load.rate is not None:
                levels[f"{level.load.rate:g} req/s"] = {"rate": level.load.rate}
            elif level.load.concurrency:
                levels[f"{level.load.concurrency} at once"] = {"concurrency": level.load.concurrency}
    if start.under.load:
        levels[start.under.load] = {key: under[key] for key in ("rate", "concurrency") if under[key] is not None}
    names = list(levels)
    chosen = st.selectbox("Seconds count at", names, index=names.index(start.under.load or NO_LOAD), key="load")
    under |= {"rate": None, "concurrency": None} | levels[chosen]
    if under["demand"] is None:
        under["requests_per_month"] = _limit("Requests a month", start.under.requests_per_month, "requests", step=10_000.0)
    tasks = st.multiselect("Quality is the mean over", records.tasks, list(scope.tasks), key="tasks") if len(records.tasks) > 1 else []
    return under, tasks


def _limit(label: str, value: float | None, key: str, *, step: float, least: float = 0.0, most: float | None = None) -> float | None:
    """A number or nothing; nothing is no limit."""
    found = st.number_input(label, min_value=least, max_value=most, value=value, step=step, placeholder="no limit", key=f"limit-{key}")
    # Zero seconds or requests are no limit but a slip; zero quality and rating limit nothing.
    return float(found) if found else None
