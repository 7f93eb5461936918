"""A voter is whoever holds a cookie that we signed."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from arena.voters import COOKIE, VoterCookie, load_secret, new_cookie, voter_of


def test_a_signed_cookie_names_its_voter_and_a_forged_one_nobody():
    cookie = new_cookie("secret")
    assert voter_of(cookie, "secret") == voter_of(cookie, "secret") is not None
    assert voter_of(cookie, "another secret") is None
    assert voter_of(cookie + "x", "secret") is None
    assert voter_of("me", "secret") is None and voter_of(None, "secret") is None
    assert voter_of(new_cookie("secret"), "secret") != voter_of(cookie, "secret")


def test_the_secret_is_made_once_and_is_its_owners_alone(tmp_path: Path):
    path = tmp_path / "deep" / "arena.secret"
    assert load_secret(path) == load_secret(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and len(path.read_text()) > 30
    assert list(path.parent.iterdir()) == [path]


def test_an_empty_secret_signs_nothing(tmp_path: Path):
    (path := tmp_path / "arena.secret").touch()
    assert len(load_secret(path)) > 30 and load_secret(path) == load_secret(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and list(tmp_path.iterdir()) == [path]


def test_all_who_start_at_once_have_one_secret(tmp_path: Path):
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(load_secret, [tmp_path / "arena.secret"] * 64))
    assert found == {load_secret(tmp_path / "arena.secret")} and len(list(tmp_path.iterdir())) == 1


@pytest.fixture
def client() -> TestClient:
    async def page(_: Request) -> HTMLResponse:
        return HTMLResponse("<p>hello</p>")

    async def data(_: Request) -> JSONResponse:
        return JSONResponse({})

    return TestClient(Starlette(routes=[Route("/", page), Route("/data", data)], middleware=[Middleware(VoterCookie, secret="s")]))


def test_a_page_brings_a_cookie_to_a_stranger_and_none_to_a_voter(client: TestClient):
    first = client.get("/")
    assert "HttpOnly" in first.headers["set-cookie"] and voter_of(client.cookies[COOKIE], "s")
    assert "set-cookie" not in client.get("/").headers


def test_a_forged_cookie_is_replaced_and_data_brings_none(client: TestClient):
    assert "set-cookie" not in client.get("/data").headers
    client.cookies.set(COOKIE, "forged")
    assert "set-cookie" in client.get("/").headers
