"""Which votes are worth learning from: every decisive vote on two good answers, unless one of the reasons below speaks against it.

    reason = Sieve("dpo", rules, outputs_trainable).reason(cast)        # a key of DROPPED, or None: the vote is kept

Each vote is asked in this order and dropped for the first reason that holds; the last two are decided over all votes together
(arena/export.py).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arena.cast import Answer, Cast
from arena.leaks import leaked

if TYPE_CHECKING:
    from arena.contamination import Grams
    from arena.shapes import Format

DROPPED = {
    "flagged": "an audit keeps the vote from counting",
    "unrated": "the vote is not rated",
    "tie": "a tie prefers neither answer",
    "both_bad": "both answers were bad: neither is one to learn",
    "too_quick": "voted sooner than anybody reads, or than --min-dwell-s",
    "dwell_unknown": "--min-dwell-s was asked for and the time taken to vote was not recorded",
    "no_texts": "the vote came without the answers",
    "histories_differ": "in a conversation, the two sides had answered differently before the last turn",
    "no_answer": "an answer is empty or failed",
    "unfinished": "an answer was cut off",
    "identical": "both answers are the same text",
    "identity_leak": "an answer said who wrote it: the vote was not blind",
    "rerolled": "the voter had these two models answer this prompt again: the first pair counts",
    "license_forbids": "the terms of the chosen answer's endpoint forbid training on outputs",
    "license_unknown": "the chosen answer's endpoint does not say that its outputs may be trained on",
    "contaminated": "the prompt shares 13 words in a row with a benchmark's question",
    "duplicate": "the same answer to the same prompt was chosen before",
    "one_voter": "beyond the share that one voter may have",
    "split": "its voter or its prompt is on the other side of the split between train and test",
}
QUICKEST_S = 1.0


@dataclass(frozen=True)
class Rules:
    """What is asked of a vote, and of all of them together.

    `ties` (kto only) keeps ties and both_bad; `max_voter_share` bounds what one voter contributes; `split_by` is what train and test must
    not share; `least` is the number of decisive votes below which nothing is written.
    """

    min_dwell_s: float | None = None
    any_license: bool = False
    ties: bool = False
    scrub: bool = False
    max_voter_share: float = 0.05
    split_by: str = "both"
    seed: int = 0
    least: int = 500
    force: bool = False


class Sieve:
    """The rules at work on votes that come one after the other; remembers what it has seen."""

    def __init__(
        self, format: "Format", rules: Rules, outputs_trainable: Callable[[str], bool | None], *, benchmarks: "Grams | None" = None
    ) -> None:
        self.format, self.rules, self.trainable, self.benchmarks = format, rules, outputs_trainable, benchmarks
        self._shown: dict[bytes, bytes] = {}
        self._chosen: set[bytes] = set()

    def reason(self, cast: Cast) -> str | None:
        """Why this vote is left out, or None."""
        if found := self._of_the_vote(cast):
            return found
        if cast.left is None or cast.right is None or not cast.messages:
            return "no_texts"
        return self._of_the_answers(cast, cast.left, cast.right)

    def _of_the_vote(self, cast: Cast) -> str | None:
        if cast.flag is not None:
            return "flagged"
        if not cast.rated:
            return "unrated"
        if cast.winner in ("tie", "both_bad") and self.format != "argilla" and not self.rules.ties:
            return cast.winner
        least_s = QUICKEST_S if self.rules.min_dwell_s is None else self.rules.min_dwell_s
        if cast.dwell_s is None:
            return None if self.rules.min_dwell_s is None else "dwell_unknown"
        return "too_quick" if cast.dwell_s < least_s else None

    def _of_the_answers(self, cast: Cast, left: Answer, right: Answer) -> str | None:
        roles = [turn["role"] for turn in cast.messages]
        if ("user", "user") in zip(roles, roles[1:], strict=False):
            # Of a conversation whose sides were told different things, the battle holds what the voter wrote (arena/rounds.py).
            return "histories_differ"
        if not left.answered or not right.answered:
            return "no_answer"
        if "truncated" in (left.status, right.status):
            return "unfinished"
        if left.text.strip() == right.text.strip():
            return "identical"
        asked = "\n".join(turn["content"] for turn in cast.messages)
        if leaked(cast.model_a, left.text, asked=asked) or leaked(cast.model_b, right.text, asked=asked):
            return "identity_leak"
        if self._rerolled(cast, left, right, asked):
            return "rerolled"
        if found := self._of_the_terms(cast):
            return found
        if self.benchmarks is not None and any(self.benchmarks.hit(turn["content"]) for turn in cast.messages):
            return "contaminated"
        return "duplicate" if self.format == "sft" and self._chosen_before(cast, left, right, asked) else None

    def _of_the_terms(self, cast: Cast) -> str | None:
        if self.rules.any_license or self.format == "argilla":
            return None
        good = {"model_a": [cast.model_a], "model_b": [cast.model_b], "tie": [cast.model_a, cast.model_b], "both_bad": []}[cast.winner]
        allowed = strictest(*map(self.trainable, good))
        return None if allowed else "license_unknown" if allowed is None else "license_forbids"

    def _rerolled(self, cast: Cast, left: Answer, right: Answer, asked: str) -> bool:
        """Whether the voter saw other answers of the same two models to the same messages before. The first pair is remembered."""
        if cast.voter is None:
            return False
        pair = _digest(*sorted((left.key, right.key)))
        return self._shown.setdefault(_digest(cast.voter, asked, *sorted((cast.model_a, cast.model_b))), pair) != pair

    def _chosen_before(self, cast: Cast, left: Answer, right: Answer, asked: str) -> bool:
        key = _digest(asked, (left if cast.winner == "model_a" else right).text)
        before = key in self._chosen
        self._chosen.add(key)
        return before


def strictest(*permissions: bool | None) -> bool | None:
    """May all of these be trained on: False where one forbids it, else None where one does not say."""
    return False if False in permissions else None if None in permissions else True


def _digest(*parts: str) -> bytes:
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()
