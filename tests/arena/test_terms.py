"""Terms are accepted once, by their text; and the about page says what is kept, and no more."""

from pathlib import Path

import pytest

from arena.deletion import forget
from arena.errors import ArenaError
from arena.settings import Settings, load_settings
from arena.store import Store
from arena.terms import SHIPPED, Terms, accept, accepted, terms_of
from arena.views.about import what_is_kept


def test_an_acceptance_is_for_one_voter_and_one_text_and_outlives_the_process(results: Path):
    first, second = Terms("Be kind."), Terms("Be kind, please.")
    with Store(results / "a.duckdb") as store:
        accept(store, "v", first)
        accept(store, "v", first)
        assert accepted(store, "v", first) and not accepted(store, "v", second) and not accepted(store, "w", first)
    with Store(results / "a.duckdb") as store:
        assert accepted(store, "v", first)
        accept(store, "v", second)
        assert accepted(store, "v", second) and len(store.rows("acceptances_of", "v")) == 2


def test_who_deletes_his_data_deletes_his_acceptance(results: Path):
    with Store(results / "a.duckdb") as store:
        accept(store, "v", Terms("Be kind."))
        forget(store, "v", results=results)
        assert store.rows("acceptances_of", "v") == []


def test_terms_are_a_file_of_ones_own_or_the_one_that_ships(results: Path):
    assert terms_of(load_settings(results), results) is None
    (results / "arena.yaml").write_text("terms: default")
    shipped = terms_of(load_settings(results), results)
    assert shipped is not None and shipped.text == SHIPPED.read_text().strip()
    (results / "arena.yaml").write_text("terms: ours.md")
    (results / "ours.md").write_text("Ours.\n")
    ours = terms_of(load_settings(results), results)
    assert ours is not None and ours.text == "Ours." and ours.version != shipped.version


@pytest.mark.parametrize(("content", "told"), [(None, "cannot be read"), (b"", "is empty"), (b"\xff\xfe\xff", "cannot be read")])
def test_terms_that_cannot_be_read_let_nobody_in(results: Path, content: bytes | None, told: str):
    (results / "arena.yaml").write_text("terms: ours.md")
    if content is not None:
        (results / "ours.md").write_bytes(content)
    with pytest.raises(ArenaError, match=rf"terms: .*ours\.md {told}.*write 'default' or a Markdown file"):
        terms_of(load_settings(results), results)


def test_what_is_kept_follows_the_settings():
    plain = what_is_kept(Settings())
    assert "random id in a cookie" in plain and "No name and no address." in plain
    assert not [word for word in ("account", "terms", "hashes", "moderator") if word in plain]
    limited = what_is_kept(Settings.model_validate({"limits": {"voter_per_day": 5}}))
    assert "keyed hashes of your id, so" in limited
    assert "of your id and of your address" in what_is_kept(Settings.model_validate({"limits": {"address_per_day": 5}}))
    login = {
        "server_metadata_url": "https://id.example/m", "redirect_uri": "https://a.example/oauth2callback",
        "client_id_env": "A", "client_secret_env": "B", "required": True,
    }  # fmt: skip
    full = what_is_kept(
        Settings.model_validate(
            {
                "login": login,
                "terms": "default",
                "moderation": {"endpoint": "m", "style": "openai"},
                "retention": {"retention_days": 30, "abandoned_after_h": None},
            }
        )
    )
    assert "under a keyed hash of your account" in full and "cookie" not in full
    assert "terms you accepted" in full and "A moderator looks at prompts and answers" in full and "after 30 days" in full
