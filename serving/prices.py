"""What a request costs: from the endpoint's own price, or for public APIs from the list price that held at that minute.

    serving prices --endpoint gpt-4o-mini --on 2025-06-01

Three sources, the more particular first: a price in the overrides file (serving/overrides.py: what *you* pay: batch, committed discounts,
dollars per hour), the price in the catalogue, and `genai-prices` (MIT, pydantic; data inside the wheel), which is asked with the request's
own timestamp, because prices change with the date and with the hour of the day, have tiers and cheaper cached input.
What none of them knows is None: an unknown bill is not a bill of zero.

An endpoint paid by the hour has no price per request by itself: `usd_per_mtok_of_hour` charges it by the goodput that was measured.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from serving.completion import Usage
from serving.endpoints import Endpoint, Price
from serving.proxies import is_loopback

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, PriceCalculation

# (from more than N input tokens, dollars per million): the last that applies holds for *all* tokens of the request, as providers bill it.
Tiers = tuple[tuple[int, float], ...]
BATCH = {"processing": "batch"}
HUGGING_FACE = "https://router.huggingface.co/v1"


@dataclass(frozen=True)
class Rates:
    """Dollars per million tokens at one moment; `cache_read`, `cache_write`, `reasoning` are empty where they cost as input and output do.

    `since` is the day from which a dated list price holds, `checked_on` the day somebody looked; both None where nobody wrote it down.
    """

    input: Tiers
    output: Tiers
    cache_read: Tiers = ()
    cache_write: Tiers = ()
    reasoning: Tiers = ()
    usd_per_request: float = 0.0
    source: str | None = None
    since: str | None = None
    checked_on: str | None = None

    def usd(self, usage: Usage) -> float:
        """Dollars for these tokens, both counts known. What a cache read or wrote is part of the input, reasoning part of the output."""
        assert usage.input_tokens is not None and usage.output_tokens is not None
        return self.of(
            usage.input_tokens,
            usage.output_tokens,
            cached=usage.cache_read_tokens or 0,
            written=usage.cache_write_tokens or 0,
            reasoning=usage.reasoning_tokens or 0,
        )

    def of(self, input_tokens: float, output_tokens: float, *, cached: float = 0, written: float = 0, reasoning: float = 0) -> float:
        """The same, of counts that may be means."""
        cached = min(cached, input_tokens) if self.cache_read else 0
        written = min(written, input_tokens - cached) if self.cache_write else 0
        reasoning = min(reasoning, output_tokens) if self.reasoning else 0
        total = (input_tokens - cached - written) * _tier(self.input, input_tokens) + (output_tokens - reasoning) * _tier(
            self.output, input_tokens
        )
        if cached:
            total += cached * _tier(self.cache_read, input_tokens)
        if written:
            total += written * _tier(self.cache_write, input_tokens)
        if reasoning:
            total += reasoning * _tier(self.reasoning, input_tokens)
        return total / 1e6 + self.usd_per_request


def cost_usd(endpoint: Endpoint, usage: Usage, at: datetime | None, *, batch: bool = False) -> float | None:
    """Dollars for one request sent at `at` (now, when None); None when tokens or price are unknown, or when paid by the hour.

    A microsecond or two a request: rates are kept by the minute.
    """
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    if (found := rates(endpoint, at, batch=batch)) is None:
        return None
    return found.usd(usage)


def rates(endpoint: Endpoint, at: datetime | None, *, batch: bool = False) -> Rates | None:
    """The rates that hold for this endpoint at `at`; None when nobody knows them or when it is paid by the hour. A naive `at` is UTC."""
    price = endpoint.price
    if price is not None and (price.usd_per_hour is not None or price.input_usd_per_mtok is not None):
        return _own(price, batch)
    if endpoint.wire == "recorded" or endpoint.base_url is None:
        return None
    moment = at or datetime.now(UTC)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    listed = _listed(endpoint.base_url, endpoint.model, moment.replace(second=0, microsecond=0), batch and not _has_batch(price))
    if listed is None or price is None:
        return listed
    return _over_the_list(listed, price, batch)


def described(endpoint: Endpoint, at: datetime) -> dict[str, Any]:
    """What `serving prices` tells of one endpoint, as JSON: rates, batch rates, tiers, source and date. Absent: not known."""
    price, found, batch = endpoint.price, rates(endpoint, at), rates(endpoint, at, batch=True)
    told: dict[str, Any] = {"endpoint": endpoint.id, "model": endpoint.model, "at": at.isoformat()}
    if price is not None and price.usd_per_hour is not None:
        told |= {"usd_per_hour": price.usd_per_hour, "accelerators": price.accelerators}
        told |= {"source": price.source, "checked_on": price.checked_on}
    if found is not None:
        above = {start: {"input": usd, "output": _tier(found.output, start + 1)} for start, usd in found.input[1:]}
        told |= {
            "input_usd_per_mtok": found.input[0][1],
            "output_usd_per_mtok": found.output[0][1],
            "cache_read_usd_per_mtok": found.cache_read[0][1] if found.cache_read else None,
            "usd_per_request": found.usd_per_request or None,
            "above_input_tokens": above or None,
            "source": found.source,
            "since": found.since,
            "checked_on": found.checked_on,
        }
    if batch is not None:
        told |= {"batch_input_usd_per_mtok": batch.input[0][1], "batch_output_usd_per_mtok": batch.output[0][1]}
    return {key: value for key, value in told.items() if value is not None}


def usd_per_mtok_of_hour(usd_per_hour: float, tokens_per_s: float, utilisation: float = 1.0) -> float:
    """Dollars per million tokens of a machine paid by the hour: $/h ÷ (tok/s · 3600 · utilisation) · 10⁶.

    $2/h at 2,000 tok/s: $.278 at full utilisation, $1.39 at 20 %. `tokens_per_s` should be goodput measured at one's own shape.
    """
    return usd_per_hour / (tokens_per_s * 3600 * utilisation) * 1e6


def _tier(tiers: Tiers, input_tokens: float) -> float:
    usd = tiers[0][1]
    for start, above in tiers[1:]:
        if input_tokens > start:
            usd = above
    return usd


def _has_batch(price: Price | None) -> bool:
    return price is not None and price.batch_input_usd_per_mtok is not None


def _own(price: Price, batch: bool) -> Rates | None:
    """The rates of a price that states them itself."""
    into, out = price.input_usd_per_mtok, price.output_usd_per_mtok
    cached = price.cache_read_usd_per_mtok
    if batch:
        # A batch's cached input is not stated: without a figure it costs as a batch's input does.
        into, out, cached = price.batch_input_usd_per_mtok, price.batch_output_usd_per_mtok, None
    if into is None or out is None:
        return None
    checked = price.checked_on.isoformat() if price.checked_on else None
    cache_read = () if cached is None else ((0, cached),)
    return Rates(((0, into),), ((0, out),), cache_read, source=price.source, checked_on=checked)


def _over_the_list(listed: Rates, price: Price, batch: bool) -> Rates:
    """List rates, with what `price` says instead: cached input, batch prices, a committed discount on all that it does not state."""
    off = 1 - (price.discount or 0)
    kinds = ("input", "output", "cache_read", "cache_write", "reasoning")
    changed: dict[str, Any] = {kind: tuple((start, usd * off) for start, usd in getattr(listed, kind)) for kind in kinds}
    if price.cache_read_usd_per_mtok is not None:
        changed["cache_read"] = ((0, price.cache_read_usd_per_mtok),)
    if batch and price.batch_input_usd_per_mtok is not None and price.batch_output_usd_per_mtok is not None:
        changed = {"input": ((0, price.batch_input_usd_per_mtok),), "output": ((0, price.batch_output_usd_per_mtok),)}
        changed |= {"cache_read": (), "cache_write": (), "reasoning": ()}
    source = " + ".join(filter(None, (listed.source, price.source)))
    checked = price.checked_on.isoformat() if price.checked_on else listed.checked_on
    return replace(listed, **changed, source=source, checked_on=checked)


@cache
def _list_name() -> str:
    """Looked up once: to read a package's own description takes a millisecond."""
    return f"genai-prices {version('genai-prices')}"


@lru_cache(maxsize=4096)
def _listed(base_url: str, model: str, at: datetime, batch: bool) -> Rates | None:
    """genai-prices' rates at this minute (the finest grain of its times of day); None for a provider, model or batch it does not know."""
    if is_loopback(urlsplit(base_url).hostname or ""):
        # Nobody lists it, and to read the whole list takes a tenth of a second.
        return None
    from genai_prices import Usage as NoTokens
    from genai_prices import calc_price

    where: dict[str, Any] = {"provider_api_url": base_url}
    if base_url.rstrip("/") == HUGGING_FACE and ":" in model:
        # The router's one address serves all of its providers and the model's suffix names one; the list has a provider for each.
        model, _, provider = model.rpartition(":")
        where = {"provider_id": f"huggingface_{provider}"}
    try:
        found = calc_price(NoTokens(), model, genai_request_timestamp=at, price_context=BATCH if batch else None, **where)
    except LookupError:
        return None
    if batch and not _batch_is_known(found, at):
        return None
    prices, free = found.model_price, found.model.id.endswith(":free")
    into, out = _tiers(prices, "input_mtok"), _tiers(prices, "output_mtok")
    if free and not into and not out:
        into = out = ((0, 0.0),)
    if not into or not out:
        return None
    return Rates(
        into,
        out,
        _tiers(prices, "cache_read_mtok"),
        _tiers(prices, "cache_write_mtok"),
        _tiers(prices, "output_reasoning_mtok"),
        usd_per_request=sum(usd for _, usd in _tiers(prices, "requests_kcount")[:1]) / 1000,
        source=_list_name(),
        since=_since(found, at),
    )


def _tiers(prices: "ModelPrice", key: str) -> Tiers:
    value = prices.__dict__.get(key)
    if value is None:
        return ()
    if hasattr(value, "tiers"):
        return ((0, float(value.base)), *((tier.start, float(tier.price)) for tier in value.tiers))
    return ((0, float(value)),)


def _batch_is_known(found: "PriceCalculation", at: datetime) -> bool:
    # Without a variant the list would answer with the standard price, which is not what a batch costs.
    variants = found.model.price_variants or ()
    return any(variant.when == BATCH and (variant.constraint is None or variant.constraint.active(at)) for variant in variants)


def _since(found: "PriceCalculation", at: datetime) -> str | None:
    prices = found.model.prices
    starts = [getattr(one.constraint, "start_date", None) for one in prices] if isinstance(prices, list) else []
    past = [start for start in starts if start is not None and start <= at.date()]
    return max(past).isoformat() if past else None
