"""Dollars of each endpoint under the conditions that were wished: for 1,000 requests and, where a demand is stated, for a month.

    bills(records, Under(requests_per_month=300_000), ("gsm8k",))["usd_per_month"]["our-llama"]

The arithmetic is evals/cost.py's. Without stated tokens a request is what the endpoint really answered on the tasks, so that one who talks
more costs more. A machine paid by the hour is charged by its measured throughput: at full utilisation for 1,000 requests, whole machines
that are always on for a month. What nobody knows is left out.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from evals.cost import HOURS_PER_MONTH, Estimate, Machine, Shape, api_bill, machine_bills, price_api, read_demand
from evals.cost_runs import read_load
from evals.errors import CostError
from evals.pick.measured import Bill, mean_bill
from evals.pick.wishes import Under

if TYPE_CHECKING:
    from evals.pick.evidence import Records


def bills(records: "Records", under: Under, tasks: tuple[str, ...]) -> dict[str, dict[str, Bill]]:
    """By measure (`usd_per_1000`, `usd_per_month`) and endpoint. Raises CostError for a demand that cannot be read."""
    hours = read_demand(under.demand) if under.demand else None
    monthly = under.requests_per_month if hours is None else sum(hours) / len(hours) * HOURS_PER_MONTH
    if hours is None and monthly is not None:
        hours = (monthly / HOURS_PER_MONTH,) * 24
    at = datetime.now(UTC)
    found: dict[str, dict[str, Bill]] = {"usd_per_1000": {}, "usd_per_month": {}}
    for name in dict.fromkeys([*(one for one, _ in records.asked), *records.loaded, *_stated(records, under)]):
        endpoint, shape = records.endpoints.get(name), _shape(records, name, under, tasks)
        machine = _machine(records, name)
        if machine is not None and shape is not None:
            each = machine.usd_per_request(shape.tokens).times(1000)
            found["usd_per_1000"][name] = _bill(each, len(shape.requests), shape.source)
            if hours is not None:
                found["usd_per_month"][name] = _bill(
                    machine_bills(machine, shape, hours)[0].usd_per_month, len(shape.requests), shape.source
                )
            continue
        each_api: Bill | None = None
        if under.input_tokens is None:
            each_api = _paid(records, name, tasks)
        elif endpoint is not None and shape is not None and (price := price_api(endpoint, shape, at)) is not None:
            each_api = Bill(price.usd_per_1000_requests, origin=price.source or "")
        if each_api is None:
            continue
        found["usd_per_1000"][name] = each_api
        if hours is not None and monthly is not None:
            stated = (
                api_bill(endpoint, shape, hours, at)
                if endpoint is not None and shape is not None and under.input_tokens is not None
                else None
            )
            found["usd_per_month"][name] = _bill(stated.usd_per_month, 0, each_api.origin) if stated else _times(each_api, monthly / 1000)
    return found if hours is not None else {"usd_per_1000": found["usd_per_1000"]}


def _stated(records: "Records", under: Under) -> list[str]:
    """With stated tokens a price alone is enough to know the bill of whatever people rated."""
    rated = [] if records.rated is None else [row["model"] for row in records.rated["ratings"] if row["model"] in records.endpoints]
    return rated if under.input_tokens is not None else []


def _shape(records: "Records", name: str, under: Under, tasks: tuple[str, ...]) -> Shape | None:
    if under.input_tokens is not None and under.output_tokens is not None:
        return Shape(((float(under.input_tokens), float(under.output_tokens), 0.0),), "as stated")
    asked = [records.asked[name, task] for task in tasks if (name, task) in records.asked]
    tokens = tuple(each for one in asked for each in one.tokens)
    if not tokens or len(asked) < len(tasks) or not any(into + out for into, out, _ in tokens):
        return None
    return Shape(tokens, asked[0].run_id)


def _machine(records: "Records", name: str) -> Machine | None:
    endpoint, loaded = records.endpoints.get(name), records.loaded.get(name)
    price = endpoint.price if endpoint else None
    if price is None or price.usd_per_hour is None or loaded is None or loaded.folder is None:
        return None
    try:
        tokens_per_s, _, _ = read_load(loaded.folder)
    except CostError:
        return None
    return Machine(name, price.usd_per_hour, tokens_per_s, price.accelerators)


def _paid(records: "Records", name: str, tasks: tuple[str, ...]) -> Bill | None:
    """What its answers on the tasks cost, as their completions say; None where a task or a cost is not known."""
    asked = [records.asked[name, task] for task in tasks if (name, task) in records.asked]
    costs = [cost for one in asked for cost in one.cost_usd]
    if not costs or len(asked) < len(tasks) or len(costs) < sum(one.n_answered for one in asked):
        return None
    return mean_bill(costs, asked[0].run_id)


def _bill(found: Estimate, n: int, origin: str) -> Bill:
    return Bill(found.value, found.lower, found.upper, n, origin)


def _times(bill: Bill, factor: float) -> Bill:
    low, high = (None if bound is None else bound * factor for bound in (bill.lower, bill.upper))
    return Bill(bill.value * factor, low, high, bill.n, bill.origin)
