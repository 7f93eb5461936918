"""The way in, in a real browser: terms accepted once, signing in through a provider, and what these pages look like."""

import re
from pathlib import Path
from typing import Any

import pytest
from browser import chromium, house, looks, needs_chromium
from model_server import ModelServer, sse
from oidc_provider import OidcProvider

from arena.store import Store
from serving.endpoints import register
from serving.listening import free_port

pytestmark = [needs_chromium, pytest.mark.timeout(240)]


@pytest.mark.slow
def test_terms_are_accepted_once_and_again_when_they_change(tmp_path: Path):
    results = tmp_path / "results"
    results.mkdir()
    (results / "arena.yaml").write_text("terms: ours.md")
    (results / "ours.md").write_text("Be kind. It costs $5 or $10.")
    with house("arena", "--demo", results=results) as url, chromium(tmp_path / "profile") as page:
        page.goto(url)
        page.get_by_text("Be kind. It costs $5 or $10.").wait_for()
        assert page.locator(".st-key-prompts").count() == 0
        page.get_by_role("button", name="I accept").click()
        page.locator(".st-key-prompts button").first.wait_for()
        page.reload()
        page.locator(".st-key-prompts button").first.wait_for()
        assert page.get_by_role("button", name="I accept").count() == 0
        page.goto(f"{url}/terms")
        page.get_by_text("You have accepted these terms.").wait_for()
        (results / "ours.md").write_text("Be kinder.")
        page.goto(url)
        page.get_by_text("Be kinder.").wait_for()
        page.get_by_role("button", name="I accept").wait_for()


def test_a_voter_signs_in_votes_and_is_the_same_in_another_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    results, port = tmp_path / "results", free_port()
    results.mkdir()
    with OidcProvider() as provider, ModelServer(sse("one ", "two")) as one, ModelServer(sse("three ", "four")) as two:
        for name, server in (("one", one), ("two", two)):
            register(server.endpoint(name), results)
        monkeypatch.setenv("ARENA_CLIENT_ID", provider.client_id)
        monkeypatch.setenv("ARENA_CLIENT_SECRET", provider.client_secret)
        login = f"server_metadata_url: '{provider.metadata_url}', redirect_uri: 'http://127.0.0.1:{port}/oauth2callback'"
        keys = "client_id_env: ARENA_CLIENT_ID, client_secret_env: ARENA_CLIENT_SECRET, required: true, provider: Example ID"
        (results / "arena.yaml").write_text(f"login: {{{login}, {keys}}}\n")
        with house("arena", results=results, port=port) as url:
            with chromium(tmp_path / "first") as page:
                page.goto(url)
                page.get_by_text("Sign in to vote.").wait_for()
                assert page.get_by_role("textbox").count() == 0
                _sign_in(page)
                page.get_by_role("textbox").fill("Why?")
                page.get_by_role("button", name="Start the battle").click()
                page.locator(".st-key-live-tie button:enabled").click()
                page.get_by_text("You called it a tie").wait_for()
                address = page.url
            with chromium(tmp_path / "second") as page:
                page.goto(url)
                _sign_in(page)
                page.goto(address)
                page.get_by_text("You called it a tie").wait_for()
                page.goto(f"{url}/about")
                page.get_by_role("button", name="Sign out").click()
                page.get_by_text("Sign in to vote.").wait_for()
                provider.subject = "bob"
                _sign_in(page)
                page.goto(address)
                page.get_by_role("textbox").wait_for()
                assert page.get_by_text("You called it a tie").count() == 0
        assert {asked["scope"] for asked in provider.asked} == {"openid"} and all(asked["nonce"] for asked in provider.asked)
        with Store(results / "arena.duckdb") as store:
            [(voter,)] = {(row[5],) for row in store.vote_rows()}
        assert re.fullmatch(r"login-[0-9a-f]{24}", voter)
        kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "results" in path.parts)
        logs = "".join(path.read_text() for path in tmp_path.glob("*.log"))
        for told in (provider.client_secret, "Ada Lovelace", "ada@example.org"):
            assert told.encode() not in kept and told not in logs


def _sign_in(page: Any) -> None:
    page.get_by_role("button", name="Sign in with Example ID").click()
    page.get_by_role("button", name="Start the battle").wait_for()


@pytest.mark.parametrize(("theme", "width"), looks())
def test_about_and_terms_fit_the_screen_in_both_themes(tmp_path: Path, theme: Any, width: int):
    results = tmp_path / "results"
    results.mkdir()
    (results / "arena.yaml").write_text("terms: default\nlimits: {address_per_day: 100}\n")
    size = {"width": width, "height": 900}
    with house("arena", results=results) as url, chromium(tmp_path / "profile", viewport=size, color_scheme=theme) as page:
        for path, seen in (("about", "What is kept."), ("terms", "You talk to machines."), ("", "Before your first battle")):
            page.goto(f"{url}/{path}")
            page.get_by_text(seen).wait_for()
            page.screenshot(path=str(tmp_path / f"{path or 'entrance'}-{theme}-{width}.png"), full_page=True)
            assert page.evaluate("document.scrollingElement.scrollWidth") <= width
            background = page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
            assert background == ("rgb(251, 248, 243)" if theme == "light" else "rgb(25, 22, 19)")
