"""Several processes, one training: who writes, and how the others learn what was decided.

Under `accelerate launch` every process runs the same command. The first decides (the training's id, the checkpoint to go on from), writes
and talks; the others take part in the arithmetic. With one process all of this is nothing.
"""

from typing import TypeVar

T = TypeVar("T")


def is_main() -> bool:
    """Whether this process writes and talks."""
    from accelerate import PartialState

    return bool(PartialState().is_main_process)


def n_ranks() -> int:
    """How many processes train together."""
    from accelerate import PartialState

    return int(PartialState().num_processes)


def shared(value: T) -> T:
    """The main process's `value`, in every process; each must call it."""
    from accelerate.utils import broadcast_object_list

    if n_ranks() == 1:
        return value
    kept: list[T] = broadcast_object_list([value])
    return kept[0]
