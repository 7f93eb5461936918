"""The replay server, asked by the `openai` package: an independent client that knows nothing of us."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import uvicorn
from timing import again_if_late, timely

from serving.completion import Completion, Request, Usage
from serving.listening import claim_port
from serving.replay import replay_app

QUESTION = "Capital of France?"
LINES = [
    Completion(
        endpoint="m", request=Request.user(QUESTION), text="Paris, of course.", latency_s=0.3, ttft_s=0.1,
        usage=Usage(input_tokens=4, output_tokens=5), finish_reason="stop",
    ),
    Completion(endpoint="m", request=Request(prompt="Once upon"), text=" a time"),
    Completion(endpoint="m", request=Request.user("slow"), status="timeout", error="nothing came for 120 s"),
]  # fmt: skip


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    path: Path = tmp_path_factory.mktemp("recording") / "completions.jsonl"
    path.write_text("".join(line.to_line() + "\n" for line in LINES))
    listener = claim_port("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(replay_app(path), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    with openai.OpenAI(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}/v1", api_key="none", max_retries=0) as opened:
        yield opened
    server.should_exit = True
    thread.join(10)
    listener.close()


def messages(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_it_lists_its_models(client: openai.OpenAI):
    assert [model.id for model in client.models.list()] == ["m"]


def test_a_chat_answer_comes_whole_with_its_usage(client: openai.OpenAI):
    answer = client.chat.completions.create(model="m", messages=messages(QUESTION))
    assert answer.choices[0].message.content == "Paris, of course." and answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (4, 5, 9)


@again_if_late
def test_a_chat_answer_streams_at_the_recorded_pace(client: openai.OpenAI):
    start = time.perf_counter()
    stream = client.chat.completions.create(model="m", messages=messages(QUESTION), stream=True, stream_options={"include_usage": True})
    arrivals, usage = [], None
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            arrivals.append((time.perf_counter() - start, chunk.choices[0].delta.content))
        usage = chunk.usage or usage
    assert "".join(text for _, text in arrivals) == "Paris, of course." and len(arrivals) == 3
    assert arrivals[0][0] >= 0.1
    timely(arrivals[-1][0] - arrivals[0][0] == pytest.approx(0.2, abs=0.1), arrivals)
    assert usage is not None and usage.completion_tokens == 5


def test_a_text_completion_streams_and_leaves_unknown_usage_out(client: openai.OpenAI):
    chunks = list(client.completions.create(model="m", prompt="Once upon", stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == " a time"
    assert all(chunk.usage is None for chunk in chunks)


def test_what_is_not_recorded_is_a_404_that_says_so(client: openai.OpenAI):
    with pytest.raises(openai.NotFoundError, match="holds no answer of 'm' to this prompt"):
        client.chat.completions.create(model="m", messages=messages("Capital of Spain?"))
    with pytest.raises(openai.NotFoundError, match="holds nothing of 'n'"):
        client.chat.completions.create(model="n", messages=messages(QUESTION))


def test_a_recorded_failure_fails_again(client: openai.OpenAI):
    with pytest.raises(openai.InternalServerError, match="recorded timeout"):
        client.chat.completions.create(model="m", messages=messages("slow"))


def test_a_request_it_cannot_honour_is_refused(client: openai.OpenAI):
    with pytest.raises(openai.BadRequestError, match="n=1"):
        client.chat.completions.create(model="m", messages=messages(QUESTION), n=2)
