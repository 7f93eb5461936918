"""`arena audit`: which votes should not count, and why; unrates them on request and takes that back.

arena audit                # look
arena audit --apply        # keep the flagged votes, but rate no model by them
arena audit --revert       # all of them count again
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.command import RESULTS, AsJson, Results, emit_json, say

if TYPE_CHECKING:
    from arena.audit import Findings
    from arena.store import Store


def audit_votes(
    fdr: Annotated[float, typer.Option(min=0.0001, max=0.5, help="Accepted share of honest voters among those flagged.")] = 0.05,
    apply: Annotated[bool, typer.Option("--apply", help="Unrate the flagged votes; they are kept.")] = False,
    revert: Annotated[bool, typer.Option("--revert", help="Rate again what earlier audits unrated.")] = False,
    database: Annotated[str | None, typer.Option(help="Votes: a DuckDB file or postgresql://…; <results>/arena.duckdb by default.")] = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Find riggers, careless voters, leaks and repetitions; each flag says why."""
    from arena.audit import audit, audit_votes_of
    from arena.database import locate
    from arena.errors import ArenaError
    from arena.reading import open_for_reading, open_for_writing

    if apply and revert:
        raise ArenaError("--apply and --revert are each other's opposite: leave one of them out")
    path = locate(database, results)
    writes = apply or revert
    with open_for_writing(path, results, create=False) if writes else open_for_reading(path, results) as store:
        before = len(store.flags())
        if revert:
            rate_again(store)
            say(f"{before:,} votes count again")
            if as_json:
                emit_json({"reverted": before})
            return
        findings = audit(audit_votes_of(store), fdr=fdr)
        if apply:
            apply_findings(store, findings)
    document = _document(findings, fdr, apply)
    if as_json:
        emit_json(document)
    else:
        _print_table(findings)
    told = f"{len(findings.voters):,} of {findings.n_voters:,} voters and {len(findings.vote_ids):,} of {findings.n_votes:,} votes"
    effect = "they are kept and no longer rated ('arena audit --revert' takes that back)" if apply else "'--apply' unrates the votes"
    say(f"flagged {told} ({findings.n_tested:,} voters had votes enough to be tested); {effect}")


def apply_findings(store: "Store", findings: "Findings") -> int:
    """Flag and unrate these votes, and those alone; returns how many the store now holds as flagged."""
    from arena.votes import now

    # A vote with several flags keeps the first, which is the strongest evidence.
    store.flag({vote: flag.reason for flag in reversed(findings.flags) for vote in flag.vote_ids}, now())
    return len(store.flags())


def rate_again(store: "Store") -> int:
    """Rate every flagged vote again; returns how many that were."""
    from arena.votes import now

    before = len(store.flags())
    store.flag({}, now())
    return before


def _document(findings: "Findings", fdr: float, applied: bool) -> dict[str, Any]:
    return {
        "fdr": fdr,
        "applied": applied,
        "n_votes": findings.n_votes,
        "n_voters": findings.n_voters,
        "n_voters_tested": findings.n_tested,
        "n_voters_flagged": len(findings.voters),
        "n_votes_flagged": len(findings.vote_ids),
        "taste": findings.taste,
        "flags": [asdict(flag) for flag in findings.flags],
    }


def _print_table(findings: "Findings") -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("voter", "reason", "why"):
        table.add_column(column, overflow="fold")
    table.add_column("q", justify="right")
    table.add_column("votes", justify="right")
    for flag in findings.flags:
        q = "-" if flag.q is None else f"{flag.q:.1g}"
        table.add_row(escape(flag.voter_id or "-"), flag.reason, escape(flag.why), q, f"{len(flag.vote_ids):,}")
    Console().print(table)
