"""How a question is put is a variable: each method answers the same questions, at its own price.

    method = Method(name="vote of five", reasoning=True, samples=5, temperature=0.7)
    answered = await ask_item(ask, item, method=method, pool=examples)

One Method is a point in a small space: examples (none, the first, the nearest), reasoning before the answer, several samples whose majority
counts (self-consistency, Wang et al. 2022), shuffled choices (MedPrompt, Nori et al. 2023), a system prompt. `presets()` has known ones.
Every request counts into dollars and seconds, so that accuracy is read against them.
"""

import asyncio
import math
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from statistics import fmean
from typing import Any, Literal, NamedTuple

from pydantic import Field

from serving.completion import Completion, Message, Request
from serving.documents import Noun

Ask = Callable[[Request], Awaitable[Completion]]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ANSWER = re.compile(r"^[\s*_#>]*(?:the )?(?:final )?answer(?: is)?[\s*_]*:[\s*_]*(\S.*?)[\s*_]*$", re.IGNORECASE | re.MULTILINE)
_WORD = re.compile(r"\w+")


class Method(Noun):
    """One way to ask. `shots` examples, the first of the pool or those nearest to the question; `samples` answers whose majority counts."""

    name: str
    shots: int = Field(default=0, ge=0, le=64)
    examples: Literal["first", "nearest"] = "first"
    reasoning: bool = False
    samples: int = Field(default=1, ge=1, le=100)
    shuffle_choices: bool = False
    temperature: float | None = Field(default=0.0, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)
    system: str | None = None


class Item(NamedTuple):
    """A question; `choices` where one of several texts is right. `target` is the right answer's text; `reasoning` an example's own."""

    question: str
    target: str
    choices: tuple[str, ...] = ()
    reasoning: str | None = None


class Answered(NamedTuple):
    """What a method made of one question. `answer` is None where nothing was read, or where samples tied (`tied`): no tie is broken."""

    answer: str | None
    tied: bool
    right: bool
    n_unparsed: int
    completions: tuple[Completion, ...]

    @property
    def failed(self) -> bool:
        """Whether a request failed, so that the question was not answered as the method would have it."""
        return any(not one.answered for one in self.completions)


def presets() -> dict[str, Method]:
    """The methods known by name."""
    methods = (
        Method(name="zero-shot"),
        Method(name="few-shot", shots=5),
        Method(name="cot", reasoning=True),
        Method(name="self-consistency", reasoning=True, samples=5, temperature=0.7),
        Method(name="medprompt", shots=5, examples="nearest", reasoning=True, samples=5, shuffle_choices=True),
    )
    return {method.name: method for method in methods}


async def ask_item(ask: Ask, item: Item, *, method: Method, pool: Sequence[Item] = (), seed: int = 0) -> Answered:
    """One question by one method, its samples at once. `pool` are the examples, without the question itself; `seed` draws the shuffles."""
    chosen = examples_for(item, method, pool)
    orders = choice_orders(len(item.choices), method.samples if method.shuffle_choices else 1, seed=f"{seed} {item.question}")
    shown = [item._replace(choices=tuple(item.choices[i] for i in orders[n % len(orders)])) for n in range(method.samples)]
    # Equal requests at temperature 0 would be one answer paid for several times: each sample states a seed of its own.
    seeds = [seed + number if method.samples > 1 else None for number in range(method.samples)]
    completions = await asyncio.gather(*(ask(to_request(one, method, chosen, seed=own)) for one, own in zip(shown, seeds, strict=True)))
    read = [final_answer(one.text, asked.choices) if one.answered else None for one, asked in zip(completions, shown, strict=True)]
    answer, tied = majority(read)
    return Answered(answer, tied, answer is not None and same(answer, item.target), read.count(None), tuple(completions))


async def with_own_reasoning(ask: Ask, pool: Sequence[Item], *, method: Method) -> tuple[list[Item], list[Completion]]:
    """MedPrompt's preparation: the model reasons about each example, and its reasoning is kept only where its answer is right.

    Returns the examples kept, and every completion: they are part of the bill.
    """
    plain = method.model_copy(update={"shots": 0, "samples": 1, "reasoning": True, "shuffle_choices": False})
    completions = await asyncio.gather(*(ask(to_request(item, plain, ())) for item in pool))
    kept = []
    for item, completion in zip(pool, completions, strict=True):
        answer = final_answer(completion.text, item.choices) if completion.answered and completion.status == "ok" else None
        if answer is not None and same(answer, item.target):
            kept.append(item._replace(reasoning=_ANSWER.sub("", completion.text).strip()))
    return kept, list(completions)


def examples_for(item: Item, method: Method, pool: Sequence[Item]) -> list[Item]:
    """The method's examples for a question, the nearest last, where it weighs most. Never the question itself."""
    others = [example for example in pool if example.question != item.question]
    if method.examples == "first" or not method.shots:
        return others[: method.shots]
    return [others[i] for i in reversed(nearest([example.question for example in others], item.question, k=method.shots))]


def nearest(texts: Sequence[str], query: str, *, k: int) -> list[int]:
    """The places of the k texts most like the query, best first: cosine of tf-idf vectors, (1 + ln tf) · (ln((1 + N)/(1 + df)) + 1)."""
    import numpy as np

    counts = [Counter(_WORD.findall(text.lower())) for text in (*texts, query)]
    frequency = Counter(word for words in counts[:-1] for word in words)
    columns = {word: number for number, word in enumerate(frequency)}
    idf = {word: math.log((1 + len(texts)) / (1 + times)) + 1 for word, times in frequency.items()}
    table = np.zeros((len(counts), max(len(columns), 1)))
    for row, words in enumerate(counts):
        for word, times in words.items():
            if word in columns:
                table[row, columns[word]] = (1 + math.log(times)) * idf[word]
    lengths = np.linalg.norm(table, axis=1)
    table /= np.where(lengths > 0, lengths, 1.0)[:, None]
    found: list[int] = np.argsort(-(table[:-1] @ table[-1]), kind="stable")[:k].tolist()
    return found


def choice_orders(n_choices: int, n: int, *, seed: str) -> list[list[int]]:
    """n orders of the choices, the given one first, different while there are different ones."""
    orders, draw = [list(range(n_choices))], random.Random(seed)
    possible = math.factorial(n_choices)
    while len(orders) < n:
        order = draw.sample(range(n_choices), n_choices)
        if order not in orders or len(orders) >= possible:
            orders.append(order)
    return orders


def to_request(item: Item, method: Method, examples: Sequence[Item], *, seed: int | None = None) -> Request:
    """The chat that asks one question; examples are earlier turns."""
    how = "Think step by step, then end with" if method.reasoning else "Reply with"
    what = "the letter of your choice" if item.choices else "your answer"
    system = f"{method.system or ''}\n\n{how} one line of this form, {what} in place of the dots:\nAnswer: ...".strip()
    messages = [Message(role="system", content=system)]
    for example in examples:
        why = f"{example.reasoning}\n" if method.reasoning and example.reasoning else ""
        messages += [Message(role="user", content=_shown(example)), Message(role="assistant", content=f"{why}Answer: {_label(example)}")]
    messages.append(Message(role="user", content=_shown(item)))
    stated: dict[str, Any] = {"temperature": method.temperature, "max_tokens": method.max_tokens, "seed": seed}
    return Request(messages=tuple(messages), **{name: value for name, value in stated.items() if value is not None})


def final_answer(text: str, choices: Sequence[str] = ()) -> str | None:
    """The last "Answer: …" line; with choices the text of the chosen one, by its letter or its words. None: unparsed, never a guess."""
    found = _ANSWER.findall(text)
    if not found or not choices:
        return found[-1] if found else None
    letter = re.match(r"^\(?([A-Z])\)?(?:[.):]|\s*$)", found[-1])
    if letter:
        place = LETTERS.index(letter[1])
        return choices[place] if place < len(choices) else None
    named = [choice for choice in choices if same(choice, found[-1])]
    return named[0] if len(named) == 1 else None


def majority(answers: Sequence[str | None]) -> tuple[str | None, bool]:
    """(the most frequent answer, whether several were equally frequent: then there is none). Unparsed samples have no vote."""
    first: dict[str, str] = {}
    votes = Counter(_plain(answer) for answer in answers if answer is not None and first.setdefault(_plain(answer), answer))
    best = votes.most_common(2)
    if not best:
        return None, False
    return (None, True) if len(best) == 2 and best[0][1] == best[1][1] else (first[best[0][0]], False)


def same(one: str, other: str) -> bool:
    """Whether two answers are the same text but for case, spacing, a final stop and thousands separators."""
    return _plain(one) == _plain(other)


def figures(answered: Sequence[Answered], preparation: Sequence[Completion] = ()) -> Mapping[str, Any]:
    """Accuracy over the questions answered, beside dollars and seconds for each: all samples' dollars and the slowest sample's seconds
    (they run at once). The preparation's dollars are spread over the questions. None where something is not known."""
    whole = [one for one in answered if not one.failed]
    completions = [completion for one in answered for completion in one.completions] + list(preparation)
    costs = [completion.cost_usd for completion in completions if completion.answered]
    known = [cost for cost in costs if cost is not None]
    slowest = [max(times) for one in whole if len(times := [c.latency_s for c in one.completions if c.latency_s is not None])]
    return {
        "accuracy": fmean(one.right for one in whole) if whole else None,
        "n": len(whole),
        "n_failed": len(answered) - len(whole),
        "n_tied": sum(one.tied for one in whole),
        "n_unparsed": sum(one.answer is None and not one.tied for one in whole),
        "n_requests": len(completions),
        "usd_per_question": math.fsum(known) / len(answered) if answered and costs and len(known) == len(costs) else None,
        "s_per_question": fmean(slowest) if slowest else None,
    }


def _shown(item: Item) -> str:
    return "\n".join([item.question, *(f"{letter}. {choice}" for letter, choice in zip(LETTERS, item.choices, strict=False))])


def _label(item: Item) -> str:
    place = next((number for number, choice in enumerate(item.choices) if same(choice, item.target)), None)
    return item.target if place is None else LETTERS[place]


def _plain(answer: str) -> str:
    return re.sub(r"(?<=\d),(?=\d{3})", "", " ".join(answer.lower().split())).rstrip(".")
