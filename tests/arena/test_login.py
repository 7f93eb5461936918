"""Signing in: keys from the environment only, and a voter who is the same everywhere without being named."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from arena.errors import ArenaError
from arena.login import streamlit_secrets, voter_of_claims
from arena.settings import load_settings
from serving.errors import DocumentError

LOGIN = """login:
  server_metadata_url: https://id.example.org/.well-known/openid-configuration
  redirect_uri: https://arena.example.org/oauth2callback
  client_id_env: ARENA_CLIENT_ID
  client_secret_env: ARENA_CLIENT_SECRET
"""
ADA = {"is_logged_in": True, "iss": "https://id.example.org", "sub": "ada", "name": "Ada", "email": "ada@example.org"}


def test_a_person_is_one_voter_and_the_id_names_nobody():
    voter = voter_of_claims(ADA, "secret")
    assert voter is not None and voter == voter_of_claims({**ADA, "email": "new@example.org"}, "secret")
    assert "ada" not in voter.lower() and voter.startswith("login-")
    others = [{**ADA, "sub": "bob"}, {**ADA, "iss": "https://other.example"}, {**ADA, "iss": "https://id.example.org ada", "sub": "x"}]
    assert len({voter, voter_of_claims(ADA, "another"), *(voter_of_claims(other, "secret") for other in others)}) == 5


@pytest.mark.parametrize("change", [{"is_logged_in": False}, {"sub": ""}, {"sub": 7}, {"iss": None}, {"is_logged_in": "true"}])
def test_claims_that_name_nobody_are_nobody(change: dict[str, object]):
    assert voter_of_claims({**ADA, **change}, "secret") is None
    assert voter_of_claims({}, "secret") is None


def test_streamlit_is_told_in_memory_and_asks_for_no_more_than_the_subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ARENA_CLIENT_ID", "me")
    monkeypatch.setenv("ARENA_CLIENT_SECRET", "hush")
    (tmp_path / "arena.yaml").write_text(LOGIN)
    section = streamlit_secrets(load_settings(tmp_path), "secret")["auth"]
    assert (section["client_id"], section["client_secret"], section["client_kwargs"]) == ("me", "hush", {"scope": "openid"})
    assert section["cookie_secret"] == streamlit_secrets(load_settings(tmp_path), "secret")["auth"]["cookie_secret"] != "secret"
    (tmp_path / "arena.yaml").write_text(LOGIN + "admin: {emails: [ada@example.org]}\n")
    assert streamlit_secrets(load_settings(tmp_path), "secret")["auth"]["client_kwargs"] == {"scope": "openid email"}
    assert [path.name for path in tmp_path.iterdir()] == ["arena.yaml"]
    (tmp_path / "arena.yaml").write_text("pace: natural")
    assert streamlit_secrets(load_settings(tmp_path), "secret") == {}


def test_a_key_that_is_not_set_is_told_before_anything_is_served(tmp_path: Path):
    (tmp_path / "arena.yaml").write_text(LOGIN)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ARENA_", "BAKEOFF_"))}
    command = [sys.executable, "-m", "arena.cli", "up", "--results", str(tmp_path), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1
    assert "login.client_id_env: the environment variable ARENA_CLIENT_ID is not set: export ARENA_CLIENT_ID=" in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("https://id.", "http://id.", r"login\.server_metadata_url.*is not https"),
        ("https://arena.", "http://arena.", r"login\.redirect_uri.*is not https"),
        ("/oauth2callback", "/callback", r"must be the arena's own address and end with /oauth2callback"),
        ("client_id_env", "client_id", r"login\.client_id"),
        ("login:", "login:\n  scope: profile", "must contain openid"),
    ],
)
def test_a_login_that_cannot_work_is_refused(tmp_path: Path, old: str, new: str, told: str):
    (tmp_path / "arena.yaml").write_text(LOGIN.replace(old, new))
    with pytest.raises(DocumentError, match=told):
        load_settings(tmp_path)


def test_without_authlib_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "arena.yaml").write_text(LOGIN)
    monkeypatch.setattr("arena.login.find_spec", lambda name: None)
    with pytest.raises(ArenaError, match=r"pip install 'bakeoff\[login\]'"):
        streamlit_secrets(load_settings(tmp_path), "secret")
