"""A calibrated OpenAI-compatible server: it writes each token at a moment known beforehand and reports how late it was, to the nanosecond.

    python tests/paced_server.py --port 0 --ttft-ms 50 --gap-ms 10 --tokens 100        # prints its port
    curl -s localhost:PORT/stats                                                       # its own lateness; /stats?requests=1: every write

    with PacedServer(ttft_ms=50) as server:                                            # the same, in a process of its own
        endpoint = server.endpoint("ttft=50,gap=10,mode=stalled")

A client's error can only be judged against what the server really did, so no framework lies between the schedule and the socket: one
heap of due writes on a kernel timer (tests/due_wheel.py), one `send` a token. A request's schedule is absolute (arrival + ttft + k * gap)
and never drifts. Clocks are perf_counter_ns: one clock for all processes of a Linux machine. What can be asked for is in tests/pacing.py.
With --leash the server leaves when its standard input ends.
"""

import asyncio
import gc
import json
import signal
import socket
import struct
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Started as a script by another interpreter (a peer's environment, say) it needs its neighbour only.
    sys.path.insert(0, str(Path(__file__).parent))

from due_wheel import Wheel
from pacing import Asked, Pace, Script, error_script, json_script, pace_of, read_pace, script_of

KEPT_REQUESTS = 100_000
# Linux's number, which Python's socket module does not name: the kernel tells when each request's last byte arrived.
SO_TIMESTAMPNS = 35
_now = time.perf_counter_ns


class Answering:
    """One answer under way: where it is in its script, and when each write really happened."""

    __slots__ = ("arrived_ns", "connection", "ended", "name", "position", "script", "wrote_ns")

    def __init__(self, connection: "Connection", script: Script, name: str, arrived_ns: int) -> None:
        self.connection, self.script, self.name, self.arrived_ns = connection, script, name, arrived_ns
        self.position, self.ended = 0, ""
        self.wrote_ns: list[int] = []

    def write(self) -> int:
        """Write what is next; returns when the write after it is due (0: there is none)."""
        if self.ended:
            return 0
        position = self.position
        # The clock is read before the write: on loopback the client is woken inside it.
        self.wrote_ns.append(_now())
        self.connection.put(self.script.writes[position])
        self.position = position = position + 1
        if self.ended:
            return 0
        if position < len(self.script.writes):
            return self.arrived_ns + self.script.due_ns[position]
        self.connection.finished(self)
        return 0


class Server:
    """What all connections share: the default pace, the wheel, and the record of what was answered."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pace: Pace) -> None:
        self.loop, self.pace, self.wheel = loop, pace, Wheel(loop)
        self.plans: dict[bytes, tuple[Pace, Asked, str, Script]] = {}
        self.failed: Counter[bytes] = Counter()
        self.clear()

    def clear(self) -> dict[str, Any]:
        """Forget what was answered; what is under way is recorded when it ends."""
        self.answers: deque[Answering] = deque(maxlen=KEPT_REQUESTS)
        self.outcomes: Counter[str] = Counter()
        self.connections = 0
        self.cpu_s = time.process_time()
        return {"cleared": True}

    def stats(self, requests: bool) -> dict[str, Any]:
        """Lateness of every write against its schedule (ms), outcomes, CPU seconds; with `requests` each answer's own times."""
        late = sorted(
            wrote - answer.arrived_ns - due
            for answer in self.answers
            if answer.name != "stats"
            for wrote, due in zip(answer.wrote_ns, answer.script.due_ns, strict=False)
        )
        told: dict[str, Any] = {
            "lateness_ms": {name: late[min(int(len(late) * part), len(late) - 1)] / 1e6 if late else None for name, part in _PARTS},
            "writes": len(late),
            "outcomes": dict(self.outcomes),
            "connections": self.connections,
            "cpu_s": time.process_time() - self.cpu_s,
        }
        if requests:
            told["requests"] = [
                {
                    "name": answer.name, "status": answer.script.status, "outcome": answer.ended, "arrived_ns": answer.arrived_ns,
                    "wrote_ns": answer.wrote_ns, "due_ns": answer.script.due_ns[: len(answer.wrote_ns)],
                    "tokens": answer.script.tokens[: len(answer.wrote_ns)],
                }
                for answer in self.answers
            ]  # fmt: skip
        return told

    def script(self, head: bytes, body: bytes) -> tuple[Script, str]:
        """What to answer to this request, and the name it gave itself (`user`, a prompt's first word, or X-Request-Id)."""
        target = head.split(b" ", 2)[1]
        if target.startswith(b"/stats"):
            return json_script(self.clear() if head.startswith(b"DELETE") else self.stats(b"requests=1" in target)), "stats"
        if not head.startswith(b"POST"):
            return json_script({"object": "list", "data": [{"id": "paced", "object": "model"}]}), "models"
        if (plan := self.plans.get(key := target + body)) is None:
            try:
                plan = self._plan(body, chat=b"chat" in target)
            except (ValueError, TypeError, AttributeError) as error:
                return error_script(400, f"this request cannot be read: {error}"), ""
            if len(self.plans) < 10_000:
                self.plans[key] = plan
        pace, asked, name, script = plan
        if pace.status != 200 and pace.times:
            self.failed[key] += 1
            if self.failed[key] > pace.times:
                script = script_of(replace(pace, status=200), asked)
        return script, name or _header(head, b"x-request-id").decode("latin-1")

    def _plan(self, body: bytes, chat: bool) -> tuple[Pace, Asked, str, Script]:
        request = json.loads(body)
        pace = self.pace
        if "=" in (model := str(request.get("model", ""))):
            pace = read_pace(model, pace)
        pace = pace_of(request.get("paced") or {}, pace)
        limit = request.get("max_completion_tokens") or request.get("max_tokens")
        pace = replace(pace, tokens=min(pace.tokens, int(limit))) if limit else pace
        content = " ".join(str(message.get("content")) for message in request.get("messages") or ()) or str(request.get("prompt", ""))
        usage = bool((request.get("stream_options") or {}).get("include_usage"))
        asked = Asked(chat, bool(request.get("stream")), usage, max(len(content.split()), 1))
        # Who cannot set `user` may begin the prompt with a name: "#17 Tell me a story".
        name = str(request.get("user") or "") or (content.split()[0] if content.startswith("#") else "")
        return pace, asked, name, script_of(pace, asked)


_PARTS = (("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0))


def _header(head: bytes, name: bytes) -> bytes:
    at = head.lower().find(b"\r\n" + name + b":")
    return b"" if at < 0 else head[at + len(name) + 3 :].split(b"\r\n", 1)[0].strip()


class Connection:
    """Reads one request at a time from its own socket and puts bytes straight onto it.

    No asyncio transport: uvloop's delays a write to the end of the loop's turn, and none tells when the kernel got the bytes.
    """

    def __init__(self, server: Server, link: socket.socket) -> None:
        self.server, self.link = server, link
        self._rest, self._unsent = b"", b""
        self._answer: Answering | None = None
        link.setblocking(False)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.connections += 1
        server.loop.add_reader(link, self._readable)

    def put(self, data: bytes) -> None:
        """Write now; what the socket does not take at once follows when it can."""
        if not self._unsent:
            try:
                data = data[self.link.send(data) :]
            except BlockingIOError:
                pass
            except OSError:
                self.close("dropped")
                return
        if data:
            self._unsent += data
            self.server.loop.add_writer(self.link, self._writable)

    def finished(self, answer: Answering) -> None:
        """The answer's last write is done."""
        if answer.script.end == "cut":
            self.close("cut")
            return
        self._record("complete" if answer.script.status == 200 else str(answer.script.status))
        if self._rest:
            self._next(_now())

    def close(self, outcome: str) -> None:
        """End the connection, and with this outcome the answer under way."""
        if self._answer is not None:
            self._record(outcome)
        if self.link.fileno() >= 0:
            self.server.loop.remove_reader(self.link)
            self.server.loop.remove_writer(self.link)
            self.link.close()

    def _readable(self) -> None:
        try:
            data, control, _, _ = self.link.recvmsg(32_768, 64)
        except BlockingIOError:
            return
        except OSError:
            data, control = b"", []
        if not data:
            self.close("dropped")
            return
        self._rest += data
        if self._answer is None:
            self._next(_arrival_ns(control))

    def _writable(self) -> None:
        data, self._unsent = self._unsent, b""
        self.server.loop.remove_writer(self.link)
        self.put(data)

    def _record(self, outcome: str) -> None:
        answer, self._answer = self._answer, None
        assert answer is not None
        answer.ended = outcome
        if answer.name != "stats":
            self.server.answers.append(answer)
            self.server.outcomes[outcome] += 1

    def _next(self, arrived_ns: int) -> None:
        head, found, body = self._rest.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(_header(head, b"content-length") or 0)
        if len(body) < length:
            return
        self._rest = body[length:]
        script, name = self.server.script(head, body[:length])
        self._answer = answer = Answering(self, script, name, arrived_ns)
        while script.writes and not answer.ended:
            due_ns = arrived_ns + script.due_ns[answer.position]
            if due_ns > _now():
                self.server.wheel.add(due_ns, answer)
                return
            if not answer.write():
                return


def _arrival_ns(control: list[tuple[int, int, bytes]]) -> int:
    """When the kernel got the last of these bytes, on the clock of perf_counter_ns; where it does not say, now."""
    for _, kind, stamp in control:
        if kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("qq", stamp)
            return _now() - max(time.time_ns() - (seconds * 1_000_000_000 + nanoseconds), 0)
    return _now()


async def serve(pace: Pace, port: int, leash: bool) -> None:
    """Serve on loopback until SIGTERM or SIGINT, or with `leash` until standard input ends; the port goes to standard output."""
    loop = asyncio.get_running_loop()
    shared, stop = Server(loop, pace), asyncio.Event()
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    listener.setblocking(False)
    if sys.platform == "linux":
        # Connections inherit it.
        listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

    def accept() -> None:
        try:
            while True:
                Connection(shared, listener.accept()[0])
        except BlockingIOError:
            return

    loop.add_reader(listener, accept)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if leash:
        loop.add_reader(sys.stdin.fileno(), stop.set)
    # Nothing here makes cycles that matter; a collection in the middle of a stream would be lateness.
    gc.collect()
    gc.freeze()
    gc.disable()
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    await stop.wait()
    listener.close()


class PacedServer:
    """The server in a process of its own while the `with` lasts, with the paces given (`PacedServer(ttft_ms=20, tokens=10)`)."""

    def __init__(self, *, before: Callable[[], None] | None = None, **pace: Any) -> None:
        self.options = [f"--{name.replace('_', '-')}={value}" for name, value in pace.items()]
        self.before = before

    def __enter__(self) -> "PacedServer":
        command = [sys.executable, str(Path(__file__)), "--leash", *self.options]
        # A session of its own: `before` may give that session a priority, and Ctrl-C at the terminal is ours to handle.
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True, preexec_fn=self.before)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate(timeout=10)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def endpoint(self, model: str = "paced", endpoint_id: str = "paced", **values: Any) -> Any:
        """An Endpoint of ours; `model` may state a pace."""
        from serving.endpoints import Endpoint

        return Endpoint(id=endpoint_id, wire="openai", model=model, base_url=self.base_url, **values)

    def stats(self, *, requests: bool = False) -> dict[str, Any]:
        """The server's own account of itself since it started or was cleared."""
        return self._ask("GET", f"/stats?requests={int(requests)}")

    def clear(self) -> None:
        """Forget everything recorded so far."""
        self._ask("DELETE", "/stats")

    def _ask(self, method: str, target: str) -> Any:
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, target)
            return json.load(connection.getresponse())
        finally:
            connection.close()


def main() -> None:
    """Read the options (every field of Pace is one) and serve."""
    parser = ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--leash", action="store_true", help="leave when standard input ends")
    for field in fields(Pace):
        parser.add_argument(f"--{field.name.replace('_', '-')}", default=str(field.default))
    options = vars(parser.parse_args())
    port, leash = options.pop("port"), options.pop("leash")
    try:
        pace = pace_of(options, Pace())
    except ValueError as error:
        parser.error(str(error))
    try:
        import uvloop as loops
    except ImportError:
        loops = asyncio
    loops.run(serve(pace, port, leash))


if __name__ == "__main__":
    main()
