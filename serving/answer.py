"""What has been read so far of one answer, whatever the dialect, and the reader that turns body bytes into events.

Nothing here raises for what a server sends: what does not fit makes the answer `malformed`, what the server reports makes it `api_error`.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from serving.completion import Status, Usage


class SSEReader:
    """Server-sent events out of raw body bytes (WHATWG HTML, 9.2.6): every kind of line end, comments skipped, data lines joined.

    However the bytes are split, the events are the same. `between`: all that came so far was whole events.
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._carriage_return = False
        self._at_start = True
        self.between = True

    def feed(self, body: bytes) -> list[bytes]:
        """The data of every event that these bytes complete; events without data are none."""
        if self.between and body[:6] == b"data: " and body[-2:] == b"\n\n" and body.count(b"\n") == 2 and b"\r" not in body:
            # What nearly every piece of a stream is, one whole event: worth not taking apart.
            self._at_start = False
            return [body[6:-2]]
        self.between = False
        if self._carriage_return:
            # A line end may be cut in two: whether \r stands alone is known only from what follows.
            body = b"\r" + body
            self._carriage_return = False
        if body.endswith(b"\r"):
            body, self._carriage_return = body[:-1], True
        if b"\r" in body:
            body = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in body:
            self._line.append(body)
            return []
        first, *lines = body.split(b"\n")
        lines.insert(0, b"".join([*self._line, first]))
        self._line = [lines.pop()]
        events = []
        for line in lines:
            if self._at_start:
                line, self._at_start = line.removeprefix(b"\xef\xbb\xbf"), False
            if not line:
                if any(self._data):
                    events.append(b"\n".join(self._data))
                self._data = []
            elif line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
        self.between = not (self._data or self._line[0] or self._carriage_return)
        return events

    def close(self) -> list[bytes]:
        """The event that the end of the body completes (some servers leave out the last blank line)."""
        return [] if self.between else self.feed(b"\n\n")


@dataclass(slots=True)
class Answer:
    """One answer as far as it has been read. `reasoning` is text that was thought, not said: counted, never shown.

    `counts` are tokens in the dialect's own words, where several events tell them bit by bit. `logprobs` is what was asked to be scored.
    """

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    chunk_times_s: list[float] = field(default_factory=list)
    refusal: bool = False
    finish_reason: str | None = None
    usage: Usage = Usage()
    counts: dict[str, int] = field(default_factory=dict)
    done: bool = False
    error: str | None = None
    malformed: str | None = None
    logprobs: dict[str, Any] | None = None

    def status(self) -> Status:
        """The status that the finish reason stands for; `malformed` when the stream ended without one or held nonsense."""
        if self.error is not None:
            return "api_error"
        if self.malformed is not None:
            return "malformed"
        if self.refusal:
            return "refused"
        if self.finish_reason is None:
            return "malformed"
        return STATUS_OF_FINISH.get(self.finish_reason, "ok")

    def problem(self) -> str | None:
        """Why the status is a failure, in words; None when it is none."""
        if self.error is not None or self.malformed is not None:
            return self.error if self.error is not None else self.malformed
        return "the stream ended without a finish reason" if self.status() == "malformed" else None

    def add(self, at_s: float, text: str, reasoning: str = "") -> str:
        """Take what one event says: the first non-empty text *or reasoning* is the first token. Returns the text."""
        if text:
            self.text.append(text)
        if reasoning:
            self.reasoning.append(reasoning)
        if text or reasoning:
            self.chunk_times_s.append(at_s)
        return text

    def reject(self, why: str, data: bytes) -> str:
        """Note the first thing that does not fit the protocol; returns the text of such an event, which is none."""
        if self.malformed is None:
            # Long, because keys are taken out before it is cut for people (serving/client.py).
            self.malformed = f"the stream held {why}: {data[:2000]!r}"
        return ""


# Of every dialect: OpenAI's stop, length, content_filter; the messages API's end_turn, stop_sequence, max_tokens, refusal, …
STATUS_OF_FINISH: dict[str, Status] = {
    "stop": "ok", "end_turn": "ok", "stop_sequence": "ok", "length": "truncated", "max_tokens": "truncated",
    "model_context_window_exceeded": "truncated", "content_filter": "filtered", "refusal": "refused",
}  # fmt: skip


def object_in(answer: Answer, data: bytes) -> dict[str, Any] | None:
    """The JSON object that an event holds; None, and the answer malformed, when it holds something else."""
    try:
        event = from_json(data)
    except ValueError:
        # Three times as fast, but it refuses halves of a character (\ud83d), which some servers send in an event each.
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            answer.reject("something that is not JSON", data)
            return None
    if not isinstance(event, dict):
        answer.reject("JSON that is no object", data)
        return None
    return event


def mapping(value: Any) -> dict[str, Any]:
    """`value` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def text_of(value: Any) -> str:
    """The text of a JSON value that must be a string; a list of parts gives the text of its text parts (Mistral)."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(text_of(mapping(part).get("text")) for part in value if mapping(part).get("type", "text") == "text")
    return ""


def count_of(value: Any) -> int | None:
    """A count of tokens, or None for everything that is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def error_text(problem: Any) -> str:
    """The message inside an error object of whatever shape, on one line."""
    while isinstance(problem, dict):
        problem = problem.get("message") or problem.get("error") or problem.get("detail") or json.dumps(problem)
    return " ".join(str(problem).split())
