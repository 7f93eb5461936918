"""What may be on the screen: all, no more than the slower side has, or nothing before both have ended."""

import pytest

from arena.pace import visible
from arena.rounds import Round, Side, Turn
from arena.votes import new_id, now
from serving.completion import Completion, Request


def duel(first: str, second: str) -> Round:
    return Round(new_id(), "v", now(), [Turn("Why?", (Side("one", [first]), Side("two", [second])))])


@pytest.mark.parametrize(("pace", "shown"), [("natural", ["quick", "sl"]), ("matched", ["qu", "sl"]), ("hidden", ["", ""])])
def test_while_both_write(pace: str, shown: list[str]):
    round_ = duel("quick", "sl")
    assert [visible(round_, side, pace) for side in round_.sides] == shown


@pytest.mark.parametrize("pace", ["natural", "matched", "hidden"])
def test_when_both_have_ended_all_is_shown(pace: str):
    round_ = duel("quick", "sl")
    round_.turn.ready_at = 1.0
    assert [visible(round_, side, pace) for side in round_.sides] == ["quick", "sl"]


def test_matched_holds_the_one_that_ended_to_the_one_that_writes():
    round_ = duel("", "sl")
    round_.sides[0].end(Completion(endpoint="one", request=Request.user("Why?"), text="quick"))
    assert [visible(round_, side, "matched") for side in round_.sides] == ["qu", "sl"]
