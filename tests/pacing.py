"""What the paced server (tests/paced_server.py) writes and when: one request's pace, and the bytes and due times that follow from it.

A pace is stated on the command line of the server, in the request's model name or in its body, later ones winning:

    {"model": "ttft=50,gap=10,tokens=100,mode=stalled", "paced": {"stall_ms": 500}, "messages": [...], "stream": true}

Everything is encoded before the first request that asks for it; the same pace always gives the same script.
"""

import json
import random
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

MODES = ("constant", "jittered", "stalled")
FAULTS = ("none", "cut", "garbage", "error", "no_finish", "comments", "never")
MS = 1_000_000
COMMENTS_S = 60.0


@dataclass(frozen=True)
class Pace:
    """How one request is answered. Times count from the arrival of the request's last byte.

    Token k is due at ttft_ms + k * gap_ms (`jittered`: each gap uniform in 0 .. 2 gap_ms, by `seed`; `stalled`: stall_ms more from the
    middle on). `per_chunk` tokens travel in one event, due with the last of them. `role` and the head are written at once, or the head over
    head_ms, byte by byte. With a `status` other than 200 that error is answered, `times` times for the same request (0: always).
    `fault` comes after half of the tokens; `comments` and `never` have no tokens at all.
    """

    ttft_ms: float = 50.0
    gap_ms: float = 10.0
    tokens: int = 100
    mode: str = "constant"
    stall_ms: float = 500.0
    seed: int = 0
    per_chunk: int = 1
    role: bool = True
    usage: bool = True
    done: bool = True
    head_ms: float = 0.0
    fault: str = "none"
    status: int = 200
    times: int = 0
    retry_after: str = ""


@dataclass(frozen=True)
class Asked:
    """What the request itself decides about the form of its answer."""

    chat: bool = True
    stream: bool = True
    include_usage: bool = False
    input_tokens: int = 1


@dataclass(frozen=True)
class Script:
    """The writes of one answer: `due_ns[i]` after the request arrived comes `writes[i]`, which completes `tokens[i]` tokens.

    `end` says what follows the last write: the connection is kept, cut, or nothing ever comes.
    """

    due_ns: tuple[int, ...]
    writes: tuple[bytes, ...]
    tokens: tuple[int, ...]
    end: str = "keep"
    status: int = 200


def read_pace(spec: str, pace: Pace) -> Pace:
    """`pace` with what "ttft=50,gap=10,mode=stalled" states; the unit may be left out. Raises ValueError naming the key."""
    pairs = [part.partition("=") for part in spec.split(",") if part.strip()]
    return pace_of({key.strip(): value.strip() for key, _, value in pairs}, pace)


def pace_of(stated: dict[str, Any], pace: Pace) -> Pace:
    """`pace` with the stated values, each in its field's type. Raises ValueError naming the key and the choices."""
    kinds = {field.name: type(field.default) for field in fields(Pace)}
    values: dict[str, Any] = {}
    for key, value in stated.items():
        name = key if key in kinds else f"{key}_ms"
        if name not in kinds:
            raise ValueError(f"no pace key '{key}'; there are {', '.join(kinds)}")
        try:
            values[name] = str(value).lower() in ("1", "true", "yes") if kinds[name] is bool else kinds[name](value)
        except (TypeError, ValueError):
            raise ValueError(f"pace key '{key}': '{value}' is no {kinds[name].__name__}") from None
    made = replace(pace, **values)
    for name, choices in (("mode", MODES), ("fault", FAULTS)):
        if getattr(made, name) not in choices:
            raise ValueError(f"pace key '{name}': '{getattr(made, name)}' is none of {', '.join(choices)}")
    if made.tokens < 1 or made.per_chunk < 1 or min(made.ttft_ms, made.gap_ms, made.head_ms, made.stall_ms) < 0:
        raise ValueError("a pace has at least one token, at least one per chunk, and no negative time")
    return made


def text_of(pace: Pace) -> str:
    """The whole answer: numbered words, one a token, so that a lost or doubled one is seen."""
    return "".join(f"w{number} " for number in range(pace.tokens))


def token_due_ns(pace: Pace) -> list[int]:
    """When each token is due, from the request's arrival."""
    draw = random.Random(pace.seed)
    at, due = max(pace.ttft_ms, pace.head_ms), []
    for number in range(pace.tokens):
        if number:
            at += pace.gap_ms * (draw.uniform(0, 2) if pace.mode == "jittered" else 1)
        if pace.mode == "stalled" and number == pace.tokens // 2:
            at += pace.stall_ms
        due.append(round(at * MS))
    return due


@lru_cache(maxsize=512)
def script_of(pace: Pace, asked: Asked) -> Script:
    """Everything that is written for one request of this pace."""
    if pace.status != 200:
        return error_script(pace.status, "the paced server was told to fail", pace.retry_after)
    if pace.fault == "never":
        return Script((), (), (), end="hang")
    due = token_due_ns(pace)
    usage = {"prompt_tokens": asked.input_tokens, "completion_tokens": pace.tokens, "total_tokens": asked.input_tokens + pace.tokens}
    if not asked.stream:
        whole = _event(asked, text_of(pace), finish="stop", whole=True) | ({"usage": usage} if pace.usage else {})
        return _merged([(due[-1], _response(200, json.dumps(whole).encode()), pace.tokens)])
    pieces = _head(pace)
    base_ns = round(pace.head_ms * MS)
    if pace.fault == "comments":
        count = int(COMMENTS_S * 1e3 / max(pace.gap_ms, 1.0))
        pieces += [(base_ns + round(number * max(pace.gap_ms, 1.0) * MS), _framed(b": still here\n\n"), 0) for number in range(count)]
        return _merged([*pieces, (pieces[-1][0], b"0\r\n\r\n", 0)])
    if pace.role and asked.chat:
        pieces.append((base_ns, _sse(_event(asked, "", role=True)), 0))
    for first in range(0, pace.tokens, pace.per_chunk):
        last = min(first + pace.per_chunk, pace.tokens) - 1
        if pace.fault in ("cut", "garbage", "error") and last >= pace.tokens // 2:
            pieces += _fault(pace, due[last])
            if pace.fault != "garbage":
                return _merged(pieces, end="cut" if pace.fault == "cut" else "keep")
            pace = replace(pace, fault="none")
        text = "".join(f"w{number} " for number in range(first, last + 1))
        pieces.append((due[last], _sse(_event(asked, text)), last + 1 - first))
    closing = b"" if pace.fault == "no_finish" else _sse(_event(asked, "", finish="stop"))
    if pace.usage and asked.include_usage:
        closing += _sse(_event(asked, "") | {"choices": [], "usage": usage})
    closing += _framed(b"data: [DONE]\n\n") if pace.done else b""
    return _merged([*pieces, (due[-1], closing + b"0\r\n\r\n", 0)])


def error_script(status: int, message: str, retry_after: str = "") -> Script:
    """An error in OpenAI's shape, at once."""
    body = json.dumps({"error": {"message": message, "type": "paced", "code": status}}).encode()
    return Script((0,), (_response(status, body, f"Retry-After: {retry_after}\r\n" if retry_after else ""),), (0,), status=status)


def json_script(content: Any) -> Script:
    """A JSON document, at once."""
    return Script((0,), (_response(200, json.dumps(content).encode()),), (0,))


def _head(pace: Pace) -> list[tuple[int, bytes, int]]:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
    if not pace.head_ms:
        return [(0, head, 0)]
    step_ns = pace.head_ms * MS / (len(head) - 1)
    return [(round(index * step_ns), head[index : index + 1], 0) for index in range(len(head))]


def _fault(pace: Pace, due_ns: int) -> list[tuple[int, bytes, int]]:
    if pace.fault == "cut":
        # Half an event, inside a chunk that promised all of it.
        return [(due_ns, b'40\r\ndata: {"choices":[{"index":0,"del', 0)]
    if pace.fault == "error":
        event = {"error": {"message": "the paced server ran out of memory", "type": "server_error"}}
        return [(due_ns, _sse(event) + b"0\r\n\r\n", 0)]
    return [(due_ns, _framed(b'data: {"choices":[{"del\xff\xfe\x00ta"\n\n'), 0)]


def _event(asked: Asked, text: str, *, role: bool = False, finish: str | None = None, whole: bool = False) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
    if not asked.chat:
        choice["text"] = text
    elif whole:
        choice["message"] = {"role": "assistant", "content": text}
    else:
        choice["delta"] = {"role": "assistant", "content": ""} if role else {"content": text} if text else {}
    kind = ("chat.completion" if whole else "chat.completion.chunk") if asked.chat else "text_completion"
    return {"id": "paced-1", "object": kind, "created": 1_700_000_000, "model": "paced", "choices": [choice]}


def _sse(event: dict[str, Any]) -> bytes:
    return _framed(b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n")


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _response(status: int, body: bytes, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status} Paced\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def _merged(pieces: list[tuple[int, bytes, int]], end: str = "keep") -> Script:
    """One write for all that is due at the same moment."""
    writes: list[tuple[int, bytes, int]] = []
    for due, data, tokens in pieces:
        if writes and writes[-1][0] == due:
            writes[-1] = (due, writes[-1][1] + data, writes[-1][2] + tokens)
        else:
            writes.append((due, data, tokens))
    return Script(*(tuple(column) for column in zip(*writes, strict=True)), end=end)
