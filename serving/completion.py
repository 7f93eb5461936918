"""One request to a model and what came back: text, tokens, times, dollars and a status. An error is never an answer.

A file of completions (one JSON object a line) is a *recording*: it can be served again (serving/recorded.py).
Times are seconds from the moment the request was sent, on one monotonic clock.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import Field, model_validator

from serving.documents import Noun

Role = Literal["system", "user", "assistant"]
Status = Literal["ok", "truncated", "refused", "filtered", "api_error", "timeout", "malformed"]

# Statuses whose text is the model's own and may be shown, voted on and scored. The others are failures with a count of their own.
ANSWERED: frozenset[Status] = frozenset({"ok", "truncated", "refused"})


class Message(Noun):
    """One turn of a conversation, in OpenAI's terms."""

    role: Role
    content: str


class Request(Noun):
    """What is asked: either chat `messages` or a text `prompt`, and the sampling parameters that were *stated*.

    A parameter left None is not sent: the server's own default holds. `extra` is passed through to the server as is. With `continuation`
    nothing is to be written: the log-probability of that text after `prompt` is asked for.
    """

    messages: tuple[Message, ...] | None = None
    prompt: str | None = None
    continuation: str | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    stop: tuple[str, ...] | None = None
    seed: int | None = None
    extra: Mapping[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_content(self) -> "Request":
        if (self.messages is None) == (self.prompt is None):
            raise ValueError("a request has either messages or prompt")
        if self.continuation is not None and not (self.prompt and self.continuation):
            raise ValueError("a continuation is scored after a prompt, and neither may be empty")
        return self

    @classmethod
    def user(cls, text: str, **parameters: Any) -> "Request":
        """A chat of one user turn."""
        return cls(messages=(Message(role="user", content=text),), **parameters)

    @property
    def stated(self) -> dict[str, Any]:
        """The parameters that were stated, without the content: what a recording must agree with."""
        return self.model_dump(mode="json", exclude={"messages", "prompt", "continuation"}, exclude_defaults=True)

    @property
    def content_hash(self) -> str:
        """Hash of the messages or the prompt (and its continuation) alone (32 hex digits)."""
        return _digest(self.model_dump(mode="json", include={"messages", "prompt", "continuation"}, exclude_none=True))

    @property
    def request_hash(self) -> str:
        """Hash of everything that was asked, parameters included (32 hex digits)."""
        return _digest(self.model_dump(mode="json", exclude_defaults=True))


class Usage(Noun):
    """Tokens as the server counted them; None is "not said", never zero.

    Reasoning tokens are part of output_tokens; tokens read from a prompt cache or written to it are part of input_tokens.
    """

    input_tokens: int | None = Field(default=None, ge=0)
    output_tokens: int | None = Field(default=None, ge=0)
    cache_read_tokens: int | None = Field(default=None, ge=0)
    cache_write_tokens: int | None = Field(default=None, ge=0)
    reasoning_tokens: int | None = Field(default=None, ge=0)


class Completion(Noun):
    """What came back for one request, or why nothing did.

    `ttft_s` is the first *non-empty* content (or reasoning) token, not the empty role chunk; `latency_s` is end to end;
    `chunk_times_s` are the arrivals of the content chunks, kept so that any peer's definition can be recomputed.
    `usage_source` says who counted the tokens. `cost_usd` is None when tokens or price are unknown: an unknown bill is not a bill of zero.
    `retries` counts the attempts before this one; all times are those of the last. A failure keeps the text that came before it.
    `loglikelihood` (natural logarithm) and `is_greedy` (every token of it was the likeliest) answer a request with a continuation.
    """

    endpoint: str
    request: Request
    request_hash: str = Field(min_length=1, default_factory=lambda given: given["request"].request_hash)
    text: str = ""
    finish_reason: str | None = None
    usage: Usage = Usage()
    usage_source: Literal["server", "tokenizer"] | None = None
    started_at: datetime | None = None
    ttft_s: float | None = Field(default=None, ge=0)
    latency_s: float | None = Field(default=None, ge=0)
    chunk_times_s: tuple[float, ...] = ()
    cost_usd: float | None = Field(default=None, ge=0)
    status: Status = "ok"
    error: str | None = None
    retries: int = Field(default=0, ge=0)
    loglikelihood: float | None = None
    is_greedy: bool | None = None

    @property
    def answered(self) -> bool:
        """Whether `text` is an answer of the model's own (see ANSWERED)."""
        return self.status in ANSWERED

    @property
    def tpot_s(self) -> float | None:
        """Time per output token after the first: (latency - ttft) / (output_tokens - 1); None where it is not defined."""
        tokens = self.usage.output_tokens
        if self.ttft_s is None or self.latency_s is None or tokens is None or tokens < 2:
            return None
        return (self.latency_s - self.ttft_s) / (tokens - 1)

    def to_line(self) -> str:
        """One JSON line of completions.jsonl, without what was left at its default."""
        return self.model_dump_json(exclude_defaults=True)


_canonical = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode


def _digest(content: Any) -> str:
    return hashlib.sha256(_canonical(content).encode()).hexdigest()[:32]
