"""Categories told by a model: only a plain yes or no, once for each prompt, and a board of those prompts alone."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from model_server import ModelServer, problem, sse

from arena.categories import questions, rule
from arena.errors import ArenaError
from arena.importers import SHIPPED_VOTES, read_records
from arena.labelling import label, verdict_of
from arena.store import Store
from serving.completion import Completion, Request
from serving.endpoints import register

FUNNY = 'funny: {ask: "Does it ask for humour?"}\n'


@pytest.fixture
def house(results: Path, database: Path | str) -> Path:
    with Store(database) as store:
        store.save_all(read_records(SHIPPED_VOTES, "llmfao"))
    (results / "categories.yaml").write_text(FUNNY)
    return results


def about_jokes(body: dict[str, Any]) -> list[bytes]:
    return sse("Yes." if "joke" in body["messages"][-1]["content"] else "no")


def test_prompts_are_asked_once_and_make_a_board_of_their_own(house: Path, database: Path | str) -> None:
    with ModelServer(about_jokes) as server, Store(database) as store:
        found = label(store, server.endpoint("judge"), "funny", questions(house)["funny"])
        asked = len(server.requests)
        assert asked == found.counts["yes"] + found.counts["no"] == 13, "LLMFAO has thirteen prompts"
        assert found.counts["yes"] >= 1
        assert "Does it ask for humour?" in server.requests[0]["messages"][0]["content"]
        again = label(store, server.endpoint("judge"), "funny", questions(house)["funny"])
        assert (len(server.requests), again.counts.total()) == (asked, 0)
        board = store.ballots(where=rule("funny", house))
        everything = store.ballots()
    assert 0 < len(board) < len(everything)


def test_what_is_not_a_plain_verdict_labels_nothing(house: Path, database: Path | str) -> None:
    with ModelServer(sse("Yes and no")) as server, Store(database) as store:
        found = label(store, server.endpoint("judge"), "funny", "?", limit=5)
        assert (found.counts["unparsed"], len(store.unjudged("funny")), store.n_judged("funny")) == (5, 13, 0)
    with ModelServer(problem("400 Bad Request", "no")) as server, Store(database) as store:
        assert label(store, server.endpoint("judge"), "funny", "?", limit=3).counts == {"failed": 3}


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("yes", "yes"),
        ("**No**.", "no"),
        ("<think>no, hm</think>\nYes", "yes"),
        ("Yes, because", "unparsed"),
        ("", "unparsed"),
        ("maybe", "unparsed"),
    ],
)
def test_verdicts_are_never_guessed(text: str, verdict: str) -> None:
    assert verdict_of(Completion(endpoint="j", request=Request.user("?"), text=text, finish_reason="stop")) == verdict


def test_from_the_command_line(house: Path, database: Path | str) -> None:
    def arena(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "arena.cli", *arguments, "--results", str(house), "--database", str(database)]
        return subprocess.run(command, capture_output=True, text=True)

    early = arena("leaderboard", "--category", "funny")
    assert early.returncode == 1 and "'arena label --judge ID' has a model do it" in early.stderr
    with ModelServer(about_jokes) as server:
        register(server.endpoint("judge"), house)
        done = arena("label", "--judge", "judge", "--json")
    document = json.loads(done.stdout)
    assert document["categories"][0]["yes"] + document["categories"][0]["no"] == 13
    board = arena("leaderboard", "--category", "funny", "--json")
    assert board.returncode == 0 and 0 < json.loads(board.stdout)["n_battles"] < 8931
    assert "asks nothing" in arena("label", "--judge", "judge", "--category", "expret").stderr
    (house / "categories.yaml").write_text("finance: bonds?\n")
    assert "no category asks a question" in arena("label", "--judge", "judge").stderr


def test_a_category_that_is_neither_expression_nor_question_is_refused(results: Path) -> None:
    (results / "categories.yaml").write_text("expert: {question: x}\n")
    with pytest.raises(ArenaError, match="categories.yaml: expert: .*write NAME"):
        questions(results)
