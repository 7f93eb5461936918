"""Which of two answers is better: by a judge (an endpoint, asked in both orders) or by a checker (a function of prompt and answer).

    outcomes, problem = judged(pairs, endpoint)   # 1 tuned, -1 base, 0 tie; None where the judge's verdicts could not be read
    check = find_checker("regex:^Gladly")       # contains:TEXT, regex:PATTERN, FILE.py:FUNCTION, likeness

`likeness` needs no setting up: how much nearer an answer is to the one that people chose than to the one they rejected, by
character n-grams (chrF; Popović 2015). A verdict that changes with the order of the answers is a tie.
"""

import asyncio
import importlib.util
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from serving.endpoints import Endpoint
from trainers.answers import OnProgress, Turns
from trainers.errors import TrainersError

if TYPE_CHECKING:
    from serving.completion import Completion

Row = dict[str, Any]
# (row with its prompt, answer) -> how good the answer is, 1 at best where it is a matter of yes and no.
Checker = Callable[[Row, str], float]
_AT_ONCE = 8
_VERDICT = re.compile(r"\[\[(A|B|C)\]\]")
_ASKED = (
    "Two assistants were asked the same. Judge which answer serves the person better: correct, helpful, to the point. "
    "Neither the order nor the length of the answers may sway you.\n\n[The conversation]\n{prompt}\n\n[Answer A]\n{a}\n[End of answer A]\n"
    "\n[Answer B]\n{b}\n[End of answer B]\n\nGive one sentence of reasons, then end with your verdict: [[A]] when A is better, [[B]] when "
    "B is better, [[C]] when they are equally good."
)


class Pair(NamedTuple):
    """One prompt and both answers to it."""

    prompt: Turns
    base: str
    tuned: str


class Judged(NamedTuple):
    """Per pair 1 where the tuned model's answer is better in both orders, -1 where the base's is, else 0; None: no readable verdict.

    `problem` is why the last of these could not be read.
    """

    outcomes: list[int | None]
    problem: str | None


def judged(pairs: Sequence[Pair], judge: Endpoint, *, max_tokens: int = 1024, on_progress: OnProgress | None = None) -> Judged:
    """Each pair shown to the judge twice, once in either order. Raises Unreachable when nothing answers there, MissingKey."""
    from serving.client import Client, check_reachable
    from serving.completion import Request

    problems: list[str] = []

    async def all_of_them() -> list[int | None]:
        await check_reachable(judge)
        room, done = asyncio.Semaphore(_AT_ONCE), 0
        async with Client() as client:

            async def ask(pair: Pair, answers: tuple[str, str]) -> str | None:
                talk = "\n".join(f"{turn['role']}: {turn['content']}" for turn in pair.prompt)
                asked = _ASKED.format(prompt=talk, a=answers[0], b=answers[1])
                completion = await client.ask(judge, Request.user(asked, max_tokens=max_tokens, temperature=0))
                found = _VERDICT.findall(completion.text)
                # A failure is no verdict, nor is what was cut off on its way to one.
                if completion.status == "ok" and found:
                    return str(found[-1])
                problems.append(_why_not(completion, max_tokens))
                return None

            async def one(pair: Pair) -> int | None:
                nonlocal done
                async with room:
                    first = await ask(pair, (pair.base, pair.tuned))
                    # Half a comparison is none; the other half need not be paid for.
                    second = None if first is None else await ask(pair, (pair.tuned, pair.base))
                done += 1
                if on_progress is not None:
                    on_progress(done, len(pairs))
                if first is None or second is None:
                    return None
                return {("B", "A"): 1, ("A", "B"): -1}.get((first, second), 0)

            return list(await asyncio.gather(*(one(pair) for pair in pairs)))

    outcomes = asyncio.run(all_of_them())
    return Judged(outcomes, problems[-1] if problems else None)


def _why_not(completion: "Completion", max_tokens: int) -> str:
    if completion.status == "ok":
        return f"no [[A]], [[B]] or [[C]] in {completion.text.strip()[-60:]!r}"
    return f"{completion.status}: {completion.error or f'{max_tokens} tokens were not enough'}"


def find_checker(name: str) -> Checker:
    """The checker of this name. Raises TrainersError with the names there are."""
    kind, _, value = name.partition(":")
    if name == "likeness":
        return likeness
    if kind == "contains" and value:
        return lambda row, answer: float(value in answer)
    if kind == "regex" and value:
        try:
            pattern = re.compile(value)
        except re.error as error:
            raise TrainersError(f"checker '{name}': not a regular expression: {error}") from None
        return lambda row, answer: float(pattern.search(answer) is not None)
    if kind.endswith(".py") and value:
        return _from_file(name, Path(kind), value)
    raise TrainersError(f"no checker '{name}': use likeness, contains:TEXT, regex:PATTERN or FILE.py:FUNCTION (prompt, answer -> 0 to 1)")


def likeness(row: Row, answer: str) -> float:
    """How like the chosen answer it is, minus how like the rejected one. Raises TrainersError for a row without a chosen one."""
    chosen = chosen_of(row)
    if chosen is None:
        raise TrainersError("likeness: a prompt without a chosen answer cannot be compared with one; name a judge or another checker")
    like = chrf(answer, chosen[-1]["content"])
    return like - chrf(answer, row["rejected"][-1]["content"]) if row.get("rejected") else like


def chosen_of(row: Row) -> Turns | None:
    """The answer of a row that people would have: chosen, completion (unless it was labelled bad), or a conversation's last turn."""
    if row.get("messages"):
        return list(row["messages"][-1:])
    if row.get("label") is False:
        return None
    return row.get("chosen") or row.get("completion")


def chrf(answer: str, reference: str, *, order: int = 6) -> float:
    """Character n-gram F1, the mean over n up to `order` (Popović 2015, β = 1, without spaces): 1 the same, 0 none shared."""
    a, b = "".join(answer.split()), "".join(reference.split())
    scores = []
    for n in range(1, order + 1):
        ours, theirs = (Counter(text[at : at + n] for at in range(len(text) - n + 1)) for text in (a, b))
        if theirs:
            scores.append(2 * (ours & theirs).total() / (ours.total() + theirs.total()))
    return sum(scores) / len(scores) if scores else 0.0


def _from_file(name: str, path: Path, function: str) -> Checker:
    if not path.is_file():
        raise TrainersError(f"checker '{name}': no such file")
    spec = importlib.util.spec_from_file_location(f"checker_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        check = getattr(module, function)
    except Exception as error:
        raise TrainersError(f"checker '{name}': {type(error).__name__}: {error}") from None

    def checked(row: Row, answer: str) -> float:
        try:
            return float(check(row["prompt"], answer))
        except Exception as error:
            raise TrainersError(f"checker '{name}' failed on {answer!r:.60}: {type(error).__name__}: {error}") from None

    return checked
