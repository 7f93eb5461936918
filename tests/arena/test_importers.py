"""Votes come in whole or not at all, once however often they are imported, and what is wrong is named by file and line."""

import csv
import gzip
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from arena.errors import VotesFileError
from arena.importers import SHIPPED_VOTES, read_records, read_votes, seed_demo
from arena.prompts import recorded_prompts
from arena.store import Store
from serving.completion import Completion, Request
from serving.endpoints import CATALOGUE, load_catalogue

ORIGINAL = Path(__file__).parents[2].parent / "shared" / "data" / "llmfao"
RECORDING = CATALOGUE.parent / "recordings" / "llmfao.jsonl.gz"
needs_original = pytest.mark.skipif(not ORIGINAL.is_dir(), reason="the original LLMFAO files are not beside this checkout")


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "arena.duckdb") as opened:
        yield opened


def import_votes(store: Store, path: Path, format: str) -> tuple[int, int]:
    """How many votes were new, and how many the file holds."""
    records = read_records(path, format)
    return store.save_all(records), len(records)


def shipped_lines() -> list[str]:
    return gzip.decompress(SHIPPED_VOTES.read_bytes()).decode().splitlines(keepends=True)


def test_the_shipped_votes_seed_an_empty_store_once(store: Store):
    started = time.perf_counter()
    assert seed_demo(store) == 8931
    # .9 s on two busy cores; a row at a time would take half a minute.
    assert time.perf_counter() - started < 10
    assert seed_demo(store) == 0 and store.counts() == (8931, 0, 0)


def test_an_imported_vote_has_the_two_texts_that_were_judged(store: Store):
    seed_demo(store)
    battle, (left, right), vote = next(store.voted())
    assert (battle.model_a, battle.model_b, vote.winner) == ("Airoboros L2 70B", "Weaver 12k", "tie")
    assert left.text.startswith("For Kubernetes, a plea") and left.latency_s == pytest.approx(6.837) and right.endpoint == "Weaver 12k"
    assert battle.messages[0].content.startswith("Argue for and against the use of kubernetes")
    assert (battle.prompt_id, vote.voter_id, vote.source) == ("8", "llmfao-58", "llmfao")
    assert battle.created_at is None and vote.voted_at is None and vote.dwell_s is None


def test_importing_a_file_again_adds_nothing(store: Store, tmp_path: Path):
    some = tmp_path / "some.csv"
    some.write_text("".join(shipped_lines()[:101]))
    assert import_votes(store, some, "llmfao") == (100, 100)
    assert import_votes(store, some, "llmfao") == (0, 100)
    assert import_votes(store, SHIPPED_VOTES, "llmfao") == (8831, 8931)
    assert import_votes(store, SHIPPED_VOTES, "llmfao") == (0, 8931)


def test_an_unknown_label_in_line_4711_names_it_and_imports_nothing(store: Store, tmp_path: Path):
    lines = shipped_lines()
    identity, prompt, worker, _, *models = next(csv.reader([lines[4710]]))
    lines[4710] = ",".join([identity, prompt, worker, "Left", *models]) + "\n"
    broken = tmp_path / "broken.csv"
    broken.write_text("".join(lines))
    with pytest.raises(VotesFileError) as told:
        import_votes(store, broken, "llmfao")
    assert str(told.value) == f"{broken}:4711: winner: unknown label 'Left'; use one of left, right, tie"
    assert store.count_votes() == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model_a,model_b\na,b\n", ":1: no column 'winner'. A votes file of this format has model_a, model_b, winner, voter_id"),
        ("model_a,model_b,winer\na,b,tie\n", ":1: no column 'winner'. Did you mean 'winer'?"),
        (
            "",
            ":1: no column 'model_a'. A votes file of this format has model_a, model_b, winner, voter_id, prompt_id, voted_at; found an em",
        ),
        ("model_a,model_b,winner\na,b,tie\nc,c,tie\n", ":3: model_b: 'c' battles itself"),
        (
            "model_a,model_b,winner\na,b,tie\na,b,model_c\n",
            ":3: winner: unknown label 'model_c'; use one of model_a, model_b, tie, both_bad",
        ),
        ("model_a,model_b,winner\na,,tie\n", ":2: model_b: is empty"),
        ("model_a,model_b,winner\na,b\n", ":2: not 3 values like the header"),
        ("model_a,model_b,winner\na,b,tie,more\n", ":2: not 3 values like the header"),
        ('model_a,model_b,winner\n"a,b,tie\n', ":2: not CSV"),
        ("model_a,model_b,winner,voted_at\na,b,tie,yesterday\n", ":2: voted_at: 'yesterday' is no ISO 8601 time"),
    ],
)
def test_what_is_wrong_with_a_votes_file_is_said_in_one_line(text: str, told: str, tmp_path: Path, store: Store):
    path = tmp_path / "votes.csv"
    path.write_text(text)
    with pytest.raises(VotesFileError) as error:
        import_votes(store, path, "csv")
    assert str(error.value).startswith(f"{path}{told}") and "\n" not in str(error.value)
    assert store.count_votes() == 0


def test_a_missing_or_unreadable_file_is_named(tmp_path: Path):
    with pytest.raises(VotesFileError, match="none.csv: no such file"):
        read_votes(tmp_path / "none.csv")
    (tmp_path / "no.csv.gz").write_text("plain")
    with pytest.raises(VotesFileError, match="no.csv.gz: cannot be read"):
        read_votes(tmp_path / "no.csv.gz")


def test_an_llmfao_file_may_only_name_recorded_models_and_prompts(store: Store, tmp_path: Path):
    path = tmp_path / "votes.csv"
    for line, told in (
        ("1,8,3,tie,GPT 44,command", "2: 'GPT 44' is none of LLMFAO's recorded models. Did you mean 'GPT 4'?"),
        ("1,99,3,tie,GPT 4,command", "2: prompt: '99'"),
    ):
        path.write_text(f"id,prompt,worker,winner,left,right\n{line}\n")
        with pytest.raises(VotesFileError, match=told.replace("?", r"\?")):
            import_votes(store, path, "llmfao")


def test_equal_lines_of_a_csv_are_votes_of_their_own(store: Store, tmp_path: Path):
    path = tmp_path / "votes.csv"
    path.write_text("model_a,model_b,winner\na,b,tie\na,b,tie\na,b,model_a\n")
    assert import_votes(store, path, "csv") == (3, 3) and import_votes(store, path, "csv") == (0, 3)
    path.write_text(path.read_text() + "a,b,tie\n")
    assert import_votes(store, path, "csv") == (1, 4)
    assert store.vote_counts() == [("a", "b", 1, 0, 3, 0, None)]


def test_a_csv_keeps_voters_prompts_and_times(store: Store, tmp_path: Path):
    path = tmp_path / "votes.csv"
    path.write_text(
        "\ufeffvoter_id,prompt_id,voted_at,model_a,model_b,winner\nada,p1,2026-11-23T10:00:00+02:00,a,b,both_bad\n,,2026-11-23,a,b,tie\n"
    )
    import_votes(store, path, "csv")
    (first, _, cast), (second, pair, later) = store.voted()
    assert (cast.voter_id, first.prompt_id, cast.voted_at) == ("ada", "p1", datetime(2026, 11, 23, 8, tzinfo=UTC))
    assert (later.voter_id, second.prompt_id, later.voted_at) == (None, None, datetime(2026, 11, 23, tzinfo=UTC))
    assert pair is None and cast.source == "csv:votes.csv" and first.messages == ()


def test_every_recorded_answer_belongs_to_an_endpoint_of_the_catalogue():
    endpoints = load_catalogue(CATALOGUE / "llmfao.yaml")
    lines = [Completion.model_validate_json(line) for line in gzip.decompress(RECORDING.read_bytes()).decode().split("\n") if line]
    assert len(endpoints) == 59 and {line.endpoint for line in lines} == {endpoint.model for endpoint in endpoints}
    assert all(endpoint.id == endpoint.model and endpoint.recording == RECORDING for endpoint in endpoints)
    assert all(bool(line.text.strip()) == (line.status == "ok") for line in lines)
    assert {line.request_hash for line in lines} == {Request.user(prompt.text).request_hash for prompt in recorded_prompts()}


def test_shipped_files_are_the_same_whenever_they_are_made():
    # Bytes 4 to 8 of a gzip file are the time it was made.
    assert all(path.read_bytes()[4:8] == b"\0\0\0\0" for path in (SHIPPED_VOTES, RECORDING))


@needs_original
def test_the_shipped_votes_are_the_original_ones():
    original = list(csv.DictReader((ORIGINAL / "crowd-comparisons.csv").read_text(encoding="utf-8").splitlines()))
    shipped = list(csv.DictReader(shipped_lines()))
    assert shipped == [{column: row[column] for column in shipped[0]} for row in original]


@needs_original
def test_the_shipped_answers_are_the_original_ones():
    prompts = {row["id"]: row["text"] for row in lines_of("prompts.jsonl")}
    voted = {endpoint.id for endpoint in load_catalogue(CATALOGUE / "llmfao.yaml")}
    expected = {
        (row["name"], prompts[row["prompt"]]): (row["result"], row["duration"] / 1000)
        for row in lines_of("results.jsonl")
        if row["name"] in voted
    }
    lines = [Completion.model_validate_json(line) for line in gzip.decompress(RECORDING.read_bytes()).decode().split("\n") if line]
    assert {(line.endpoint, line.request.messages[0].content): (line.text, line.latency_s) for line in lines} == expected


@needs_original
def test_the_shipped_prompts_are_the_original_ones_and_say_which_were_voted_on():
    originals = {str(row["id"]): (row["slug"], row["type"], row["text"]) for row in lines_of("prompts.jsonl")}
    assert {prompt.id: (prompt.slug, prompt.type, prompt.text) for prompt in recorded_prompts()} == originals
    votes = csv.DictReader(shipped_lines())
    assert {prompt.id for prompt in recorded_prompts() if prompt.voted} == {vote["prompt"] for vote in votes}


@needs_original
def test_the_original_file_is_read_as_the_shipped_one_is(store: Store):
    assert seed_demo(store) == 8931
    assert import_votes(store, ORIGINAL / "crowd-comparisons.csv", "llmfao") == (0, 8931)


def lines_of(name: str) -> list[dict]:
    return [json.loads(line) for line in (ORIGINAL / name).read_text(encoding="utf-8").split("\n") if line]
