"""What travels over the wire: how a Request becomes a POST, and how events become text, usage and a finish reason.

One wire per dialect, dict literals as registry. `openai` speaks chat and text completions, streamed as server-sent events or whole, to
OpenAI and to everything compatible (vLLM, TGI, llama.cpp, transformers serve, MLX, Together, …); `anthropic` the messages API.
"""

import json
from collections.abc import Callable
from typing import Any

from pydantic_core import from_json

from serving.answer import Answer, count_of, error_text, mapping, object_in, text_of
from serving.anthropic import messages_event, messages_headers, messages_post
from serving.completion import Completion, Request, Usage
from serving.endpoints import Endpoint
from serving.scoring import echo_body

# json.dumps makes an encoder each time.
_encode = json.JSONEncoder(ensure_ascii=False).encode


def openai_post(endpoint: Endpoint, request: Request) -> tuple[str, bytes]:
    """Path below base_url and JSON body of one request, in the words that the endpoint's capabilities say it understands."""
    if request.continuation is not None:
        return "/completions", _encode(echo_body(endpoint, request)).encode("utf-8", "replace")
    can = endpoint.capabilities
    body: dict[str, Any] = {"model": endpoint.model, "stream": can.streaming}
    if can.streaming and can.usage:
        body["stream_options"] = {"include_usage": True}
    if request.messages is not None:
        path = "/chat/completions"
        body["messages"] = [{"role": message.role, "content": message.content} for message in request.messages]
    else:
        path = "/completions"
        body["prompt"] = request.prompt
    body.update(can.neutral)
    if request.max_tokens is not None:
        # Text completions never had another name for it.
        body[can.max_tokens_field if request.messages is not None else "max_tokens"] = request.max_tokens
    for name in ("temperature", "top_p", "seed"):
        if (value := getattr(request, name)) is not None:
            body[name] = value
    if request.stop:
        body["stop"] = list(request.stop)
    body.update(request.extra)
    return path, _encode(body).encode("utf-8", "replace")


def openai_headers(key: str | None) -> list[str]:
    """The header lines that carry the key."""
    return [f"Authorization: Bearer {key}"] if key is not None else []


def openai_event(answer: Answer, data: bytes, at_s: float) -> str:
    """Take one event into `answer`; returns the text it adds ("" for role, usage and closing events).

    The first non-empty content *or reasoning* token counts as the first token; the empty role chunk does not.
    """
    if data[:1] != b"{" and data.strip() == b"[DONE]":
        answer.done = True
        return ""
    if (event := object_in(answer, data)) is None:
        return ""
    if (token := _plain_token(event)) is not None:
        answer.text.append(token)
        answer.chunk_times_s.append(at_s)
        return token
    if problem := event.get("error"):
        answer.error = answer.error or error_text(problem) or "an error without a message"
        return ""
    if isinstance(event.get("usage"), dict):
        answer.usage = openai_usage(event["usage"])
    choices = event.get("choices")
    if not choices:
        return ""
    choice = choices[0] if isinstance(choices, list) else None
    if not isinstance(choice, dict):
        return answer.reject("choices of an unknown shape", data)
    delta = choice.get("delta") or choice.get("message") or {}
    if not isinstance(delta, dict):
        return answer.reject("a delta of an unknown shape", data)
    finish = choice.get("finish_reason")
    answer.finish_reason = finish if isinstance(finish, str) and finish else answer.finish_reason
    refusal = text_of(delta.get("refusal"))
    answer.refusal = answer.refusal or bool(refusal)
    if isinstance(logprobs := choice.get("logprobs"), dict) and "token_logprobs" in logprobs:
        answer.logprobs = logprobs
    content = delta.get("content") or choice.get("text")
    if content and not isinstance(content, str | list):
        return answer.reject("content that is no text", data)
    reasoning = text_of(delta.get("reasoning_content")) or text_of(delta.get("reasoning")) or _thinking_in(content)
    return answer.add(at_s, text_of(content) or refusal, reasoning)


def _plain_token(event: dict[str, Any]) -> str | None:
    """The text of what nearly every event is, one chat token and nothing else; None for all others. It takes a fifth off reading."""
    choices = event.get("choices")
    if type(choices) is not list or not choices or event.get("error") or event.get("usage"):
        return None
    choice = choices[0]
    if type(choice) is not dict or choice.get("finish_reason"):
        return None
    delta = choice.get("delta")
    if type(delta) is not dict or len(delta) != 1:
        return None
    content = delta.get("content")
    return content if type(content) is str and content else None


def plain_frame(data: bytes) -> tuple[bytes, bytes] | None:
    """What stands before and after the text of a plain chat token, if other text could stand there and nothing else would change.

    That is tried, not guessed: the event is parsed with another text in that place.
    """
    event = from_json(data)
    if (token := _plain_token(event)) is None:
        return None
    written = b'"' + token.encode() + b'"'
    before, found, after = data.rpartition(written)
    if not found:
        return None
    another = token[:1] + "another"
    event["choices"][0]["delta"]["content"] = another
    return (before + b'"', b'"' + after) if from_json(before + b'"' + another.encode() + b'"' + after) == event else None


def openai_usage(usage: dict[str, Any]) -> Usage:
    """OpenAI's usage object in our terms (and DeepSeek's name for what the cache held)."""
    cached = count_of(mapping(usage.get("prompt_tokens_details")).get("cached_tokens"))
    return Usage(
        input_tokens=count_of(usage.get("prompt_tokens")),
        output_tokens=count_of(usage.get("completion_tokens")),
        cache_read_tokens=cached if cached is not None else count_of(usage.get("prompt_cache_hit_tokens")),
        reasoning_tokens=count_of(mapping(usage.get("completion_tokens_details")).get("reasoning_tokens")),
    )


def _thinking_in(content: Any) -> str:
    """Reasoning that comes as a part of the content (Mistral): {"type": "thinking", "thinking": [{"type": "text", "text": …}]}."""
    if not isinstance(content, list):
        return ""
    return "".join(text_of(mapping(part).get("thinking")) for part in content)


def openai_json(completion: Completion, *, identity: str, created: int) -> dict[str, Any]:
    """The non-streamed response object for a recorded completion: the same dialect, seen from the server's side."""
    chat = completion.request.messages is not None
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish_of(completion), "logprobs": None}
    choice |= {"message": {"role": "assistant", "content": completion.text}} if chat else {"text": completion.text}
    return {
        "id": identity, "object": "chat.completion" if chat else "text_completion", "created": created,
        "model": completion.endpoint, "choices": [choice], "usage": usage_json(completion.usage),
    }  # fmt: skip


def usage_json(usage: Usage) -> dict[str, Any] | None:
    """Our usage in OpenAI's terms, or None where it is not known on both sides: counts are never invented."""
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def finish_of(completion: Completion) -> str:
    """A finish reason that the protocol knows."""
    return completion.finish_reason or {"truncated": "length", "filtered": "content_filter"}.get(completion.status, "stop")


# By wire: the path and body of a request, the headers with its key, and what one event of the response says.
POST: dict[str, Callable[[Endpoint, Request], tuple[str, bytes]]] = {"openai": openai_post, "anthropic": messages_post}
HEADERS: dict[str, Callable[[str | None], list[str]]] = {"openai": openai_headers, "anthropic": messages_headers}
EVENT: dict[str, Callable[[Answer, bytes, float], str]] = {"openai": openai_event, "anthropic": messages_event}
# What nearly every event of a stream shares, found in one of them, so that the others need not be parsed (serving/reading.py).
FRAME: dict[str, Callable[[bytes], tuple[bytes, bytes] | None]] = {"openai": plain_frame}
