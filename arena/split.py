"""Train and test without a prompt or a voter in common, and what that costs.

    side = split(prompts, voters)          # arrays of keys, one entry a vote -> TRAIN, TEST or NEITHER

A model that saw a prompt, or a person's taste, in training is not tested by it. A tenth of the voters is held out; what they asked and
nobody else did is the test. Where everybody votes on the same prompts that leaves too little: then a fifth of the voters *and* a fifth of
the prompts are held out, the test is where they meet, and votes with one foot on each side are in neither file.
"""

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
TRAIN, TEST, NEITHER = 0, 1, 2
_SHARE, _LEAST, _CROSSED = 0.1, 0.05, 0.2


def split(prompts: Keys, voters: Keys) -> npt.NDArray[np.int8]:
    """The side of each vote. The keys decide who is held out, so the order of the votes does not matter.

    A vote of nobody known has its prompt's key as its voter's. All is for training where there is but one prompt or one voter.
    """
    if len(np.unique(prompts)) < 2 or len(np.unique(voters)) < 2:
        return np.zeros(len(prompts), dtype=np.int8)
    held = np.isin(voters, _held_out(voters, _SHARE))
    shared = np.isin(prompts, np.unique(prompts[~held]))
    side = np.where(held, np.where(shared, NEITHER, TEST), TRAIN)
    if (side == TEST).mean() < _LEAST:
        voters_out = np.isin(voters, _held_out(voters, _CROSSED))
        prompts_out = np.isin(prompts, _held_out(prompts, _CROSSED))
        side = np.where(voters_out & prompts_out, TEST, np.where(voters_out | prompts_out, NEITHER, TRAIN))
    return side.astype(np.int8)


def _held_out(keys: Keys, share: float) -> Keys:
    unique = np.unique(keys)
    # The keys are hashes already; another mixing, so that the voters' choice does not follow the prompts'.
    order = np.argsort(unique * np.uint64(0x9E3779B97F4A7C15), kind="stable")
    return unique[order[: max(1, round(share * len(unique)))]]


def shared(side: npt.NDArray[np.int8], keys: Keys) -> int:
    """How many keys are on both sides: 0, or the split leaks."""
    return len(np.intersect1d(keys[side == TRAIN], keys[side == TEST]))
