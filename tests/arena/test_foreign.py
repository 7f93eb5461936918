"""Votes of other arenas come in as they were cast, or the file is refused with the line that is wrong and nothing of it is kept."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arena.errors import VotesFileError
from arena.importers import read_records
from arena.store import Record, Store


def fastchat(kind: str = "leftvote", models: tuple[str, str] = ("alpha", "beta"), shown: tuple[str, str] = ("", ""), **changes) -> dict:
    states = [
        {"conv_id": f"c{i}", "model_name": model, "offset": 0, "messages": [["USER", "Hi?"], ["ASSISTANT", f"I am {model}."]]}
        for i, model in enumerate(models)
    ]
    return {"tstamp": 1690000000.5, "type": kind, "models": list(shown), "states": states, "ip": "192.0.2.7"} | changes


def arena55k(**changes) -> dict:
    texts = {"prompt": '["Hi?"]', "response_a": '["Yes"]', "response_b": '["No"]'}
    return {
        "id": 30192,
        "model_a": "alpha",
        "model_b": "beta",
        **texts,
        "winner_model_a": 0,
        "winner_model_b": 1,
        "winner_tie": 0,
    } | changes


def conversation(answer: str, turns: int = 1, parts: bool = False) -> list[dict]:
    said = [("user", "Hi?"), ("assistant", answer)] * turns
    return [{"role": role, "content": [{"type": "text", "text": text}] if parts else text} for role, text in said]


def arena(**changes) -> dict:
    row = {"question_id": "q1", "model_a": "alpha", "model_b": "beta", "winner": "tie (bothbad)", "judge": "arena_user_7", "anony": True}
    return row | {"conversation_a": conversation("Yes"), "conversation_b": conversation("No"), "tstamp": 1690000000.0} | changes


def arena140k(**changes) -> dict:
    row = {"id": "x", "model_a": "alpha", "model_b": "beta", "winner": "both_bad", "evaluation_session_id": "s1", "evaluation_order": 1}
    texts = {"conversation_a": conversation("Yes", parts=True), "conversation_b": conversation("No", parts=True)}
    return row | texts | {"timestamp": datetime(2025, 6, 1, 12, tzinfo=UTC)} | changes


def comparia(**changes) -> dict:
    row = {"id": 5, "timestamp": "2025-01-05T10:00:00", "model_a_name": "alpha", "model_b_name": "beta", "chosen_model_name": "beta"}
    texts = {"conversation_a": conversation("Oui", 2), "conversation_b": conversation("Non", 2)}
    return row | texts | {"both_equal": False, "visitor_id": "v9"} | changes


def openwebui(rating: object = 1, siblings: object = ("beta",), identity: str = "f1", **changes) -> dict:
    messages = {
        "m0": {"id": "m0", "parentId": None, "role": "user", "content": "Hi?", "childrenIds": ["m1", "m2"]},
        "m1": {"id": "m1", "parentId": "m0", "role": "assistant", "model": "alpha", "content": "I won."},
        "m2": {"id": "m2", "parentId": "m0", "role": "assistant", "model": "beta", "content": "I lost."},
    }
    data = {"rating": rating, "model_id": "alpha", "sibling_model_ids": list(siblings) if isinstance(siblings, tuple) else siblings}
    snapshot = {"chat": {"chat": {"history": {"messages": messages}}}}
    entry = {"id": identity, "user_id": "u1", "type": "rating", "data": data, "meta": {"message_id": "m1"}, "snapshot": snapshot}
    return entry | {"created_at": 1700000000, "updated_at": 1700000100} | changes


ROWS = {
    "fastchat": fastchat,
    "arena55k": arena55k,
    "arena100k": arena,
    "arena140k": arena140k,
    "comparia": comparia,
    "openwebui": openwebui,
}
SUFFIX = {"openwebui": ".json", "arena55k": ".csv", "arena140k": ".parquet"}


def write(path: Path, rows: list[dict]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".json" and path.stem == "feedback":
        path.write_text(json.dumps(rows, indent=1))
    elif path.suffix == ".csv":
        import csv

        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row, default=str) + "\n" for row in rows))
    return path


def read(tmp_path: Path, format: str, rows: list[dict]) -> list[Record]:
    name = "feedback" if format == "openwebui" else "votes"
    return read_records(write(tmp_path / f"{name}{SUFFIX.get(format, '.jsonl')}", rows), format)


def test_fastchats_log_gives_blind_votes_with_both_texts_and_no_address(tmp_path: Path):
    lines = [fastchat("chat"), fastchat("rightvote"), fastchat("bothbad_vote", tstamp=1690000001), fastchat("upvote")]
    first, second = read(tmp_path, "fastchat", lines)
    assert (first.battle.model_a, first.battle.model_b, first.vote.winner) == ("alpha", "beta", "model_b")
    assert [completion.text for completion in first.completions] == ["I am alpha.", "I am beta."] and second.vote.winner == "both_bad"
    assert first.battle.messages[0].content == "Hi?" and first.vote.voted_at == datetime(2023, 7, 22, 4, 26, 40, 500000, tzinfo=UTC)
    assert first.vote.voter_id == second.vote.voter_id and "192" not in str(first.vote.voter_id)


def test_a_vote_on_named_models_is_kept_but_not_rated(tmp_path: Path):
    (sighted,) = read(tmp_path, "fastchat", [fastchat(shown=("alpha", "beta"))])
    assert (sighted.battle.mode, sighted.vote.rated, sighted.battle.model_a) == ("sighted", False, "alpha")
    (blind,) = read(tmp_path, "fastchat", [fastchat()])
    assert blind.vote.rated and blind.battle.mode == "blind"


def test_fastchats_cleaned_battles_are_a_json_list(tmp_path: Path):
    path = tmp_path / "clean_battle.json.gz"
    rows = [{"model_a": "a", "model_b": "b", "winner": "tie", "judge": "j1", "turn": 1, "anony": True, "tstamp": 1.0}] * 2
    path.write_bytes(gzip.compress(json.dumps(rows).encode()))
    records = read_records(path, "fastchat")
    assert len({record.vote.vote_id for record in records}) == 2 and records[0].vote.voter_id == "fastchat-j1"


@pytest.mark.parametrize(
    ("one", "winner"),
    [((1, 0, 0), "model_a"), ((0, 1, 0), "model_b"), ((0, 0, 1), "tie")],
)
def test_the_55k_tell_the_winner_in_three_columns(tmp_path: Path, one: tuple[int, int, int], winner: str):
    names = ("winner_model_a", "winner_model_b", "winner_tie")
    (record,) = read(tmp_path, "arena55k", [arena55k(**dict(zip(names, one, strict=True)))])
    assert record.vote.winner == winner and [completion.text for completion in record.completions] == ["Yes", "No"]
    assert record.vote.voter_id is None and record.vote.voted_at is None


@pytest.mark.parametrize(("format", "voter"), [("arena100k", "arena-arena_user_7"), ("arena140k", "arena-s1")])
def test_the_100k_and_the_140k_keep_their_both_bad(tmp_path: Path, format: str, voter: str):
    (record,) = read(tmp_path, format, [ROWS[format]()])
    assert record.vote.winner == "both_bad" and record.vote.voter_id == voter and record.vote.voted_at is not None
    assert [completion.text for completion in record.completions] == ["Yes", "No"]


def test_long_conversations_keep_what_was_asked_and_no_answers(tmp_path: Path):
    (record,) = read(tmp_path, "comparia", [comparia()])
    assert (record.vote.winner, record.vote.voter_id, record.completions) == ("model_b", "comparia-v9", None)
    assert [message.content for message in record.battle.messages] == ["Hi?", "Hi?"]
    (tie,) = read(tmp_path, "comparia", [comparia(chosen_model_name=None, both_equal=True)])
    assert tie.vote.winner == "tie"


def test_a_thumb_beside_other_answers_is_a_vote_on_each_pair_and_a_lone_thumb_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    entries = [openwebui(1, ("beta", "gamma")), openwebui(-1, identity="f2"), openwebui(1, None, "f3"), openwebui(None, identity="f4")]
    records = read(tmp_path, "openwebui", entries)
    won = [record.battle.model_a if record.vote.winner == "model_a" else record.battle.model_b for record in records]
    assert won == ["alpha", "alpha", "beta"] and {record.vote.voter_id for record in records} == {"openwebui-u1"}
    assert "2 entries are no votes on a pair" in caplog.text
    texts = {completion.endpoint: completion.text for completion in records[0].completions}
    assert texts == {"alpha": "I won.", "beta": "I lost."} and records[1].completions is None


def test_sides_that_were_not_recorded_are_tossed_not_given_to_the_winner(tmp_path: Path):
    records = read(tmp_path, "openwebui", [openwebui(1, identity=f"f{number}") for number in range(200)])
    left = sum(record.vote.winner == "model_a" for record in records)
    # 100 expected, standard deviation 7.
    assert 65 < left < 135


WRONG = [
    ("fastchat", {"type": "leftvoet"}, "type: unknown label 'leftvoet'; use one of leftvote, rightvote, tievote, bothbad_vote"),
    ("fastchat", {"states": fastchat(models=("alpha", "alpha"))["states"]}, "'alpha' battles itself"),
    ("fastchat", {"states": [{}]}, "a leftvote needs two 'models' and two 'states'"),
    ("arena55k", {"winner_tie": 1}, "exactly one of the three must be 1"),
    ("arena55k", {"winner_model_b": ""}, "winner_model_b: is empty"),
    ("arena55k", {"model_b": "alpha"}, "'alpha' battles itself"),
    ("arena55k", {"prompt": '["Hi'}, "prompt: not JSON"),
    ("arena100k", {"winner": "tie (both bad)"}, "winner: unknown label 'tie (both bad)'"),
    ("arena100k", {"winner": None}, "winner: unknown label 'None'"),
    ("arena100k", {"model_a": None}, "model_a: None is no model's name"),
    ("arena100k", {"tstamp": "yesterday"}, "tstamp: 'yesterday' is no ISO 8601 time"),
    ("arena140k", {"winner": "model_c"}, "winner: unknown label 'model_c'"),
    ("arena140k", {"model_b": "alpha"}, "'alpha' battles itself"),
    ("comparia", {"chosen_model_name": "gamma"}, "chosen_model_name: unknown label 'gamma'; use one of alpha, beta"),
    ("comparia", {"both_equal": True}, "contradict each other"),
    ("comparia", {"chosen_model_name": None}, "chosen_model_name: unknown label 'None'"),
    ("openwebui", {"data": {"rating": 3, "model_id": "alpha", "sibling_model_ids": ["beta"]}}, "data.rating: '3' is no thumb"),
    ("openwebui", {"data": {"rating": 1, "model_id": "alpha", "sibling_model_ids": ["alpha"]}}, "'alpha' battles itself"),
]


@pytest.mark.parametrize(("format", "changes", "told"), WRONG)
def test_a_wrong_row_is_named_and_nothing_of_its_file_is_kept(format: str, changes: dict, told: str, tmp_path: Path):
    rows = [ROWS[format](), ROWS[format](), ROWS[format](**changes)]
    with Store(tmp_path / "arena.duckdb") as store:
        with pytest.raises(VotesFileError) as error:
            store.save_all(read(tmp_path, format, rows))
        assert told in str(error.value) and "\n" not in str(error.value)
        line = {"arena55k": ":4:", "arena140k": ":row 3:", "openwebui": ":"}.get(format, ":3:")
        assert line in str(error.value).partition(told)[0] and store.count_votes() == 0


def test_the_line_of_an_entry_in_a_json_list_is_counted(tmp_path: Path):
    path = tmp_path / "feedback.json"
    good = json.dumps(openwebui())
    for text, line in (
        (f"[\n{good},\n\n{good},\n 7\n]", 5),
        (f"[\n{good},\n{{,\n]", 3),
        (f"[\n{good},\n{good}", 3),
        (f"[{good}\n{good}]", 2),
    ):
        path.write_text(text)
        with pytest.raises(VotesFileError, match=f"feedback.json:{line}:"):
            read_records(path, "openwebui")


@pytest.mark.parametrize("format", ROWS)
def test_importing_again_adds_nothing(format: str, tmp_path: Path):
    with Store(tmp_path / "arena.duckdb") as store:
        records = read(tmp_path, format, [ROWS[format](), ROWS[format]()])
        assert store.save_all(records) == 2 and store.save_all(read(tmp_path, format, [ROWS[format](), ROWS[format]()])) == 0


@pytest.mark.parametrize("format", ["arena55k", "arena100k", "comparia"])
def test_a_missing_column_is_named(format: str, tmp_path: Path):
    gone = "model_a_name" if format == "comparia" else "model_a"
    rows = [{key: value for key, value in ROWS[format]().items() if key != gone}]
    with pytest.raises(VotesFileError, match=f"1: no column '{gone}'"):
        read(tmp_path, format, rows)
