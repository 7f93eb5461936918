"""What a running server can really do, asked of it rather than read about it: `serving up` and `serving attach` begin with this.

    probe = await look(endpoint)          # serving ping ID --probe
    probe.capabilities.logprobs           # true only when the echoed log-probabilities add up to a known sum

Peers are wrong without a word: llama.cpp's server scores each echoed token by what follows it, transformers' ignores `logprobs`. A
log-likelihood task on either would give numbers that mean nothing, so the same text is scored twice here and the two must agree.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.answer import SSEReader, error_text, mapping, text_of
from serving.client import Client, Timeouts
from serving.completion import Request
from serving.connection import Exchange
from serving.documents import Noun
from serving.endpoints import Capabilities, Endpoint
from serving.errors import CannotAsk, Unreachable
from serving.prepared import prepare, prepare_call

# An answer to this does not end by itself within the few tokens that are allowed.
_QUESTION = "Count from one to one hundred, in words."
_STARTS = ("The capital of France is", "Once upon a time there", "one two three four", "import os\nimport", "Dear Sir or Madam")
_MAX_TOKENS = 8
_STEPS = 4
# A prompt's logits come from other kernels than a single token's: in bfloat16 they differ by some .01. Off by one is off by .3 and more.
_TOLERANCE = 0.1


class Probe(Noun):
    """What was found: capabilities, and in words what was seen at each check."""

    endpoint: str
    capabilities: Capabilities
    checks: Mapping[str, str]


@dataclass
class _Reply:
    """One response, read whole: `document` when it was JSON, `events` when it was a stream."""

    status: int = 0
    problem: str = ""
    document: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    done: bool = False

    @property
    def choice(self) -> dict[str, Any]:
        return _first(self.document.get("choices"))


async def look(endpoint: Endpoint, client: Client | None = None) -> Probe:
    """Ask the endpoint's server some twenty very short questions.

    Raises Unreachable when nothing answers there, the key is refused, or neither chat nor completions answer; MissingKey; CannotAsk for
    wires other than openai.
    """
    if endpoint.wire != "openai":
        raise CannotAsk(f"endpoint '{endpoint.id}' (wire: {endpoint.wire}) cannot be probed; only openai can")
    if client is None:
        # A server of one's own that answers 500 will do so again; an API with a key may only be busy.
        patience = Timeouts(first_s=120, between_s=60, total_s=300)
        async with Client(timeouts=patience, max_retries=2 if endpoint.api_key_env else 0) as own:
            return await look(endpoint, own)
    checks = {"models": await _models(client, endpoint)}
    endpoint, chat = await _chat(client, endpoint)
    whole = await _ask(client, endpoint, Request(prompt=_QUESTION, max_tokens=_MAX_TOKENS), streaming=False)
    found: dict[str, Any] = {"chat": bool(chat.choice), "completions": bool(whole.choice)}
    checks |= {"chat": _verdict(chat), "completions": _verdict(whole)}
    if not (chat.choice or whole.choice):
        raise Unreachable(f"endpoint '{endpoint.id}' does not answer as '{endpoint.model}' at {endpoint.base_url}: {chat.problem}")
    checks["max_tokens"] = _limit(chat if chat.choice else whole)
    found["stop"], checks["stop"] = await _stop(client, endpoint, chats=bool(chat.choice))
    request = Request.user(_QUESTION, max_tokens=_MAX_TOKENS) if chat.choice else Request(prompt=_QUESTION, max_tokens=_MAX_TOKENS)
    found |= await _stream(client, endpoint, request, checks)
    found["logprobs"], checks["logprobs"] = False, "no completions to ask them of"
    if whole.choice:
        found["logprobs"], checks["logprobs"] = await _score_twice(client, endpoint)
    return Probe(endpoint=endpoint.id, capabilities=endpoint.capabilities.model_copy(update=found), checks=checks)


def look_now(endpoint: Endpoint) -> Probe:
    """`look`, waited for: in a thread of its own, because whoever calls may be inside a running loop."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(look(endpoint))).result()


async def _chat(client: Client, endpoint: Endpoint) -> tuple[Endpoint, _Reply]:
    """A chat's answer, and the endpoint with the name that its server gives the limit."""
    request = Request.user(_QUESTION, max_tokens=_MAX_TOKENS)
    reply = await _ask(client, endpoint, request, streaming=False)
    if reply.status in (400, 422) and "max_completion_tokens" in reply.problem:
        endpoint = _with(endpoint, max_tokens_field="max_completion_tokens")
        reply = await _ask(client, endpoint, request, streaming=False)
    return endpoint, reply


async def _stop(client: Client, endpoint: Endpoint, *, chats: bool) -> tuple[bool, str]:
    """Whether a stop sequence ends an answer: the same question twice, the second time with a piece of the first answer as the stop."""
    values: dict[str, Any] = {"max_tokens": 4 * _MAX_TOKENS, "temperature": 0}
    request = Request.user(_QUESTION, **values) if chats else Request(prompt=_QUESTION, **values)
    text = _text(await _ask(client, endpoint, request, streaming=False))
    middle = next((piece for piece in text[len(text) // 3 :].split() if piece.isascii() and text.find(piece) > 0), None)
    if middle is None:
        return True, "not checked: no plain word in the answer to stop at"
    stopped = await _ask(client, endpoint, request.model_copy(update={"stop": (middle,)}), streaming=False)
    if not stopped.choice:
        return False, f"no: {stopped.problem}"
    return (False, "ignored; answers are cut here") if middle in _text(stopped) else (True, "yes")


async def _stream(client: Client, endpoint: Endpoint, request: Request, checks: dict[str, str]) -> dict[str, bool]:
    """Whether answers stream, end in [DONE], and tell their tokens."""
    reply = await _ask(client, endpoint, request, streaming=True, usage=True)
    if reply.status in (400, 422) and "stream_options" in reply.problem:
        reply = await _ask(client, endpoint, request, streaming=True, usage=False)
    texts = [event for event in reply.events if _says_something(_first(event.get("choices")))]
    counts = [event["usage"] for event in reply.events if isinstance(mapping(event.get("usage")).get("completion_tokens"), int)]
    checks["stream"] = f"{len(texts)} pieces" if texts else f"no: {reply.problem or 'one document'}"
    checks["usage"] = f"{counts[-1]['completion_tokens']} tokens told in the stream" if counts else "not told in the stream"
    checks["[DONE]"] = "yes" if reply.done else "no"
    return {"streaming": bool(texts), "usage": bool(counts) or not texts, "done": reply.done}


async def _score_twice(client: Client, endpoint: Endpoint) -> tuple[bool, str]:
    """Whether echoed log-probabilities equal those of the same tokens asked one by one.

    The text is grown token by token from what the server itself finds likely, so that each token's log-probability is known; then the whole
    is scored in one request. Texts that are cut into other tokens the second time prove nothing, and another start is tried.
    """
    told = "could not be checked: no text keeps its tokens"
    for start in _STARTS:
        text = start
        tokens: list[str] = []
        known: list[float] = []
        for _ in range(_STEPS):
            one = await _ask(client, endpoint, Request(prompt=text, max_tokens=1, temperature=0, extra={"logprobs": 5}), streaming=False)
            likely = _likely(one.choice)
            if not likely:
                return False, one.problem or "ignored"
            # Not the same token twice: then a neighbour's value would be its own.
            plain = next(((token, value) for token, value in likely if _plain(token) and token not in tokens), None)
            if plain is None:
                break
            text, tokens, known = text + plain[0], [*tokens, plain[0]], [*known, plain[1]]
        if len(known) < _STEPS:
            continue
        extra = {"logprobs": 1, "echo": True}
        echo = await _ask(client, endpoint, Request(prompt=text, max_tokens=1, temperature=0, extra=extra), streaming=False)
        logprobs = mapping(echo.choice.get("logprobs"))
        values, names = logprobs.get("token_logprobs"), logprobs.get("tokens")
        if not (isinstance(values, list) and isinstance(names, list)) or not str(echo.choice.get("text", "")).startswith(start):
            return False, echo.problem or "echo is ignored"
        # Some servers list the generated token, too; the echoed ones are those that make up the text.
        end = next((end for end in (len(names), len(names) - 1) if "".join(map(str, names[:end])).endswith(text)), 0)
        scored, named = values[:end][-_STEPS:], names[:end][-_STEPS:]
        if named != tokens or len(values) != len(names):
            continue
        if not all(isinstance(value, int | float) for value in scored):
            return False, "echoed tokens have no log-probability"
        apart = max(abs(a - b) for a, b in zip(scored, known, strict=True))
        sums = f"{_STEPS} tokens sum to {sum(scored):.3f} echoed, {sum(known):.3f} asked one by one"
        if apart <= _TOLERANCE:
            return True, f"right: {sums}"
        return False, f"wrong: {sums} (one differs by {apart:.2f}); not to be used"
    return False, told


def _likely(choice: dict[str, Any]) -> list[tuple[str, float]]:
    """(token, log-probability) of the likeliest next tokens, best first; empty when the server tells none."""
    top = mapping(choice.get("logprobs")).get("top_logprobs")
    first = mapping(_nth(top))
    pairs = [(str(token), float(value)) for token, value in first.items() if isinstance(value, int | float)]
    return sorted(pairs, key=lambda pair: -pair[1])


def _plain(token: str) -> bool:
    """Text that means the same wherever it stands: no half characters, no special tokens."""
    return bool(token) and token.isascii() and token.isprintable() and not set("<>|") & set(token)


def _limit(reply: _Reply) -> str:
    tokens = mapping(reply.document.get("usage")).get("completion_tokens")
    finish = reply.choice.get("finish_reason")
    if not isinstance(tokens, int):
        return f"cannot be told: no usage (finish_reason {finish})"
    if tokens > _MAX_TOKENS:
        return f"not honoured: {tokens} tokens where {_MAX_TOKENS} were allowed"
    return f"honoured: {tokens} of {_MAX_TOKENS}, finish_reason {finish}"


def _verdict(reply: _Reply) -> str:
    return "yes" if reply.choice else f"no: {reply.problem}"


async def _models(client: Client, endpoint: Endpoint) -> str:
    listing = prepare_call(endpoint, Request(prompt=""), method="GET", path="/models", body=b"")
    reply = _read(endpoint, await client.exchange(listing), streaming=False)
    entries = reply.document.get("data")
    if reply.status != 200 or not isinstance(entries, list):
        return f"no: {reply.problem or 'no list'}"
    names = [str(mapping(entry).get("id")) for entry in entries]
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return f"{len(names)} listed: {shown}" if names else "none listed"


async def _ask(client: Client, endpoint: Endpoint, request: Request, *, streaming: bool, usage: bool = True) -> _Reply:
    asked = _with(endpoint, streaming=streaming, usage=usage)
    return _read(endpoint, await client.exchange(prepare(asked, request)), streaming=streaming)


def _read(endpoint: Endpoint, exchange: Exchange, *, streaming: bool) -> _Reply:
    """The response. Raises Unreachable when there was none, or the key was refused."""
    if not exchange.status or exchange.timed_out:
        raise Unreachable(f"endpoint '{endpoint.id}' does not answer at {endpoint.base_url}: {exchange.failure}; start its server")
    if exchange.status in (401, 403):
        remedy = (
            f"the key in {endpoint.api_key_env} is refused" if endpoint.api_key_env else "it wants a key: name its variable (--api-key-env)"
        )
        raise Unreachable(f"endpoint '{endpoint.id}' at {endpoint.base_url}: HTTP {exchange.status}: {remedy}")
    reply = _Reply(status=exchange.status)
    content = b"".join(piece for _, piece in exchange.body)
    if exchange.status == 200 and streaming and b"event-stream" in exchange.headers.get(b"content-type", b""):
        reader = SSEReader()
        for data in [*reader.feed(content), *reader.close()]:
            reply.done = reply.done or data.strip() == b"[DONE]"
            reply.events.append(_object(data))
        reply.problem = error_text(next((event["error"] for event in reply.events if event.get("error")), ""))
        return reply
    document = _object(content)
    if exchange.status == 200 and not document.get("error"):
        reply.document = document
        return reply
    reply.problem = f"HTTP {exchange.status}: {error_text(document or content.decode('utf-8', 'replace'))}"
    return reply


def _object(data: bytes) -> dict[str, Any]:
    try:
        return mapping(json.loads(data))
    except ValueError:
        return {}


def _first(choices: Any) -> dict[str, Any]:
    return mapping(_nth(choices))


def _text(reply: _Reply) -> str:
    return text_of(mapping(reply.choice.get("message")).get("content")) or text_of(reply.choice.get("text"))


def _nth(values: Any) -> Any:
    return values[0] if isinstance(values, list) and values else None


def _says_something(choice: dict[str, Any]) -> bool:
    delta = mapping(choice.get("delta"))
    return bool(delta.get("content") or delta.get("reasoning_content") or delta.get("reasoning") or choice.get("text"))


def _with(endpoint: Endpoint, **capabilities: Any) -> Endpoint:
    return endpoint.model_copy(update={"capabilities": endpoint.capabilities.model_copy(update=capabilities)})
