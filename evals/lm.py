"""lm-eval asks, we answer: an lm-eval model whose every request goes through serving's client and is kept as a Completion.

lm-eval's own API models throw away usage, latency, cost and status, and one request that keeps failing ends the evaluation.
Here a failed request is an `Answer` whose completion says so; evals/quality.py leaves it out of the score and counts it.
Imports lm_eval (a second): only evals/quality.py imports this module, and only when a run starts.
"""

import asyncio
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lm_eval.api.model import LM

from evals.errors import TaskError
from evals.suite import Parameters
from serving.client import Client
from serving.completion import Completion, Message, Request
from serving.endpoints import Endpoint

# What lm-eval's tasks call the longest answer, in the order of lm-eval's own precedence.
_MAX_TOKENS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")


class ChatPrompt(str):
    """Chat messages as the JSON string that lm-eval can hash and log; a plain `str` is a text prompt."""


class Answer(str):
    """The text of a completion, empty when the request failed, with the completion it came from.

    Constructed like any `str`, because lm-eval turns targets into the type of the answer they are compared with.
    """

    completion: Completion

    @classmethod
    def of(cls, completion: Completion) -> "Answer":
        """The answer of one completion."""
        answer = cls(completion.text if completion.answered else "")
        answer.completion = completion
        return answer


class EndpointLM(LM):  # type: ignore[misc]
    """One endpoint as lm-eval sees it. `record` is called with each completion as it arrives; `concurrency` is requests in flight."""

    def __init__(
        self, endpoint: Endpoint, record: Callable[[Completion], None], *, parameters: Parameters | None = None, concurrency: int = 16
    ) -> None:
        super().__init__()
        self.endpoint = endpoint
        self.record = record
        self.parameters = parameters or Parameters()
        self.concurrency = concurrency

    @property
    def tokenizer_name(self) -> str:
        """lm-eval asks for it wherever chat messages are built."""
        return self.endpoint.id

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The messages as they are: the server applies its model's own template."""
        return ChatPrompt(json.dumps(chat_history, ensure_ascii=False))

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """An `Answer` for each lm-eval Instance, in order. A failed request raises nothing; a missing key raises MissingKey."""
        asked = [to_request(instance.args[0], instance.args[1], self.parameters) for instance in requests]
        return [Answer.of(completion) for completion in asyncio.run(self._ask_all(asked))]

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Raises TaskError: see `refuse_logprobs`."""
        raise refuse_logprobs(requests[0].task_name, self.endpoint)

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Raises TaskError: see `refuse_logprobs`."""
        raise refuse_logprobs(requests[0].task_name, self.endpoint)

    async def _ask_all(self, requests: Sequence[Request]) -> list[Completion]:
        waiting = iter(enumerate(requests))
        completions: dict[int, Completion] = {}

        async def work(client: Client) -> None:
            for index, request in waiting:
                completions[index] = completion = await client.ask(self.endpoint, request)
                self.record(completion)

        async with Client(speed=math.inf) as client:
            workers = [asyncio.create_task(work(client)) for _ in range(min(self.concurrency, len(requests)))]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
        return [completions[index] for index in range(len(requests))]


def to_request(context: str, generation: Mapping[str, Any], parameters: Parameters) -> Request:
    """lm-eval's context and generation_kwargs as a Request, the suite's parameters over the task's.

    Raises TaskError for a generation key that has no meaning here: a parameter that is silently dropped changes the score.
    """
    left = dict(generation)
    stated: dict[str, Any] = {name: left.pop(name) for name in ("temperature", "top_p", "seed") if name in left}
    until = left.pop("until", None) or []
    stated["stop"] = ([until] if isinstance(until, str) else list(until)) or None
    for name in _MAX_TOKENS:
        if name in left:
            stated.setdefault("max_tokens", int(left.pop(name)))
    if left.pop("do_sample", None) is False:
        stated.setdefault("temperature", 0.0)
    if left:
        raise TaskError(
            f"generation_kwargs: '{next(iter(left))}' cannot be sent; remove it from the task, or put it in the suite's parameters.extra"
        )
    content: dict[str, Any] = {"prompt": str(context)}
    if isinstance(context, ChatPrompt):
        content = {"messages": tuple(Message(role=turn["role"], content=turn["content"]) for turn in json.loads(context))}
    return Request(**content, **parameters.over(stated))


def refuse_logprobs(task: str, endpoint: Endpoint) -> TaskError:
    """The error for a task that scores log-probabilities of given texts, which an endpoint that only writes text cannot give."""
    return TaskError(
        f"task '{task}' compares log-probabilities, and endpoint '{endpoint.id}' is asked for text only; "
        "choose a task with output_type: generate_until"
    )
