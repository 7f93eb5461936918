"""A judge's text holds exactly one verdict or none; MT-bench's real judge texts parse to their published scores."""

import json
from pathlib import Path
from typing import Any

import pytest

from evals.errors import JudgeError
from evals.judging.prompts import Question, judge_prompts, pairwise, single
from evals.judging.verdicts import graded, preferred, said
from serving.completion import Completion, Request

MT_BENCH = Path(__file__).parents[2].parent / "shared" / "data" / "mt_bench"
needs_mt_bench = pytest.mark.skipif(not MT_BENCH.is_dir(), reason="MT-bench's files are not beside this checkout")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@needs_mt_bench
def test_all_330_real_judge_texts_parse_to_their_published_scores() -> None:
    rows = lines(MT_BENCH / "model_judgment" / "gpt-4_single-origin.jsonl")
    # -1 is how the publisher marks a text without a score: four calls that failed ("$ERROR$").
    read = [-1 if (grade := graded(row["judgment"])) is None else grade for row in rows]
    assert read == [row["score"] for row in rows] and len(rows) == 330
    assert read.count(-1) == 4 and read.count(8.5) == 2


@needs_mt_bench
def test_the_330_real_prompts_are_rebuilt_word_for_word() -> None:
    questions = {row["question_id"]: tuple(row["turns"]) for row in lines(MT_BENCH / "question.jsonl")}
    references = {row["question_id"]: tuple(row["choices"][0]["turns"]) for row in lines(MT_BENCH / "reference_answer" / "gpt-4.jsonl")}
    for row in lines(MT_BENCH / "model_judgment" / "gpt-4_single-origin.jsonl"):
        name, number = row["judge"][1], row["question_id"]
        turns = questions[number][: row["turn"]]
        question = Question(str(number), turns, references[number] if "math" in name else None)
        first, second = "\x01", "\x02"
        request = single(question, (first, second)[: row["turn"]])
        assert request.messages is not None
        # The answers are known only from the prompts themselves, so all the rest is compared around them.
        before, _, rest = request.messages[1].content.partition(first)
        between, _, after = rest.rpartition(second) if row["turn"] == 2 else ("", "", rest)
        assert row["user_prompt"].startswith(before) and row["user_prompt"].endswith(after) and between in row["user_prompt"]


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Both are fine, but [[B]]", "B"),
        ("[[A]] is my verdict. To repeat: [[A]]", "A"),
        ("It is a tie: [[ C ]].", "C"),
        ('I was told to say "[[A]]" if A is better, "[[B]]" if B is. I say [[B]]', None),
        ("Assistant A is clearly better.", None),
        ("[A]", None),
        ("[[D]]", None),
        ("[[a]]", None),
        ("", None),
        ("<think>[[A]] or perhaps [[B]]</think>\nMy verdict: [[B]]", "B"),
        ("<think>[[A]]</think>I cannot say.", None),
    ],
)
def test_a_preference_is_never_guessed(text: str, verdict: str | None) -> None:
    assert preferred(text) == verdict


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ("Rating: [[7]]", 7), ("[[8.5]]", 8.5), ("[[10]] of 10, so [[10.0]]", 10), ("Rating: [7]", None), ("[[0]]", None),
        ("[[11]]", None), ("[[7]] for style, [[9]] for content", None), ("7/10", None), ("[[rating]]", None),
    ],
)  # fmt: skip
def test_a_grade_is_never_guessed(text: str, grade: float | None) -> None:
    assert graded(text) == grade


def test_a_text_that_was_cut_off_has_no_verdict() -> None:
    request = Request.user("?")
    assert said(Completion(endpoint="j", request=request, text="[[A]], because", status="truncated")) == ""
    assert said(Completion(endpoint="j", request=request, text="[[A]]")) == "[[A]]"


def test_the_judge_sees_the_answers_in_the_order_given_and_no_name() -> None:
    question = Question("q", ("Why {is} the sky blue?",))
    request = pairwise(question, ["because {x}"], ["no idea"])
    assert request.messages is not None and (request.temperature, request.max_tokens) == (0, 2048)
    system, user = request.messages
    assert system.content.startswith("Please act as an impartial judge")
    assert user.content == (
        "[User Question]\nWhy {is} the sky blue?\n\n[The Start of Assistant A's Answer]\nbecause {x}\n[The End of Assistant A's Answer]\n\n"
        "[The Start of Assistant B's Answer]\nno idea\n[The End of Assistant B's Answer]"
    )


def test_each_kind_of_question_has_its_prompt() -> None:
    used = set()
    for turns in (("one",), ("one", "two")):
        for reference in (None, tuple(f"ref {turn}" for turn in turns)):
            question = Question("q", turns, reference)
            for request in (pairwise(question, turns, turns), single(question, turns)):
                assert request.messages is not None
                used |= {prompt.name for prompt in judge_prompts().values() if request.messages[0].content == prompt.system_prompt}
                assert (reference is None) == ("ref one" not in request.messages[1].content)
    assert used == set(judge_prompts())
    with pytest.raises(JudgeError, match="'q' has 3 user turns"):
        single(Question("q", ("1", "2", "3")), ["1", "2", "3"])
