"""What an operator decides about an endpoint while the arena is up: off and on, an outage, a weight, a boost, a withdrawal for good.

    decide(store, Decision(endpoint="our-llama", matter="off", value=1, reason="wrong template", by="ada"), known=endpoints)
    policy, endpoints = in_force(store, policy, endpoints)       # what Arena.refresh draws by

Every decision is a row with who, when and why; rows are only ever added, and per endpoint and matter the last one holds. A decision goes
before results/pairing.yaml, and `value: None` goes back to the file. All processes on one database read the same rows: each draws by them
from its next battle on. An endpoint that is off takes part in nothing (the ledger says so); in an outage it is only not drawn; withdrawn
for good it keeps its votes, its place on the board and its line in the ledger, and its id never returns.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from pydantic import AwareDatetime, Field, model_validator

from arena.errors import ArenaError
from arena.ledger import departure
from arena.pairing import Policy, pair_probabilities
from arena.votes import Tally, new_id, now
from serving.documents import Noun
from serving.errors import did_you_mean

if TYPE_CHECKING:
    from arena.store import Store
    from serving.endpoints import Endpoint

Matter = Literal["off", "outage", "weight", "boost", "withdrawn"]
MATTERS: tuple[Matter, ...] = get_args(Matter)
FILE = "pairing.yaml"
# A weight beyond these draws one model always or never: that is what off is for.
LEAST, MOST = 0.001, 1000.0


class Decision(Noun):
    """One word of an operator. `value` is 1 (yes) or 0 (no) of off, outage, withdrawn; else the weight or boost; None: as the file says."""

    endpoint: str = Field(min_length=1)
    matter: Matter
    value: float | None
    until: AwareDatetime | None = None
    reason: str = ""
    by: str = Field(min_length=1)
    at: AwareDatetime = Field(default_factory=now)
    decision_id: str = Field(default_factory=new_id)

    @model_validator(mode="after")
    def _fits(self) -> "Decision":
        if self.matter in ("weight", "boost"):
            if self.value is not None and not LEAST <= self.value <= MOST:
                raise ValueError(
                    f"{self.matter}: {self.value:g} is not between {LEAST:g} and {MOST:g}; switch the endpoint off to leave it out"
                )
        elif self.value not in (0, 1) and not (self.matter == "outage" and self.value is None):
            raise ValueError(f"{self.matter}: 1 is yes and 0 is no")
        if self.matter == "withdrawn" and (self.value != 1 or not self.reason.strip()):
            raise ValueError("a withdrawal is for good and needs a reason, which the ledger keeps")
        if self.until is not None and (self.matter != "outage" or self.value != 1):
            raise ValueError("only an outage ends by itself")
        return self

    def holds(self, at: datetime) -> bool:
        """Whether it says yes at this moment."""
        return self.value == 1 and (self.until is None or self.until > at)


class Standing(NamedTuple):
    """Where an endpoint stands now, and who said so: `weight_from` and `boost_from` are '' (nobody), 'pairing.yaml' or who and when.

    `share` is the probability that the next battle has it on one of its two sides.
    """

    endpoint: str
    state: Literal["on", "outage", "off", "withdrawn"]
    said_by: str
    reason: str
    weight: float
    weight_from: str
    boost: float
    boost_from: str
    share: float


Words = Mapping[str, Mapping[Matter, Decision]]


def decide(store: "Store", decision: Decision, *, known: Mapping[str, "Endpoint"]) -> Decision:
    """Keep a decision, and give back what the store now holds of it: proof that it arrived.

    `known` are the endpoints of the catalogue, on or off; one that only the ledger knows may be decided on too. Raises ArenaError for an
    unknown endpoint and for one that was withdrawn for good.
    """
    past = [entry for entry in store.ledger() if entry.model == decision.endpoint]
    if decision.endpoint not in known and not past:
        raise ArenaError(f"no endpoint '{decision.endpoint}' takes part here.{did_you_mean(decision.endpoint, list(known))}")
    if (gone := last_words(decisions(store)).get(decision.endpoint, {}).get("withdrawn")) is not None:
        raise ArenaError(
            f"'{decision.endpoint}' was withdrawn for good on {gone.at:%Y-%m-%d} ({gone.reason}): register the model under another id"
        )
    columns: list[Any] = [
        decision.decision_id, decision.endpoint, decision.matter, decision.value, _utc(decision.until), decision.reason.strip(),
        decision.by, _utc(decision.at),
    ]  # fmt: skip
    steps: list[tuple[str, list[Any]]] = [("insert_decision", columns)]
    if decision.matter == "withdrawn":
        entry = departure(past, known.get(decision.endpoint), decision)
        steps.append(("insert_ledger", [[1], [entry.model], [entry.event], [_utc(entry.at)], [entry.detail]]))
    store.run(*steps)
    kept = next((row for row in decisions(store) if row.decision_id == decision.decision_id), None)
    if kept is None:
        raise ArenaError(f"the decision on '{decision.endpoint}' is not in the store, though it was written: look at the database")
    return kept


def decisions(store: "Store") -> list[Decision]:
    """Every decision, in the order they were taken."""
    return [
        Decision(
            decision_id=key,
            endpoint=endpoint,
            matter=matter,
            value=value,
            until=until and _aware(until),
            reason=reason,
            by=by,
            at=_aware(at),
        )  # fmt: skip
        for key, endpoint, matter, value, until, reason, by, at in store.rows("decisions")
    ]


def last_words(taken: Iterable[Decision]) -> dict[str, dict[Matter, Decision]]:
    """Per endpoint and matter the decision that holds."""
    words: dict[str, dict[Matter, Decision]] = {}
    for decision in taken:
        words.setdefault(decision.endpoint, {})[decision.matter] = decision
    return words


def in_force(store: "Store", policy: Policy, endpoints: "Mapping[str, Endpoint]") -> "tuple[Policy, dict[str, Endpoint]]":
    """The policy and the endpoints that the files give, as the operators' decisions leave them now.

    Under a uniform policy a decided weight makes the draw weighted, others counting 1; adaptive pairing looks at boosts alone.
    """
    return _applied(last_words(decisions(store)), policy, endpoints)


def standings(store: "Store", policy: Policy, endpoints: "Mapping[str, Endpoint]", *, tallies: Sequence[Tally] = ()) -> list[Standing]:
    """Each endpoint of the files, and each withdrawn one, with its state, its weights and where they are from, most drawn first.

    `policy` and `endpoints` are those of the files, before `in_force`.
    """
    words, moment = last_words(decisions(store)), now()
    drawn_by, able = _applied(words, policy, endpoints)
    ids = sorted(able.keys() - drawn_by.outages)
    share: dict[str, float] = {}
    if len(ids) > 1:
        chance = pair_probabilities(ids, drawn_by, tallies)
        share = dict(zip(ids, (chance.sum(axis=0) + chance.sum(axis=1)).tolist(), strict=True))
    gone = [endpoint for endpoint, word in words.items() if "withdrawn" in word]
    rows = []
    for endpoint in sorted({*endpoints, *gone}):
        word = words.get(endpoint, {})
        state, told = _state(word, endpoint in drawn_by.outages, moment)
        rows.append(
            Standing(
                endpoint,
                state,
                _signed(told) if told else FILE if state == "outage" else "",
                told.reason if told else "",
                drawn_by.weights.get(endpoint, 1.0),
                _origin(word.get("weight"), endpoint in drawn_by.weights),
                drawn_by.boosts.get(endpoint, 1.0),
                _origin(word.get("boost"), endpoint in drawn_by.boosts),
                share.get(endpoint, 0.0),
            )  # fmt: skip
        )
    return sorted(rows, key=lambda row: (-row.share, ["on", "outage", "off", "withdrawn"].index(row.state), row.endpoint))


def _applied(words: Words, policy: Policy, endpoints: "Mapping[str, Endpoint]") -> "tuple[Policy, dict[str, Endpoint]]":
    moment = now()
    # A uniform draw ignores the weights of the file: they must not wake up because one endpoint was given a weight here.
    weights = {} if policy.kind == "uniform" else dict(policy.weights)
    boosts, outages = dict(policy.boosts), set(policy.outages)
    weighed = False
    for endpoint, word in words.items():
        if (weight := word.get("weight")) is not None and weight.value is not None:
            weights[endpoint], weighed = weight.value, True
        if (boost := word.get("boost")) is not None and boost.value is not None:
            boosts[endpoint] = boost.value
        if (outage := word.get("outage")) is not None and outage.value is not None:
            if outage.holds(moment):
                outages.add(endpoint)
            elif outage.value == 0:
                outages.discard(endpoint)
    gone = {
        endpoint for endpoint, word in words.items() if any(word[matter].holds(moment) for matter in word if matter in ("off", "withdrawn"))
    }
    kind = "weighted" if policy.kind == "uniform" and weighed else policy.kind
    changed = policy.model_copy(update={"kind": kind, "weights": weights, "boosts": boosts, "outages": frozenset(outages)})
    return changed, {name: endpoint for name, endpoint in endpoints.items() if name not in gone}


def _state(word: Mapping[Matter, Decision], out: bool, at: datetime) -> tuple[Literal["on", "outage", "off", "withdrawn"], Decision | None]:
    if "withdrawn" in word:
        return "withdrawn", word["withdrawn"]
    if "off" in word and word["off"].holds(at):
        return "off", word["off"]
    outage = word.get("outage")
    return ("outage" if out else "on"), outage if outage is not None and outage.value is not None and outage.holds(at) == out else None


def _origin(decision: Decision | None, stated: bool) -> str:
    if decision is not None and decision.value is not None:
        return _signed(decision)
    return FILE if stated else ""


def _signed(decision: Decision) -> str:
    until = f", until {decision.until:%d %b %H:%M}" if decision.until is not None else ""
    return f"{decision.by}, {decision.at:%d %b %H:%M}{until}"


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)
