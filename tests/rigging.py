"""A simulator of arenas with riggers, after Min et al., arXiv:2501.17858: honest people with tastes, and an attack on one model.

    world = simulate(seed=1, attack="omnipresent", identities=10)
    world.ballots, world.riggers, world.target

Target-only riggers vote where the target plays and nowhere else, for it. Omnipresent ones vote on whatever pair is drawn: for the target;
against whoever stands above it; and as everybody would where neither matters.
"""

from dataclasses import dataclass

import numpy as np

from arena.audit import AuditVote


@dataclass
class World:
    """What was voted, by whom, and what an audit should find; `strength` is the models' true θ."""

    ballots: list[AuditVote]
    riggers: set[str]
    target: str
    strength: dict[str, float]

    def honest(self) -> list[AuditVote]:
        """The votes without the rigged ones."""
        return [ballot for ballot in self.ballots if ballot.voter_id not in self.riggers]


def simulate(
    *, seed: int, attack: str | None, identities: int = 1, rigged: int = 300, models: int = 20, voters: int = 250, taste: float = 0.3
) -> World:
    """An arena of about 40 votes a person (5 at least, some hundreds at most), the target from the lower half, ties as people give them."""
    rng = np.random.default_rng(seed)
    names = [f"m{number:02}" for number in range(models)]
    theta = rng.normal(0, 0.6, models)
    theta -= theta.mean()
    ballots: list[AuditVote] = []

    def cast(voter: str, a: int, b: int, winner: str) -> None:
        ballots.append(AuditVote(f"v{len(ballots)}", voter, names[a], names[b], winner))

    def honest_vote(a: int, b: int, own: np.ndarray) -> str:
        # Davidson's ties (ν = .4) and a pull to the left of 28 Elo, as the LLMFAO crowd has them.
        strengths = np.exp([own[a] + 0.16, own[b], np.log(0.4) + (own[a] + 0.16 + own[b]) / 2])
        return str(rng.choice(["model_a", "model_b", "tie"], p=strengths / strengths.sum()))

    for number in range(voters):
        # People differ in what they like and in how sure they are.
        own = (theta + rng.normal(0, taste, models)) * rng.lognormal(0, 0.2)
        for _ in range(int(np.clip(rng.lognormal(3.2, 0.9), 5, 400))):
            a, b = rng.choice(models, 2, replace=False)
            cast(f"h{number}", a, b, honest_vote(a, b, own))
    target = int(np.argsort(theta)[models // 3])
    riggers = {f"r{number}" for number in range(identities if attack else 0)}
    for number in range(rigged if attack else 0):
        a, b = rng.choice(models, 2, replace=False)
        if attack == "target-only":
            while target not in (a, b):
                a, b = rng.choice(models, 2, replace=False)
        cast(f"r{number % identities}", a, b, _rigged_vote(a, b, target, theta) or honest_vote(a, b, theta))
    order = rng.permutation(len(ballots))
    return World([ballots[i] for i in order], riggers, names[target], dict(zip(names, theta.tolist(), strict=True)))


def _rigged_vote(a: int, b: int, target: int, theta: np.ndarray) -> str | None:
    """What a rigger says of a pair; None where it is all the same to him."""
    if target in (a, b):
        return "model_a" if a == target else "model_b"
    above = theta[[a, b]] > theta[target]
    if above[0] != above[1]:
        return "model_b" if above[0] else "model_a"
    return None
