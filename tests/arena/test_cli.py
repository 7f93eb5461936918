"""`arena` at the terminal: data on stdout, one line per error, exit 1, nothing lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from terminal import Said, call

from arena.importers import SHIPPED_VOTES
from arena.store import Store

GOLDEN = json.loads((Path(__file__).parent / "golden_llmfao.json").read_text(encoding="utf-8"))


def run(*arguments: str | Path, code: int = 0) -> Said:
    return call("arena", *arguments, code=code)


def last_json(done: Said) -> dict:
    return json.loads(done.stdout.splitlines()[-1])


def error_of(*arguments: str | Path) -> str:
    done = run(*arguments, code=1)
    assert done.stdout == "" and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("cli") / "results"
    done = run("import", SHIPPED_VOTES, "--format", "llmfao", "--results", results, "--json")
    assert last_json(done) == {"file": str(SHIPPED_VOTES), "format": "llmfao", "n_new": 8931, "n_found": 8931, "n_votes": 8931}
    return results


@pytest.mark.parametrize(("method", "golden", "tolerance"), [("bt", "bradley_terry", 1e-9), ("elo", "online_elo", 1e-9)])
def test_import_then_leaderboard_gives_the_reference_ratings(imported: Path, method: str, golden: str, tolerance: float):
    document = last_json(run("leaderboard", "--method", method, "--results", imported, "--json"))
    assert (document["method"], document["n_votes"], document["n_battles"]) == (method, 8931, 8931)
    assert len(document["ratings"]) == 59
    assert all(abs(rating["rating"] - GOLDEN[golden][rating["model"]]) < tolerance for rating in document["ratings"])


def test_the_table_names_every_model_and_says_what_it_counted(imported: Path):
    done = run("leaderboard", "--results", imported, "--cluster", "voter")
    assert all(model in done.stdout for model in GOLDEN["bradley_terry"])
    assert "Bradley-Terry · 8,931 of 8,931 votes counted" in done.stderr


def test_a_votes_file_is_rated_without_a_database(tmp_path: Path):
    votes = tmp_path / "votes.csv"
    votes.write_text(
        "model_a,model_b,winner,voter_id\n" + "a,b,model_a,v1\n" * 3 + "a,b,model_b,v2\n" + "c,a,model_a,v2\n" + "a,b,both_bad,v3\n"
    )
    document = last_json(run("leaderboard", "--votes", votes, "--cluster", "voter", "--results", tmp_path, "--json"))
    assert (document["n_votes"], document["n_battles"], document["n_both_bad"], document["cluster"]) == (6, 5, 1, "voter")
    assert [(rating["model"], rating["rating"] is None) for rating in document["ratings"]] == [("a", False), ("b", False), ("c", True)]
    assert "won every battle" in run("leaderboard", "--votes", votes).stdout
    assert not (tmp_path / "arena.duckdb").exists()


def test_an_unknown_label_names_file_line_and_value(tmp_path: Path):
    votes = tmp_path / "votes.csv"
    votes.write_text("model_a,model_b,winner\na,b,draw\n")
    told = f"error: {votes}:2: winner: unknown label 'draw'; use one of model_a, model_b, tie, both_bad\n"
    assert error_of("leaderboard", "--votes", votes) == told
    assert error_of("import", votes, "--format", "csv", "--results", tmp_path) == told
    assert not (tmp_path / "arena.duckdb").exists()


def test_a_database_url_is_not_taken_for_a_file(results: Path):
    told = error_of("leaderboard", "--database", "mysql://root:secret@host/votes", "--results", results)
    assert "mysql://root:***@host/votes: name a file such as results/arena.duckdb, or postgresql://" in told


def test_no_votes_yet_is_said_and_makes_no_file(results: Path):
    for command in (["leaderboard"], ["export", "--out", str(results / "set")]):
        assert "arena.duckdb: no votes yet: vote with 'arena up'" in error_of(*command, "--results", results)
    assert not list(results.iterdir())
    Store(results / "arena.duckdb").close()
    assert "there are no votes to rate" in error_of("leaderboard", "--results", results)


def test_export_writes_a_dataset_of_permitted_answers(imported: Path, tmp_path: Path):
    document = last_json(run("export", "--out", tmp_path / "set", "--results", imported, "--json"))
    assert document["n_votes"] == 8931 == document["n_kept"] + sum(document["dropped"].values())
    assert document["n_kept"] > 300 and not {"GPT 4", "Claude v1", "LLaMA-2-Chat (70B)"} & document["chosen_models"].keys()
    assert {path.name for path in (tmp_path / "set").iterdir()} == {"train.jsonl", "test.jsonl", "README.md", "audit.json", "votes.csv"}
    assert "is not empty" in error_of("export", "--out", tmp_path / "set", "--results", imported)


def test_formats_that_do_not_exist_are_wrong_usage(results: Path):
    for arguments in (
        ["export", "--format", "ppo", "--out", "x"],
        ["import", "x", "--format", "spreadsheet"],
        ["leaderboard", "--method", "trueskill"],
    ):
        assert "is not" in run(*arguments, "--results", results, code=2).stderr


def test_elo_has_no_intervals_to_cluster(imported: Path):
    assert "leave one of them out" in error_of("leaderboard", "--method", "elo", "--cluster", "voter", "--results", imported)


def test_a_database_that_another_process_holds_is_one_clear_line(imported: Path):
    holder = "import sys; from pathlib import Path; from arena.store import Store; store = Store(Path(sys.argv[1])); "
    holder += "sys.stdout.write('open' + chr(10)); sys.stdout.flush(); sys.stdin.read()"
    database = imported / "arena.duckdb"
    process = subprocess.Popen([sys.executable, "-c", holder, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "open\n"
        told = f"error: {database} is in use by process {process.pid}: stop it or use another --database\n"
        for arguments in (["leaderboard"], ["export", "--out", "x"], ["import", SHIPPED_VOTES, "--format", "llmfao"]):
            assert error_of(*arguments, "--results", imported) == told
    finally:
        process.communicate()


def test_help_imports_nothing_heavy():
    code = (
        "import sys, arena.cli; print([name for name in ('numpy', 'duckdb', 'pydantic', 'streamlit', 'rich.table') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_an_audit_is_applied_and_taken_back(imported: Path):
    document = last_json(run("audit", "--results", imported, "--json"))
    assert (document["n_voters"], document["n_votes"], document["applied"]) == (124, 8931, False) and 0 < document["n_voters_flagged"] <= 12
    assert {"voter_id", "reason", "why", "p", "q", "vote_ids"} == document["flags"][0].keys()
    applied = run("audit", "--results", imported, "--apply")
    assert "llmfao-15" in applied.stdout and "no longer rated" in applied.stderr
    after = last_json(run("leaderboard", "--results", imported, "--json"))
    assert after["n_unrated"] == document["n_votes_flagged"] and after["n_battles"] == 8931 - after["n_unrated"]
    assert last_json(run("audit", "--results", imported, "--revert", "--json")) == {"reverted": document["n_votes_flagged"]}
    assert last_json(run("leaderboard", "--results", imported, "--json"))["n_unrated"] == 0
    assert "leave one of them out" in error_of("audit", "--results", imported, "--apply", "--revert")


@pytest.mark.parametrize(("format", "n_rows"), [("votes", 8931), ("ratings", 59), ("ledger", 59)])
def test_tables_are_exported(imported: Path, tmp_path: Path, format: str, n_rows: int):
    out = tmp_path / f"{format}.csv"
    document = last_json(run("export", "--format", format, "--out", out, "--results", imported, "--json"))
    assert document == {"out": str(out), "format": format, "n_rows": n_rows}
    assert "exists: choose another --out" in error_of("export", "--format", format, "--out", out, "--results", imported)


def test_every_way_of_rating_is_an_option(imported: Path):
    asked = [
        "--method",
        "davidson",
        "--position",
        "--cluster",
        "both",
        "--anchor",
        "GPT 4=1200",
        "--matrix",
        "--json",
        "--results",
        imported,
    ]
    document = last_json(run("leaderboard", *asked))
    assert [round(term["estimate"], 3) for term in document["terms"]] == [27.739, 0.395]
    assert document["ratings"][0]["rating"] == 1200 and len(document["win_probability"]["matrix"]) == 59
    done = run("leaderboard", "--fragility", "--category", "code", "--results", imported)
    assert "votes to flip" in done.stdout and "624 of 8,931 votes counted" in done.stderr
    assert "Did you mean 'maths'" in error_of("leaderboard", "--category", "math", "--results", imported)
    assert "write MODEL=RATING" in error_of("leaderboard", "--anchor", "GPT 4", "--results", imported)
    assert "of voter 'nobody'" in error_of("leaderboard", "--voter", "nobody", "--results", imported)
