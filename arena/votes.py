"""The nouns of the arena: a Battle is two answers shown side by side, a Vote is what one person said of it.

    battle = Battle(battle_id=new_id(), created_at=now(), messages=request.messages, model_a="GPT 4", model_b="command", voter_id=who)
    vote = Vote(vote_id=new_id(), battle_id=battle.battle_id, voter_id=who, winner="model_a", voted_at=now(), dwell_s=12.5)

`model_a` is always the left answer on screen. What is not known (the time of a vote cast elsewhere) is None, never invented.
"""

import uuid
from datetime import UTC, datetime
from typing import Literal, NamedTuple, get_args

from pydantic import AwareDatetime, Field, model_validator

from serving.completion import Message
from serving.documents import Noun

Winner = Literal["model_a", "model_b", "tie", "both_bad"]
WINNERS: tuple[Winner, ...] = get_args(Winner)


class Battle(Noun):
    """Two answers to the same messages, side by side.

    `completions` are the ids of the stored answers (left, right), filled by the store; None where a vote came without texts.
    `pairing_probability` is that of the pair in the order shown; `voter_id` is whoever was shown it and alone may vote on it. Of a
    conversation, `messages` and `completions` are those of its last turn (results/README.md says more).
    """

    battle_id: str = Field(min_length=1)
    created_at: AwareDatetime | None
    messages: tuple[Message, ...]
    model_a: str = Field(min_length=1)
    model_b: str = Field(min_length=1)
    completions: tuple[str, str] | None = None
    voter_id: str | None = None
    prompt_id: str | None = None
    pairing_policy: str = "uniform"
    pairing_probability: float | None = Field(default=None, gt=0, le=1)
    mode: str = "blind"
    parent_battle_id: str | None = None

    @model_validator(mode="after")
    def _two_models(self) -> "Battle":
        if self.model_a == self.model_b:
            raise ValueError("model_a and model_b must differ: a model does not battle itself")
        return self


class Vote(Noun):
    """One person's (or judge's) verdict on one battle; `rated` is False for a vote that must not move the leaderboard.

    `dwell_s` is the time between the end of both answers and the vote; `source` says where the vote was cast. `unrated_reason` is why it
    was unrated from the start; what an audit has against a vote is a flag of its own.
    """

    vote_id: str = Field(min_length=1)
    battle_id: str = Field(min_length=1)
    voter_id: str | None
    winner: Winner
    reasons: tuple[str, ...] = ()
    voted_at: AwareDatetime | None
    dwell_s: float | None = Field(default=None, ge=0)
    rated: bool = True
    source: str = "arena"
    unrated_reason: str | None = None


class Outcome(NamedTuple):
    """All that online Elo needs of a vote."""

    model_a: str
    model_b: str
    winner: Winner


class Tally(NamedTuple):
    """Votes on one ordered pair (left, right), counted: the sufficient statistics of every rating.

    `cluster` is the voter or the prompt when counted apart for each, else None.
    """

    model_a: str
    model_b: str
    wins_a: int
    wins_b: int
    ties: int
    both_bad: int = 0
    cluster: str | None = None


def new_id() -> str:
    """A fresh id for a battle or a vote (32 hex digits, not guessable)."""
    return uuid.uuid4().hex


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)
