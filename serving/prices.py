"""What one request cost, from the endpoint's own price or, for public APIs, from the price that held on that day.

An explicit `price` in the catalogue wins. Without one, `genai-prices` (pydantic; data inside the wheel) is asked with the request's own
timestamp, because prices change, have tiers and cheaper cached input. What neither knows is None: an unknown bill is not a bill of zero.
"""

from datetime import UTC, datetime
from functools import cache

from serving.completion import Usage
from serving.endpoints import Endpoint, Price


def cost_usd(endpoint: Endpoint, usage: Usage, at: datetime | None) -> float | None:
    """Dollars for one request; None when tokens or price are unknown, or when the endpoint is paid by the hour."""
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    if endpoint.price is not None:
        return _by_price(endpoint.price, usage)
    if endpoint.wire == "recorded" or endpoint.base_url is None or not endpoint.data_leaves:
        return None
    return _by_list(endpoint.base_url, endpoint.model, usage, (at or datetime.now(UTC)).replace(minute=0, second=0, microsecond=0))


def _by_price(price: Price, usage: Usage) -> float | None:
    if price.input_usd_per_mtok is None or price.output_usd_per_mtok is None:
        return None
    assert usage.input_tokens is not None and usage.output_tokens is not None
    cached = min(usage.cache_read_tokens or 0, usage.input_tokens)
    cache_rate = price.input_usd_per_mtok if price.cache_read_usd_per_mtok is None else price.cache_read_usd_per_mtok
    fresh = usage.input_tokens - cached
    return (fresh * price.input_usd_per_mtok + cached * cache_rate + usage.output_tokens * price.output_usd_per_mtok) / 1e6


@cache
def _by_list(base_url: str, model: str, usage: Usage, at: datetime) -> float | None:
    from genai_prices import Usage as ListUsage
    from genai_prices import calc_price

    tokens = ListUsage(
        input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, cache_read_tokens=usage.cache_read_tokens or None
    )
    try:
        return float(calc_price(tokens, model_ref=model, provider_api_url=base_url, genai_request_timestamp=at).total_price)
    except LookupError:
        return None
