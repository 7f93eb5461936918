"""How one arena is run: results/arena.yaml, read again before each battle, and without that file the defaults below.

    pace: matched
    modes: [blind]
    limits: {turns: 6, prompt_characters: 4000}

A key that no code reads is refused. Who fights whom is another file's matter: results/pairing.yaml (arena/pairing.py).
"""

from pathlib import Path
from typing import Literal, get_args

from pydantic import Field

from serving.documents import Noun, reread_document

Mode = Literal["blind", "side_by_side", "direct"]
Pace = Literal["natural", "matched", "hidden"]
MODES: tuple[Mode, ...] = get_args(Mode)


class Limits(Noun):
    """What one battle may take. `turns` counts the prompts of a conversation; `answer_tokens` is asked of both endpoints."""

    prompt_characters: int = Field(default=8_000, ge=1)
    answer_tokens: int | None = Field(default=None, ge=1)
    turns: int = Field(default=10, ge=1)


class Settings(Noun):
    """The keys of results/arena.yaml.

    `pace` is how answers come to the screen: as they arrive (natural), both at the speed of the slower one (matched), or at once when both
    have ended (hidden), so that speed does not tell who answers. `slow_notice_s` without a word,
    and the page says that this takes a while. `modes` are the kinds of battle on offer, the first one by default.
    """

    pace: Pace = "natural"
    slow_notice_s: float = Field(default=10.0, gt=0)
    modes: tuple[Mode, ...] = Field(default=MODES, min_length=1)
    limits: Limits = Limits()


def load_settings(results: Path) -> Settings:
    """The settings of the arena whose results lie here. Raises DocumentError for a file that does not fit."""
    path = results / "arena.yaml"
    return reread_document(path, Settings) if path.exists() else Settings()
