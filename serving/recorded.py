"""A recording is an endpoint: any completions.jsonl can be asked again, in process or over HTTP (serving/replay.py).

That one idea is the demo, deterministic tests, re-scoring without paying again, and blind human evaluation of answers made elsewhere.
A line answers a request when their contents (messages or prompt) are equal and every parameter that the *line* states equals the
request's: what a recording does not state it does not constrain. What it does not hold is NotRecorded, never an invention.
"""

import asyncio
import gzip
import math
import re
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from pathlib import Path

from serving.completion import Completion, Request
from serving.documents import parse_document
from serving.endpoints import Endpoint
from serving.errors import DocumentError, NotRecorded, did_you_mean
from serving.prices import cost_usd

_PIECE = re.compile(r"\s*\S+|\s+$")


class Recording:
    """The completions of one file, by endpoint and content."""

    def __init__(self, path: Path, completions: list[Completion]) -> None:
        self.path = path
        self.by_content: dict[str, dict[str, list[Completion]]] = {}
        for completion in completions:
            contents = self.by_content.setdefault(completion.endpoint, {})
            contents.setdefault(completion.request.content_hash, []).append(completion)

    @property
    def models(self) -> list[str]:
        """The names that can be asked: the `endpoint` of the lines."""
        return list(self.by_content)

    def requests(self, model: str) -> list[Request]:
        """Every request that `model` can be asked, in file order."""
        return [lines[0].request for lines in self.by_content.get(model, {}).values()]

    def find(self, model: str, request: Request) -> Completion:
        """The line that answers `request`; an answered one is preferred to a failure. Raises NotRecorded, saying what differs."""
        if model not in self.by_content:
            raise NotRecorded(f"{self.path} holds nothing of '{model}'.{did_you_mean(model, self.models)}")
        lines = self.by_content[model].get(request.content_hash)
        if not lines:
            prompts = len(self.by_content[model])
            raise NotRecorded(f"{self.path} holds no answer of '{model}' to this prompt; ask one of its {prompts} prompts")
        stated = request.stated
        matching = [line for line in lines if all(stated.get(key) == value for key, value in line.request.stated.items())]
        if not matching:
            differing = {key: value for key, value in lines[0].request.stated.items() if stated.get(key) != value}
            raise NotRecorded(f"{self.path} holds this prompt of '{model}' only with {differing}; ask with the same parameters")
        return next((line for line in matching if line.answered), matching[0])


def load_recording(path: Path) -> Recording:
    """Read a completions.jsonl or .jsonl.gz. Raises DocumentError with file and line for the first line that does not fit."""
    try:
        status = path.stat()
    except OSError:
        raise DocumentError(f"{path}: no such recording; name a completions.jsonl or completions.jsonl.gz") from None
    return _load(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=16)
def _load(path: Path, mtime_ns: int, size: int) -> Recording:
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DocumentError(f"{path}: cannot be read as a recording: {error}") from None
    completions = []
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            completions.append(Completion.model_validate_json(line))
        except ValueError as error:
            # The last line may have been cut by a crash while it was written: that is no reason to refuse the others.
            if number == len(lines):
                continue
            import json

            try:
                values = json.loads(line)
            except ValueError:
                raise DocumentError(f"{path}:{number}: not JSON: {error}") from None
            completions.append(parse_document(values, Completion, where=f"{path}:{number}"))
    if not completions:
        raise DocumentError(f"{path}: holds no completion")
    return Recording(path, completions)


def holds(endpoint: Endpoint, request: Request) -> bool:
    """Whether a recorded endpoint has an answer to this (a recorded failure is none); True for every other wire."""
    if endpoint.wire != "recorded":
        return True
    assert endpoint.recording is not None
    try:
        return load_recording(endpoint.recording).find(endpoint.model, request).answered
    except NotRecorded:
        return False


async def ask_recording(endpoint: Endpoint, request: Request, *, speed: float, on_text: Callable[[str], None] | None) -> Completion:
    """The recorded completion under this endpoint's id, its text revealed at `speed` times the recorded pace (inf: at once).

    Times, tokens and cost are the recorded ones, whatever the speed. Raises NotRecorded.
    """
    assert endpoint.recording is not None
    line = load_recording(endpoint.recording).find(endpoint.model, request)
    async for piece in play(line, speed):
        if on_text is not None:
            on_text(piece)
    cost = line.cost_usd if line.cost_usd is not None else cost_usd(endpoint, line.usage, line.started_at)
    update = {"endpoint": endpoint.id, "request": request, "request_hash": request.request_hash, "cost_usd": cost}
    return line.model_copy(update=update)


async def play(line: Completion, speed: float) -> AsyncIterator[str]:
    """The text in pieces, each when it is due.

    Pieces are words. Where chunk times were recorded the words are spread over them; where only the latency is known they are spread
    evenly between the first token (or the first share of the latency) and the end. Nothing waits at speed inf or without any time.
    """
    if math.isinf(speed) or line.latency_s is None:
        if line.text:
            yield line.text
        return
    pieces = _PIECE.findall(line.text)
    due = _due_times(line, len(pieces))
    clock = asyncio.get_running_loop().time
    start = clock()
    for piece, due_s in zip(pieces, due, strict=True):
        wait = start + due_s / speed - clock()
        if wait > 0:
            await asyncio.sleep(wait)
        yield piece
    if (wait := start + line.latency_s / speed - clock()) > 0:
        await asyncio.sleep(wait)


def _due_times(line: Completion, count: int) -> list[float]:
    if line.chunk_times_s:
        last = len(line.chunk_times_s)
        return [line.chunk_times_s[index * last // count] for index in range(count)]
    assert line.latency_s is not None
    first = line.ttft_s if line.ttft_s is not None else line.latency_s / (count + 1)
    step = (line.latency_s - first) / max(count - 1, 1)
    return [first + index * step for index in range(count)]
