"""lm-eval asks, we answer: an lm-eval model whose every request goes through serving's client and is kept as a Completion.

lm-eval's own API models throw away usage, latency, cost and status, and one request that keeps failing ends the evaluation.
Here a failed request is an `Answer` whose completion says so; evals/quality.py leaves it out of the score and counts it.
Imports lm_eval (a second): only evals/quality.py imports this module, and only when a run starts.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lm_eval.api.model import LM

from evals.asking import Asker
from evals.errors import TaskError
from evals.local_scorer import scores_locally
from evals.suite import Parameters
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


class Scored(tuple[float, bool]):
    """(log-probability, greedy) of a continuation, with the completion it came from; (0, False) when the request failed."""

    completion: Completion

    @classmethod
    def of(cls, completion: Completion) -> "Scored":
        """The score of one completion."""
        scored = cls((completion.loglikelihood or 0.0, bool(completion.is_greedy)))
        scored.completion = completion
        return scored


class EndpointLM(LM):  # type: ignore[misc]
    """One endpoint as lm-eval sees it: `asker` asks (evals/asking.py), the suite's `parameters` stand over the task's."""

    def __init__(self, asker: Asker, parameters: Parameters | None = None, on_total: Callable[[int], None] | None = None) -> None:
        super().__init__()
        self.asker = asker
        self.endpoint = asker.endpoint
        self.parameters = parameters or Parameters()
        self.on_total = on_total

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
        return [Answer.of(completion) for completion in self._ask(asked)]

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """A `Scored` for each (context, continuation), in order. Raises TaskError where nobody can give it: `check_logprobs`."""
        check_logprobs(requests[0].task_name, self.endpoint)
        asked = [to_scoring(*instance.args) for instance in requests]
        return [Scored.of(completion) for completion in self._ask(asked)]

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Raises TaskError: whole documents are not scored here."""
        raise TaskError(f"task '{requests[0].task_name}' scores whole documents (loglikelihood_rolling), which 'evals run' does not do")

    def _ask(self, requests: list[Request]) -> list[Completion]:
        if self.on_total is not None:
            self.on_total(len(requests))
        return self.asker.ask_all(requests)


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


def to_scoring(context: str, continuation: str) -> Request:
    """lm-eval's pair as a Request. Spaces at the end of the context belong to the continuation's first token, as in lm-eval's backends."""
    if not context.strip():
        raise TaskError("a continuation without a context cannot be scored; give the task's doc_to_text something to say")
    kept = context.rstrip()
    return Request(prompt=kept, continuation=context[len(kept) :] + continuation)


def check_logprobs(task: str, endpoint: Endpoint) -> None:
    """Raises TaskError where a task that compares log-probabilities is asked of an endpoint that cannot give right ones."""
    if endpoint.wire == "recorded" or (endpoint.capabilities.logprobs and endpoint.capabilities.completions) or scores_locally(endpoint):
        return
    raise TaskError(
        f"task '{task}' compares log-probabilities, and no probe has found those of endpoint '{endpoint.id}' right; choose a task with "
        "output_type: generate_until, or an engine that passes the probe ('serving up MODEL --engine vllm', 'serving ping ID --probe')"
    )
