"""`evals pick`: which endpoint to choose under one's constraints, how sure that is, and what to measure next.

    evals pick --open-weights --max-ttft-p95 2 --rate 4 --min-quality gsm8k=0.6
    evals pick --file pick.yaml --weigh quality=2 --json

What is wished comes from results/pick.yaml (or --file) and from options, which win key by key.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.command import RESULTS, AsJson, Results, emit_json, say

if TYPE_CHECKING:
    from evals.pick.wishes import Wishes

Many = list[str] | None
Number = float | None


def pick(
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="Wishes as YAML; else <results>/pick.yaml where there is one.")] = None,
    open_weights: Annotated[bool, typer.Option("--open-weights", help="Only endpoints whose weights are open.")] = False,
    data_stays: Annotated[bool, typer.Option("--data-stays", help="Only endpoints that prompts do not leave your machines for.")] = False,
    license: Annotated[Many, typer.Option(metavar="NAME", help="Only endpoints under this licence; repeatable.")] = None,
    max_ttft_p95: Annotated[Number, typer.Option(metavar="S", help="Seconds to the first token, 95th percentile, at most.")] = None,
    max_latency_p95: Annotated[Number, typer.Option(metavar="S", help="Seconds to the end, 95th percentile, at most.")] = None,
    max_usd_per_1000: Annotated[Number, typer.Option(metavar="USD", help="Dollars for 1,000 requests, at most.")] = None,
    max_usd_per_month: Annotated[Number, typer.Option(metavar="USD", help="Dollars a month of the demand, at most.")] = None,
    min_quality: Annotated[Many, typer.Option(metavar="TASK=SHARE", help="Quality on a task, at least; repeatable.")] = None,
    min_rating: Annotated[Number, typer.Option(metavar="POINTS", help="Human rating, at least.")] = None,
    rate: Annotated[Number, typer.Option(metavar="R", help="Seconds count at this many requests a second ('evals load').")] = None,
    concurrency: Annotated[int | None, typer.Option(metavar="N", help="Seconds count at this many requests at once.")] = None,
    input_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Input tokens of a request; else of the answers that were given.")
    ] = None,
    output_tokens: Annotated[int | None, typer.Option(metavar="N", help="Output tokens of a request.")] = None,
    requests_per_month: Annotated[
        Number, typer.Option(metavar="N", help="The demand, spread evenly; cost is then dollars a month.")
    ] = None,
    demand: Annotated[Path | None, typer.Option(metavar="FILE", help="The demand as 24 or 168 hours, as 'evals cost' reads it.")] = None,
    task: Annotated[Many, typer.Option(metavar="NAME", help="Quality is the mean over these; '*' for several; repeatable.")] = None,
    latency: Annotated[str | None, typer.Option(metavar="FIGURE", help="latency_p50, latency_p95, ttft_p50 or ttft_p95 counts.")] = None,
    weigh: Annotated[Many, typer.Option(metavar="NAME=W", help="rating, quality, latency, cost: what a unit is worth; repeatable.")] = None,
    endpoint: Annotated[Many, typer.Option(metavar="ID", help="Choose among these only; repeatable.")] = None,
    name: Annotated[Many, typer.Option(metavar="MODEL=ID", help="The arena's MODEL is endpoint ID; repeatable.")] = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Choose an endpoint under constraints: who may be chosen, who is best, how surely, and what to measure next."""
    given: dict[str, Any] = {
        "require": {
            "open_weights": open_weights or None, "data_stays": data_stays or None, "licenses": license, "max_ttft_p95_s": max_ttft_p95,
            "max_latency_p95_s": max_latency_p95, "max_usd_per_1000": max_usd_per_1000, "max_usd_per_month": max_usd_per_month,
            "min_quality": _numbers("--min-quality", "TASK=SHARE", min_quality), "min_rating": min_rating,
        },
        "under": {
            "rate": rate, "concurrency": concurrency, "input_tokens": input_tokens, "output_tokens": output_tokens,
            "requests_per_month": requests_per_month, "demand": demand,
        },
        "weigh": _numbers("--weigh", "NAME=W", weigh), "tasks": task, "latency": latency, "endpoints": endpoint,
        "names": dict(_pair("--name", "MODEL=ID", text) for text in name) if name else None,
    }  # fmt: skip
    wishes = read_wishes(file, results, given)

    from evals.pick.certainty import believe
    from evals.pick.choosing import decide
    from evals.pick.evidence import read_records
    from evals.pick.scope import scope_of

    records = read_records(results)
    for problem in records.problems:
        say(problem)
    scope = scope_of(records, wishes)
    decision = decide(scope, wishes, believe(scope.market))
    if as_json:
        emit_json(decision.model_dump(mode="json") | {"wishes": wishes.model_dump(mode="json")})
        return
    from rich.console import Console

    from evals.pick.report import tables

    Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160).print(*tables(decision, wishes), sep="\n")
    if records.rated is None:
        say("no human ratings: 'arena leaderboard --publish' writes results/leaderboard.json")


def read_wishes(file: Path | None, results: Path, given: dict[str, Any]) -> "Wishes":
    """The YAML file with the options over it, key by key. Raises DocumentError for what does not fit."""
    from evals.pick.wishes import Wishes
    from serving.documents import parse_document, read_yaml

    path = file or (results / "pick.yaml" if (results / "pick.yaml").is_file() else None)
    stated = read_yaml(path) if path else {}
    if path and isinstance(stated.get("under"), dict) and stated["under"].get("demand"):
        stated["under"]["demand"] = path.parent / str(stated["under"]["demand"])
    for key, value in given.items():
        if isinstance(value, dict) and isinstance(stated.get(key), dict):
            stated[key] = stated[key] | {name: told for name, told in value.items() if told is not None}
        elif isinstance(value, dict):
            if told_here := {name: told for name, told in value.items() if told is not None}:
                stated[key] = told_here
        elif value is not None:
            stated[key] = value
    return parse_document(stated, Wishes, where=str(path) if path else "evals pick")


def _numbers(option: str, form: str, texts: list[str] | None) -> dict[str, float] | None:
    if not texts:
        return None
    from evals.errors import PickError

    found = {}
    for text in texts:
        name, value = _pair(option, form, text)
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = float("nan")
        if not abs(found[name]) < float("inf"):
            raise PickError(f"{option} {text}: '{value}' is no number; write {form}")
    return found


def _pair(option: str, form: str, text: str) -> tuple[str, str]:
    from evals.errors import PickError

    name, equals, value = text.rpartition("=")
    if not equals or not name or not value:
        raise PickError(f"{option} {text}: write {form}")
    return name, value
