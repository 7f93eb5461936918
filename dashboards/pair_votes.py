"""The votes on a pair of models, as anybody may see them: when, who won, on what; never by whom.

A prompt is shown where its voter shared the battle, where it is one of the arena's own, and where the vote is from a collection that is
published with its texts. Any other prompt belongs to whoever wrote it.
"""

import html
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from arena.prompts import recorded_prompts
from arena.store import Store

PUBLISHED = ("llmfao", "arena55k", "arena100k", "arena140k", "comparia")
PER_PAGE = 10
_LONGEST = 220
_SAID = {"tie": "tie", "both_bad": "both bad"}


class PairVote(NamedTuple):
    """A vote; `winner` is a model, "tie" or "both bad"; `prompt` is None where it is not public, `shared` the token of a shared battle."""

    voted_at: datetime | None
    left: str
    right: str
    winner: str
    rated: bool
    source: str
    prompt: str | None
    shared: str | None


def votes_of_pair(store: Store, first: str, second: str, *, page: int = 1, per_page: int = PER_PAGE) -> list[PairVote]:
    """Page `page` of the votes on these two models, newest first."""
    own = [prompt.id for prompt in recorded_prompts()]
    rows = store.rows("pair_votes", first, second, per_page, (page - 1) * per_page, list(PUBLISHED), own)
    return [
        PairVote(at, left, right, {"model_a": left, "model_b": right}.get(winner) or _SAID[winner], rated, source, _text(messages), token)
        for at, left, right, winner, rated, source, _, token, messages in rows
    ]


def as_rows(votes: Sequence[PairVote]) -> list[dict[str, Any]]:
    """What the page shows of the votes, to take away."""
    return [vote._asdict() for vote in votes]


def table(votes: Sequence[PairVote]) -> str:
    """The votes as HTML."""
    head = "<th>When</th><th>Preferred</th><th>Prompt</th>"
    body = "".join(f"<tr>{_cells(vote)}</tr>" for vote in votes)
    return f'<div class="scroll" tabindex="0"><table class="board votes"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cells(vote: PairVote) -> str:
    when = "–" if vote.voted_at is None else f'<time datetime="{vote.voted_at:%Y-%m-%dT%H:%M}">{vote.voted_at:%d %b %Y}</time>'
    side = {vote.left: " <small>left</small>", vote.right: " <small>right</small>"}.get(vote.winner, "")
    unrated = "" if vote.rated else " <small>not rated</small>"
    if vote.prompt is None:
        prompt = "<i>not public</i>"
    else:
        text = vote.prompt if len(vote.prompt) <= _LONGEST else f"{vote.prompt[:_LONGEST].rstrip()} …"
        prompt = html.escape(text)
    if vote.shared:
        prompt += f' <a href="./?shared={html.escape(vote.shared)}" target="_self">read the battle</a>'
    return f'<td>{when}</td><td class="model">{html.escape(vote.winner)}{side}{unrated}</td><td class="text">{prompt}</td>'


def _text(messages: str | None) -> str | None:
    """What the user wrote last; None where that is not public or not known."""
    said = [message["content"] for message in json.loads(messages) if message["role"] == "user"] if messages else []
    return str(said[-1]) if said else None
