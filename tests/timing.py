"""Figures of time on a machine that others use: one disturbance spoils a try, not each of them.

@again_if_late
def test_…():
    timely(max(late_s) < 0.05)        # tried again, five times in all
    assert min(late_s) > 0            # what no neighbour excuses holds in every try
"""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
TRIES = 5


class Late(AssertionError):
    """Something took longer than it does where nothing else runs."""


def timely(holds: bool, *told: object) -> None:
    """Raise Late, with what was measured, unless it holds."""
    if not holds:
        raise Late(*told)


def again_if_late(test: Callable[P, T]) -> Callable[P, T]:
    """The test, tried again when it raises Late, in which it must leave nothing behind that the next try minds."""

    @functools.wraps(test)
    def tried(*args: P.args, **values: P.kwargs) -> T:
        for _ in range(TRIES - 1):
            try:
                return test(*args, **values)
            except Late:
                pass
        return test(*args, **values)

    return tried
