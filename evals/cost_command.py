"""`evals cost`: the bill of one's own requests on one's own machines and behind the APIs, as tables or as JSON.

    evals cost 20261123-101500-load --usd-per-hour 2 --demand weekday.txt
    evals cost --usd-per-hour 2 --tokens-per-s 2000:150 --input-tokens 1000 --output-tokens 300 --requests-per-hour 900
    evals cost 20261123-054512-nightly                          # dollars for each correct answer

The arithmetic is in evals/cost.py, what runs say in evals/cost_runs.py.
"""

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.command import RESULTS, AsJson, Results, emit_json, say

if TYPE_CHECKING:
    from evals.cost import Machine, Shape
    from evals.runs import RunFiles
    from serving.endpoints import Endpoint

Flow = Annotated[float | None, typer.Option(min=0, help="The same number of requests in every hour, instead of --demand.")]
Demand = Annotated[Path | None, typer.Option(metavar="FILE", help="Requests in each hour (UTC) of a day (24 numbers) or week (168).")]
Speed = Annotated[str | None, typer.Option(metavar="X[:±Y]", help="Input and output tokens a second of one machine, with 95 % interval.")]


def cost(
    names: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Runs of 'evals load' and of 'evals run'.")] = None,
    usd_per_hour: Annotated[float | None, typer.Option(min=0, help="What one machine costs; else the endpoint's own price.")] = None,
    tokens_per_s: Speed = None,
    machine: Annotated[str | None, typer.Option(metavar="ID", help="The endpoint that --tokens-per-s was measured of.")] = None,
    input_tokens: Annotated[int | None, typer.Option(min=0, help="Input tokens of a request; else the shape of the first run.")] = None,
    output_tokens: Annotated[int | None, typer.Option(min=0, help="Output tokens of a request.")] = None,
    demand: Demand = None,
    requests_per_hour: Flow = None,
    against: Annotated[list[str] | None, typer.Option(metavar="ID", help="Compare with this API only; repeatable.")] = None,
    batch: Annotated[bool, typer.Option("--batch", help="Batch prices, where they are known.")] = False,
    on: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"], help="Prices of this day or minute (UTC).")] = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Show what requests of your shape cost on your machines and behind APIs, and from which load on a machine pays."""
    from datetime import UTC

    from evals.cost import HOURS_PER_MONTH, Shape, read_demand
    from evals.cost_runs import shape_of, usd_per_correct
    from evals.errors import CostError
    from serving.endpoints import load_endpoints, pick

    known = load_endpoints(results)
    machines, shapes, quality = _read(names or [], usd_per_hour, known, results)
    if (input_tokens is None) != (output_tokens is None):
        raise CostError("a shape needs both --input-tokens and --output-tokens")
    stated = None
    if input_tokens is not None and output_tokens is not None:
        if not input_tokens + output_tokens:
            raise CostError("--input-tokens 0 --output-tokens 0: a request has at least one token")
        stated = Shape(((float(input_tokens), float(output_tokens), 0.0),), "as stated")
    shape = stated or next(iter(shapes + [one for run in quality if (one := shape_of(run.completions, run.run.run_id))]), None)
    if tokens_per_s is not None:
        machines.append(_stated_machine(tokens_per_s, usd_per_hour, machine, known))
    elif machine is not None:
        raise CostError("--machine names what --tokens-per-s is of; give both")
    if demand is not None and requests_per_hour is not None:
        raise CostError("--demand and --requests-per-hour say the same thing; give one")
    hours = read_demand(demand) if demand else (requests_per_hour,) * 24 if requests_per_hour else None
    per_correct = [one for run in quality for one in usd_per_correct(run, {one.name: one for one in machines})]
    if shape is None and not per_correct:
        raise CostError("no shape: give --input-tokens and --output-tokens, or a run whose answers have counted tokens")

    at = on.replace(tzinfo=UTC) if on else datetime.now(UTC)
    apis = [pick(known, name) for name in against or []] or askable(known)
    document: dict[str, Any] = {"on": at.isoformat(), "batch": batch, "hours_per_month": HOURS_PER_MONTH}
    if shape is not None:
        document |= bill(shape, machines, apis, at, batch=batch, hours=hours)
    document["per_correct"] = [one.model_dump(mode="json") for one in per_correct]
    if as_json:
        emit_json(document)
        return
    _show(document)


def askable(known: "dict[str, Endpoint]") -> "list[Endpoint]":
    """What there is to choose from: no recording, nor what is in the catalogue for its price alone."""
    return [one for one in known.values() if one.wire != "recorded" and (one.capabilities.chat or one.capabilities.completions)]


def _read(
    names: list[str], usd_per_hour: float | None, known: "dict[str, Endpoint]", results: Path
) -> "tuple[list[Machine], list[Shape], list[RunFiles]]":
    """The runs named: machines and shapes of load runs, and quality runs whole."""
    from evals.cost_runs import machine_named, read_load
    from evals.runs import find_run, read_run, read_run_record

    machines, shapes, quality = [], [], []
    for name in names:
        folder = find_run(name, results)
        if not (folder / "load.json").is_file():
            quality.append(read_run(folder))
            continue
        run = read_run_record(folder)
        speed, shape, note = read_load(folder)
        if note:
            say(note)
        shapes.append(shape)
        machines.append(machine_named(run.endpoints[0], known.get(run.endpoints[0]), speed, usd_per_hour))
    return machines, shapes, quality


def _stated_machine(tokens_per_s: str, usd_per_hour: float | None, name: str | None, known: "dict[str, Endpoint]") -> "Machine":
    """A machine as the options describe it; with a name, an endpoint's, whose price and whose answers are then its own."""
    from evals.cost import Estimate
    from evals.cost_runs import machine_named
    from evals.errors import CostError
    from serving.endpoints import pick

    if usd_per_hour is None and name is None:
        raise CostError("--tokens-per-s needs --usd-per-hour, or --machine ID with a price per hour")
    value, _, spread = tokens_per_s.partition(":")
    try:
        speed, by = float(value), float(spread.removeprefix("±")) if spread else None
    except ValueError:
        speed, by = 0.0, None
    if not 0 < speed < float("inf") or (by is not None and not 0 <= by < float("inf")):
        raise CostError(f"--tokens-per-s {tokens_per_s}: write tokens a second, more than 0, and perhaps their interval: 2000 or 2000:±150")
    measured = Estimate(value=speed) if by is None else Estimate(value=speed, lower=max(speed - by, 0.0), upper=speed + by)
    return machine_named(name or "own machine", pick(known, name) if name else None, measured, usd_per_hour)


def bill(
    shape: "Shape", machines: "list[Machine]", apis: "list[Endpoint]", at: datetime, *, batch: bool, hours: tuple[float, ...] | None
) -> dict[str, Any]:
    """The document but for correct answers: nouns dumped as JSON, in the order in which they are shown."""
    from evals.cost import UTILISATIONS, api_bill, break_even, machine_bills, price_api

    priced = {endpoint.id: price_api(endpoint, shape, at, batch=batch) for endpoint in apis}
    listed = sorted((one for one in priced.values() if one is not None), key=lambda one: one.usd_per_1000_requests)
    even = [found for machine in machines for api in listed if (found := break_even(machine, api, shape))]
    months = [bill for machine in machines for bill in machine_bills(machine, shape, hours)] if hours else []
    if hours:
        months += [bill for api in apis if (bill := api_bill(api, shape, hours, at, batch=batch))]
    own = [
        {
            "machine": machine.name,
            "usd_per_hour": machine.usd_per_hour,
            "accelerators": machine.accelerators,
            "tokens_per_s": machine.tokens_per_s.model_dump(),
            "requests_per_hour": machine.requests_per_hour(shape.tokens).model_dump(),
            "at": [
                {
                    "utilisation": share,
                    "usd_per_mtok": machine.usd_per_mtok(share).model_dump(),
                    "usd_per_1000_requests": machine.usd_per_request(shape.tokens, share).times(1000).model_dump(),
                }
                for share in UTILISATIONS
            ],
        }
        for machine in machines
    ]
    return {
        "shape": {"input_tokens": shape.input_tokens, "output_tokens": shape.output_tokens, "source": shape.source},
        "machines": own,
        "apis": [one.model_dump() for one in listed],
        "not_priced": [name for name, found in priced.items() if found is None],
        "break_even": [one.model_dump() for one in even],
        "months": [one.model_dump() for one in sorted(months, key=lambda bill: bill.usd_per_month.value)],
    }


def _show(document: dict[str, Any]) -> None:
    from rich.console import Console

    from evals.cost_report import tables

    Console(highlight=False, width=None if sys.stdout.isatty() else 140).print(*tables(document), sep="\n")
