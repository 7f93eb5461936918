"""Who votes so that the leaderboard should not follow: an audit of voters and votes, each flag with its reason.

    findings = audit(audit_votes_of(store))        # `arena audit` prints them, `arena audit --apply` unrates the votes

A voter is tested against a Bradley-Terry fit that his own votes did not touch, along directions: does he disagree with the consensus,
favour one model, lift one model past those above it, or choose one side? Honest people differ too, so each direction has a spread of taste
that is estimated from the voters themselves (by medians, which few riggers do not move), and what is tested is the excess over it: the
effect u/i of a voter has the variance 1/i + τ² (u his score, i his information; DerSimonian and Laird 1986). False discoveries among the
voters are controlled by Benjamini and Hochberg's step-up (1995). The attacks are those of Min et al., arXiv:2501.17858.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from arena.leaks import leaked
from arena.suspicion import as_votes, judge, step_up

if TYPE_CHECKING:
    from arena.store import Store

REASONS = {
    "disagrees": "disagrees with everybody else beyond chance and taste",
    "favours": "favours one model beyond chance and taste, and meets it oftener than the draw gives",
    "lifts": "lifts one model past those above it, beyond chance and taste",
    "together": "one of a group that lifts the same model: riggers, or a community that shares a taste",
    "side": "chooses one side of the screen beyond chance and habit",
    "too_quick": "voted faster than anybody reads",
    "too_many": "cast more votes in an hour than a reader can",
    "repeated": "voted again on the same pair and prompt",
    "frequent_prompt": "the prompt is voted on far oftener than any other",
    "leak": "an answer said who wrote it",
}
LEAST_VOTES = 8
READ_CHARACTERS_PER_S = 500.0
QUICKEST_S = 1.0
MOST_PER_HOUR = 120
LEAST_PROMPTS = 10_000
_ROUNDS = 4


@dataclass(frozen=True)
class AuditVote:
    """One vote, as much of it as an audit asks: `voted_at_s` is seconds since 1970, `characters` the length of both answers."""

    vote_id: str
    voter_id: str | None
    model_a: str
    model_b: str
    winner: str
    prompt: str | None = None
    voted_at_s: float | None = None
    dwell_s: float | None = None
    characters: int = 0
    leak: str | None = None


@dataclass(frozen=True)
class Flag:
    """One reason against a voter or, where `vote_ids` are fewer than all of his, against those votes; `why` is a sentence."""

    voter_id: str | None
    reason: str
    why: str
    vote_ids: tuple[str, ...]
    p: float | None = None
    q: float | None = None


@dataclass
class Findings:
    """All flags, and how many voters and votes were looked at; `taste` is the spread τ of honest voters along each kind of direction."""

    flags: list[Flag]
    n_votes: int
    n_voters: int
    n_tested: int
    taste: dict[str, float] = field(default_factory=dict)

    @property
    def voters(self) -> list[str]:
        """The voters who were flagged for how they vote (not for single votes), in order of evidence."""
        return list(dict.fromkeys(flag.voter_id for flag in self.flags if flag.voter_id is not None and flag.q is not None))

    @property
    def vote_ids(self) -> set[str]:
        """Every vote that a flag touches."""
        return {vote for flag in self.flags for vote in flag.vote_ids}


def audit_votes_of(store: "Store") -> list[AuditVote]:
    """The votes of a store with what the answers gave away; of the unrated ones only those that an audit unrated."""
    return [
        AuditVote(vote_id, voter_id, a, b, winner, prompt, voted_at_s, dwell_s, characters, _leak(a, b, first, second, messages))
        for vote_id, voter_id, a, b, winner, prompt, voted_at_s, dwell_s, characters, first, second, messages in store.audit_rows()
    ]


def audit(ballots: Sequence[AuditVote], *, fdr: float = 0.05) -> Findings:
    """Flag voters and votes. `fdr` bounds the expected share of honest voters among the voters flagged by a test."""
    findings = Findings([], len(ballots), len({ballot.voter_id for ballot in ballots} - {None}), 0)
    _flag_voters(findings, ballots, fdr)
    findings.flags += [*_too_quick(ballots), *_too_many(ballots), *_repeated(ballots), *_frequent(ballots), *_leaks(ballots)]
    return findings


def _flag_voters(findings: Findings, ballots: Sequence[AuditVote], fdr: float) -> None:
    """Test, set aside who is flagged, fit again without them, test again: riggers must not hide one another."""
    votes = as_votes(ballots)
    counts = np.bincount(votes.voter[votes.voter >= 0], minlength=len(votes.voters))
    tested = np.flatnonzero(counts >= LEAST_VOTES)
    findings.n_tested = len(tested)
    if len(tested) < 3 or len(votes.models) < 2:
        return
    aside = np.zeros(len(votes.voters), dtype=bool)
    for _ in range(_ROUNDS):
        judged = judge(votes, tested, aside)
        best = np.minimum(1.0, len(judged.tests) * np.min([p for p, _ in judged.tests.values()], axis=0))
        alone, together = step_up(best), judged.together[0]
        q = np.minimum(alone, together)
        now = np.zeros_like(aside)
        now[tested[q <= fdr]] = True
        if (now == aside).all():
            break
        aside = now
    findings.taste = judged.taste
    own: dict[str, list[str]] = {votes.voters[i]: [] for i in tested[q <= fdr]}
    for ballot in ballots:
        if ballot.voter_id in own:
            own[ballot.voter_id].append(ballot.vote_id)
    for place in sorted(np.flatnonzero(q <= fdr).tolist(), key=lambda i: (q[i], best[i], votes.voters[tested[i]])):
        voter = votes.voters[tested[place]]
        reason = min(judged.tests, key=lambda name: judged.tests[name][0][place]) if alone[place] <= fdr else "together"
        told = (judged.together if reason == "together" else judged.tests[reason])[1](place)
        why = f"{told}; {len(own[voter]):,} votes"
        findings.flags.append(Flag(voter, reason, why, tuple(own[voter]), float(best[place]), float(q[place])))


def _too_quick(ballots: Iterable[AuditVote]) -> list[Flag]:
    found = defaultdict(list)
    for ballot in ballots:
        if ballot.dwell_s is not None and ballot.dwell_s < QUICKEST_S + ballot.characters / READ_CHARACTERS_PER_S:
            found[ballot.voter_id].append(ballot)
    return [
        Flag(
            voter,
            "too_quick",
            f"{len(votes):,} votes came sooner than {QUICKEST_S:g} s and {READ_CHARACTERS_PER_S:g} characters a second allow, the quickest "
            f"after {min(vote.dwell_s for vote in votes if vote.dwell_s is not None):.1f} s",
            tuple(vote.vote_id for vote in votes),
        )
        for voter, votes in found.items()
    ]


def _too_many(ballots: Iterable[AuditVote]) -> list[Flag]:
    """Votes beyond MOST_PER_HOUR within the hour before them, per voter."""
    cast = defaultdict(list)
    for ballot in ballots:
        if ballot.voter_id is not None and ballot.voted_at_s is not None:
            cast[ballot.voter_id].append((ballot.voted_at_s, ballot.vote_id))
    flags = []
    for voter, votes in cast.items():
        votes.sort()
        times = np.array([moment for moment, _ in votes])
        before = np.arange(len(times)) - np.searchsorted(times, times - 3600, side="right")
        beyond = np.flatnonzero(before >= MOST_PER_HOUR)
        if len(beyond):
            why = f"{int(before.max()) + 1:,} votes within an hour; those beyond {MOST_PER_HOUR} are flagged"
            flags.append(Flag(voter, "too_many", why, tuple(votes[i][1] for i in beyond)))
    return flags


def _repeated(ballots: Iterable[AuditVote]) -> list[Flag]:
    seen: set[tuple[str, str, str, str]] = set()
    found = defaultdict(list)
    for ballot in ballots:
        if ballot.voter_id is None or ballot.prompt is None:
            continue
        left, right = sorted((ballot.model_a, ballot.model_b))
        if (key := (ballot.voter_id, _plain(ballot.prompt), left, right)) in seen:
            found[ballot.voter_id].append(ballot.vote_id)
        seen.add(key)
    return [
        Flag(voter, "repeated", f"voted {len(votes):,} times more on a pair and prompt voted on before", tuple(votes))
        for voter, votes in found.items()
    ]


def _frequent(ballots: Iterable[AuditVote]) -> list[Flag]:
    """Votes on one prompt beyond the 99.99th percentile of votes per prompt, where there are prompts enough to have one."""
    by_prompt = defaultdict(list)
    for ballot in ballots:
        if ballot.prompt is not None:
            by_prompt[_plain(ballot.prompt)].append(ballot.vote_id)
    if len(by_prompt) < LEAST_PROMPTS:
        return []
    most = max(1, int(np.percentile([len(votes) for votes in by_prompt.values()], 99.99, method="lower")))
    return [
        Flag(None, "frequent_prompt", f"{len(votes):,} votes on '{prompt[:40]}'; those beyond {most:,} are flagged", tuple(votes[most:]))
        for prompt, votes in by_prompt.items()
        if len(votes) > most
    ]


def _leaks(ballots: Iterable[AuditVote]) -> list[Flag]:
    names: Counter[str] = Counter()
    votes = []
    for ballot in ballots:
        if ballot.leak is not None:
            names[ballot.leak] += 1
            votes.append(ballot.vote_id)
    told = ", ".join(f"{name} ({number:,})" for name, number in names.most_common(5))
    return [Flag(None, "leak", f"{len(votes):,} votes saw an answer that names its writer: {told}", tuple(votes))] if votes else []


def _leak(model_a: str, model_b: str, first: str | None, second: str | None, asked: str) -> str | None:
    return (leaked(model_a, first, asked=asked) if first else None) or (leaked(model_b, second, asked=asked) if second else None)


def _plain(prompt: str) -> str:
    return " ".join(prompt.lower().split())
