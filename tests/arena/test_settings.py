"""The arena's settings: defaults without a file, and a file that does not fit is refused by its key."""

from pathlib import Path

import pytest

from arena.prompts import on_offer, shipped_examples
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


def test_examples_ship_by_category_and_give_way_to_those_that_are_stated(tmp_path: Path):
    shipped = on_offer(load_settings(tmp_path).examples)
    assert shipped == shipped_examples() and len(shipped) >= 4
    texts = [text for texts in shipped.values() for text in texts]
    assert len(set(texts)) == len(texts) >= 20 and all(10 < len(text) < 300 for text in texts)
    (tmp_path / "arena.yaml").write_text("examples: {support: [Answer this ticket]}")
    assert on_offer(load_settings(tmp_path).examples) == {"support": ("Answer this ticket",)}
    (tmp_path / "arena.yaml").write_text("examples: {}")
    assert not on_offer(load_settings(tmp_path).examples)
