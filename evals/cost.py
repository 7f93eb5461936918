"""The bill: what requests of your own shape cost on a machine of your own and behind each API, and from which load on the machine pays.

    evals cost 20261123-101500-load --demand weekday.txt --against gpt-4o-mini --against together-llama-3.3-70b

A machine paid by the hour is charged by the throughput that was *measured* (goodput, at the shape that was measured), not by a data sheet:

    $/Mtok = $/h ÷ (tok/s · 3600 · utilisation) · 10⁶          tok/s and Mtok count input and output tokens together

$2/h at 2,000 tok/s is $.278 at full utilisation, $1.39 at 20 %; against an API at $.60 it breaks even at 46 %. The interval of the
throughput is carried through everything that follows from it: all of it is monotone in tok/s, so bounds map to bounds. An API is priced
request by request, because prices have tiers. What nobody knows is None.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from statistics import fmean

from evals.errors import CostError
from serving.documents import Noun
from serving.endpoints import Endpoint
from serving.prices import Rates, rates, usd_per_mtok_of_hour

HOURS_PER_MONTH = 730.0  # 8,760 / 12
UTILISATIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Estimate(Noun):
    """A figure and its 95 % interval; a bound is None where it is not known or has no limit."""

    value: float
    lower: float | None = None
    upper: float | None = None

    def divides(self, amount: float) -> "Estimate":
        """`amount` / this."""
        above = amount / self.lower if self.lower is not None and self.lower > 0 else None
        return Estimate(value=amount / self.value, lower=amount / self.upper if self.upper else None, upper=above)

    def times(self, factor: float) -> "Estimate":
        """This times a factor that is not negative."""
        low, high = (None if bound is None else bound * factor for bound in (self.lower, self.upper))
        return Estimate(value=self.value * factor, lower=low, upper=high)


@dataclass(frozen=True)
class Shape:
    """The requests that are billed: (input tokens, output tokens, of the input cached) of each, and who says so."""

    requests: tuple[tuple[float, float, float], ...]
    source: str

    @property
    def input_tokens(self) -> float:
        """Mean input tokens of a request."""
        return fmean(into for into, _, _ in self.requests)

    @property
    def output_tokens(self) -> float:
        """Mean output tokens of a request."""
        return fmean(out for _, out, _ in self.requests)

    @property
    def tokens(self) -> float:
        """Mean tokens of a request, input and output together."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True)
class Machine:
    """An endpoint paid by the hour: what one costs, and the tokens a second (input and output together) that it was measured to answer."""

    name: str
    usd_per_hour: float
    tokens_per_s: Estimate
    accelerators: str | None = None

    def usd_per_mtok(self, utilisation: float = 1.0) -> Estimate:
        """Dollars per million tokens when it is busy this share of the time."""
        return self.tokens_per_s.divides(usd_per_mtok_of_hour(self.usd_per_hour, 1.0, utilisation))

    def usd_per_request(self, tokens: float, utilisation: float = 1.0) -> Estimate:
        """Dollars for a request of so many tokens."""
        return self.usd_per_mtok(utilisation).times(tokens / 1e6)

    def requests_per_hour(self, tokens: float) -> Estimate:
        """Requests of so many tokens that one machine answers in an hour."""
        return self.tokens_per_s.times(3600 / tokens)


class ApiCost(Noun):
    """What an API charges for the shape, at one moment. `usd_per_mtok` blends input and output as the shape does."""

    endpoint: str
    usd_per_1000_requests: float
    usd_per_mtok: float
    source: str | None = None
    since: str | None = None
    checked_on: str | None = None


class BreakEven(Noun):
    """Where one machine costs as much as an API: the share of the time it must be busy (above 1: never) and the requests an hour."""

    machine: str
    against: str
    utilisation: Estimate
    requests_per_hour: float
    pays: bool | None  # at full load; None when the interval of the throughput does not settle it


class Bill(Noun):
    """A month of 730 hours of the demand on one option. `machines` is their number at the peak, `utilisation` the share of the paid hours
    that is work; both are None for an API."""

    option: str
    usd_per_month: Estimate
    machines: Estimate | None = None
    utilisation: float | None = None


def price_api(endpoint: Endpoint, shape: Shape, at: datetime, *, batch: bool = False) -> ApiCost | None:
    """The shape at this endpoint's rates of that moment; None when nobody knows them or when it is paid by the hour."""
    if (found := rates(endpoint, at, batch=batch)) is None:
        return None
    usd = _usd_per_request(found, shape)
    return ApiCost(
        endpoint=endpoint.id,
        usd_per_1000_requests=1000 * usd,
        usd_per_mtok=usd / shape.tokens * 1e6,
        source=found.source,
        since=found.since,
        checked_on=found.checked_on,
    )


def break_even(machine: Machine, api: ApiCost, shape: Shape) -> BreakEven | None:
    """From which load on the machine is cheaper than the API; None against an API that costs nothing."""
    if api.usd_per_mtok == 0:
        return None
    share = machine.usd_per_mtok().times(1 / api.usd_per_mtok)
    low = share.value if share.lower is None else share.lower
    high = share.value if share.upper is None and share.lower is None else math.inf if share.upper is None else share.upper
    return BreakEven(
        machine=machine.name,
        against=api.endpoint,
        utilisation=share,
        requests_per_hour=machine.usd_per_hour / (api.usd_per_1000_requests / 1000),
        pays=True if high <= 1 else False if low > 1 else None,
    )


def read_demand(path: Path) -> tuple[float, ...]:
    """Requests in each hour (UTC, from midnight), 24 for a day or 168 for a week, apart by white space or commas. Raises CostError.

    `#` opens a comment.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CostError(f"--demand {path}: cannot be read: {error}") from None
    found = []
    for number, line in enumerate(lines, start=1):
        for word in line.split("#", 1)[0].replace(",", " ").split():
            try:
                value = float(word)
            except ValueError:
                value = math.nan
            if not 0 <= value < math.inf:
                raise CostError(f"{path}:{number}: '{word}' is no number of requests an hour; write 24 or 168 numbers, 0 or more")
            found.append(value)
    if len(found) not in (24, 168):
        raise CostError(f"{path}: holds {len(found)} numbers; write 24 (requests in each hour of a day) or 168 (of a week)")
    if not any(found):
        raise CostError(f"{path}: every hour has 0 requests; there is nothing to bill")
    return tuple(found)


def machine_bills(machine: Machine, shape: Shape, demand: Sequence[float]) -> list[Bill]:
    """A month of the demand on whole machines: as many as the peak hour needs all the time, or in each hour as many as it needs.

    An hour without requests needs none when scaled. Starting a machine is taken to be free and at once: count its minutes in the demand.
    """
    capacity = machine.requests_per_hour(shape.tokens)
    # A lower throughput needs more machines, so the bounds change places.
    rates_of = {"value": capacity.value, "upper": capacity.lower, "lower": capacity.upper}
    need = {bound: [_machines(hour, rate) for hour in demand] for bound, rate in rates_of.items() if rate}
    peak = Estimate(**{bound: max(hours) for bound, hours in need.items()})
    mean = Estimate(**{bound: fmean(hours) for bound, hours in need.items()})
    work = fmean(demand) / capacity.value
    month = machine.usd_per_hour * HOURS_PER_MONTH
    return [
        Bill(option=f"{machine.name}, {how}", usd_per_month=paid.times(month), machines=peak, utilisation=work / paid.value)
        for how, paid in (("always on", peak), ("scaled by the hour", mean))
    ]


def api_bill(endpoint: Endpoint, shape: Shape, demand: Sequence[float], at: datetime, *, batch: bool = False) -> Bill | None:
    """A month of the demand behind an API, each hour at its own price (some double by day); None when nobody knows it.

    The hours of the demand are UTC and begin at midnight; the prices are those of the day of `at`.
    """
    midnight = at.replace(hour=0, minute=0)
    costs: dict[Rates, float] = {}
    total = 0.0
    for hour, requests in enumerate(demand):
        if (found := rates(endpoint, midnight + timedelta(hours=hour % 24), batch=batch)) is None:
            return None
        if found not in costs:
            costs[found] = _usd_per_request(found, shape)
        total += requests * costs[found]
    return Bill(option=endpoint.id, usd_per_month=Estimate(value=total / len(demand) * HOURS_PER_MONTH))


def _usd_per_request(found: Rates, shape: Shape) -> float:
    return fmean(found.of(into, out, cached=cached) for into, out, cached in shape.requests)


def _machines(requests: float, capacity: float) -> int:
    # A ten-millionth too much is rounding, not a machine.
    return math.ceil(requests / capacity * (1 - 1e-7))
