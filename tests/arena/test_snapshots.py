"""Commands beside an arena that runs, and after one that was killed; whoever has no token gets nothing."""

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet
import pytest
from ballot_box import fought
from browser import house
from terminal import Said, call

from arena.reading import running_arena
from arena.snapshots import Snapshots, authorised
from arena.store import Store

pytestmark = pytest.mark.timeout(180)
TOKEN = "a-token-of-the-operator"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """(address, results) of a demo arena that runs, with a token for other machines."""
    results = tmp_path_factory.mktemp("arena") / "results"
    results.mkdir()
    (results / "arena.yaml").write_text("snapshots: {token_env: TEST_ARENA_TOKEN}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_ARENA_TOKEN", TOKEN)
        with house("arena", "--demo", results=results) as url:
            yield url, results


def arena(*arguments: object, code: int = 0, **variables: str) -> Said:
    done = call("arena", *arguments, code=code, environment=variables)
    assert "Traceback" not in done.stderr
    return done


def arena_apart(*arguments: object, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own."""
    environment = {key: value for key, value in os.environ.items() if key not in ("BAKEOFF_RESULTS", "TEST_ARENA_TOKEN")}
    command = [sys.executable, "-m", "arena.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment | variables)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def get(url: str, token: str | None) -> int:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_leaderboard_audit_and_every_export_read_while_the_arena_is_up(demo: tuple[str, Path], tmp_path: Path):
    url, results = demo
    done = arena("leaderboard", "--cluster", "voter", "--style-control", "--results", results, "--json")
    document = json.loads(done.stdout.splitlines()[-1])
    assert (document["n_votes"], len(document["ratings"])) == (8931, 59)
    assert done.stderr.count("\n") == 1 and f"read from the arena at {url}" in done.stderr
    assert json.loads(arena("audit", "--results", results, "--json").stdout)["n_votes"] == 8931
    assert "8,931 votes" in arena("export", "--out", tmp_path / "set", "--results", results).stderr
    for table in ("votes", "ratings", "ledger"):
        arena("export", "--format", table, "--out", tmp_path / f"{table}.parquet", "--results", results)
        assert (tmp_path / f"{table}.parquet").exists()
    assert json.loads(arena("leaderboard", "--category", "code", "--results", results, "--json").stdout)["n_battles"] > 100


def test_what_would_write_is_told_who_holds_the_votes_and_what_to_do(demo: tuple[str, Path], tmp_path: Path):
    url, results = demo
    (results / "categories.yaml").write_text('expert: {ask: "Does it need an expert?"}\n')
    (tmp_path / "votes.csv").write_text("model_a,model_b,winner\na,b,model_a\n")
    label = ["label", "--judge", "LLaMA-2-Chat (70B)"]
    for command in (["import", tmp_path / "votes.csv", "--format", "csv"], ["audit", "--apply"], ["audit", "--revert"], label):
        told = arena(*command, "--results", results, code=1).stderr
        assert f"the arena at {url}: stop it" in told and told.count("\n") == 1
    (results / "categories.yaml").unlink()


def test_without_the_right_token_the_routes_tell_nothing(demo: tuple[str, Path]):
    url, results = demo
    for token in (None, "", "wrong", TOKEN + "x", TOKEN[:-1]):
        assert get(f"{url}/snapshot", token) == 401
        assert get(f"{url}/snapshot/0/votes.parquet", token) == 401
    assert get(f"{url}/snapshot", TOKEN) == 200
    assert get(f"{url}/snapshot/0/votes.parquet", TOKEN) == 404
    assert authorised({"authorization": "bearer x"}, ("x",)) and not authorised({"authorization": "x"}, ("x",))
    assert not authorised({}, ("",)) and not authorised({"authorization": "Bearer é"}, ("x",))
    notice = results / "arena.running"
    assert stat.S_IMODE(notice.stat().st_mode) == 0o600
    log = next(results.parent.glob("arena-*.log")).read_text()
    assert json.loads(notice.read_text())["token"] not in log and TOKEN not in log


def test_an_arena_is_read_by_its_address_with_a_token_from_the_environment(demo: tuple[str, Path], tmp_path: Path):
    url, _ = demo
    command = ["leaderboard", "--database", url, "--results", tmp_path, "--json"]
    assert "name its variable" in arena(*command, code=1).stderr
    (tmp_path / "arena.yaml").write_text("snapshots: {token_env: ELSEWHERE_TOKEN}\n")
    assert "ELSEWHERE_TOKEN is not set" in arena(*command, code=1).stderr
    assert "the token is not that arena's" in arena(*command, code=1, ELSEWHERE_TOKEN="wrong").stderr
    assert json.loads(arena(*command, ELSEWHERE_TOKEN=TOKEN).stdout)["n_votes"] == 8931
    (tmp_path / "v.csv").write_text("model_a,model_b,winner\na,b,model_a\n")
    told = arena("import", tmp_path / "v.csv", "--format", "csv", "--database", url, "--results", tmp_path, code=1, ELSEWHERE_TOKEN=TOKEN)
    assert "can be read, not written to" in told.stderr
    nobody = ["leaderboard", "--database", "http://127.0.0.1:1", "--results", tmp_path]
    assert "cannot be reached" in arena(*nobody, code=1, ELSEWHERE_TOKEN=TOKEN).stderr


def test_commands_leave_no_copy_behind(demo: tuple[str, Path], tmp_path: Path):
    _, results = demo
    killed = tmp_path / "bakeoff-snapshot-999999999-x"
    killed.mkdir()
    arena_apart("leaderboard", "--results", results, TMPDIR=str(tmp_path))
    assert not list(tmp_path.iterdir()) and tempfile.gettempdir() != str(tmp_path)


def test_a_short_token_is_refused_before_anything_is_served(tmp_path: Path):
    (tmp_path / "arena.yaml").write_text("snapshots: {token_env: TEST_ARENA_TOKEN}\n")
    for value, told in (("", "is not set"), ("short", "has 5 characters")):
        done = arena_apart("up", "--port", "0", "--results", tmp_path, code=1, TEST_ARENA_TOKEN=value)
        assert told in done.stderr and done.stderr.count("\n") == 1


def test_after_kill_9_every_command_works_on_the_file_again(tmp_path: Path):
    results = tmp_path / "results"
    with pytest.raises(AssertionError), house("arena", "--demo", results=results):
        running = running_arena(results / "arena.duckdb")
        assert running is not None and running.pid is not None
        assert get(f"{running.url}/snapshot", running.token) == 200
        assert (results / "arena.snapshots").exists()
        os.kill(running.pid, signal.SIGKILL)
    assert (results / "arena.running").exists()
    done = arena_apart("leaderboard", "--results", results, "--json")
    assert json.loads(done.stdout)["n_votes"] == 8931 and "read from" not in done.stderr
    arena("export", "--format", "votes", "--out", tmp_path / "votes.csv", "--results", results)
    arena("import", tmp_path / "votes.csv", "--format", "csv", "--results", results)
    with house("arena", results=results):
        assert not (results / "arena.snapshots").exists()
    assert not (results / "arena.running").exists()


def test_a_file_that_is_held_by_no_arena_is_said_to_be_in_use(tmp_path: Path):
    with Store(tmp_path / "arena.duckdb"):
        (tmp_path / "arena.running").write_text('{"url": "http://127.0.0.1:1", "token": "x", "pid": 999999999}')
        assert "is in use by process" in arena_apart("leaderboard", "--results", tmp_path, code=1).stderr


def test_a_vote_that_comes_while_a_snapshot_is_taken_waits_for_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with Store(tmp_path / "arena.duckdb") as store:
        assert store.save_vote(fought(store)) and len(store.ballots()) == 1 and store.save_vote(fought(store))
        snapshots = Snapshots(store)
        with monkeypatch.context() as patch:
            # The second vote comes after the ballots were brought up to date, and before the tables are written.
            patch.setattr(store, "write_ballots", lambda: None)
            early = snapshots.take()
        for one, n_votes in ((early, 1), (snapshots.take(), 2)):
            votes, ballots = (pyarrow.parquet.read_table(one.folder / f"{name}.parquet").num_rows for name in ("votes", "ballots"))
            assert votes == ballots == n_votes


def test_a_snapshot_is_of_one_moment_and_old_ones_go(tmp_path: Path):
    with Store(tmp_path / "arena.duckdb") as store:
        snapshots = Snapshots(store)
        taken = [snapshots.take() for _ in range(5)]
        assert len({one.id for one in taken}) == 5 and {"votes", "battles", "completions", "ballots"} <= set(taken[0].tables)
        assert len(list((tmp_path / "arena.snapshots").iterdir())) == 3
        assert snapshots.find(taken[0].id, "votes") is None and snapshots.find(taken[-1].id, "votes") is not None
        assert snapshots.find(taken[-1].id, "../../etc/passwd") is None
        snapshots.forget()
        assert snapshots.find(taken[-1].id, "votes") is None and not (tmp_path / "arena.snapshots").exists()
