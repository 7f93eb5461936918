"""`arena endpoint`: what operators decided about an endpoint, and a decision from the command line while no arena holds the file.

arena endpoint our-llama                                          # where it stands, and every decision so far
arena endpoint our-llama --outage --until "2026-12-01 08:00" --reason "GPU is being replaced"
arena endpoint our-llama --boost 5                                # --boost file goes back to results/pairing.yaml
arena endpoint old-llama --withdraw --reason "its licence ended"  # for good; votes, place and ledger line stay

While an arena is up, its admin page decides (arena/views/admin.py).
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.command import RESULTS, AsJson, Results, emit, emit_json, say

if TYPE_CHECKING:
    from arena.decisions import Decision


def decide_on_endpoint(
    endpoint: Annotated[str, typer.Argument(metavar="ID", help="The endpoint's id.")],
    off: Annotated[bool | None, typer.Option("--off/--on", help="Takes part in nothing, or takes part again.")] = None,
    outage: Annotated[bool | None, typer.Option("--outage/--no-outage", help="Not drawn, or drawn whatever the file says.")] = None,
    until: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"], help="End of the outage, UTC.")] = None,
    weight: Annotated[str | None, typer.Option(metavar="W", help="Chance of being drawn, others 1; 'file': as pairing.yaml says.")] = None,
    boost: Annotated[
        str | None, typer.Option(metavar="B", help="Times the weight, under any policy; 'file': as pairing.yaml says.")
    ] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="For good: nothing is deleted, the id never returns.")] = False,
    reason: Annotated[str, typer.Option(help="Why; a withdrawal needs one.")] = "",
    database: Annotated[str | None, typer.Option(help="Votes: a DuckDB file or postgresql://…; <results>/arena.duckdb by default.")] = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Switch an endpoint off or on, weigh it, withdraw it; without an option show where it stands."""
    from arena.database import locate
    from arena.decisions import decide, decisions
    from arena.errors import StoreInUse
    from arena.reading import open_for_reading, open_for_writing
    from serving.endpoints import load_endpoints

    wishes = {"off": off, "outage": outage, "weight": weight, "boost": boost, "withdrawn": withdraw or None}
    asked = [_decision(endpoint, matter, wish, until, reason) for matter, wish in wishes.items() if wish is not None]
    try:
        # The first decision may come before the first vote: then there is no file yet.
        path = locate(database, results)
        with open_for_writing(path, results, create=True) if asked else open_for_reading(path, results) as store:
            known = load_endpoints(results)
            kept = [decide(store, decision, known=known) for decision in asked]
            story = [row for row in decisions(store) if row.endpoint == endpoint]
    except StoreInUse as error:
        raise StoreInUse(f"{error}; an arena that is up takes decisions on its admin page (/admin)") from None
    if as_json:
        emit_json({"endpoint": endpoint, "decided": [_document(row) for row in kept], "decisions": [_document(row) for row in story]})
        return
    for row in kept:
        say(f"{endpoint}: {sentence(row)}; it is in force from the next battle on")
    if not kept:
        for row in story:
            emit(f"{row.at:%Y-%m-%d %H:%M}  {sentence(row)}  ({row.by}{': ' + row.reason if row.reason else ''})")
        say(f"{endpoint}: {len(story)} decisions; results/pairing.yaml and the defaults hold for the rest")


def sentence(row: "Decision") -> str:
    """A decision in words."""
    if row.matter in ("weight", "boost"):
        return f"{row.matter} {'as pairing.yaml says' if row.value is None else format(row.value, 'g')}"
    if row.matter == "outage" and row.value is None:
        return "outage as pairing.yaml says"
    until = f" until {row.until:%Y-%m-%d %H:%M} UTC" if row.until is not None else ""
    words = {"off": ("on", "off"), "outage": ("no outage", "outage"), "withdrawn": ("", "withdrawn for good")}
    return words[row.matter][int(row.value or 0)] + until


def _decision(endpoint: str, matter: Any, wish: bool | str, until: datetime | None, reason: str) -> "Decision":
    import getpass

    from arena.decisions import Decision
    from serving.documents import parse_document

    try:
        who = f"{getpass.getuser()} (command line)"
    except (KeyError, OSError):
        who = "command line"
    values: dict[str, Any] = {
        "endpoint": endpoint,
        "matter": matter,
        "value": None if wish == "file" else wish,
        "by": who,
        "reason": reason,
    }
    if matter == "outage" and until is not None:
        values["until"] = until.replace(tzinfo=UTC)
    return parse_document(values, Decision, where=f"arena endpoint {endpoint}")


def _document(row: "Decision") -> dict[str, Any]:
    return row.model_dump(mode="json", exclude={"endpoint"})
