"""`evals pick` reads results/ as runs and the arena left it; what it cannot read or understand is one clear line."""

import json
from pathlib import Path

import pytest

from arena.cli import main as arena
from evals.cli import main as evals
from evals.quality import run_suite
from evals.suite import choose_endpoints, find_suite, load_suite

VOTES = (
    "model_a,model_b,winner\n"
    + "gpt-4-0314,gpt-4-0613,model_a\n" * 30
    + "gpt-4-0314,gpt-4-0613,model_b\n" * 20
    + "GPT 4,gpt-4-0613,tie\n" * 9
)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run of the demo suite, and ratings of two of its endpoints, published."""
    results = tmp_path_factory.mktemp("results")
    suite = load_suite(find_suite("demo")).model_copy(update={"limit": 80})
    run_suite(suite, choose_endpoints(suite, []), folder=find_suite("demo").parent, results=results)
    return results


def run(main, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """A command's exit code."""
    monkeypatch.setattr("sys.argv", ["command", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, results: Path, *options: str) -> dict:
    assert run(evals, monkeypatch, "pick", "--results", str(results), "--json", *options) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_the_demo_has_a_choice_and_says_what_was_compared(
    scored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    found = told(capsys, monkeypatch, scored)
    assert found["tasks"] == ["prime"] and found["choice"].startswith("gpt-")
    assert {one["endpoint"] for one in found["candidates"]} == {"gpt-4-0314", "gpt-4-0613", "gpt-3.5-turbo-0301", "gpt-3.5-turbo-0613"}
    quality = found["candidates"][0]["values"]["quality:prime"]
    scores = [json.loads(line) for line in next(scored.glob("runs/*/scores.jsonl")).read_text().splitlines()]
    (score,) = [one for one in scores if (one["endpoint"], one["task"]) == (found["choice"], "prime") and one["metric"] == "exact_match"]
    assert quality["value"] == pytest.approx(score["value"]) and quality["n"] == score["n"]
    assert run(evals, monkeypatch, "pick", "--results", str(scored)) == 0
    shown = capsys.readouterr()
    assert f"{found['choice']}: " in shown.out and "arena leaderboard --publish" in shown.err


def test_published_ratings_are_read_with_their_covariance(
    scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    votes = tmp_path / "votes.csv"
    votes.write_text(VOTES)
    leaderboard = scored / "leaderboard.json"
    assert run(arena, monkeypatch, "leaderboard", "--votes", str(votes), "--publish", "--results", str(scored)) == 0
    try:
        document = json.loads(leaderboard.read_text())
        rated = [row["model"] for row in document["ratings"] if row["rating"] is not None]
        assert len(document["covariance"]) == len(rated) and document["n_clusters"] == document["n_battles"]
        half = (document["ratings"][0]["rating_upper"] - document["ratings"][0]["rating"]) / 1.959964
        assert document["covariance"][0][0] ** 0.5 == pytest.approx(half, rel=1e-5)
        capsys.readouterr()
        found = told(capsys, monkeypatch, scored, "--weigh", "rating=1", "--name", "GPT 4=gpt-4-0613-elsewhere")
        assert found["choice"] == "gpt-4-0314" and 0.5 < found["probability"] < 1
        assert "gpt-4-0613-elsewhere" in {one["endpoint"] for one in (*found["candidates"], *found["excluded"])}
        leaderboard.write_text(json.dumps({**document, "covariance": None}))
        assert any("independent" in note for note in told(capsys, monkeypatch, scored, "--weigh", "rating=1")["notes"])
        leaderboard.write_text(json.dumps({**document, "covariance": [[1.0]]}))
        assert run(evals, monkeypatch, "pick", "--results", str(scored)) == 1
        assert "covariance: (1, 1) for" in capsys.readouterr().err
    finally:
        leaderboard.unlink()


def test_elo_is_not_published(scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    votes = tmp_path / "votes.csv"
    votes.write_text(VOTES)
    assert run(arena, monkeypatch, "leaderboard", "--votes", str(votes), "--method", "elo", "--publish", "--results", str(scored)) == 1
    assert "--publish needs --method bt or davidson" in capsys.readouterr().err and not (scored / "leaderboard.json").exists()


def test_wishes_come_from_the_file_and_options_win(
    scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "wishes.yaml"
    (tmp_path / "day.txt").write_text("100 " * 24)
    file.write_text(
        "require: {max_usd_per_month: 900, min_quality: {prime: 0.4}}\nunder: {demand: day.txt}\nweigh: {quality: 1, cost: 1}\n"
    )
    found = told(capsys, monkeypatch, scored, "--file", str(file), "--max-usd-per-month", "90", "--min-quality", "prime=0.3")
    assert found["wishes"]["require"]["max_usd_per_month"] == 90 and found["wishes"]["require"]["min_quality"] == {"prime": 0.3}
    assert found["objectives"]["cost"] == ["usd_per_month"]
    # 100 requests an hour, 730 hours: 73 times the price of a thousand.
    month, each = (found["candidates"][0]["values"][name]["value"] for name in ("usd_per_month", "usd_per_1000"))
    assert month == pytest.approx(73 * each)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--min-quality", "prime"], "--min-quality prime: write TASK=SHARE"),
        (["--min-quality", "prime=high"], "'high' is no number"),
        (["--min-quality", "prime=60"], "a share from 0 to 1"),
        (["--min-quality", "primes=.6"], "task 'primes': no finished run has asked it. Did you mean 'prime'?"),
        (["--weigh", "qualty=1"], "weigh.qualty: unknown key. Did you mean 'quality'?"),
        (["--weigh", "quality=-1"], "weigh.quality: Input should be greater than or equal to 0"),
        (["--weigh", "quality=0"], "every weight is 0"),
        (["--latency", "p95"], "latency: Input should be 'latency_p50'"),
        (["--max-usd-per-month", "10"], "max_usd_per_month needs a demand"),
        (["--rate", "2", "--concurrency", "3"], "state one of them"),
        (["--endpoint", "gpt4-0314"], "endpoint 'gpt4-0314': unknown. Did you mean 'gpt-4-0314'?"),
        (["--demand", "nowhere.txt"], "--demand nowhere.txt: cannot be read"),
        (["--file", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["--name", "GPT 4"], "--name GPT 4: write MODEL=ID"),
    ],
)
def test_bad_input_is_one_clear_line(
    scored: Path, options: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert run(evals, monkeypatch, "pick", "--results", str(scored), *options) == 1
    error = capsys.readouterr().err
    assert line in error and error.count("\n") == 1


def test_an_empty_folder_says_what_to_run(results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    assert run(evals, monkeypatch, "pick", "--results", str(results)) == 1
    assert "evals run demo" in capsys.readouterr().err


def test_a_run_that_cannot_be_read_is_told_and_hides_nothing(
    scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    import shutil

    results = tmp_path / "results"
    shutil.copytree(scored, results)
    folder = next((results / "runs").glob("*-demo"))
    broken = folder.with_name("29990101-000000-broken")
    shutil.copytree(folder, broken)
    (broken / "scores.jsonl").write_text("{broken\n")
    assert run(evals, monkeypatch, "pick", "--results", str(results)) == 0
    shown = capsys.readouterr()
    assert "scores.jsonl:1" in shown.err and "gpt-" in shown.out
