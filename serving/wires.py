"""What travels over the wire: how a Request becomes a POST, and how a stream of events becomes text, usage and a finish reason.

One wire per dialect, a dict literal as registry. `openai` speaks chat and text completions, streamed as server-sent events, to OpenAI
and to everything compatible (vLLM, TGI, llama.cpp, transformers serve, MLX, Together, …).
"""

import json
from dataclasses import dataclass, field
from typing import Any

from serving.completion import Completion, Request, Status, Usage
from serving.endpoints import Endpoint


class SSEReader:
    """Server-sent events out of raw body bytes (WHATWG HTML, 9.2.6): comments skipped, LF and CRLF accepted, data lines joined."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, body: bytes) -> list[bytes]:
        """The data of every event that these bytes complete."""
        events = []
        *lines, self._rest = (self._rest + body).replace(b"\r\n", b"\n").split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line.strip(b"\r") and self._data:
                events.append(b"\n".join(self._data))
                self._data = []
        return events

    def close(self) -> list[bytes]:
        """The event that the end of the body completes (some servers leave out the last blank line)."""
        return self.feed(b"\n\n")


@dataclass
class Answer:
    """What has been read so far of one streamed answer."""

    text: list[str] = field(default_factory=list)
    chunk_times_s: list[float] = field(default_factory=list)
    refusal: bool = False
    finish_reason: str | None = None
    usage: Usage = Usage()
    done: bool = False
    error: str | None = None

    def status(self) -> Status:
        """The status that the finish reason stands for; `malformed` when the stream ended without one."""
        if self.error is not None:
            return "api_error"
        if self.refusal:
            return "refused"
        if self.finish_reason is None:
            return "malformed"
        return _STATUS_OF_FINISH.get(self.finish_reason, "ok")


_STATUS_OF_FINISH: dict[str, Status] = {
    "stop": "ok", "length": "truncated", "max_tokens": "truncated", "content_filter": "filtered", "refusal": "refused"
}  # fmt: skip


def openai_post(endpoint: Endpoint, request: Request) -> tuple[str, bytes]:
    """Path below base_url and JSON body of one streamed request."""
    body: dict[str, Any] = {"model": endpoint.model, "stream": True, "stream_options": {"include_usage": True}}
    if request.messages is not None:
        path = "/chat/completions"
        body["messages"] = [{"role": message.role, "content": message.content} for message in request.messages]
    else:
        path = "/completions"
        body["prompt"] = request.prompt
    for name in ("max_tokens", "temperature", "top_p", "seed"):
        if (value := getattr(request, name)) is not None:
            body[name] = value
    if request.stop:
        body["stop"] = list(request.stop)
    body.update(request.extra)
    return path, json.dumps(body, ensure_ascii=False).encode()


def openai_event(answer: Answer, data: bytes, at_s: float) -> str:
    """Take one event into `answer`; returns the text it adds ("" for role, usage and closing events).

    The first non-empty content *or reasoning* token counts as the first token; the empty role chunk does not.
    """
    if data.strip() == b"[DONE]":
        answer.done = True
        return ""
    try:
        event = json.loads(data)
    except ValueError:
        answer.error = f"the stream held something that is not JSON: {data[:80]!r}"
        return ""
    if not isinstance(event, dict):
        answer.error = f"the stream held JSON that is no object: {data[:80]!r}"
        return ""
    if problem := event.get("error"):
        answer.error = error_text(problem)
        return ""
    if isinstance(event.get("usage"), dict):
        answer.usage = openai_usage(event["usage"])
    choice = (event.get("choices") or [{}])[0]
    delta = choice.get("delta") or choice.get("message") or {}
    answer.finish_reason = choice.get("finish_reason") or answer.finish_reason
    answer.refusal = answer.refusal or bool(delta.get("refusal"))
    text = delta.get("content") or choice.get("text") or delta.get("refusal") or ""
    if text:
        answer.text.append(text)
    if text or delta.get("reasoning_content") or delta.get("reasoning"):
        answer.chunk_times_s.append(at_s)
    return str(text)


def openai_usage(usage: dict[str, Any]) -> Usage:
    """OpenAI's usage object in our terms."""
    return Usage(
        input_tokens=usage.get("prompt_tokens"),
        output_tokens=usage.get("completion_tokens"),
        cache_read_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens"),
        reasoning_tokens=(usage.get("completion_tokens_details") or {}).get("reasoning_tokens"),
    )


def error_text(problem: Any) -> str:
    """The message inside an error object of whatever shape, on one line, at most 300 characters."""
    while isinstance(problem, dict):
        problem = problem.get("message") or problem.get("error") or problem.get("detail") or json.dumps(problem)
    return " ".join(str(problem).split())[:300]


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


POST = {"openai": openai_post}
EVENT = {"openai": openai_event}
