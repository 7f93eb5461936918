"""The probe against a server whose every answer is known: each thing that it may do wrong is found, and nothing else is blamed."""

import json
import math
import re
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from serving.cli import app
from serving.endpoints import Endpoint, find_endpoint, load_endpoints, register
from serving.errors import CannotAsk, EngineFailed, MissingKey, Unreachable
from serving.probe import look_now

WORDS = [" alpha", " beta", " gamma", " delta", " epsilon", " zeta", " eta", " theta", " iota", " kappa", " lambda", " mu"]


def distribution(last: str) -> dict[str, float]:
    """Log-probabilities of the next word after a token: a made-up model that is the same each time."""
    logits = {word: zlib.crc32(f"{last}>{word}".encode()) / 2**32 * 6 for word in WORDS}
    total = math.log(sum(math.exp(value) for value in logits.values()))
    return {word: value - total for word, value in sorted(logits.items(), key=lambda item: -item[1])}


def tokens_of(text: str) -> list[str]:
    return re.findall(r" ?\S+|\s", text)


def scored(tokens: list[str], *, shift: int) -> list[float | None]:
    """Each token by the one before it; with shift 1 by itself, as llama.cpp's server does."""
    return [None, *(distribution(tokens[at - 1 + shift]).get(token, -9.0) for at, token in enumerate(tokens) if at)]


class Words(BaseHTTPRequestHandler):
    """OpenAI's dialect, with the faults that are named in `server.faults`."""

    server: Any
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.send(200, {"data": [] if "no_models" in self.server.faults else [{"id": "words"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body, self.headers.get("Authorization")))
        chat, faults = self.path.endswith("/chat/completions"), self.server.faults
        limit = body.get("max_completion_tokens", body.get("max_tokens"))
        if "unauthorized" in faults:
            return self.send(401, {"error": {"message": f"bad key {self.headers.get('Authorization')}"}})
        if ("no_chat" if chat else "no_completions") in faults:
            return self.send(404, {"error": {"message": "no such route"}})
        if chat and "max_completion_tokens" in faults and "max_tokens" in body:
            return self.send(400, {"error": {"message": "Unsupported parameter: use 'max_completion_tokens' instead"}})
        if "no_stream_options" in faults and "stream_options" in body:
            return self.send(400, {"error": {"message": "stream_options: unknown field"}})
        prompt = tokens_of(body["messages"][-1]["content"] if chat else body["prompt"])
        return self.answer(body, prompt, limit=30 if "no_limit" in faults else limit, chat=chat)

    def answer(self, body: dict[str, Any], prompt: list[str], *, limit: int, chat: bool) -> None:
        faults, words = self.server.faults, list[str]()
        while len(words) < limit:
            words.append(next(iter(distribution((prompt + words)[-1]))))
        finish = "length"
        for stop in body.get("stop", []) if "no_stop" not in faults else []:
            if stop in "".join(words):
                words, finish = ["".join(words).partition(stop)[0]], "stop"
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(words), "total_tokens": len(prompt) + len(words)}
        if body["stream"] and "no_stream" not in faults:
            return self.stream(words, finish, usage if body.get("stream_options") and "no_usage" not in faults else None, chat=chat)
        choice: dict[str, Any] = {"finish_reason": finish, "index": 0}
        choice |= {"message": {"content": "".join(words)}} if chat else {"text": "".join(words)}
        if body.get("logprobs") and "no_logprobs" not in faults:
            top = [dict(list(distribution((prompt + words)[len(prompt) - 1 + at]).items())[:5]) for at in range(len(words))]
            listed, values = words, [max(one.values()) for one in top]
            if body.get("echo") and "no_echo" not in faults:
                choice["text"] = "".join([*prompt, *words])
                echoed = prompt if "echo_omits_generated" in faults else [*prompt, *words]
                listed, values = echoed, scored(echoed, shift=1 if "off_by_one" in faults else 0)
            choice["logprobs"] = {"tokens": listed, "token_logprobs": values, "top_logprobs": top}
        self.send(200, {"choices": [choice], "usage": usage})

    def stream(self, words: list[str], finish: str, usage: dict[str, int] | None, *, chat: bool) -> None:
        choices: list[Any] = [{"delta": {"content": word}} if chat else {"text": word} for word in words]
        events = [{"choices": [choice]} for choice in [*choices, {"delta": {}, "finish_reason": finish}]]
        events += [{"choices": [], "usage": usage}] if usage else []
        lines = [json.dumps(event) for event in events] + ([] if "no_done" in self.server.faults else ["[DONE]"])
        self.reply(200, "".join(f"data: {line}\n\n" for line in lines).encode(), "text/event-stream")

    def send(self, status: int, document: Any) -> None:
        self.reply(status, json.dumps(document).encode(), "application/json")

    def reply(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def words() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Words)
    server.faults, server.asked, server.daemon_threads = set(), [], True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)


def endpoint_of(server: Any, **values: Any) -> Endpoint:
    return Endpoint(
        **{"id": "words", "wire": "openai", "model": "words", "base_url": f"http://127.0.0.1:{server.server_port}/v1", **values}
    )


def test_a_server_without_fault_can_everything(words: Any):
    found = look_now(endpoint_of(words))
    can = found.capabilities
    assert can.chat and can.completions and can.streaming and can.usage and can.done and can.stop and can.logprobs
    assert can.max_tokens_field == "max_tokens" and can.ignore_eos is False
    assert found.checks["models"] == "1 listed: words" and found.checks["max_tokens"].startswith("honoured: 8 of 8")
    assert found.checks["logprobs"].startswith("right: 4 tokens sum to ")


@pytest.mark.parametrize(
    ("fault", "capability", "value", "check", "told"),
    [
        ("off_by_one", "logprobs", False, "logprobs", "wrong: 4 tokens sum to"),
        ("no_echo", "logprobs", False, "logprobs", "echo is ignored"),
        ("no_logprobs", "logprobs", False, "logprobs", "ignored"),
        ("echo_omits_generated", "logprobs", True, "logprobs", "right"),
        ("no_usage", "usage", False, "usage", "not told in the stream"),
        ("no_stream_options", "usage", False, "usage", "not told in the stream"),
        ("no_done", "done", False, "[DONE]", "no"),
        ("no_stop", "stop", False, "stop", "ignored"),
        ("no_stream", "streaming", False, "stream", "no: one document"),
        ("no_chat", "chat", False, "chat", "no: HTTP 404: no such route"),
        ("no_completions", "completions", False, "completions", "no: HTTP 404: no such route"),
        ("max_completion_tokens", "max_tokens_field", "max_completion_tokens", "chat", "yes"),
        ("no_limit", "chat", True, "max_tokens", "not honoured: 30 tokens where 8 were allowed"),
        ("no_models", "chat", True, "models", "none listed"),
    ],
)
def test_each_fault_is_found_and_nothing_else_is_blamed(words: Any, fault: str, capability: str, value: Any, check: str, told: str):
    sound = look_now(endpoint_of(words)).capabilities.model_dump()
    words.faults = {fault}
    found = look_now(endpoint_of(words))
    assert getattr(found.capabilities, capability) == value
    assert found.checks[check].startswith(told)
    linked = {"no_completions": {"logprobs"}, "no_stream": {"done"}, "no_limit": {"logprobs"}}.get(fault, set())
    changed = {name for name, now in found.capabilities.model_dump().items() if now != sound[name]}
    assert changed <= {capability} | linked


def test_an_off_by_one_is_found_even_where_the_generated_token_is_left_out(words: Any):
    words.faults = {"off_by_one", "echo_omits_generated"}
    found = look_now(endpoint_of(words))
    assert found.capabilities.logprobs is False and "one differs by" in found.checks["logprobs"]


def test_nothing_but_neutral_sampling_is_asked_and_the_key_is_sent(words: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORDS_KEY", "sk-words-secret")
    neutral = {"top_k": 0, "min_p": 0.0, "temperature": 1.0}
    look_now(endpoint_of(words, api_key_env="WORDS_KEY", capabilities={"neutral": neutral}))
    assert all(header == "Bearer sk-words-secret" and body["top_k"] == 0 and body["min_p"] == 0.0 for _, body, header in words.asked)
    # What a request states wins.
    assert {body["temperature"] for _, body, _ in words.asked} == {0, 1.0}
    assert len(words.asked) < 25


def test_a_server_that_cannot_be_asked_is_told_in_one_line(words: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORDS_KEY", "sk-words-secret")
    keyed = endpoint_of(words, api_key_env="WORDS_KEY")
    words.faults = {"unauthorized"}
    with pytest.raises(Unreachable, match="HTTP 401: the key in WORDS_KEY is refused") as refused:
        look_now(keyed)
    assert "secret" not in str(refused.value)
    with pytest.raises(Unreachable, match="wants a key: name its variable"):
        look_now(endpoint_of(words))
    words.faults = {"no_chat", "no_completions"}
    with pytest.raises(Unreachable, match="does not answer as 'words' at http://127.0.0.1:[0-9]+/v1: HTTP 404: no such route"):
        look_now(endpoint_of(words))
    monkeypatch.delenv("WORDS_KEY")
    with pytest.raises(MissingKey, match="WORDS_KEY"):
        look_now(keyed)
    with pytest.raises(Unreachable, match="start its server"):
        look_now(Endpoint(id="nobody", wire="openai", model="m", base_url="http://127.0.0.1:9/v1"))
    with pytest.raises(CannotAsk, match="only openai"):
        look_now(Endpoint(id="a", wire="anthropic", model="m", base_url="http://127.0.0.1:9/v1"))


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=True)


def test_attach_registers_what_the_probe_saw(words: Any, results: Path):
    url = f"http://127.0.0.1:{words.server_port}/"
    words.faults = {"no_usage"}
    done = run("attach", "--base-url", url, "--model", "org/words-1b", "--engine", "vllm", "--usd-per-hour", "2", "--results", str(results))
    assert done.exit_code == 0 and "registered in" in done.stderr and "usage not told in the stream" in done.stderr
    found = find_endpoint("words-1b", results)
    assert found.base_url == f"http://127.0.0.1:{words.server_port}/v1" and found.model == "org/words-1b" and found.data_leaves is False
    assert found.price is not None and found.price.usd_per_hour == 2
    assert found.capabilities.logprobs and found.capabilities.ignore_eos and not found.capabilities.usage
    assert found.capabilities.neutral["repetition_penalty"] == 1.0 and isinstance(found.capabilities.neutral["top_k"], int)
    words.faults = set()
    again = run("attach", "--base-url", url, "--model", "org/words-1b", "--results", str(results))
    assert again.exit_code == 0 and find_endpoint("words-1b", results).capabilities.usage


def test_ping_shows_the_probe(words: Any, results: Path):
    register(endpoint_of(words), results)
    shown = run("ping", "words", "--probe", "--results", str(results))
    assert re.search(r"^logprobs +right: ", shown.stdout, re.MULTILINE)
    document = json.loads(run("ping", "words", "--probe", "--json", "--results", str(results)).stdout.splitlines()[-1])
    assert document["capabilities"]["logprobs"] is True and document["endpoint"] == "words"


@pytest.mark.parametrize(
    ("more", "error", "told"),
    [
        (["--model", "m", "--engine", "vlm"], EngineFailed, "no dialect 'vlm' is known. Did you mean 'vllm'?"),
        (["--model", "m", "--id", "GPT 4"], EngineFailed, "'GPT 4' is the id of another endpoint"),
        (["--model", "m", "--base-url", "http://me:secret@127.0.0.1:9"], Unreachable, "user name or a password"),
        (["--lora", "style=/none", "--base-url", "http://127.0.0.1:9"], Unreachable, "attach its base model first"),
        (["--lora", "style=/none"], EngineFailed, "/none: no LoRA adapter"),
        (["--lora", "style"], EngineFailed, "--lora style: must be NAME=PATH"),
    ],
)
def test_what_cannot_be_attached_is_told_and_not_registered(words: Any, results: Path, more: list[str], error: type[Exception], told: str):
    register(endpoint_of(words, id="base"), results)
    done = run("attach", "--base-url", f"http://127.0.0.1:{words.server_port}", "--results", str(results), *more)
    assert isinstance(done.exception, error) and told in str(done.exception) and "secret" not in str(done.exception)
    assert {"m", "style"}.isdisjoint(load_endpoints(results))
