"""From an answer's text to a verdict: what counts as an answer, and what counts as none."""

import pytest

from evals.tasks.verdicts import UNPARSED, gsm8k_answer, gsm8k_score, prime_answer, prime_score


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("She makes 9 * 2 = $<<9*2=18>>18\nA: 18", "18"),
        ("profit of\n#### 1,450,000", "1450000"),
        ("A: $2.50", "2.50"),
        ("A: 18.", "18"),
        ("A: -3", "-3"),
        ("#### 1. First, the eggs\nsixteen\n#### 18", "18"),
        ("the answer is 18", UNPARSED),
        ("25", UNPARSED),
        ("", UNPARSED),
    ],
)
def test_a_solution_answers_with_its_last_answer_line(text: str, answer: str) -> None:
    assert gsm8k_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Step 1 ... so it is prime. [Yes]", "yes"),
        ("[No] at first sight. But 17077 is only divisible by 1 and itself: [Yes]", "yes"),
        ("Yes, it is.", "yes"),
        ("no", "no"),
        ("Yes? Let me think. [No]", "no"),
        ("Nobody knows", UNPARSED),
        ("It is not prime; no.", UNPARSED),
        ("12593 is not divisible by 97.\n\n[Yes", UNPARSED),
    ],
)
def test_a_bracketed_answer_goes_before_a_leading_one(text: str, answer: str) -> None:
    assert prime_answer(text) == answer


def test_an_unparsed_answer_is_wrong_and_is_counted() -> None:
    assert gsm8k_score({"answer": "x\n#### 18"}, [UNPARSED]) == {"exact_match": 0.0, "unparsed": 1.0}
    assert prime_score({"answer": "yes"}, ["yes"]) == {"exact_match": 1.0, "unparsed": 0.0}
