"""The admin pages: nobody sees or does anything without a pass; an operator's word holds at once and is read back from the store."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ballot_box import demo_votes
from streamlit.testing.v1 import AppTest

from arena import operators
from arena.app import pages
from arena.battle import Arena, open_arena
from arena.decisions import decisions
from arena.passwords import hash_password
from arena.prompts import recorded_prompts
from arena.settings import Admin, load_settings
from arena.store import Store
from serving.completion import Request
from serving.errors import DocumentError
from serving.recorded import holds

PASSWORD = "correct horse battery"
HASHED = hash_password(PASSWORD)


def app() -> None:
    from arena.views import admin

    admin.page()


@pytest.fixture
def arena(results: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Arena]:
    monkeypatch.setattr(operators, "_wrong", {})
    monkeypatch.setattr(operators, "_passes", {})
    monkeypatch.setattr("arena.views.admin._address", lambda: "192.0.2.9")
    (results / "arena.yaml").write_text(f'admin: {{password_hash: "{HASHED}"}}\n')
    with Store(demo_votes(results / "arena.duckdb")) as store:
        with open_arena(Arena(store, results=results, demo=True, speed=1000, secret="s")) as opened:
            yield opened


@pytest.fixture
def visitor(arena: Arena) -> AppTest:
    return AppTest.from_function(app, default_timeout=60).run()


def enter(page: AppTest, password: str) -> AppTest:
    page.text_input(key="admin-password").set_value(password)
    return page.button[0].click().run()


@pytest.fixture
def operator(visitor: AppTest) -> AppTest:
    return enter(visitor, PASSWORD)


def shown(page: AppTest) -> str:
    assert not page.exception
    return "".join(element.proto.body for element in page.get("html"))


def test_a_visitor_sees_a_password_field_and_nothing_else(visitor: AppTest):
    assert [button.label for button in visitor.button] == ["Enter"]
    assert not visitor.dataframe and not visitor.selectbox and "Spent" not in shown(visitor)


def test_a_forged_session_opens_nothing(arena: Arena, visitor: AppTest):
    for forged in ("", "operator", True, {"who": "operator"}):
        visitor.session_state["operator-pass"] = forged
        visitor.session_state["section"] = "Ledger"
        assert not visitor.run().dataframe and [button.label for button in visitor.button] == ["Enter"]


def test_a_wrong_password_is_refused_and_slowed_even_for_the_right_one(visitor: AppTest, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(operators, "_FIRST_WAIT_S", 600.0)
    page = enter(visitor, "wrong horse battery")
    assert "That is not the password" in page.error[0].value and not page.dataframe
    page = enter(page, "wronger horse battery")
    page = enter(page, PASSWORD)
    assert "Too soon" in page.error[0].value and not page.dataframe


def test_each_wrong_try_doubles_the_wait_and_other_addresses_are_not_slowed(arena: Arena, monkeypatch: pytest.MonkeyPatch):
    admin, clock = Admin(password_hash=HASHED), [1000.0]
    monkeypatch.setattr(operators.time, "monotonic", lambda: clock[0])
    for expected in (1, 2, 4):
        assert operators.try_password(admin, "wrong horse battery", "192.0.2.1") is None
        assert operators.wait_s("192.0.2.1") == expected
        clock[0] += expected
    assert operators.wait_s("192.0.2.2") == 0 and operators.try_password(admin, PASSWORD, "192.0.2.2")
    token = operators.try_password(admin, PASSWORD, "192.0.2.1")
    assert operators.who_holds(token) == "operator"
    clock[0] += admin.session_minutes * 60 + 1
    assert operators.who_holds(token) is None


def test_signing_in_lets_in_verified_addresses_and_roles_only():
    admin = Admin(emails=("Ada@example.org",), role="arena-admin")
    assert operators.signed_in(admin, {"email": "ada@example.org", "email_verified": True})
    assert operators.signed_in(admin, {"sub": "7", "roles": ["arena-admin"]})
    for claims in ({"email": "ada@example.org"}, {"email": "eve@example.org", "email_verified": True}, {"roles": "arena-admin-not"}, {}):
        assert operators.signed_in(admin, claims) is None
    assert operators.signed_in(Admin(role="a"), {"email": "", "email_verified": True}) is None


def test_without_the_section_there_is_no_page(arena: Arena):
    assert len(pages()) == 4 and pages()[-1].visibility == "hidden"
    (arena.results / "arena.yaml").unlink()
    arena.refresh()
    assert len(pages()) == 3
    page = AppTest.from_function(app, default_timeout=60).run()
    assert "There is no such page" in shown(page) and not page.button and not page.text_input


def test_an_endpoint_that_is_switched_off_is_not_drawn_and_comes_back(arena: Arena, operator: AppTest):
    prompt = recorded_prompts()[0].text
    able = [name for name, endpoint in arena.endpoints.items() if holds(endpoint, Request.user(prompt))]
    name = able[0]
    operator.selectbox(key="endpoint").select(name).run()
    operator.text_input(key="reason").set_value("wrong template")
    operator.button(key="switch").click().run()
    assert f"read back from the store: {name}, off 1" in operator.success[0].value
    assert [(row.by, row.reason) for row in decisions(arena.store)] == [("operator", "wrong template")]
    arena.refresh()
    assert name not in arena.endpoints and name not in {side.model for _ in range(5) for side in arena.start(prompt, "v").sides}
    operator.button(key="switch").click().run()
    assert f"{name}, off 0" in operator.success[0].value
    arena.refresh()
    assert name in arena.endpoints


def test_a_withdrawal_asks_for_a_reason_and_the_name_and_keeps_the_model_on_the_board(arena: Arena, operator: AppTest):
    name = "GPT 4"
    operator.selectbox(key="endpoint").select(name).run()
    assert operator.button(key="withdraw").disabled
    operator.text_input(key="reason").set_value("its licence ended")
    operator.text_input(key="confirm").set_value(name).run()
    operator.button(key="withdraw").click().run()
    assert f"{name}, withdrawn 1" in operator.success[0].value
    assert name not in arena.endpoints and name in arena.store.ballots().models
    operator.segmented_control(key="section").select("Ledger").run()
    ledger = operator.dataframe[0].value
    line: Any = ledger[ledger["model"] == name].iloc[0]
    assert line["status"] == "withdrawn" and "its licence ended" in line["history"] and line["n_votes"] > 0


def test_votes_failures_and_spending_are_shown(arena: Arena, operator: AppTest):
    operator.segmented_control(key="section").select("Votes").run()
    assert "8,931 votes" in shown(operator)
    operator.button(key="audit").click().run()
    flagged = operator.session_state["findings"].vote_ids
    operator.button(key="apply").click().run()
    assert f"{len(flagged):,} votes are flagged" in operator.success[0].value and len(arena.store.flags()) == len(flagged)
    operator.button(key="revert").click().run()
    assert "0 flags remain" in operator.success[0].value and not arena.store.flags()
    operator.segmented_control(key="section").select("Lately").run()
    assert "Spent today (UTC): $0.0000" in shown(operator)


def test_leaving_ends_the_pass(operator: AppTest):
    operator.button(key="leave-admin").click().run()
    assert [button.label for button in operator.button] == ["Enter"] and not operators._passes


def test_a_section_that_lets_nobody_in_or_holds_a_password_is_refused_without_repeating_it(results: Path):
    (results / "arena.yaml").write_text("admin: {}\n")
    with pytest.raises(DocumentError, match="nobody is let in"):
        load_settings(results)
    (results / "arena.yaml").write_text("admin: {password_hash: correct horse battery}\n")
    with pytest.raises(DocumentError, match=r"admin\.password_hash: not a hash of 'arena hash-password'") as told:
        load_settings(results)
    assert "horse" not in str(told.value)


def test_a_pass_that_ran_out_does_nothing_more(arena: Arena, operator: AppTest, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        operators, "_passes", {token: held._replace(until=time.monotonic() - 1) for token, held in operators._passes.items()}
    )
    operator.button(key="switch").click().run()
    assert decisions(arena.store) == [] and [button.label for button in operator.button] == ["Enter"]
