"""`arena report`: its figures are the store's, its page needs nothing from elsewhere, and nobody's id or prompt is in it."""

import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from arena.history import until as board_until
from arena.importers import seed_demo
from arena.ledger import Entry
from arena.report import Report, gather
from arena.report_command import document, end_of
from arena.report_pages import html_of, markdown_of
from arena.store import Record, Store
from arena.votes import Battle, Vote, Winner
from serving.completion import Completion, Message, Request

NOW = datetime(2026, 6, 15, tzinfo=UTC)
WEEK = timedelta(days=7)
HOSTILE = "<img src=x onerror=alert(1)>|z"
DETAIL = json.dumps({"wire": "openai", "model": "m", "base_url": None, "engine": None})


def answer(endpoint: str, number: int, cost_usd: float | None) -> Completion:
    return Completion(
        endpoint=endpoint, request=Request.user(f"private question {number}"), text=f"{endpoint} {number}", status="ok",
        started_at=NOW, cost_usd=cost_usd,
    )  # fmt: skip


def fill(store: Store) -> None:
    """Three models over four weeks; in the last one x, which had lost, wins everything."""
    rng = random.Random(1)
    models = ("x", "y", HOSTILE)
    records = []
    for number in range(400):
        when = NOW - 4 * WEEK + timedelta(seconds=number * 4 * WEEK.total_seconds() / 400 + 1)
        last = when >= NOW - WEEK
        left, right = rng.sample(models[: 2 if last else 3], 2)
        strong = "x" if last else "y"
        winner: Winner = "model_a" if left == strong or (right != strong and rng.random() < 0.5) else "model_b"
        winner = winner if rng.random() < 0.85 else "tie"
        pair = (answer(left, number, 0.01), answer(right, number, None if right == "y" else 0.02)) if number % 4 == 0 else None
        battle = Battle(
            battle_id=f"b{number}", created_at=when, messages=(Message(role="user", content=f"private question {number}"),), model_a=left,
            model_b=right, voter_id=f"person-{number % 9}" if not last else f"person-{number % 12}", pairing_probability=1 / 6,
        )  # fmt: skip
        vote = Vote(
            vote_id=f"v{number}", battle_id=f"b{number}", voter_id=battle.voter_id, winner=winner, voted_at=when,
            rated=number % 20 != 1, unrated_reason=None if number % 20 != 1 else "stopped",
        )  # fmt: skip
        records.append(Record(battle, pair, vote))
    store.save_all(records)
    store.add_to_ledger([Entry(name, "joined", NOW - 4 * WEEK, DETAIL) for name in models])
    store.add_to_ledger([Entry("late", "joined", NOW - timedelta(days=2), DETAIL), Entry("x", "changed", NOW + WEEK, DETAIL)])


@pytest.fixture
def store(database: Path | str) -> Iterator[Store]:
    with Store(database) as store:
        yield store


@pytest.fixture
def report(store: Store) -> Report:
    fill(store)
    return gather(store, since=NOW - WEEK, until=NOW)


def test_the_counts_are_those_of_the_week(report: Report, store: Store):
    records = list(store.voted())
    mine = [record.vote for record in records if record.vote.voted_at and NOW - WEEK <= record.vote.voted_at < NOW]
    earlier = {record.vote.voter_id for record in records if record.vote not in mine}
    assert report.n_total == 400 and report.n_votes == len(mine) == sum(n for _, n in report.days) == 100
    assert report.n_rated == sum(vote.rated for vote in mine)
    assert report.unrated == (("stopped", len(mine) - report.n_rated),)
    assert report.n_voters == len({vote.voter_id for vote in mine}) == 12
    assert report.n_new_voters == len({vote.voter_id for vote in mine} - earlier) == 3


def test_what_moved_has_left_the_interval_that_it_had(report: Report, store: Store):
    assert {row.now.model for row in report.moved} >= {"x", "y"}
    ballots = store.ballots(times=True)
    assert tuple(row.now for row in report.standings) == board_until(ballots, NOW)
    then = {row.model: row for row in board_until(ballots, NOW - WEEK)}
    for row in report.standings:
        assert row.then == then[row.now.model] and row.change == pytest.approx((row.now.rating or 0) - (then[row.now.model].rating or 0))


def test_newcomers_pairs_and_dollars_are_those_of_the_week(report: Report):
    assert [(entry.model, entry.event) for entry in report.ledger] == [("late", "joined")]
    assert (report.n_battles, report.n_unvoted) == (100, 0)
    assert report.n_pairs_possible == 6 and report.n_pairs == 1 and len(report.never_met) == 5
    spent = {row.endpoint: row for row in report.spent}
    assert set(spent) == {"x", "y"} and sum(row.n_answers for row in report.spent) == 50
    assert spent["y"].n_unpriced > 0 and spent["x"].n_unpriced == 0
    assert spent["x"].cost_usd + spent["y"].cost_usd == pytest.approx(25 * 0.01 + 0.02 * (25 - spent["y"].n_unpriced))


def test_the_page_needs_nothing_from_elsewhere_and_names_do_not_become_markup(report: Report):
    page = html_of(report)
    assert page.count("<svg") == 2 and len(page.encode()) < 2_000_000
    assert not re.search(r"<(script|link|iframe|img|object)\b|url\(|@import|\bon\w+=\"", page)
    assert not re.search(r'(?:src|href)="(?!#)', page.replace('xmlns:xlink="', ""))
    assert "&lt;img src=x" in page and "Did not meet: " in page


def test_the_markdown_says_the_same(report: Report):
    text = markdown_of(report)
    assert f"{report.n_votes:,} votes were cast, {report.n_rated:,} of them rated" in text
    for row in report.standings:
        name = row.now.model.replace("<", r"\<").replace(">", r"\>").replace("|", r"\|")
        (line,) = (line for line in text.splitlines() if f"| {name} |" in line and line.count(" | ") == 6)
        assert f"| {row.now.rating:.0f} |" in line and f"| {row.now.n_battles:,} |" in line


def test_no_voter_and_no_prompt_is_in_it(report: Report):
    told = html_of(report) + markdown_of(report) + json.dumps(document(report), default=str)
    assert "person-" not in told and "private question" not in told


def test_votes_without_a_time_have_ratings_and_no_week(store: Store):
    seed_demo(store)
    report = gather(store, since=NOW - WEEK, until=NOW)
    assert report.n_votes == 0 and report.n_total == 8931 and len(report.standings) == 59 and not report.moved
    page = html_of(report)
    assert "No vote was cast in this time; there are 8,931 in all." in page and "No battle was fought here" in page


def test_an_empty_arena_has_a_report_too(store: Store):
    page = html_of(gather(store, since=NOW - WEEK, until=NOW))
    assert "No vote makes two models comparable yet." in page and "No answer was asked for" in page


def test_the_end_of_a_day_is_the_next_midnight():
    assert end_of("2026-06-14") == NOW


def test_the_command_writes_both_files_and_says_so(tmp_path: Path):
    results = tmp_path / "results"
    with Store(results / "arena.duckdb") as store:
        fill(store)
    command = [sys.executable, "-m", "arena.cli", "report", "--until", "2026-06-14", "--results", str(results), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    assert [Path(name).name for name in told["files"]] == ["arena-2026-06-14.html", "arena-2026-06-14.md"]
    assert told["n_votes"] == 100 and all(Path(name).parent == results / "reports" for name in told["files"])
    assert "State of the arena" in Path(told["files"][0]).read_text()
    bad = subprocess.run([*command, "--until", "yesterday"], capture_output=True, text=True)
    assert bad.returncode == 1 and bad.stderr.startswith("error: --until 'yesterday'") and bad.stderr.count("\n") == 1
