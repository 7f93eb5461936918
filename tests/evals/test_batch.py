"""The Batch API through the openai package: half the price, paid once, and a failure where a batch has no answer."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from evals.batch import BatchAsker, check_batch
from evals.budget import Budget
from evals.errors import TaskError
from serving.completion import Completion, Request
from serving.endpoints import Endpoint, Price
from serving.errors import Unreachable

PRICE = Price(input_usd_per_mtok=2.0, output_usd_per_mtok=8.0, batch_input_usd_per_mtok=1.0, batch_output_usd_per_mtok=4.0)


class BatchServer:
    """Files and batches in memory. A batch is done at its third look; `answers` makes the body of each answer, None leaves it out."""

    def __init__(self, answers: Any) -> None:
        self.answers, self.looks_needed, self.status = answers, 3, "completed"
        self.refusal: dict[str, Any] | None = None
        self.files: dict[str, str] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: object) -> None: ...

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if server.refusal is not None:
                    self.reply(server.refusal, status=401)
                    return
                self.reply(server.upload(body) if self.path.endswith("/files") else server.create(json.loads(body)))

            def do_GET(self) -> None:
                name = self.path.split("/")[3]
                self.reply(server.files[name] if self.path.endswith("/content") else server.look(name))

            def reply(self, content: Any, status: int = 200) -> None:
                data = (content if isinstance(content, str) else json.dumps(content)).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def upload(self, body: bytes) -> dict[str, Any]:
        lines = [line for line in body.decode().splitlines() if line.startswith('{"custom_id"')]
        self.files[name := f"file-{len(self.files)}"] = "\n".join(lines)
        return {"id": name, "object": "file", "bytes": len(body), "created_at": 0, "filename": "requests.jsonl", "purpose": "batch"}

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        name = f"batch-{len(self.batches)}"
        self.batches[name] = {"id": name, "object": "batch", "created_at": 0, "status": "in_progress", "looks": 0, **body}
        return self.batches[name]

    def look(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        batch["looks"] += 1
        if batch["looks"] >= self.looks_needed and batch["status"] not in ("completed", "expired"):
            lines = []
            for one in map(json.loads, self.files[batch["input_file_id"]].splitlines()):
                if (answer := self.answers(one["body"])) is not None:
                    lines.append(
                        json.dumps({"custom_id": one["custom_id"], "response": {"status_code": 200, "body": answer}, "error": None})
                    )
            self.files[output := f"{name}-output"] = "\n".join(reversed(lines))
            batch |= {"status": self.status, "output_file_id": output}
        return batch


@pytest.fixture
def server() -> Iterator[BatchServer]:
    def doubled(body: dict[str, Any]) -> dict[str, Any]:
        choice = {"index": 0, "message": {"role": "assistant", "content": body["messages"][0]["content"] * 2}, "finish_reason": "stop"}
        return {"choices": [choice], "usage": {"prompt_tokens": 1_000, "completion_tokens": 500}}

    found = BatchServer(doubled)
    thread = threading.Thread(target=found.http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield found
    found.http.shutdown()
    found.http.server_close()
    thread.join(10)


def asker(server: BatchServer, folder: Path, record: list[Completion], **values: Any) -> BatchAsker:
    endpoint = Endpoint(id="api", wire="openai", model="m", base_url=server.url, price=PRICE)
    return BatchAsker(endpoint, record.append, log_path=folder / "batches.jsonl", poll_s=0.01, **values)


def test_answers_come_in_order_at_batch_prices_and_without_a_latency(server: BatchServer, tmp_path: Path) -> None:
    record: list[Completion] = []
    answers = asker(server, tmp_path, record).ask_all([Request.user(text) for text in "abca"])
    assert [answer.text for answer in answers] == ["aa", "bb", "cc", "aa"]
    assert record == answers
    # 1,000 tokens in at $1, 500 out at $4 a million.
    assert [answer.cost_usd for answer in answers] == pytest.approx([0.003] * 4)
    assert {answer.latency_s for answer in answers} == {None}
    (batch,) = server.batches.values()
    assert (batch["endpoint"], batch["completion_window"]) == ("/v1/chat/completions", "24h")
    sent = [json.loads(line) for line in server.files[batch["input_file_id"]].splitlines()]
    assert sent[0]["body"]["stream"] is False and len({line["custom_id"] for line in sent}) == 4


def test_a_run_that_was_stopped_waits_for_its_own_batch_and_pays_once(server: BatchServer, tmp_path: Path) -> None:
    class Stopped(Exception): ...

    def stop(seconds: float) -> None:
        raise Stopped

    requests = [Request.user(text) for text in "abc"]
    with pytest.raises(Stopped):
        asker(server, tmp_path, [], sleep=stop).ask_all(requests)
    record: list[Completion] = []
    assert [answer.text for answer in asker(server, tmp_path, record).ask_all(requests)] == ["aa", "bb", "cc"]
    assert len(server.batches) == 1 and len(record) == 3


def test_what_a_batch_did_not_answer_is_a_failure_and_goes_into_another_later(server: BatchServer, tmp_path: Path) -> None:
    whole = server.answers
    server.answers = lambda body: None if body["messages"][0]["content"] == "b" else whole(body)
    server.status = "expired"
    requests = [Request.user(text) for text in "abc"]
    answers = asker(server, tmp_path, []).ask_all(requests)
    assert [answer.status for answer in answers] == ["ok", "api_error", "ok"]
    assert "batch batch-0 ended as expired without it" in (answers[1].error or "")
    server.answers, server.status = whole, "completed"
    again = asker(server, tmp_path, []).ask_all(requests)
    assert [answer.text for answer in again] == ["aa", "bb", "cc"]
    assert len(server.files[server.batches["batch-1"]["input_file_id"]].splitlines()) == 1


def test_the_budget_holds_for_a_batch(server: BatchServer, tmp_path: Path) -> None:
    budget = Budget(0.02)
    requests = [Request.user(text, max_tokens=1_000) for text in "abcdef"]
    answers = asker(server, tmp_path, [], budget=budget).ask_all(requests)
    # Worst case of each: 1,000 tokens out at $8 a million, and a few in: two fit into two cents.
    assert [answer.answered for answer in answers] == [True, True, False, False, False, False]
    assert budget.spent_usd == pytest.approx(0.006) and budget.refused == 4


def test_an_endpoint_without_a_batch_api_is_refused() -> None:
    with pytest.raises(TaskError, match="'claude'.*leave --batch out"):
        check_batch([Endpoint(id="claude", wire="anthropic", model="m", base_url="https://api.example/v1")])


def test_an_api_that_refuses_is_one_clear_line_without_the_key(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCH_KEY", "sk-batch-0123456789abcdef")
    server.refusal = {"error": {"message": "no batches for sk-batch-0123456789abcdef"}}
    endpoint = Endpoint(id="api", wire="openai", model="m", base_url=server.url, api_key_env="BATCH_KEY")
    refused = BatchAsker(endpoint, lambda completion: None, log_path=tmp_path / "batches.jsonl")
    with pytest.raises(Unreachable, match=r"'api': its Batch API says: .*no batches for \[key\].*--resume") as told:
        refused.ask_all([Request.user("a")])
    assert "sk-batch" not in str(told.value)


def test_a_line_that_a_crash_cut_hides_no_other_batch(server: BatchServer, tmp_path: Path) -> None:
    (tmp_path / "batches.jsonl").write_text('{"endpoint": "api", "batch_id": "bat')
    assert asker(server, tmp_path, []).ask_all([Request.user("a")])[0].text == "aa"
    assert asker(server, tmp_path, []).ask_all([Request.user("a")])[0].text == "aa"
    assert len(server.batches) == 1
