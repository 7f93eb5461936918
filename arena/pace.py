"""How much of an answer may be on the screen at a moment, so that speed does not tell who writes: `pace` in results/arena.yaml.

natural: all that has come. matched: no side is ahead of the other while both write; one that goes on after the other has ended comes as
it is written. hidden: nothing until both have ended.
"""

from arena.rounds import Round, Side
from arena.settings import Pace


def visible(round_: Round, side: Side, pace: Pace) -> str:
    """The part of this side's text that may be shown now."""
    text = side.text
    others = [other for other in round_.sides if other is not side]
    if pace == "natural" or round_.ended or not others:
        return text
    if pace == "hidden":
        return ""
    return text[: min([len(text), *(len(other.text) for other in others if other.completion is None)])]
