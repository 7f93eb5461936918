"""One suite for every server: what an endpoint must do, asked by our client and by the `openai` package, which share no line.

    python tests/serving/conformance.py http://127.0.0.1:8000/v1 MODEL      # any server that runs, one line a case

Each case is a function of a Driver that asserts; CASES names them. What a server is known not to do (usage in the stream, a template for
chats) is read from the endpoint's capabilities, which the start-up probe decided.
"""

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from serving.client import Client
from serving.completion import Completion, Request
from serving.endpoints import Endpoint

QUESTION = "Count from one to one hundred, in words."
UNICODE = 'Grüße! 你好, мир 🙂 ‘quoted’ "and" \\n escaped'


@dataclass(frozen=True)
class Said:
    """An answer, or the error in its place, in terms that both clients share."""

    text: str = ""
    finish: str | None = None
    pieces: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    error: str | None = None


class Driver(Protocol):
    """A way to ask `endpoint`; the same questions through two unrelated clients."""

    endpoint: Endpoint

    def ask(self, request: Request, model: str | None = None) -> Said:
        """One streamed request; an error is told in `Said.error`, never raised."""
        ...


class Ours:
    """bakeoff's own client."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def ask(self, request: Request, model: str | None = None) -> Said:
        asked = self.endpoint if model is None else self.endpoint.model_copy(update={"model": model})
        # A local tokenizer must not stand in for what the server does not tell.
        asked = asked.model_copy(update={"tokenizer": None})

        async def once() -> Completion:
            async with Client(max_retries=0) as client:
                return await client.ask(asked, request)

        done = asyncio.run(once())
        return Said(
            done.text, done.finish_reason, len(done.chunk_times_s), done.usage.input_tokens, done.usage.output_tokens, done.error
        )  # fmt: skip


class OpenAI:
    """The `openai` package."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def ask(self, request: Request, model: str | None = None) -> Said:
        import openai

        chat = request.messages is not None
        values: dict[str, Any] = {"model": model or self.endpoint.model, "stream": True, "max_tokens": request.max_tokens}
        stated = {name: value for name in ("temperature", "top_p", "seed", "stop") if (value := getattr(request, name)) is not None}
        values["extra_body"] = {**self.endpoint.capabilities.neutral, **stated, **request.extra}
        if self.endpoint.capabilities.usage:
            values["stream_options"] = {"include_usage": True}
        if request.messages is not None:
            values["messages"] = [{"role": message.role, "content": message.content} for message in request.messages]
        else:
            values["prompt"] = request.prompt
        said: dict[str, Any] = {"text": "", "pieces": 0}
        with openai.OpenAI(
            base_url=self.endpoint.base_url, api_key=self.endpoint.api_key() or "none", max_retries=0, timeout=120
        ) as client:
            create: Any = client.chat.completions.create if chat else client.completions.create
            try:
                for chunk in create(**values):
                    if chunk.usage is not None:
                        said |= {"input_tokens": chunk.usage.prompt_tokens, "output_tokens": chunk.usage.completion_tokens}
                    if not chunk.choices:
                        continue
                    piece = (chunk.choices[0].delta.content if chat else chunk.choices[0].text) or ""
                    said["text"] += piece
                    said["pieces"] += bool(piece)
                    said["finish"] = chunk.choices[0].finish_reason or said.get("finish")
            except openai.OpenAIError as error:
                return Said(error=str(error))
        return Said(**said)


def question(driver: Driver, text: str = QUESTION, **parameters: Any) -> Request:
    """A chat where the endpoint has chats, else a text to complete."""
    values = {"max_tokens": 12, "temperature": 0, **parameters}
    if driver.endpoint.capabilities.chat:
        return Request.user(text, **values)
    return Request(prompt=text, **values)


def chats(driver: Driver) -> None:
    """A greedy answer, the same twice."""
    first, second = driver.ask(question(driver)), driver.ask(question(driver))
    assert first.error is None, first.error
    assert first.text and first.text == second.text
    assert first.finish in ("stop", "length")


def completes(driver: Driver) -> None:
    """A text is continued."""
    if not driver.endpoint.capabilities.completions:
        return
    said = driver.ask(Request(prompt="One, two, three,", max_tokens=12, temperature=0))
    assert said.error is None and said.text, said


def streams(driver: Driver) -> None:
    """Text comes in pieces, not at the end."""
    said = driver.ask(question(driver, max_tokens=32))
    assert said.error is None and said.pieces >= 3, said


def tells_usage(driver: Driver) -> None:
    """Tokens of prompt and answer, where the probe found that the server tells them; a longer prompt has more of them."""
    short, long = driver.ask(question(driver)), driver.ask(question(driver, QUESTION + " Then back again." * 8))
    if not driver.endpoint.capabilities.usage:
        assert short.output_tokens is None, "the server tells its tokens, the probe said it does not"
        return
    assert short.output_tokens and short.output_tokens <= 12
    assert short.input_tokens and long.input_tokens and long.input_tokens > short.input_tokens + 8


def honours_max_tokens(driver: Driver) -> None:
    """A limit of 1 gives less than one of 24, and says that it was the limit."""
    one, more = driver.ask(question(driver, max_tokens=1)), driver.ask(question(driver, max_tokens=24))
    assert one.error is None and one.finish == "length", one
    assert len(one.text) < len(more.text)
    if one.output_tokens is not None:
        assert one.output_tokens == 1 and more.output_tokens is not None and more.output_tokens <= 24


def stops(driver: Driver) -> None:
    """A stop sequence ends the answer before it, and is left out; where the server ignores it, our client cuts."""
    whole = driver.ask(question(driver, max_tokens=24)).text
    middle = next((word for word in _inner(whole) if whole.find(word) > 0), None)
    assert middle is not None, f"no plain text in {whole!r} to stop at"
    said = driver.ask(question(driver, max_tokens=24, stop=(middle,)))
    if isinstance(driver, OpenAI) and not driver.endpoint.capabilities.stop:
        assert middle in said.text, "the server stops, the probe said it does not"
        return
    assert said.error is None and said.finish == "stop", said
    assert said.text.strip() == whole[: whole.find(middle)].strip(), f"{whole!r} stopped at {middle!r}: {said.text!r}"


def serves_four_at_once(driver: Driver) -> None:
    """Four different questions at the same time get the four answers that they get alone."""
    asked = [question(driver, f"{QUESTION} Begin with {word}.") for word in ("one", "seven", "twelve", "forty")]
    alone = [driver.ask(request) for request in asked]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(driver.ask, asked))
    assert all(said.error is None and said.finish for said in together), together
    # Another batch is another order of additions: a rare token may differ, not most of them.
    same = sum(a.text == b.text for a, b in zip(alone, together, strict=True))
    assert same >= 3, [(a.text, b.text) for a, b in zip(alone, together, strict=True)]


def refuses_a_wrong_model(driver: Driver) -> None:
    """A model that is not served is an error, not another model's answer; afterwards the right one still answers."""
    said = driver.ask(question(driver), model="no-such-model")
    assert said.error and not said.text, f"answered as another model: {said.text!r}"
    assert driver.ask(question(driver)).error is None


def takes_unicode(driver: Driver) -> None:
    """Any text is taken, and counted in more tokens than one."""
    said = driver.ask(question(driver, UNICODE))
    assert said.error is None and said.finish, said
    said.text.encode("utf-8")


def tells_a_bad_request(driver: Driver) -> None:
    """A parameter of the wrong type is an error with a text, and the server goes on."""
    said = driver.ask(question(driver, extra={"temperature": "warm"}))
    assert said.error and not said.text, said
    assert driver.ask(question(driver)).error is None


def _inner(text: str) -> list[str]:
    """Plain ASCII pieces of `text` that do not stand at its start, long ones first."""
    pieces = {text[at : at + length] for length in (3, 2, 1) for at in range(1, len(text) - length)}
    plain = [piece for piece in pieces if piece.isascii() and piece.isprintable() and piece.strip() == piece]
    return sorted(plain, key=lambda piece: (-len(piece), text.find(piece)))


Case = Callable[[Driver], None]
CASES: dict[str, Case] = {
    case.__name__: case
    for case in (
        chats, completes, streams, tells_usage, honours_max_tokens, stops, serves_four_at_once, refuses_a_wrong_model, takes_unicode,
        tells_a_bad_request,
    )
}  # fmt: skip
DRIVERS: dict[str, Callable[[Endpoint], Driver]] = {"ours": Ours, "openai": OpenAI}


def rate(endpoint: Endpoint, streams: int, *, tokens: int = 64, rounds: int = 3) -> float:
    """Output tokens per second over `rounds` rounds of `streams` streams at once, by our client; counted from usage, else pieces."""

    async def measure() -> float:
        counted = 0
        async with Client(max_retries=0) as client:

            async def one(number: int) -> int:
                request = Request(prompt=f"{number} {threading.get_ident()} one two three", max_tokens=tokens, temperature=0)
                if endpoint.capabilities.ignore_eos:
                    request = request.model_copy(update={"extra": {"ignore_eos": True}})
                done = await client.ask(endpoint, request)
                assert done.answered, done.error
                return done.usage.output_tokens if done.usage.output_tokens is not None else len(done.chunk_times_s)

            await asyncio.gather(*(one(-1 - number) for number in range(streams)))
            started = time.perf_counter()
            for number in range(rounds):
                counted += sum(await asyncio.gather(*(one(number * streams + index) for index in range(streams))))
            return counted / (time.perf_counter() - started)

    return asyncio.run(measure())


def report(endpoint: Endpoint) -> list[str]:
    """One line a case and driver: what passed, and why the others did not."""
    lines = []
    for name, case in CASES.items():
        for how, driver in DRIVERS.items():
            try:
                case(driver(endpoint))
            except AssertionError as error:
                lines.append(f"{name:24}{how:8}no: {' '.join(str(error).split())[:200]}")
            else:
                lines.append(f"{name:24}{how:8}yes")
    return lines


if __name__ == "__main__":
    from serving.probe import look_now

    probed = Endpoint(id="any", wire="openai", model=sys.argv[2], base_url=sys.argv[1])
    probe = look_now(probed)
    probed = probed.model_copy(update={"capabilities": probe.capabilities})
    lines = [f"{name:24}{found}" for name, found in probe.checks.items()] + report(probed)
    speeds = [f"{rate(probed, streams):.0f} tok/s at {streams} streams" for streams in (1, 8)]
    sys.stdout.write("\n".join([*lines, *speeds, ""]))
