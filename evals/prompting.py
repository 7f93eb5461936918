"""Prompting as a variable: the same questions asked in several ways, reported as accuracy against dollars and seconds per question.

    prompting:
      - {name: zero}                                                  # as the task asks
      - {name: cot, instruction: "Think step by step, then answer."}
      - {name: few, examples: 5}                                      # drawn by the suite's seed; nearest: true takes the most similar
      - {name: vote, samples: 5, temperature: 0.7}                    # self-consistency (Wang et al. 2022)
      - {name: medprompt, examples: 5, nearest: true, reasoning: true, shuffles: 5}     # Nori et al. 2023

A task under a prompting is scored as `task@name`. Several answers to one question (samples, orders of the choices) are read one by one by
the task's own filter and put to the vote; a tie goes to the answer that came first, because equal counts say nothing. The examples come
from the task's training, validation or few-shot split, never from what is tested.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from evals.errors import TaskError
from evals.neighbours import Neighbours
from serving.completion import Completion, Message, Request
from serving.documents import Noun

_REASON = "Think step by step before you answer."


class Prompting(Noun):
    """One way to ask.

    `system` is a system message, `instruction` is added to each question; `examples` few-shot turns stand before it, the `nearest` ones by
    TF-IDF; with `reasoning` the model has written their answers itself, and those that came out wrong are left out. `samples` answers are
    drawn at `temperature`, for each of `shuffles` orders of the choices.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")]
    system: str | None = None
    instruction: str | None = None
    examples: int = Field(default=0, ge=0, le=100)
    nearest: bool = False
    reasoning: bool = False
    samples: int = Field(default=1, ge=1, le=100)
    shuffles: int = Field(default=1, ge=1, le=24)
    temperature: float | None = Field(default=None, ge=0)


@dataclass(frozen=True)
class _Vote:
    """One request of a question: `order[new place]` is the old place of each choice, None where they stand as they are."""

    request: Request
    order: tuple[int, ...] | None


AskAll = Callable[[list[Request]], list[Completion]]


@dataclass(frozen=True)
class Prompted:
    """One question's outcome: the text that the task's filter will read, and every completion that was paid for it."""

    text: str
    completions: tuple[Completion, ...]


class Prompter:
    """Asks the questions of one task in one way; `seed` draws examples and orders."""

    def __init__(self, prompting: Prompting, task: Any, seed: int) -> None:
        self.prompting, self.task, self.seed = prompting, task, seed

    def ask(self, docs: Sequence[dict[str, Any]], requests: Sequence[Request], ask_all: AskAll) -> list[Prompted]:
        """For each document and the request that the plain task makes of it. Raises TaskError where the task lacks what this way needs."""
        examples, paid = self._examples(docs, requests, ask_all)
        votes = [list(self._votes(doc, request, shown)) for doc, request, shown in zip(docs, requests, examples, strict=True)]
        answers = iter(ask_all([vote.request for of_one in votes for vote in of_one]))
        found = []
        for number, (doc, of_one) in enumerate(zip(docs, votes, strict=True)):
            completions = [next(answers) for _ in of_one]
            text = self._decide(doc, of_one, completions)
            # What the examples' reasoning cost is on the first question's bill.
            found.append(Prompted(text, (*completions, *(paid if number == 0 else ()))))
        return found

    @cached_property
    def pool(self) -> list[dict[str, Any]]:
        """The documents that examples are taken from. Raises TaskError where there are none."""
        task = self.task
        for has, docs in ((task.has_training_docs, task.training_docs), (task.has_validation_docs, task.validation_docs)):
            if has():
                return list(docs())
        if task.fewshot_cfg.split is not None and task.fewshot_cfg.split != task.config.test_split:
            return list(task.fewshot_docs())
        raise TaskError(
            f"task '{task.task_name}' has no split to take examples from, and prompting '{self.prompting.name}' wants "
            f"{self.prompting.examples}; give it training_split or fewshot_split, or set examples: 0"
        )

    def _examples(
        self, docs: Sequence[dict[str, Any]], requests: Sequence[Request], ask_all: AskAll
    ) -> tuple[list[list[tuple[str, str]]], list[Completion]]:
        """(question, answer) turns for each document, and what was paid to write them."""
        wanted = self.prompting.examples
        if not wanted:
            return [[] for _ in docs], []
        pool = self.pool
        questions = [str(self.task.doc_to_text(doc)) for doc in pool]
        near = Neighbours(questions) if self.prompting.nearest else None
        drawn = random.Random(self.seed)
        # With reasoning some come out wrong: twice as many are asked, so that enough remain.
        many = min(2 * wanted if self.prompting.reasoning else wanted, len(pool))
        chosen = []
        for doc in docs:
            text = str(self.task.doc_to_text(doc))
            places = near.nearest(text, many + 1) if near else drawn.sample(range(len(pool)), min(many + 1, len(pool)))
            chosen.append([place for place in places if questions[place] != text][:many])
        if not self.prompting.reasoning:
            return [[(questions[place], str(self.task.doc_to_target(pool[place]))) for place in places] for places in chosen], []
        written, paid = self._written(sorted({place for places in chosen for place in places}), pool, requests[0], ask_all)
        return [[(questions[place], written[place]) for place in places if place in written][:wanted] for places in chosen], paid

    def _written(
        self, places: list[int], pool: list[dict[str, Any]], like: Request, ask_all: AskAll
    ) -> tuple[dict[int, str], list[Completion]]:
        """The model's own reasoning to these documents of the pool, where it came out right."""
        asked = []
        for place in places:
            question = f"{self.task.doc_to_text(pool[place])}\n\n{self.prompting.instruction or _REASON}"
            asked.append(like.model_copy(update=_content(like, self.prompting.system, [], question)))
        completions = ask_all(asked)
        right = {}
        for place, completion in zip(places, completions, strict=True):
            if completion.status == "ok" and self._is_right(pool[place], completion.text):
                right[place] = completion.text
        # An example that failed is left out; the question that it was meant for can be answered all the same.
        return right, [completion for completion in completions if completion.answered]

    def _votes(self, doc: dict[str, Any], request: Request, examples: list[tuple[str, str]]) -> Iterator[_Vote]:
        for order in self._orders(doc):
            question = _last_text(request) if order is None else str(self.task.doc_to_text(_reordered(doc, order)))
            if self.prompting.instruction:
                question = f"{question}\n\n{self.prompting.instruction}"
            update = _content(request, self.prompting.system, examples, question)
            if self.prompting.temperature is not None:
                update["temperature"] = self.prompting.temperature
            for _ in range(self.prompting.samples):
                yield _Vote(request.model_copy(update=update), order)

    def _orders(self, doc: dict[str, Any]) -> list[tuple[int, ...] | None]:
        """As many orders of the choices as are wanted, the task's own first."""
        if self.prompting.shuffles == 1:
            return [None]
        choices = doc.get("choices")
        if not isinstance(choices, list) or not isinstance(doc.get("answer"), int):
            raise TaskError(
                f"task '{self.task.task_name}': prompting '{self.prompting.name}' shuffles choices, so each document needs a list "
                "'choices' and the place 'answer' of the right one; set shuffles: 1"
            )
        drawn = random.Random(f"{self.seed} {doc.get('question')}")
        orders: dict[tuple[int, ...], None] = {tuple(range(len(choices))): None}
        for _ in range(50 * self.prompting.shuffles):
            if len(orders) == self.prompting.shuffles:
                break
            orders[tuple(drawn.sample(range(len(choices)), len(choices)))] = None
        first, *others = orders
        return [None, *others]

    def _decide(self, doc: dict[str, Any], votes: Sequence[_Vote], completions: Sequence[Completion]) -> str:
        """The text of the answer that most votes gave; of a shuffled one, the letter at its place in the task's own order."""
        if len(votes) == 1:
            return completions[0].text
        counted: Counter[str] = Counter()
        texts: dict[str, str] = {}
        for vote, completion in zip(votes, completions, strict=True):
            if not completion.answered:
                continue
            if vote.order is None:
                answer, text = str(self._read(doc, completion.text)), completion.text
            else:
                shown = _reordered(doc, vote.order)
                answer = str(self._read(shown, completion.text))
                letters = [str(self.task.doc_to_target({**shown, "answer": place})) for place in range(len(vote.order))]
                if answer not in letters:
                    continue
                answer = str(self.task.doc_to_target({**doc, "answer": vote.order[letters.index(answer)]}))
                text = f"Answer: {answer}"
            counted[answer] += 1
            texts.setdefault(answer, text)
        # most_common keeps the order of arrival among equals.
        return texts[counted.most_common(1)[0][0]] if counted else ""

    def _read(self, doc: dict[str, Any], text: str) -> Any:
        """What the task's first filter reads in an answer."""
        filters = getattr(self.task, "_filters", None)
        read: Any = [[text]]
        for make in filters[0].filters if filters else ():
            read = list(make().apply(read, [doc]))
        return read[0][0] if isinstance(read[0], list) else read[0]

    def _is_right(self, doc: dict[str, Any], text: str) -> bool:
        metrics: dict[str, Any] = self.task.process_results(doc, [self._read(doc, text)])
        name, value = next(iter(metrics.items()))
        return bool(bool(value) == self.task.higher_is_better().get(name, True))


def _last_text(request: Request) -> str:
    return request.messages[-1].content if request.messages else request.prompt or ""


def _content(request: Request, system: str | None, examples: Sequence[tuple[str, str]], question: str) -> dict[str, Any]:
    """The messages (or the text prompt) of a question behind its examples."""
    if request.messages is None:
        before = [f"{asked} {answer}" for asked, answer in examples]
        return {"prompt": "\n\n".join([*([system] if system else []), *before, question])}
    turns = [turn for turn in request.messages[:-1] if not (system and turn.role == "system")]
    if system:
        turns.insert(0, Message(role="system", content=system))
    for asked, answer in examples:
        turns += [Message(role="user", content=asked), Message(role="assistant", content=answer)]
    return {"messages": (*turns, Message(role="user", content=question))}


def _reordered(doc: dict[str, Any], order: tuple[int, ...]) -> dict[str, Any]:
    return {**doc, "choices": [doc["choices"][place] for place in order], "answer": order.index(doc["answer"])}
