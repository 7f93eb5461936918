"""The arena's settings: defaults without a file, and a file that does not fit is refused by its key."""

from pathlib import Path

import pytest

from arena.settings import Settings, load_settings
from serving.errors import DocumentError


def test_without_a_file_the_defaults_hold(tmp_path: Path):
    assert load_settings(tmp_path) == Settings()


def test_what_the_file_says_holds_and_the_rest_is_default(tmp_path: Path):
    (tmp_path / "arena.yaml").write_text("pace: matched\nlimits: {turns: 6}\n")
    settings = load_settings(tmp_path)
    assert (settings.pace, settings.limits.turns, settings.limits.prompt_characters) == ("matched", 6, 8_000)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("pase: matched", "pase"),
        ("limits: {turn: 6}", "limits.turn"),
        ("modes: []", "modes"),
        ("allowed_hosts: ['https://a.example']", "allowed_hosts"),
    ],
)
def test_an_unknown_or_bad_key_is_named(tmp_path: Path, text: str, key: str):
    (tmp_path / "arena.yaml").write_text(text)
    with pytest.raises(DocumentError, match=rf"arena\.yaml: {key}"):
        load_settings(tmp_path)
