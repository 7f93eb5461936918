"""From the bytes of an exchange to a Completion: while they arrive when somebody watches, else after the end.

completion = completion_of(prepared, exchange, started_at)
"""

from contextlib import suppress
from datetime import datetime
from operator import itemgetter
from typing import Any, Literal

from pydantic_core import from_json

from serving.answer import Answer, SSEReader, error_text
from serving.completion import ANSWERED, Completion, Status, Usage
from serving.connection import Exchange
from serving.prepared import Prepared
from serving.prices import cost_usd
from serving.scoring import score_echo
from serving.tokens import count_usage
from serving.wires import EVENT, FRAME

# Shorter keys (EMPTY, token-abc) are placeholders and everyday words: taken out of errors, but not out of what a model wrote.
_KEY_LENGTH = 20
# So many events of a stream may differ in more than their text before they are no longer searched for what they share.
_FRAMES = 3
_UNKNOWN = Usage()
# So many tokens at most are read in one go.
_RUN = 256
_bytes_of = itemgetter(1)


class Reader:
    """Reads one exchange into an Answer, as far as it has come. `silent`: (seconds, data) of every event that was no token."""

    def __init__(self, wire: str, exchange: Exchange) -> None:
        self.exchange = exchange
        self.answer = Answer()
        self._event = EVENT[wire]
        self._events = SSEReader()
        self._taken = 0
        self._closed = False
        self._frame_of = FRAME.get(wire)
        self._frame: tuple[bytes, bytes] | None = None
        self._frames = 0
        self._run = _RUN // 8
        self.silent: list[tuple[float, bytes]] = []

    @property
    def streams(self) -> bool:
        """Whether the response is a stream of events; a server that does not say is believed to stream."""
        return b"text/event-stream" in self.exchange.headers.get(b"content-type", b"text/event-stream").lower()

    def read(self) -> list[str]:
        """The texts of the events that were not read before."""
        exchange, answer = self.exchange, self.answer
        known = len(answer.text)
        if not 200 <= exchange.status < 300:
            return []
        streams = self.streams
        if streams:
            self._read_events()
        if exchange.complete and not self._closed:
            self._closed = True
            at_s = (exchange.ended_ns - exchange.sent_ns) / 1e9
            if streams:
                for data in self._events.close():
                    self._event(answer, data, at_s)
            elif self._event(answer, b"".join(piece for _, piece in exchange.body), at_s):
                # One document: its text has a latency but no first token of its own.
                answer.chunk_times_s.clear()
        return answer.text[known:]

    def _read_events(self) -> None:
        answer, body, sent_ns, events = self.answer, self.exchange.body, self.exchange.sent_ns, self._events
        times = answer.chunk_times_s
        while (first := self._taken) < len(body):
            at_ns, piece = body[first]
            if self._frame is not None and events.between and (texts := self._alike(piece, *self._frame)):
                self._taken += len(texts)
                answer.text += texts
                times += [(at_ns - sent_ns) / 1e9 for at_ns, _ in body[first : self._taken]]
                continue
            self._taken += 1
            at_s = (at_ns - sent_ns) / 1e9
            for data in events.feed(piece):
                known = len(times)
                if self._event(answer, data, at_s):
                    self._learn(piece, data)
                elif len(times) == known:
                    self.silent.append((at_s, data))

    def _alike(self, piece: bytes, before: bytes, after: bytes) -> list[str]:
        """The texts of this piece and the next ones, as far as each is one token between these two."""
        if not (piece.startswith(before) and piece.endswith(after)):
            return []
        pieces = list(map(_bytes_of, self.exchange.body[self._taken : self._taken + self._run]))
        written = list(map(itemgetter(slice(len(before), -len(after))), pieces))
        if before + (after + before).join(written) + after != b"".join(pieces):
            least = len(before) + len(after)
            fits = [len(piece) >= least and piece.startswith(before) and piece.endswith(after) for piece in pieces]
            del written[fits.index(False) :]
        texts = _texts(written)
        # What cannot be read in one go is tried in growing numbers again, so that no token is looked at more than a few times.
        self._run = max(min(2 * len(texts), _RUN), 1)
        return texts

    def _learn(self, piece: bytes, data: bytes) -> None:
        """From a token that came alone, what the next ones will share with it."""
        if self._frame_of is None or self._frames >= _FRAMES or piece != b"data: " + data + b"\n\n" or b"\r" in data or b"\n" in data:
            return
        self._frames += 1
        with suppress(ValueError):
            if frame := self._frame_of(data):
                self._frame = b"data: " + frame[0], frame[1] + b"\n\n"

    def last_token_ns(self) -> int | None:
        """When the last token so far arrived (for a response that is no stream: its last byte); None before the first."""
        self.read()
        if self.answer.chunk_times_s:
            return self.exchange.sent_ns + int(self.answer.chunk_times_s[-1] * 1e9)
        if not self.streams and self.exchange.body:
            return self.exchange.body[-1][0]
        return None


def completion_of(prepared: Prepared, exchange: Exchange, started_at: datetime | None, *, reader: Reader | None = None) -> Completion:
    """What came back, in our terms: text, tokens, times, dollars and a status. Raises nothing for what a server sent.

    Times count from `exchange.sent_ns`, the writing of the last attempt; `started_at` is the same moment on the calendar.
    `reader` is one that has read a part of this exchange already. Only a whole response has a latency.
    """
    reader = reader or Reader(prepared.endpoint.wire, exchange)
    reader.read()
    answer = reader.answer
    status, problem = _outcome(exchange, answer)
    text, finish = whole_text("".join(answer.text)), answer.finish_reason
    scored: dict[str, Any] = {}
    if prepared.request.continuation is not None:
        # What came is the echo and a token that nobody asked for.
        text = ""
        if status in ANSWERED:
            try:
                scored["loglikelihood"], scored["is_greedy"] = score_echo(answer.logprobs, prepared.request)
                status = "ok"
            except ValueError as error:
                status, problem = "malformed", f"cannot be scored: {error}"
    if not prepared.endpoint.capabilities.stop and (ends := [text.find(stop) for stop in prepared.request.stop or () if stop in text]):
        # What a server that ignores stop sequences wrote beyond them is no part of the answer (it was paid for: usage stands).
        text, finish, status = text[: min(ends)], "stop", "ok" if status == "truncated" else status
    usage, source = _usage(prepared, answer, text, whole=exchange.complete)
    times = answer.chunk_times_s
    whole = exchange.complete and 200 <= exchange.status < 300
    return Completion(
        endpoint=prepared.endpoint.id,
        request=prepared.request,
        text=without_secrets(text, prepared.secrets, at_least=_KEY_LENGTH),
        finish_reason=None if finish is None else without_secrets(whole_text(finish), prepared.secrets),
        usage=usage,
        usage_source=source,
        started_at=started_at,
        ttft_s=times[0] if whole and times else None,
        latency_s=(exchange.ended_ns - exchange.sent_ns) / 1e9 if whole else None,
        chunk_times_s=tuple(times),
        cost_usd=cost_usd(prepared.endpoint, usage, started_at),
        status=status,
        error=None if problem is None else without_secrets(whole_text(problem), prepared.secrets)[:300],
        retries=exchange.retries,
        **scored,
    )


def _texts(written: list[bytes]) -> list[str]:
    """The texts of the leading ones that are whole JSON strings but for their quotes, and not empty.

    They are parsed as one array. Without a quote in any of them that is exact: a backslash that took the quote between two of them for
    its own would leave the array without an end.
    """
    while written:
        array = b'["' + b'","'.join(written) + b'"]'
        if array.count(b'"') != 2 * len(written) or b'""' in array:
            written = written[: next(place for place, one in enumerate(written) if not one or b'"' in one)]
            continue
        try:
            texts: list[str] = from_json(array)
        except ValueError:
            # Halves of a character, controls: rare enough to be searched for.
            written = written[: len(written) // 2]
            continue
        return texts
    return []


def without_secrets(text: str, secrets: tuple[str, ...], *, at_least: int = 1) -> str:
    """The text with [key] in place of every secret of at least so many characters."""
    for secret in secrets:
        if len(secret) >= at_least and secret in text:
            text = text.replace(secret, "[key]")
    return text


def whole_text(text: str) -> str:
    """Text that can be written as UTF-8: halves of one character that came in two events are joined, single ones replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _outcome(exchange: Exchange, answer: Answer) -> tuple[Status, str | None]:
    if exchange.timed_out:
        return "timeout", exchange.failure
    if exchange.status and not 200 <= exchange.status < 300:
        return "api_error", f"HTTP {exchange.status}: {_explanation(exchange)}"
    if exchange.failure is not None:
        return ("malformed" if exchange.status else "api_error"), exchange.failure
    return answer.status(), answer.problem()


def _explanation(exchange: Exchange) -> str:
    import json

    if exchange.status < 400:
        where = exchange.headers.get(b"location", b"").decode("utf-8", "replace")
        return f"the server sends us elsewhere{f' ({where})' if where else ''}; correct base_url"
    content = b"".join(piece for _, piece in exchange.body)
    try:
        return error_text(json.loads(content))
    except (ValueError, RecursionError):
        return error_text(content.decode("utf-8", "replace")) or "no explanation"


def _usage(prepared: Prepared, answer: Answer, text: str, *, whole: bool) -> tuple[Usage, Literal["server", "tokenizer"] | None]:
    """The server's counts, else those of the endpoint's tokenizer, else nothing."""
    if answer.usage != _UNKNOWN:
        return answer.usage, "server"
    if prepared.endpoint.tokenizer is None or not whole or answer.status() == "api_error":
        return answer.usage, None
    return count_usage(prepared.endpoint.tokenizer, prepared.request, text, "".join(answer.reasoning)), "tokenizer"
