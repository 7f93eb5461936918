"""A battle as it is fought, in memory: the turns of one voter's conversation with two models (or, in a direct chat, one).

    round_.sides                 the answers of the turn that is being fought, left first, as they grow
    round_.ended                 both have ended, well or not, and are stored
    round_.votable               and both can be judged

What outlives the process is another file's matter (arena/conversations.py).
"""

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from arena.leaks import leaked
from arena.settings import Mode
from serving.completion import Completion, Message, Request

STOPPED = "stopped"  # the finish_reason of an answer that its voter ended


@dataclass
class Side:
    """One answer as it grows; `completion` is set when it has ended. `history` is what this model said and was told before.

    Times are of time.monotonic(): when it was asked, when its first text came, when it ended.
    """

    model: str
    pieces: list[str] = field(default_factory=list)
    completion: Completion | None = None
    history: tuple[Message, ...] = ()
    asked_at: float = field(default_factory=time.monotonic)
    first_at: float | None = None
    ended_at: float | None = None
    stopping: bool = False
    asking: "asyncio.Future[Completion] | None" = None

    @property
    def text(self) -> str:
        """What there is of the answer so far."""
        return self.completion.text if self.completion is not None else "".join(self.pieces)

    @property
    def answered(self) -> bool:
        """Whether there is an answer that can be judged: ended well, and not empty."""
        return self.completion is not None and self.completion.answered and bool(self.completion.text.strip())

    @property
    def stopped(self) -> bool:
        """Whether the voter ended it."""
        return self.completion is not None and self.completion.finish_reason == STOPPED

    def hear(self, text: str) -> None:
        """Take in a piece of the answer."""
        if self.first_at is None:
            self.first_at = time.monotonic()
        self.pieces.append(text)

    def end(self, completion: Completion) -> None:
        """The answer is whole, or has failed."""
        self.completion, self.ended_at = completion, time.monotonic()
        self.pieces.clear()


@dataclass
class Turn:
    """One prompt and its answers, left first. `attempt` counts how often they were asked for anew."""

    asked: str
    sides: tuple[Side, ...]
    number: int = 1
    attempt: int = 0
    ready_at: float | None = None  # time.monotonic() when all sides had ended and were stored

    def request(self, side: Side, max_tokens: int | None = None) -> Request:
        """What this side is asked: its own history, then the prompt."""
        return Request(messages=(*side.history, Message(role="user", content=self.asked)), max_tokens=max_tokens)


@dataclass
class Round:
    """One battle of one voter, from the first prompt to the vote. `tokens` are the vote forms that were handed out for its last turn."""

    battle_id: str
    voter_id: str
    created_at: datetime
    turns: list[Turn]
    mode: Mode = "blind"
    pairing_policy: str = "uniform"
    pairing_probability: float | None = None
    parent_battle_id: str | None = None
    resumed: bool = False  # asked again by a process that found it unfinished
    tokens: list[str] = field(default_factory=list)
    voted: bool = False  # here, by this process
    gate: threading.RLock = field(default_factory=threading.RLock)

    @property
    def turn(self) -> Turn:
        """The turn that is being fought."""
        return self.turns[-1]

    @property
    def sides(self) -> tuple[Side, ...]:
        """The answers of the last turn, left first."""
        return self.turn.sides

    @property
    def models(self) -> tuple[str, ...]:
        """Who answers, left first."""
        return tuple(side.model for side in self.sides)

    @property
    def ended(self) -> bool:
        """Whether all sides of the last turn have ended, well or not, and are stored."""
        return self.turn.ready_at is not None

    @property
    def answered(self) -> bool:
        """Whether the last turn ended with an answer on every side."""
        return self.ended and all(side.answered for side in self.sides)

    @property
    def votable(self) -> bool:
        """Whether there are two answers that can be judged."""
        return self.answered and len(self.sides) == 2

    @property
    def stage(self) -> str:
        """Names this attempt at this turn: what was drawn for one stage does not hold for the next."""
        return f"{self.battle_id}-{self.turn.number}-{self.turn.attempt}"

    @property
    def unrated_reason(self) -> str | None:
        """Why a vote on this battle must not move the leaderboard; None when it may."""
        if self.mode != "blind":
            return "names shown"
        if any(turn.attempt for turn in self.turns):
            return "regenerated"
        if any(side.stopped for turn in self.turns for side in turn.sides):
            return "stopped"
        asked = "\n".join(turn.asked for turn in self.turns)
        return "leak" if any(leaked(side.model, side.text, asked=asked) for turn in self.turns for side in turn.sides) else None

    def next_turn(self, asked: str) -> Turn:
        """The turn that follows, each side with its own answer in its history; also at which attempt the last one stands."""
        sides = tuple(Side(side.model, history=after(side, self.turn.asked)) for side in self.sides)
        return Turn(asked, sides, number=self.turn.number + 1)

    def same_turn(self) -> Turn:
        """The last turn once more: the same models, prompt and histories."""
        sides = tuple(Side(side.model, history=side.history) for side in self.sides)
        return Turn(self.turn.asked, sides, number=self.turn.number, attempt=self.turn.attempt + 1)


def after(side: Side, asked: str) -> tuple[Message, ...]:
    """The history of a side whose answer to `asked` has ended."""
    return (*side.history, Message(role="user", content=asked), Message(role="assistant", content=side.text))


def common_messages(turns: Sequence[Turn]) -> tuple[Message, ...]:
    """The messages of a battle's last turn: all of them where both sides were told the same, else what the voter wrote."""
    last = turns[-1]
    if len({side.history for side in last.sides}) == 1:
        return last.request(last.sides[0]).messages or ()
    return tuple(Message(role="user", content=turn.asked) for turn in turns)
