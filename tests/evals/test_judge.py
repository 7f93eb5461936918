"""A judge behind a real socket: what leans on the order is a tie, what says nothing stays unparsed, and nothing is asked twice."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from model_server import ModelServer, problem, sse

from evals.judging.judgments import files_of, held, read_judgments
from evals.runs import now
from serving.completion import Completion, Request
from serving.endpoints import Endpoint, register

Evals = Callable[..., tuple[int, str, str]]
QUESTIONS = [f"What is {number} and {number}?" for number in range(12)]


def answer(model: str, question: int) -> str:
    """`long` says more than `short`; `good` is right and `bad` wrong."""
    return {"good": f"{2 * question} is right", "bad": f"{2 * question + 1} is wrong", "long": "so " * 20 + str(question)}[model]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "answers.jsonl"
    lines = [
        Completion(endpoint=model, request=Request.user(text), text=answer(model, number)).to_line()
        for model in ("good", "bad", "long")
        for number, text in enumerate(QUESTIONS)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def shown(body: dict[str, Any]) -> tuple[str, str]:
    """The two answers in the order in which a judge sees them."""
    text = body["messages"][1]["content"]
    found = re.findall(r"\[The Start of Assistant [AB]'s Answer\]\n(.*?)\n\[The End", text, re.DOTALL)
    return found[0], found[1]


def fair(body: dict[str, Any]) -> list[bytes]:
    first, second = shown(body)
    if ("right" in first) == ("right" in second):
        return sse("Neither. [[C]]")
    return sse("I compared them. ", "[[A]]" if "right" in first else "[[B]]")


def judged(evals: Evals, server: ModelServer, recording: Path, results: Path, *options: str) -> tuple[dict[str, Any], list[Any]]:
    register(server.endpoint("judge", price={"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}), results)
    code, out, err = evals("judge", "--judge", "judge", "--recording", recording, "--results", results, "--json", *options)
    assert code == 0, err
    document = json.loads(out.splitlines()[-1])
    return document, read_judgments(Path(document["file"]))


def test_a_fair_judge_agrees_with_itself_and_each_order_is_asked_once(evals: Evals, recording: Path, results: Path) -> None:
    with ModelServer(fair) as server:
        document, judgments = judged(evals, server, recording, results, "--pairs", "good,bad", "--pairs", "bad,long")
    assert document["outcomes"] == {"agreed": 24} and document["position_consistency"]["value"] == 1
    assert [one.winner for one in judgments].count("model_a") == 12 and [one.winner for one in judgments].count("tie") == 12
    assert {shown(body) for body in server.requests if "wrong" in shown(body)[0] + shown(body)[1]} >= {
        (answer("good", 3), answer("bad", 3)),
        (answer("bad", 3), answer("good", 3)),
    }
    assert len(server.requests) == len({json.dumps(body) for body in server.requests}) == 48
    assert not any(name in json.dumps(body) for body in server.requests for name in ("good", '"bad'))
    # 7 tokens in, 3 out, at $1 and $2 per million.
    assert document["cost_usd"] == pytest.approx(48 * 13e-6) and document["n_cost_unknown"] == 0
    assert {(one.voter_id, one.source, one.mode) for one in judgments} == {("judge", "judge:judge", "judged")}


def test_a_judge_that_likes_the_first_answer_gives_nothing_but_ties(evals: Evals, recording: Path, results: Path) -> None:
    with ModelServer(sse("The first one. [[A]]")) as server:
        document, judgments = judged(evals, server, recording, results, "--pairs", "good,bad")
    assert document["outcomes"] == {"flipped": 12} and {one.winner for one in judgments} == {"tie"}
    assert judgments[0].verdicts == ("model_a", "model_b")
    assert document["position_consistency"]["value"] == 0 and document["first_shown_won_when_flipped"]["value"] == 1
    assert document["longer_won"] is None


@pytest.mark.parametrize("garbage", ["A is better", 'Say "[[A]]" or "[[B]]": I say [[B]]', "\u0000", "[[A]] [[C]]"])
def test_a_text_without_one_verdict_stays_unparsed(evals: Evals, recording: Path, results: Path, garbage: str) -> None:
    # Only where the right answer comes first is there no verdict: half of a battle is no battle.
    with ModelServer(lambda body: sse(garbage) if "right" in shown(body)[0] else sse("[[A]]")) as server:
        document, judgments = judged(evals, server, recording, results, "--pairs", "good,bad")
    assert document["outcomes"] == {"unparsed": 12} and document["unparsed_share"] == 1 and document["n_voted"] == 0
    assert {(one.winner, one.verdicts) for one in judgments} == {(None, (None, "model_b"))}


def test_a_failure_is_no_verdict_and_resume_asks_only_what_failed(evals: Evals, recording: Path, results: Path) -> None:
    broken = True

    def script(body: dict[str, Any]) -> list[bytes]:
        return problem("400 Bad Request", "no") if broken and QUESTIONS[5] in body["messages"][1]["content"] else fair(body)

    with ModelServer(script) as server:
        document, judgments = judged(evals, server, recording, results, "--pairs", "good,bad")
        assert document["outcomes"] == {"agreed": 11, "failed": 1} and document["n_failed"] == 2
        assert document["unparsed_share"] == 0
        broken, before = False, len(server.requests)
        code, out, _ = evals("judge", "--resume", document["judgments_id"], "--results", results, "--json")
        assert code == 0 and len(server.requests) == before + 2
    after = json.loads(out.splitlines()[-1])
    assert after["outcomes"] == {"agreed": 12} and after["judgments_id"] == document["judgments_id"]
    ids = [one.vote_id for one in read_judgments(Path(after["file"]))]
    assert ids == [one.vote_id for one in judgments] and len(set(ids)) == 12


def test_killed_in_the_middle_and_resumed_it_asks_nothing_that_was_answered(evals: Evals, recording: Path, results: Path) -> None:
    def slow(body: dict[str, Any]) -> list[bytes | float]:
        head, *rest = fair(body)
        return [head, 0.05, *rest]

    with ModelServer(slow) as server:
        register(server.endpoint("judge"), results)
        command = [sys.executable, "-m", "evals.cli", "judge", "--judge", "judge", "--recording", str(recording), "--concurrency", "2"]
        child = subprocess.Popen([*command, "--pairs", "good,bad", "--results", str(results)], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while len(server.requests) < 8 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        (log,) = (results / "judgments").glob("*.completions.jsonl")
        judgments_id = log.name.removesuffix(".completions.jsonl")
        assert not files_of(judgments_id, results).judgments.exists()
        answered = {json.loads(line)["request_hash"] for line in log.read_text().splitlines() if line.endswith("}")}
        assert 0 < len(answered) < 24
        # A crash of the machine may cut the last line.
        with log.open("a") as file:
            file.write('{"endpoint": "judge", "requ')
        before = len(server.requests)
        code, out, err = evals("judge", "--resume", judgments_id, "--results", results, "--json")
        assert code == 0, err
        again = [json.dumps(body["messages"]) for body in server.requests[before:]]
    document = json.loads(out.splitlines()[-1])
    assert len(again) == 24 - len(answered) and document["outcomes"] == {"agreed": 12}
    hashes = [json.loads(line)["request_hash"] for line in log.read_text().splitlines()]
    assert len(hashes) == len(set(hashes)) == 24
    code, out, err = evals("judge", "--resume", judgments_id, "--results", results)
    assert code == 0, err
    assert len(server.requests) == before + len(again) and "good against bad: 12 won, 0 tied, 0 lost" in out


def test_a_grade_is_asked_once_for_each_answer(evals: Evals, recording: Path, results: Path) -> None:
    def grade(body: dict[str, Any]) -> list[bytes]:
        text = body["messages"][1]["content"]
        return sse("Rating: [[9]]" if "is right" in text else "Rating: [[2.5]]")

    with ModelServer(grade) as server:
        document, judgments = judged(evals, server, recording, results, "--mode", "single")
        assert len(server.requests) == 36
    assert [(row["endpoint"], row["mean"], row["n"]) for row in document["grades"]] == [
        ("good", 9, 12),
        ("bad", 2.5, 12),
        ("long", 2.5, 12),
    ]
    assert document["outcomes"] == {"graded": 36} and [one.winner for one in judgments].count("tie") == 12


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--pairs", "good,godo"), "'godo' answered nothing here. Did you mean 'good'?"),
        (("--pairs", "good"), "--pairs good: name two endpoints"),
        (("--references",), "--references shows the judge the targets of a run's samples: it needs --run"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_asked(
    evals: Evals, recording: Path, results: Path, options: tuple[str, ...], told: str
) -> None:
    with ModelServer(fair) as server:
        register(server.endpoint("judge"), results)
        code, _, err = evals("judge", "--judge", "judge", "--recording", recording, "--results", results, *options)
        assert (code, len(server.requests)) == (1, 0) and told in err
    assert evals("judge", "--resume", "nothing", "--results", results)[0] == 1


def test_dry_run_counts_and_asks_nothing(evals: Evals, recording: Path, results: Path) -> None:
    with ModelServer(fair) as server:
        register(server.endpoint("judge"), results)
        code, out, _ = evals(
            "judge", "--judge", "judge", "--recording", recording, "--results", results, "--dry-run", "--json", "--limit", "5"
        )
        assert (code, len(server.requests)) == (0, 0)
    assert {key: value for key, value in json.loads(out).items() if key.startswith("n_")} == {"n_battles": 5, "n_requests": 10}


def test_two_judges_of_one_moment_have_two_ids_and_a_judging_under_way_is_not_resumed(
    evals: Evals, recording: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = now()
    monkeypatch.setattr("evals.judging.judgments.now", lambda: moment)
    with ModelServer(fair) as server:
        first, _ = judged(evals, server, recording, results, "--pairs", "good,bad")
        assert judged(evals, server, recording, results, "--pairs", "good,bad")[0]["judgments_id"] == f"{first['judgments_id']}-2"
        log = files_of(first["judgments_id"], results).completions
        log.write_bytes(half := log.read_bytes()[:-20])
        before = len(server.requests)
        with held(log):
            code, _, err = evals("judge", "--resume", first["judgments_id"], "--results", results)
        assert code == 1 and f"{log} is being written by another process: wait for that judge, or stop it" in err
        assert log.read_bytes() == half and len(server.requests) == before


def test_a_judge_that_is_not_there_leaves_nothing(evals: Evals, recording: Path, results: Path) -> None:
    register(Endpoint(id="judge", wire="openai", model="m", base_url="http://127.0.0.1:9/v1"), results)
    assert evals("judge", "--judge", "judge", "--recording", recording, "--pairs", "good,bad", "--results", results)[0] != 0
    assert not list((results / "judgments").iterdir())
