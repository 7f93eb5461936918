"""lm-eval's requests as ours: what is sent, how many at once, and what is refused."""

from types import SimpleNamespace
from typing import Any

import pytest
from model_server import ModelServer, problem, sse

from evals.asking import Asker
from evals.errors import TaskError
from evals.lm import Answer, ChatPrompt, EndpointLM, to_request
from evals.suite import Parameters
from serving.completion import Completion, Request
from serving.endpoints import Endpoint
from serving.errors import MissingKey


def instances(*prompts: str) -> list[Any]:
    lm = EndpointLM(Asker(Endpoint(id="e", wire="openai", model="m", base_url="http://127.0.0.1:1"), lambda completion: None))
    chats = [lm.apply_chat_template([{"role": "user", "content": prompt}]) for prompt in prompts]
    return [SimpleNamespace(args=(chat, {"until": [], "max_gen_toks": 5}), task_name="t") for chat in chats]


def test_generation_keys_become_the_request_that_is_sent() -> None:
    chat = ChatPrompt('[{"role": "user", "content": "hi"}]')
    asked = to_request(chat, {"until": "\n", "max_gen_toks": 9, "do_sample": False, "top_p": 0.9}, Parameters())
    assert asked == Request.user("hi", max_tokens=9, temperature=0.0, top_p=0.9, stop=("\n",))
    assert to_request("once upon", {"until": []}, Parameters()) == Request(prompt="once upon")


def test_the_suites_parameters_win_and_null_takes_away() -> None:
    parameters = Parameters.model_validate({"temperature": None, "max_tokens": 3, "extra": {"top_k": 1}})
    asked = to_request("p", {"until": [], "temperature": 0.7, "max_gen_toks": 9}, parameters)
    assert asked == Request(prompt="p", max_tokens=3, extra={"top_k": 1})


def test_a_key_that_cannot_be_sent_is_refused_rather_than_dropped() -> None:
    with pytest.raises(TaskError, match="'repetition_penalty' cannot be sent"):
        to_request("p", {"until": [], "repetition_penalty": 1.2}, Parameters())


def test_answers_keep_their_order_and_are_recorded_as_they_arrive() -> None:
    recorded: list[Completion] = []
    with ModelServer(lambda body: sse(body["messages"][0]["content"].upper()), pace_s=0.002) as server:
        lm = EndpointLM(Asker(server.endpoint(), recorded.append, concurrency=4))
        answers = lm.generate_until(instances(*"abcdefghij"))
    assert answers == list("ABCDEFGHIJ")
    assert sorted(completion.text for completion in recorded) == list("ABCDEFGHIJ")
    assert server.requests[0]["max_tokens"] == 5
    assert 1 < server.connections <= 4


def test_a_failed_request_is_an_empty_answer_that_says_so() -> None:
    def script(body: dict[str, Any]) -> list[bytes]:
        return problem("500 Internal Server Error", "out of memory") if body["messages"][0]["content"] == "b" else sse("fine")

    with ModelServer(script) as server:
        answers = EndpointLM(Asker(server.endpoint(), lambda completion: None)).generate_until(instances("a", "b", "c"))
    assert answers == ["fine", "", "fine"]
    failed = answers[1]
    assert isinstance(failed, Answer)
    assert failed.completion.status == "api_error"
    assert "out of memory" in (failed.completion.error or "")


def test_a_missing_key_ends_the_asking_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    endpoint = Endpoint(id="e", wire="openai", model="m", base_url="http://127.0.0.1:1", api_key_env="NO_SUCH_KEY")
    with pytest.raises(MissingKey, match="NO_SUCH_KEY"):
        EndpointLM(Asker(endpoint, lambda completion: None)).generate_until(instances("a", "b"))


def test_log_probabilities_are_refused_with_the_remedy() -> None:
    endpoint = Endpoint(id="e", wire="openai", model="m", base_url="http://127.0.0.1:1")
    with pytest.raises(TaskError, match="output_type: generate_until"):
        EndpointLM(Asker(endpoint, lambda completion: None)).loglikelihood(instances("a"))
