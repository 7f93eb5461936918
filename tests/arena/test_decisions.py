"""An operator's word holds: off, outage, weight, boost, withdrawn for good; the last word counts, nothing is ever removed."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
from pydantic import ValidationError

from arena.battle import Arena, open_arena
from arena.decisions import Decision, decide, decisions, in_force, standings
from arena.errors import ArenaError
from arena.ledger import ledger_rows
from arena.pairing import UNIFORM, Policy
from arena.prompts import recorded_prompts
from arena.store import Store
from arena.votes import now
from serving.completion import Request
from serving.endpoints import Endpoint, load_endpoints
from serving.recorded import holds

NAMES = ("a", "b", "c")
KNOWN = {name: Endpoint(id=name, wire="openai", model=name, base_url="http://127.0.0.1:1/v1") for name in NAMES}


@pytest.fixture
def store(database: Path | str) -> Iterator[Store]:
    with Store(database) as opened:
        yield opened


def say(store: Store, endpoint: str, matter: str, value: float | None, **more: object) -> Decision:
    return decide(store, Decision(endpoint=endpoint, matter=matter, value=value, by="ada", **more), known=KNOWN)  # type: ignore[arg-type]


def test_without_a_decision_the_files_hold(store: Store):
    policy = Policy(kind="weighted", weights={"a": 2}, outages=frozenset({"c"}))
    assert in_force(store, policy, KNOWN) == (policy, KNOWN)
    assert in_force(store, UNIFORM, KNOWN) == (UNIFORM, KNOWN)


def test_off_takes_part_in_nothing_and_on_brings_it_back(store: Store):
    say(store, "a", "off", 1, reason="wrong template")
    assert set(in_force(store, UNIFORM, KNOWN)[1]) == {"b", "c"}
    say(store, "a", "off", 0)
    assert set(in_force(store, UNIFORM, KNOWN)[1]) == {"a", "b", "c"}
    assert [(row.value, row.reason, row.by) for row in decisions(store)] == [(1, "wrong template", "ada"), (0, "", "ada")]


def test_the_table_wins_over_the_file_and_gives_back_to_it(store: Store):
    policy = Policy(kind="weighted", weights={"a": 2}, boosts={"b": 4}, outages=frozenset({"c"}))
    say(store, "a", "weight", 7)
    say(store, "b", "boost", 1.5)
    say(store, "c", "outage", 0)
    changed, _ = in_force(store, policy, KNOWN)
    assert (changed.weights, changed.boosts, changed.outages) == ({"a": 7}, {"b": 1.5}, frozenset())
    for endpoint, matter in (("a", "weight"), ("b", "boost"), ("c", "outage")):
        say(store, endpoint, matter, None)
    assert in_force(store, policy, KNOWN)[0] == policy


def test_a_weight_under_a_uniform_policy_weighs_that_one_alone(store: Store):
    say(store, "a", "weight", 3)
    changed, _ = in_force(store, Policy(weights={"b": 9}), KNOWN)
    assert changed.kind == "weighted" and changed.weights == {"a": 3}
    shares = {row.endpoint: row.share for row in standings(store, UNIFORM, KNOWN)}
    # Pairs a-b and a-c weigh 3, b-c weighs 1: a is in 6 of 7.
    assert shares == pytest.approx({"a": 6 / 7, "b": 4 / 7, "c": 4 / 7})


def test_an_outage_ends_by_itself(store: Store):
    say(store, "a", "outage", 1, until=now() + timedelta(hours=1))
    say(store, "b", "outage", 1, until=now() - timedelta(seconds=1))
    policy, endpoints = in_force(store, UNIFORM, KNOWN)
    assert policy.outages == {"a"} and set(endpoints) == set(NAMES)
    assert {row.endpoint: row.state for row in standings(store, UNIFORM, KNOWN)} == {"a": "outage", "b": "on", "c": "on"}


def test_standings_say_where_each_value_is_from(store: Store):
    policy = Policy(kind="weighted", weights={"a": 2}, outages=frozenset({"c"}))
    say(store, "b", "weight", 5, reason="new")
    rows = {row.endpoint: row for row in standings(store, policy, KNOWN)}
    assert rows["a"].weight_from == "pairing.yaml" and rows["b"].weight_from.startswith("ada, ") and rows["a"].boost_from == ""
    assert (rows["c"].state, rows["c"].said_by, rows["c"].share) == ("outage", "pairing.yaml", 0.0)


def test_a_withdrawal_is_for_good_and_the_ledger_says_why(store: Store):
    kept = say(store, "a", "withdrawn", 1, reason="its licence ended")
    assert kept.reason == "its licence ended" and set(in_force(store, UNIFORM, KNOWN)[1]) == {"b", "c"}
    with pytest.raises(ArenaError, match=r"'a' was withdrawn for good on .* \(its licence ended\): register the model under another id"):
        say(store, "a", "off", 0)
    line = next(row for row in ledger_rows(store) if row["model"] == "a")
    assert line["status"] == "withdrawn" and "its licence ended" in line["history"] and line["stands_for"] == "a"
    # Gone from the catalogue too, it is still shown to operators.
    assert [row.state for row in standings(store, UNIFORM, {}) if row.endpoint == "a"] == ["withdrawn"]


def test_an_endpoint_that_nobody_knows_is_refused_with_the_nearest(store: Store):
    with pytest.raises(ArenaError, match="no endpoint 'our-lama' takes part here. Did you mean 'our-llama'"):
        decide(store, Decision(endpoint="our-lama", matter="off", value=1, by="ada"), known={"our-llama": KNOWN["a"]})
    assert decisions(store) == []


@pytest.mark.parametrize(
    ("matter", "value", "more", "why"),
    [
        ("weight", 0, {}, "is not between"),
        ("boost", float("inf"), {}, "is not between"),
        ("boost", float("nan"), {}, "is not between"),
        ("off", 2, {}, "1 is yes and 0 is no"),
        ("off", None, {}, "1 is yes and 0 is no"),
        ("withdrawn", 1, {"reason": "  "}, "needs a reason"),
        ("withdrawn", 0, {"reason": "back"}, "for good"),
        ("off", 1, {"until": now()}, "only an outage ends by itself"),
    ],
)
def test_a_decision_that_means_nothing_is_refused(matter: str, value: float | None, more: dict[str, object], why: str):
    with pytest.raises(ValidationError, match=why):
        Decision(endpoint="a", matter=matter, value=value, by="ada", **more)  # type: ignore[arg-type]


def test_the_schema_itself_refuses_what_the_noun_refuses(store: Store):
    for matter, value, reason in (("off", 3.0, ""), ("weight", 0.0, ""), ("withdrawn", 1.0, ""), ("banned", 1.0, "x")):
        with pytest.raises(ArenaError, match="(?i)check"):
            store.run(("insert_decision", ["x", "a", matter, value, None, reason, "ada", now().replace(tzinfo=None)]))
    assert decisions(store) == []


def test_an_arena_draws_by_what_another_process_decided(results: Path):
    with Store(results / "arena.duckdb") as store:
        with open_arena(Arena(store, results=results, demo=True, speed=1000, secret="s")) as arena:
            arena.refresh()
            prompt = recorded_prompts()[0].text
            able = [name for name, endpoint in arena.endpoints.items() if holds(endpoint, Request.user(prompt))]
            # All but three are switched off behind the arena's back, as another process on the same database would do.
            for name in able[3:]:
                decide(store, Decision(endpoint=name, matter="off", value=1, by="ada"), known=arena.catalogue)
            decide(store, Decision(endpoint=able[0], matter="withdrawn", value=1, reason="test", by="ada"), known=arena.catalogue)
            drawn = {side.model for _ in range(5) for side in arena.start(prompt, "v").sides}
            assert drawn == set(able[1:3])
            decide(store, Decision(endpoint=able[5], matter="off", value=0, by="ada"), known=arena.catalogue)
            decide(store, Decision(endpoint=able[1], matter="outage", value=1, by="ada"), known=arena.catalogue)
            assert {side.model for side in arena.start(prompt, "v").sides} == {able[2], able[5]}
            entries = [entry.event for entry in store.ledger() if entry.model == able[0]]
            assert entries == ["joined", "withdrawn"]


def arena(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "arena.cli", *arguments], capture_output=True, text=True, timeout=60)


def test_the_command_decides_shows_and_is_refused_while_the_file_is_held(results: Path):
    name, at = next(iter(load_endpoints())), ["--results", str(results)]
    done = arena("endpoint", name, "--boost", "5", "--off", "--reason", "tired", "--json", *at)
    assert done.returncode == 0, done.stderr
    assert [row["matter"] for row in json.loads(done.stdout.splitlines()[-1])["decided"]] == ["off", "boost"]
    shown = arena("endpoint", name, *at)
    assert shown.returncode == 0 and "off" in shown.stdout and "boost 5" in shown.stdout and "tired" in shown.stdout
    for wrong, words in (
        (["--boost", "much"], "value: "),
        (["--withdraw"], "a withdrawal is for good and needs a reason"),
        (["--on", "--until", "2026-12-01 08:00"], ""),
    ):
        refused = arena("endpoint", name, *wrong, *at)
        assert refused.returncode == (1 if words else 0) and words in refused.stderr and "Traceback" not in refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1
    with Store(results / "arena.duckdb"):
        held = arena("endpoint", name, "--on", *at)
    assert held.returncode == 1 and "is in use by process" in held.stderr and "admin page (/admin)" in held.stderr
    assert len(held.stderr.strip().splitlines()) == 1


def test_nothing_that_was_decided_can_be_seen_to_change(results: Path):
    with Store(results / "arena.duckdb") as store:
        say(store, "a", "boost", 2)
        first = store.rows("decisions")
        say(store, "a", "boost", 3)
        assert store.rows("decisions")[:1] == first
    with duckdb.connect(results / "arena.duckdb", read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM decisions").fetchall() == [(2,)]
