"""The truth of a vote: its own voter's, once, on a battle that is whole, and rated only where it was blind to the end.

    token = vote_form(round_, voter_id)                      # handed to the session that draws the buttons, kept on the server
    cast(store, round_, voter_id, "model_a", token=token)    # True; a second one finds the form spent

A form holds for one stage of one battle: what was drawn before the conversation went on, or before a vote, is spent. Across processes
the store holds one vote per battle, whoever comes first.
"""

import json
import secrets
import time
from collections.abc import Sequence

from arena import metrics
from arena.conversations import is_current
from arena.errors import ArenaError
from arena.rounds import Round
from arena.store import Store
from arena.votes import Vote, Winner, new_id, now

REASONS = ("accurate", "clear", "complete", "concise", "style", "follows instructions", "useful", "honest about limits")
WHY_UNRATED = {
    "names shown": "the names were on the screen",
    "regenerated": "the answers were asked for anew",
    "stopped": "an answer was stopped",
    "leak": "an answer said who wrote it",
}
_FORMS = 16  # open pages of one battle; the oldest form is spent when there are more


class WentOn(ArenaError):
    """What this process knows of a battle is no longer so."""


def vote_form(round_: Round, voter_id: str) -> str:
    """A token that is good for one vote on the last turn of this battle. Raises ArenaError for anybody but its voter."""
    _check_owner(round_, voter_id)
    with round_.gate:
        token = secrets.token_urlsafe(12)
        round_.tokens[:] = [*round_.tokens[1 - _FORMS :], token]
        return token


def cast(store: Store, round_: Round, voter_id: str, winner: Winner, *, token: str) -> bool:
    """Store the vote; False when this battle had one already (the first one stands). Raises ArenaError when it may not be voted on."""
    _check_owner(round_, voter_id)
    with round_.gate:
        if not round_.votable or round_.turn.ready_at is None:
            raise ArenaError("this battle cannot be voted on: not both sides have answered")
        if store.vote_of(round_.battle_id) is not None:
            return False
        if token not in round_.tokens:
            raise ArenaError("this vote form is spent: look at the answers as they stand now, then vote")
        if not is_current(store, round_):
            raise WentOn("this conversation went on elsewhere: look at the answers as they stand now, then vote")
        reason = round_.unrated_reason
        vote = Vote(
            vote_id=new_id(),
            battle_id=round_.battle_id,
            voter_id=voter_id,
            winner=winner,
            voted_at=now(),
            dwell_s=time.monotonic() - round_.turn.ready_at,
            rated=reason is None,
            unrated_reason=reason,
        )
        with metrics.acknowledging():
            stored = store.save_vote(vote)
        if stored:
            metrics.vote_stored(winner, rated=vote.rated)
        round_.tokens.clear()
        round_.voted = True
        return stored


def explain(store: Store, round_: Round, voter_id: str, reasons: Sequence[str]) -> None:
    """Write down why the voter chose so; replaces what was said before. Raises ArenaError for a reason that is not on offer."""
    _check_owner(round_, voter_id)
    for reason in reasons:
        if reason not in REASONS:
            raise ArenaError(f"no reason '{reason}': choose among {', '.join(REASONS)}")
    store.run(("explain_vote", [round_.battle_id, voter_id, json.dumps(list(reasons))]))


def _check_owner(round_: Round, voter_id: str) -> None:
    if round_.voter_id != voter_id:
        raise ArenaError("this battle belongs to another voter; start one of your own")
