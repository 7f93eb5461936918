"""What a judge is shown: MT-bench's prompts, word for word (prompts.jsonl; lm-sys/FastChat, Apache-2.0, Zheng et al. 2023).

request = pairwise(question, answer_a, answer_b)     # the judge never learns who wrote which
request = single(question, answer)                   # a grade from 1 to 10

One or two turns; where a question has a reference answer, the prompts that show it ("math" in MT-bench's words) are used.
"""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from evals.errors import JudgeError
from serving.completion import Message, Request
from serving.documents import Noun, parse_document

FILE = Path(__file__).parent / "prompts.jsonl"
# MT-bench's judges answer with at most 2,048 tokens, at temperature 0.
MAX_TOKENS = 2048


class JudgePrompt(Noun):
    """One line of prompts.jsonl, with MT-bench's own keys; `prompt_template` holds its placeholders in braces."""

    name: str
    type: str
    system_prompt: str
    prompt_template: str
    description: str
    category: str
    output_format: str


class Question(NamedTuple):
    """What was asked: the user's turns (one or two) and, where there is one, the reference answer to each."""

    prompt_id: str
    turns: tuple[str, ...]
    reference: tuple[str, ...] | None = None


class Sampling(NamedTuple):
    """How a judge is asked; None states nothing, so that the server's default holds (reasoning models refuse a temperature)."""

    max_tokens: int | None = MAX_TOKENS
    temperature: float | None = 0.0


MT_BENCH = Sampling()


@cache
def judge_prompts() -> dict[str, JudgePrompt]:
    """The shipped prompts by name."""
    lines = FILE.read_text(encoding="utf-8").splitlines()
    found = [parse_document(json.loads(line), JudgePrompt, where=f"{FILE}:{number}") for number, line in enumerate(lines, start=1)]
    return {prompt.name: prompt for prompt in found}


def pairwise(question: Question, answer_a: Sequence[str], answer_b: Sequence[str], *, sampling: Sampling = MT_BENCH) -> Request:
    """Two answers (a text for each turn) side by side, in this order. Raises JudgeError for more than two turns."""
    name = {False: "pair-v2", True: "pair-math-v1"}[question.reference is not None] + _suffix(question)
    if len(question.turns) == 1:
        values = {"answer_a": answer_a[0], "answer_b": answer_b[0]}
    else:
        values = {
            f"answer_{side}_{number}": text
            for side, texts in (("a", answer_a), ("b", answer_b))
            for number, text in enumerate(texts, start=1)
        }
    return _request(judge_prompts()[name], question, values, sampling)


def single(question: Question, answer: Sequence[str], *, sampling: Sampling = MT_BENCH) -> Request:
    """One answer (a text for each turn), to be graded from 1 to 10. Raises JudgeError for more than two turns."""
    name = {False: "single-v1", True: "single-math-v1"}[question.reference is not None] + _suffix(question)
    if len(question.turns) == 1:
        values = {"answer": answer[0]}
    else:
        values = {f"answer_{number}": text for number, text in enumerate(answer, start=1)}
    return _request(judge_prompts()[name], question, values, sampling)


def _suffix(question: Question) -> str:
    if len(question.turns) > 2:
        raise JudgeError(f"prompt '{question.prompt_id}' has {len(question.turns)} user turns; MT-bench's prompts judge one or two")
    return "" if len(question.turns) == 1 else "-multi-turn"


def _request(prompt: JudgePrompt, question: Question, answers: dict[str, str], sampling: Sampling) -> Request:
    values = {"question": question.turns[0], **{f"question_{number}": turn for number, turn in enumerate(question.turns, start=1)}}
    values |= {f"ref_answer_{number}": text for number, text in enumerate(question.reference or (), start=1)}
    try:
        shown = prompt.prompt_template.format(**values, **answers)
    except KeyError as error:
        raise JudgeError(f"prompt '{question.prompt_id}': no {error.args[0]} for the judge prompt '{prompt.name}'") from None
    messages = (Message(role="system", content=prompt.system_prompt), Message(role="user", content=shown))
    stated = {name: value for name, value in sampling._asdict().items() if value is not None}
    return Request(messages=messages, **stated)
