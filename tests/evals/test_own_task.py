"""A team's own questions become a task in three lines, and a row that cannot be asked or marked is told with its file and line."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from model_server import ModelServer, sse

from evals.errors import TaskError
from evals.own_task import Match, is_right, read_answer, read_rows
from evals.quality import load_task
from serving.endpoints import register


def own(folder: Path, data: str, text: str, match: str = "exact", more: str = "") -> Path:
    (folder / data).write_text(text, encoding="utf-8")
    (folder / "ours.yaml").write_text(f"task: ours\ndata: {data}\nmatch: {match}\n{more}")
    return folder / "ours.yaml"


def test_three_lines_and_a_csv_are_asked_and_scored(tmp_path: Path, results: Path, evals: Callable[..., tuple[int, str, str]]) -> None:
    rows = 'question,answer,note\n"What is 2 + 2, please?",4,easy\nWhat is 500 + 500?,"1,000",hard\nWhat is 3 + 3?,6,easy\n'
    path = own(tmp_path, "questions.csv", rows, "number")
    (tmp_path / "ask.yaml").write_text("name: ask\ntasks: [ours.yaml]\nendpoints: [adder]\n")
    said = {"2": "That makes 4.", "500": "500 + 500 = 1000.0", "3": "3 + 3 is seven"}
    with ModelServer(lambda body: sse(said[re.findall(r"\d+", body["messages"][0]["content"])[0]])) as server:
        register(server.endpoint("adder"), results)
        code, out, told = evals("run", path.parent / "ask.yaml", "--results", results, "--json")
        assert sorted(body["messages"][0]["content"] for body in server.requests)[0] == "What is 2 + 2, please?"
    assert code == 0, told
    scores = {score["metric"]: score["value"] for score in json.loads(out.splitlines()[-1])["scores"]}
    assert scores == {"exact_match": pytest.approx(2 / 3), "unparsed": 0.0}


def test_other_columns_are_there_for_the_prompt(tmp_path: Path) -> None:
    swiss = {"question": "Capital?", "answer": ["Bern", "Berne"], "land": "Switzerland"}
    rows = json.dumps(swiss) + "\n\n" + json.dumps({"question": "Capital?", "answer": "Oslo", "land": "Norway"}) + "\n"
    path = own(tmp_path, "q.jsonl", rows, "contains", 'prompt: "{{land}}: {{question}}"\nmax_tokens: 9\n')
    task = load_task(path)
    assert [task.doc_to_text(doc) for doc in task.eval_docs] == ["Switzerland: Capital?", "Norway: Capital?"]
    assert task.get_config("generation_kwargs")["max_gen_toks"] == 9


@pytest.mark.parametrize(
    ("match", "text", "accepted", "right"),
    [
        ("exact", " Bern\n", ["Bern"], True),
        ("exact", "It is Bern", ["Bern"], False),
        ("exact", "bern", ["Bern"], False),
        ("number", "First 3, then $1,450.50.", ["1450.5"], True),
        ("number", "minus: −3", ["-3"], True),
        ("number", "none at all", ["0"], False),
        ("number", "18", ["8"], False),
        ("choice", "B is wrong.\nAnswer: (C)", ["C"], True),
        ("choice", "The answer is **c**.", ["C"], True),
        ("choice", "A hard one", ["A"], False),
        ("contains", "It is BERN, of course", ["Zürich", "Bern"], True),
        ("contains", "Bernadette", ["Bern"], False),
        ("contains", "The  United\nStates.", ["united states"], True),
        ("contains", "", [""], False),
    ],
)
def test_what_is_right(match: Match, text: str, accepted: list[str], right: bool) -> None:
    assert is_right(read_answer(text, match), accepted, match) is right


@pytest.mark.parametrize(
    ("data", "text", "match", "says"),
    [
        ("q.csv", "question,anwser\n1,2\n", "exact", "q.csv:1: no column 'answer'. Did you mean 'anwser'"),
        ("q.csv", "", "exact", "q.csv: holds no question"),
        ("q.csv", "question,answer\n", "exact", "q.csv: holds no question"),
        ("q.csv", 'question,answer\n"two\nlines",1\nWhat, now?,2\n', "exact", "q.csv:4: 3 cells under 2 columns"),
        ("q.csv", "question,answer\nWhat?,\n", "exact", "q.csv:2: the answer is empty"),
        ("q.csv", 'question,answer\n"What,2\n', "exact", "q.csv:2: not CSV"),
        ("q.jsonl", '{"question": "a", "answer": "b"}\n{"question": "a"}\n', "exact", "q.jsonl:2: no column 'answer'"),
        ("q.jsonl", '{"question": "a", "answer": "b"}\n\n{\n', "exact", "q.jsonl:3: not JSON"),
        ("q.jsonl", "[1]\n", "exact", "q.jsonl:1: must hold an object"),
        ("q.jsonl", '{"question": " ", "answer": "b"}\n', "exact", "q.jsonl:1: the question is empty"),
        ("q.csv", "question,answer\nWhat?,four\n", "number", "q.csv:2: answer 'four' is no number"),
        ("q.csv", "question,answer\nWhat?,(A)\n", "choice", "q.csv:2: answer '\\(A\\)' is no letter A to Z"),
        ("q.txt", "question,answer\n", "exact", "must end in .csv or .jsonl"),
        ("q.csv", "question,answer\n1,2\n", "fuzzy", "ours.yaml: match: Input should be 'exact', 'number', 'choice' or 'contains'"),
    ],
)
def test_a_slip_is_told_with_file_and_line(tmp_path: Path, data: str, text: str, match: str, says: str) -> None:
    with pytest.raises(TaskError, match=says) as told:
        load_task(own(tmp_path, data, text, match))
    assert "\n" not in str(told.value)


def test_a_slip_in_the_yaml_is_told(tmp_path: Path) -> None:
    path = own(tmp_path, "q.csv", "question,answer\n1,2\n", more="promt: x\n")
    with pytest.raises(TaskError, match="promt: unknown key. Did you mean 'prompt'"):
        load_task(path)
    path.write_text("task: ours\ndata: gone.csv\nmatch: exact\n")
    with pytest.raises(TaskError, match="gone.csv: no such file; 'data:' is a path from the task's YAML"):
        load_task(path)
    (tmp_path / "latin.csv").write_bytes("question,answer\nZürich?,1\n".encode("latin-1"))
    with pytest.raises(TaskError, match="latin.csv: not UTF-8 text"):
        read_rows(tmp_path / "latin.csv", "exact")


def test_numbers_in_jsonl_are_texts_like_any_other(tmp_path: Path) -> None:
    task = load_task(own(tmp_path, "q.jsonl", '{"question": 7, "answer": 8.5}\n{"question": "eight", "answer": "9"}\n', "number"))
    assert [(task.doc_to_text(doc), task.doc_to_target(doc)) for doc in task.eval_docs] == [("7", "8.5"), ("eight", "9")]


def test_a_spreadsheets_byte_order_mark_is_no_part_of_the_column(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("\ufeffquestion;answer\n".replace(";", ",") + "Wie?,So\n", encoding="utf-8")
    assert read_rows(tmp_path / "q.csv", "exact") == [{"question": "Wie?", "answer": ["So"]}]
