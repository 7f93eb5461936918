"""Anthropic's messages API, natively: POST /v1/messages, streamed or whole, its events, its stop reasons and its way to count tokens.

    {id: claude-sonnet, wire: anthropic, model: claude-sonnet-4-5, base_url: https://api.anthropic.com/v1, api_key_env: ANTHROPIC_API_KEY}

Source: the API reference of version 2023-06-01 (messages, streaming, errors) and the events that its SDKs read.
"""

import json
from typing import Any

from serving.answer import Answer, count_of, error_text, mapping, object_in, text_of
from serving.completion import Request, Usage
from serving.endpoints import Endpoint
from serving.errors import CannotAsk

VERSION = "2023-06-01"
DEFAULT_MAX_TOKENS = 4096


def messages_post(endpoint: Endpoint, request: Request) -> tuple[str, bytes]:
    """Path below base_url and JSON body of one request. The system turns travel in a field of their own.

    `max_tokens` is required by this API: a request that states none asks for at most 4,096. Raises CannotAsk for what it has no field
    for (a text prompt, a seed): a parameter that is silently dropped changes what is measured.
    """
    if request.messages is None:
        raise CannotAsk(f"endpoint '{endpoint.id}' (wire: anthropic) answers chats only; ask with messages instead of a text prompt")
    if request.seed is not None:
        raise CannotAsk(f"endpoint '{endpoint.id}' (wire: anthropic) has no seed; leave seed out for it")
    body: dict[str, Any] = {
        "model": endpoint.model,
        "max_tokens": request.max_tokens or DEFAULT_MAX_TOKENS,
        "messages": [{"role": turn.role, "content": turn.content} for turn in request.messages if turn.role != "system"],
        "stream": endpoint.capabilities.streaming,
    }
    if system := "\n\n".join(turn.content for turn in request.messages if turn.role == "system"):
        body["system"] = system
    for name in ("temperature", "top_p"):
        if (value := getattr(request, name)) is not None:
            body[name] = value
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    body.update(request.extra)
    return "/messages", json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def messages_headers(key: str | None) -> list[str]:
    """The header lines that carry the version and the key."""
    return [f"anthropic-version: {VERSION}", *([f"x-api-key: {key}"] if key is not None else [])]


def messages_event(answer: Answer, data: bytes, at_s: float) -> str:
    """Take one event, or a whole message, into `answer`; returns the text it adds.

    `ping` and events of kinds unknown here say nothing, as the API's rules for new kinds demand. Thinking counts for the first token.
    """
    if (event := object_in(answer, data)) is None:
        return ""
    match event.get("type"):
        case "content_block_delta":
            delta = mapping(event.get("delta"))
            return answer.add(at_s, text_of(delta.get("text")), text_of(delta.get("thinking")))
        case "content_block_start":
            return _block(answer, event.get("content_block"), at_s)
        case "message_start":
            _count(answer, mapping(event.get("message")).get("usage"))
        case "message_delta":
            _stop(answer, mapping(event.get("delta")).get("stop_reason"))
            _count(answer, event.get("usage"))
        case "message_stop":
            answer.done = True
        case "message":
            blocks = event.get("content")
            if not isinstance(blocks, list):
                return answer.reject("a message without content blocks", data)
            _stop(answer, event.get("stop_reason"))
            _count(answer, event.get("usage"))
            return "".join(_block(answer, block, at_s) for block in blocks)
        case "error":
            answer.error = answer.error or error_text(event.get("error")) or "an error without a message"
        case kind if not isinstance(kind, str):
            if problem := event.get("error"):
                answer.error = answer.error or error_text(problem)
            else:
                answer.reject("an event without a type", data)
    return ""


def _block(answer: Answer, block: Any, at_s: float) -> str:
    block = mapping(block)
    return answer.add(at_s, text_of(block.get("text")), text_of(block.get("thinking")))


def _stop(answer: Answer, reason: Any) -> None:
    if isinstance(reason, str) and reason:
        answer.finish_reason = reason
        answer.refusal = answer.refusal or reason == "refusal"


def _count(answer: Answer, usage: Any) -> None:
    """Anthropic counts cached input beside input_tokens; ours holds all of it. Later events correct earlier ones, field by field."""
    said = {name: count_of(mapping(usage).get(name)) for name in _COUNTED}
    counts = {**answer.counts, **{name: value for name, value in said.items() if value is not None}}
    answer.counts = counts
    cached, written = counts.get("cache_read_input_tokens"), counts.get("cache_creation_input_tokens")
    fresh = counts.get("input_tokens")
    answer.usage = Usage(
        input_tokens=None if fresh is None else fresh + (cached or 0) + (written or 0),
        output_tokens=counts.get("output_tokens"),
        cache_read_tokens=cached,
        cache_write_tokens=written,
    )


_COUNTED = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
