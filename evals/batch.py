"""Ask through the Batch API: half the price, an answer within a day instead of at once.

    evals run nightly --batch

The `openai` package uploads the requests and fetches the answers (nothing is timed here: a batch has no latency). The id of each batch is
in the run's batches.jsonl before anything is waited for, so that a run that was stopped waits for its batch with --resume and pays once.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.asking import Asker
from evals.errors import TaskError
from serving.client import Exchange, completion_of, prepare
from serving.completion import Completion, Request
from serving.endpoints import Endpoint
from serving.errors import Unreachable
from serving.prices import cost_usd
from serving.reading import without_secrets
from serving.wires import POST

if TYPE_CHECKING:
    from openai import OpenAI

log = logging.getLogger(__name__)

# What OpenAI takes in one batch is 50,000 requests and 200 MB; some left for headers and other people's limits.
MOST_REQUESTS = 40_000
MOST_BYTES = 150 * 2**20
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
LONGEST_POLL_S = 60.0


@dataclass
class BatchAsker(Asker):
    """Asks in batches; `log_path` is the run's batches.jsonl, `told` hears what becomes of each batch."""

    log_path: Path = Path("batches.jsonl")
    poll_s: float = 2.0
    told: Callable[[str], None] = log.info
    sleep: Callable[[float], None] = time.sleep
    _reserved_usd: dict[int, float] = field(default_factory=dict)
    _earlier: list[tuple[str, set[str]]] = field(init=False)

    def __post_init__(self) -> None:
        # What this process submits itself is collected at once: only earlier batches are looked for.
        self._earlier = list(self._read_log())

    def _ask_left(self, left: Sequence[tuple[int, Request]], answers: dict[int, Completion]) -> None:
        from openai import OpenAIError

        try:
            self._ask_in_batches(left, answers)
        except OpenAIError as error:
            told = without_secrets(" ".join(str(error).split()), tuple(filter(None, [self.endpoint.api_key()])))[:300]
            raise Unreachable(f"endpoint '{self.endpoint.id}': its Batch API says: {told}; 'evals run … --resume' goes on") from None

    def _ask_in_batches(self, left: Sequence[tuple[int, Request]], answers: dict[int, Completion]) -> None:
        client = _client(self.endpoint)
        for batch_id, known in self._earlier:
            ours = [(index, request) for index, request in left if index not in answers and _custom_id(request, index) in known]
            if ours:
                # What a batch did not answer then is put into another now.
                self._collect(client, batch_id, ours, answers, last=False)
                # Each answer is given once, so that an equal request of another task gets one of its own.
                known -= {_custom_id(request, index) for index, request in ours}
        waiting = self._within_budget([(index, request) for index, request in left if index not in answers], answers)
        for path, part in _parts(self.endpoint, waiting):
            self._collect(client, self._submit(client, path, part), part, answers, last=True)

    def _within_budget(self, left: Sequence[tuple[int, Request]], answers: dict[int, Completion]) -> list[tuple[int, Request]]:
        """Those whose worst cases fit together, at full price: what a batch costs less is known when it ends."""
        allowed = []
        for index, request in left:
            reserved_usd = 0.0 if self.budget is None else self.budget.reserve(self.endpoint, request)
            if reserved_usd is None:
                assert self.budget is not None
                answers[index] = Completion(endpoint=self.endpoint.id, request=request, status="api_error", error=self.budget.refuse())
            else:
                self._reserved_usd[index] = reserved_usd
                allowed.append((index, request))
        return allowed

    def _submit(self, client: "OpenAI", path: str, part: Sequence[tuple[int, Request]]) -> str:
        lines = (json.dumps(_line(self.endpoint, index, request), ensure_ascii=False) + "\n" for index, request in part)
        uploaded = client.files.create(file=("requests.jsonl", "".join(lines).encode()), purpose="batch")
        batch = client.batches.create(input_file_id=uploaded.id, endpoint=_batch_path(path), completion_window="24h")  # type: ignore[arg-type]
        record = {"endpoint": self.endpoint.id, "batch_id": batch.id, "custom_ids": [_custom_id(request, index) for index, request in part]}
        with self.log_path.open("a", encoding="utf-8") as file:
            # A line that a crash cut stays a line of its own.
            file.write("\n" + json.dumps(record) + "\n")
        self.told(f"{self.endpoint.id}: batch {batch.id} of {len(part):,} requests")
        return batch.id

    def _read_log(self) -> Iterator[tuple[str, set[str]]]:
        """Batches that an earlier part of this run submitted; a line that a crash cut tells of none."""
        if self.log_path.is_file():
            for line in self.log_path.read_text(encoding="utf-8").splitlines():
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if record["endpoint"] == self.endpoint.id:
                    yield record["batch_id"], set(record["custom_ids"])

    def _collect(
        self, client: "OpenAI", batch_id: str, part: Sequence[tuple[int, Request]], answers: dict[int, Completion], *, last: bool
    ) -> None:
        """Wait for the end of a batch and record what came; with `last`, also that a request has no answer, and how the batch ended."""
        wait_s, status = self.poll_s, ""
        while True:
            batch = client.batches.retrieve(batch_id)
            if batch.status != status:
                status = batch.status
                self.told(f"{self.endpoint.id}: batch {batch_id} is {status}")
            if status in ENDED:
                break
            self.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_POLL_S)
        found: dict[str, dict[str, Any]] = {}
        for file_id in (batch.output_file_id, batch.error_file_id):
            if file_id:
                lines = client.files.content(file_id).text.splitlines()
                found |= {one["custom_id"]: one for one in map(json.loads, filter(None, lines))}
        for index, request in part:
            completion = self._completion(request, found.get(_custom_id(request, index)), f"batch {batch_id} ended as {status} without it")
            if self.budget is not None and index in self._reserved_usd:
                self.budget.settle(self._reserved_usd.pop(index), completion, self.endpoint)
            if completion.answered or last:
                answers[index] = completion
                self.record(completion)
                self._done(completion)

    def _completion(self, request: Request, line: dict[str, Any] | None, missing: str) -> Completion:
        response = (line or {}).get("response") or {}
        if not response.get("body"):
            error = ((line or {}).get("error") or {}).get("message") or missing
            return Completion(endpoint=self.endpoint.id, request=request, status="api_error", error=str(error)[:300])
        exchange = Exchange(status=int(response.get("status_code") or 200), headers={b"content-type": b"application/json"}, complete=True)
        exchange.body = [(0, json.dumps(response["body"]).encode())]
        at = datetime.now(UTC)
        read = completion_of(prepare(_whole(self.endpoint), request), exchange, at)
        # A batch answers some time within a day: that is no latency.
        return read.model_copy(update={"latency_s": None, "cost_usd": cost_usd(self.endpoint, read.usage, at, batch=True)})


def check_batch(endpoints: Iterable[Endpoint]) -> None:
    """Raises TaskError for an endpoint that has no Batch API."""
    for endpoint in endpoints:
        if endpoint.wire != "openai":
            raise TaskError(f"endpoint '{endpoint.id}' (wire: {endpoint.wire}) is not asked in batches; leave --batch out for it")


def _client(endpoint: Endpoint) -> "OpenAI":
    from openai import OpenAI

    return OpenAI(base_url=endpoint.base_url, api_key=endpoint.api_key() or "none", max_retries=5)


def _parts(endpoint: Endpoint, requests: Sequence[tuple[int, Request]]) -> Iterator[tuple[str, list[tuple[int, Request]]]]:
    """The requests by path, in batches that the API takes."""
    by_path: dict[str, list[tuple[int, Request]]] = {}
    for index, request in requests:
        by_path.setdefault(POST[endpoint.wire](_whole(endpoint), request)[0], []).append((index, request))
    for path, many in by_path.items():
        part: list[tuple[int, Request]] = []
        size = 0
        for index, request in many:
            bytes_here = len(json.dumps(_line(endpoint, index, request)))
            if part and (len(part) >= MOST_REQUESTS or size + bytes_here > MOST_BYTES):
                yield path, part
                part, size = [], 0
            part.append((index, request))
            size += bytes_here
        if part:
            yield path, part


def _line(endpoint: Endpoint, index: int, request: Request) -> dict[str, Any]:
    path, body = POST[endpoint.wire](_whole(endpoint), request)
    return {"custom_id": _custom_id(request, index), "method": "POST", "url": _batch_path(path), "body": json.loads(body)}


def _custom_id(request: Request, index: int) -> str:
    """By content and place, so that a resumed run knows its own, and equal requests stay apart."""
    return f"{request.request_hash}-{index}"


def _batch_path(path: str) -> str:
    return f"/v1{path}"


def _whole(endpoint: Endpoint) -> Endpoint:
    """The endpoint asked for whole answers: nothing streams out of a batch."""
    return endpoint.model_copy(update={"capabilities": endpoint.capabilities.model_copy(update={"streaming": False})})
