"""Serve a recording as an OpenAI-compatible server: `serving replay results/runs/<id>/completions.jsonl --speed 2`.

Any OpenAI client can ask it: /v1/models, /v1/chat/completions, /v1/completions, streamed or not. A request that the recording does not hold
is answered with 404 and what differs; a recorded failure is a failure again; token counts appear only where they were recorded.
"""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from serving.completion import Completion, Message, Request
from serving.errors import NotRecorded
from serving.recorded import Recording, load_recording, play
from serving.wires import finish_of, openai_json, usage_json

_FAILURE_STATUS = {"timeout": 504, "filtered": 400}
_NOT_CONTENT = {"model", "stream", "stream_options", "messages", "prompt", "user", "n", "max_completion_tokens"}


def replay_app(path: Path, *, speed: float = 1.0) -> Starlette:
    """The ASGI application for one recording. Raises DocumentError when the file is no recording."""
    recording = load_recording(path)
    numbers = itertools.count(1)

    async def models(_: HTTPRequest) -> Response:
        entries = [{"id": name, "object": "model", "created": 0, "owned_by": "recording"} for name in recording.models]
        return JSONResponse({"object": "list", "data": entries})

    async def complete(http: HTTPRequest) -> Response:
        try:
            body = await http.json()
            model, request = _parse(body, chat=http.url.path.endswith("/chat/completions"))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return _error(400, f"not a request this server understands: {error}", "invalid_request_error")
        return await _answer(recording, model, request, body, identity=f"replay-{next(numbers)}", speed=speed)

    async def health(_: HTTPRequest) -> Response:
        return JSONResponse({"status": "ok"})

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/v1/models", models),
            Route("/v1/chat/completions", complete, methods=["POST"]),
            Route("/v1/completions", complete, methods=["POST"]),
        ]
    )


async def _answer(recording: Recording, model: str, request: Request, body: dict[str, Any], *, identity: str, speed: float) -> Response:
    try:
        line = recording.find(model, request)
    except NotRecorded as error:
        return _error(404, str(error), "not_recorded")
    if not line.answered:
        return _error(_FAILURE_STATUS.get(line.status, 502), f"recorded {line.status}: {line.error}", line.status)
    if body.get("stream"):
        wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        events = _events(line, identity, speed, wants_usage=wants_usage)
        return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
    async for _ in play(line, speed):
        pass
    return JSONResponse(openai_json(line, identity=identity, created=int(time.time())))


def _parse(body: dict[str, Any], *, chat: bool) -> tuple[str, Request]:
    if body.get("n", 1) != 1:
        raise ValueError("n: a recording holds one answer a request; ask with n=1")
    parameters = {key: value for key, value in body.items() if key not in _NOT_CONTENT and value is not None}
    if (limit := body.get("max_completion_tokens")) is not None:
        parameters["max_tokens"] = limit
    if isinstance(parameters.get("stop"), str):
        parameters["stop"] = [parameters["stop"]]
    known = {key: parameters.pop(key) for key in list(parameters) if key in Request.model_fields}
    if chat:
        messages = tuple(Message(role=turn["role"], content=_plain(turn["content"])) for turn in body["messages"])
        return body["model"], Request(messages=messages, extra=parameters, **known)
    return body["model"], Request(prompt=body["prompt"], extra=parameters, **known)


def _plain(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part["text"] for part in content)
    return str(content)


async def _events(line: Completion, identity: str, speed: float, *, wants_usage: bool) -> AsyncIterator[str]:
    chat = line.request.messages is not None
    kind = "chat.completion.chunk" if chat else "text_completion"
    head = {"id": identity, "object": kind, "created": int(time.time()), "model": line.endpoint}

    def event(choices: list[dict[str, Any]], **more: Any) -> str:
        return f"data: {json.dumps({**head, 'choices': choices, **more}, ensure_ascii=False)}\n\n"

    def choice(text: str | None, finish: str | None = None) -> list[dict[str, Any]]:
        content = {"delta": {} if text is None else {"content": text}} if chat else {"text": text or ""}
        return [{"index": 0, **content, "finish_reason": finish}]

    if chat:
        yield event([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])
    async for piece in play(line, speed):
        yield event(choice(piece))
        # Without a pause between two pieces that are due at once, a long answer would hold the loop.
        await asyncio.sleep(0)
    yield event(choice(None, finish_of(line)))
    usage = usage_json(line.usage)
    if wants_usage and usage is not None:
        yield event([], usage=usage)
    yield "data: [DONE]\n\n"


def _error(status: int, message: str, kind: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": kind, "code": kind, "param": None}}, status_code=status)
