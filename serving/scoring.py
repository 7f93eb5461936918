"""The log-probability of a given text, from a server that echoes its prompt with log-probabilities.

    Request(prompt="The capital of France is", continuation=" Paris")   ->   Completion.loglikelihood, .is_greedy

Only endpoints whose echo was checked against a known sum are asked (serving/probe.py): others answer with numbers that mean nothing.
"""

from typing import Any

from serving.completion import Request
from serving.endpoints import Endpoint


def echo_body(endpoint: Endpoint, request: Request) -> dict[str, Any]:
    """The text completion that echoes prompt and continuation; one token is generated because some servers refuse none."""
    scored = {"max_tokens": 1, "temperature": 0, "logprobs": 1, "echo": True, "stream": False}
    if endpoint.engine == "vllm":
        # As lm-eval's own backends: the tokens of the text alone, without the tokenizer's opening token.
        scored["add_special_tokens"] = False
    return {"model": endpoint.model, "prompt": f"{request.prompt}{request.continuation}", **scored, **request.extra}


def score_echo(logprobs: dict[str, Any] | None, request: Request) -> tuple[float, bool]:
    """(log-probability of the continuation, whether each of its tokens was the likeliest).

    Tokens are counted from the end of the text, because what some servers put before it (an opening token) has no length of its own.
    A token that holds the end of the prompt and the beginning of the continuation counts to the continuation. Raises ValueError,
    saying what is wrong.
    """
    if logprobs is None:
        raise ValueError("no log-probabilities came")
    tokens, values, tops = (logprobs.get(name) for name in ("tokens", "token_logprobs", "top_logprobs"))
    if not (isinstance(tokens, list) and isinstance(values, list) and isinstance(tops, list) and len(tokens) == len(values) == len(tops)):
        raise ValueError("tokens, token_logprobs and top_logprobs are not lists of one length")
    whole = f"{request.prompt}{request.continuation}"
    names = [str(token) for token in tokens]
    end = next((end for end in (len(names), len(names) - 1) if "".join(names[:end]).endswith(whole)), None)
    if end is None:
        raise ValueError("the echoed tokens do not make up the text")
    start, left = end, len(request.continuation or "")
    while left > 0:
        start -= 1
        left -= len(names[start])
    total, greedy = 0.0, True
    for value, top in zip(values[start:end], tops[start:end], strict=True):
        if not isinstance(value, int | float) or not isinstance(top, dict) or not top:
            raise ValueError("an echoed token has no log-probability")
        total += value
        greedy = greedy and value >= max(top.values())
    return total, greedy
