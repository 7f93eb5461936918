"""The ledger: which models took part, from when to when, how often each was drawn, and which of them are variants of one another.

    arena export --format ledger --out ledger.csv

A board can be gamed without a false vote: by trying many variants and withdrawing all but the best, or by drawing favourites oftener (Singh
et al., arXiv:2504.20879). So every arrival, change and withdrawal of an endpoint is written down when the arena sees it; entries are only
ever added, and a model that was withdrawn keeps its line and its votes.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from arena.decisions import Decision
    from arena.store import Store
    from serving.endpoints import Endpoint


class Entry(NamedTuple):
    """A model joined, changed, was withdrawn or returned; `detail` is the endpoint's wire, model, address and engine, as JSON.

    A model that an operator withdrew for good also has the `reason` there, and `by` whom.
    """

    model: str
    event: str
    at: datetime
    detail: str


def changes(past: Iterable[Entry], endpoints: Mapping[str, "Endpoint"], at: datetime) -> list[Entry]:
    """What is to be added to the entries `past`, in their order, now that `endpoints` are the ones that take part."""
    last = {entry.model: entry for entry in past}
    new = []
    for model, endpoint in endpoints.items():
        detail = _detail(endpoint)
        before = last.get(model)
        if before is None:
            new.append(Entry(model, "joined", at, detail))
        elif before.event == "withdrawn":
            new.append(Entry(model, "returned", at, detail))
        elif before.detail != detail:
            new.append(Entry(model, "changed", at, detail))
    gone = [entry for entry in last.values() if entry.event != "withdrawn" and entry.model not in endpoints]
    return new + [Entry(entry.model, "withdrawn", at, entry.detail) for entry in gone]


def departure(past: Sequence[Entry], endpoint: "Endpoint | None", decision: "Decision") -> Entry:
    """The entry of a withdrawal for good, after the model's `past` ones; `endpoint` is what it is now, where it is still known."""
    stated = json.loads(past[-1].detail if past else _detail(endpoint) if endpoint is not None else "{}")
    detail = json.dumps({**stated, "reason": decision.reason, "by": decision.by}, sort_keys=True, ensure_ascii=False)
    return Entry(decision.endpoint, "withdrawn", decision.at, detail)


def ledger_rows(store: "Store") -> list[dict[str, Any]]:
    """One row per model that ever took part, fought or was voted on.

    `sampling_share` is its share of all battles that were drawn here, of the two places each has (imported ones were drawn elsewhere: no
    share); `variants` are the other ids that ever stood for the same `model` of an endpoint.
    """
    story: dict[str, list[Entry]] = defaultdict(list)
    for row in store.ledger():
        story[row.model].append(row)
    same: dict[str, set[str]] = defaultdict(set)
    for model, entries in story.items():
        for entry in entries:
            same[json.loads(entry.detail)["model"]].add(model)
    counted = {row[0]: row[1:] for row in store.ledger_counts()}
    drawn = sum(counts[0] for counts in counted.values()) or 1
    return [
        _row(model, story.get(model, []), counted.get(model, (0, 0, 0, 0, 0, None, None)), drawn, same)
        for model in sorted({*story, *counted})
    ]


def _row(model: str, entries: list[Entry], counts: tuple[Any, ...], drawn: int, same: dict[str, set[str]]) -> dict[str, Any]:
    n_drawn, n_imported, n_votes, n_unrated, n_flagged, first, last = counts
    stood_for = sorted({json.loads(entry.detail)["model"] for entry in entries})
    gone = [entry.at for entry in entries if entry.event == "withdrawn"]
    return {
        "model": model,
        "status": "imported" if not entries else "withdrawn" if entries[-1].event == "withdrawn" else "active",
        "joined_at": entries[0].at if entries else None,
        "withdrawn_at": gone[-1] if gone and entries[-1].event == "withdrawn" else None,
        "n_withdrawals": len(gone),
        "n_changes": sum(entry.event == "changed" for entry in entries),
        "n_battles_drawn": n_drawn,
        "sampling_share": n_drawn / drawn if n_drawn else 0.0,
        "n_battles_imported": n_imported,
        "n_votes": n_votes,
        "n_votes_unrated": n_unrated,
        "n_votes_flagged": n_flagged,
        "first_battle_at": first,
        "last_battle_at": last,
        "stands_for": ", ".join(stood_for),
        "variants": ", ".join(sorted({other for name in stood_for for other in same[name]} - {model})),
        "history": json.dumps([[entry.event, entry.at.isoformat(), *_reason(entry)] for entry in entries], ensure_ascii=False),
    }


def _reason(entry: Entry) -> list[str]:
    reason = json.loads(entry.detail).get("reason")
    return [reason] if reason else []


def _detail(endpoint: "Endpoint") -> str:
    # No address with a key in it: base_url is what the catalogue holds, keys live in the environment.
    stated = {"wire": endpoint.wire, "model": endpoint.model, "base_url": endpoint.base_url, "engine": endpoint.engine}
    return json.dumps(stated, sort_keys=True, default=str)
