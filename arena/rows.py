"""How battles, answers and votes become rows of sql/001_votes.sql, and nouns again. Only arena/store.py asks."""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from arena.votes import Battle, Vote
from serving.completion import Completion, Message

Row = tuple[Any, ...]


def completion_id(completion: Completion) -> str:
    """A completion's id: a hash of all of it (32 hex digits), so that an answer shown in many battles is stored once."""
    return hashlib.sha256(completion.to_line().encode()).hexdigest()[:32]


def completion_row(completion: Completion) -> Row:
    """A completion's columns, its id first."""
    scalars = (completion.endpoint, completion.status, completion.latency_s, completion.cost_usd)
    return completion_id(completion), *scalars, completion.to_line()


def battle_row(battle: Battle, completion_ids: tuple[str, str] | tuple[None, None]) -> Row:
    """A battle's columns, its id first."""
    return (
        battle.battle_id, to_utc(battle.created_at), messages_text(battle.messages), battle.model_a, battle.model_b,
        *completion_ids, battle.voter_id, battle.prompt_id,
        battle.pairing_policy, battle.pairing_probability, battle.mode, battle.parent_battle_id,
    )  # fmt: skip


def messages_text(messages: Iterable[Message]) -> str:
    """Messages as the column of that name holds them."""
    return json.dumps([message.model_dump() for message in messages], ensure_ascii=False)


def vote_row(vote: Vote) -> Row:
    """A vote's columns but for its order: vote_id and battle_id first."""
    reasons = json.dumps(vote.reasons, ensure_ascii=False)
    when = to_utc(vote.voted_at)
    return (
        vote.vote_id, vote.battle_id, vote.voter_id, vote.winner, reasons, when, vote.dwell_s, vote.rated, vote.source,
        vote.unrated_reason,
    )  # fmt: skip


def battle_of(row: Row) -> Battle:
    """The battle in a row of the columns that sql/statements.sql lists."""
    battle_id, created_at, messages, model_a, model_b, left, right, voter_id, prompt_id, policy, probability, mode, parent = row
    return Battle(
        battle_id=battle_id,
        created_at=_from_utc(created_at),
        messages=tuple(Message(**message) for message in json.loads(messages)),
        model_a=model_a,
        model_b=model_b,
        completions=None if left is None else (left, right),
        voter_id=voter_id,
        prompt_id=prompt_id,
        pairing_policy=policy,
        pairing_probability=probability,
        mode=mode,
        parent_battle_id=parent,
    )


def vote_of(row: Row) -> Vote:
    """The vote in a row of the columns that sql/statements.sql lists."""
    vote_id, battle_id, voter_id, winner, reasons, voted_at, dwell_s, rated, source, unrated_reason = row
    return Vote(
        vote_id=vote_id,
        battle_id=battle_id,
        voter_id=voter_id,
        winner=winner,
        reasons=tuple(json.loads(reasons)),
        voted_at=_from_utc(voted_at),
        dwell_s=dwell_s,
        rated=rated,
        source=source,
        unrated_reason=unrated_reason,
    )


def to_utc(moment: datetime | None) -> datetime | None:
    """A moment as the columns hold it."""
    # The columns are TIMESTAMP without a zone: an aware value would be shifted into the session's zone.
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)


def _from_utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
