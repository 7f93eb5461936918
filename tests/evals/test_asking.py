"""What passes is asked again, what is refused is not, nothing costs more than was allowed, and a busy server is asked less."""

import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from loopback import LoopbackServer
from model_server import CUT, ModelServer, http, problem, sse
from sums import adds, run_sums, sums_task

from evals.asking import Asker, Held
from evals.budget import Budget, check_priced, worst_case_usd
from evals.errors import BudgetError
from evals.throttle import Throttle
from serving.completion import Completion, Request
from serving.endpoints import Endpoint, Price

DOLLAR_A_TOKEN = Price(input_usd_per_mtok=0.0, output_usd_per_mtok=1e6)


def faulty(share: float) -> tuple[Any, Counter[str]]:
    """A server that fails `share` of its answers in the ways servers fail, and the count of what it did."""
    dice, counts = random.Random(11), Counter[str]()
    faults = {
        "503": problem("503 Service Unavailable", "overloaded"),
        "429": problem("429 Too Many Requests", "slow down", "Retry-After: 0.05\r\n"),
        "cut": [*sse("999")[:2], CUT],
        "garbage": http([b"data: {not json\n\n", b"data: [DONE]\n\n"]),
    }

    def script(body: dict[str, Any]) -> list[bytes]:
        kind = dice.choice(list(faults)) if dice.random() < share else "ok"
        counts[kind] += 1
        return adds(body) if kind == "ok" else faults[kind]

    return script, counts


def test_five_hundred_items_of_a_server_that_fails_three_in_ten_score_as_without_faults(tmp_path: Path, results: Path) -> None:
    folder = sums_task(tmp_path / "tasks", n=500).parent
    with ModelServer(adds) as sound:
        expected = run_sums(sound, folder, results).scores[0]
    script, counts = faulty(0.3)
    with ModelServer(script) as server:
        files = run_sums(server, folder, results, concurrency=64)
    (found,) = files.scores
    assert min(counts[kind] for kind in ("503", "429", "cut", "garbage")) > 20
    assert found.n + found.n_failed == 500
    assert {sample.verdict for sample in files.samples if not sample.answered} <= {None}
    wrong = [sample.doc_id for sample in files.samples if sample.verdict == "wrong"]
    assert wrong in ([5], []), "a fault was graded as an answer"
    if found.coverage == 1:
        assert (found.value, found.stderr) == (expected.value, expected.stderr)
    else:
        assert found.coverage > 0.98 and found.lower is not None and expected.value is not None
        assert found.lower <= expected.value <= (found.upper or 1)


def test_what_the_server_refuses_for_good_is_asked_once() -> None:
    with ModelServer(problem("400 Bad Request", "context too long")) as server:
        (answer,) = Asker(server.endpoint(), lambda completion: None).ask_all([Request.user("x")])
        assert len(server.requests) == 1
    assert (answer.status, answer.retries) == ("api_error", 0)


def test_a_passing_failure_is_recorded_once_with_its_retries() -> None:
    script = iter([problem("503 Service Unavailable", "later"), [*sse("x")[:2], CUT], sse("fine")])
    recorded: list[Completion] = []
    with ModelServer(lambda body: next(script)) as server:
        (answer,) = Asker(server.endpoint(), recorded.append).ask_all([Request.user("x")])
    assert recorded == [answer]
    assert (answer.text, answer.status, answer.retries) == ("fine", "ok", 2)
    assert (answer.latency_s or 9) < 0.4, "the clock is that of the last attempt"


def test_equal_requests_are_given_different_held_answers() -> None:
    request = Request.user("dice?", temperature=1.0)
    held = Held.of(Completion(endpoint="e", request=request, text=text, finish_reason="stop") for text in "135")
    with ModelServer(sse("6")) as server:
        answers = Asker(server.endpoint(), lambda completion: None, held=held).ask_all([request] * 4)
        assert [answer.text for answer in answers] == ["1", "3", "5", "6"]
        assert len(server.requests) == 1


def test_a_budget_is_never_exceeded_and_what_is_left_is_asked_later(tmp_path: Path, results: Path) -> None:
    folder = sums_task(tmp_path / "tasks", n=40).parent
    with ModelServer(adds) as server:
        # The answer's usage says 3 tokens, the request allows 8: worst case $8, cost $3.
        files = run_sums(server, folder, results, endpoint={"price": DOLLAR_A_TOKEN}, max_usd=60.0, concurrency=8)
        spent = sum(completion.cost_usd or 0 for completion in files.completions)
        assert spent == 3 * len(server.requests) <= 60
        assert spent > 60 - 8 - 3
        (score,) = files.scores
        assert (score.n, score.n_failed, files.run.n_not_asked) == (len(server.requests), 40 - score.n, 40 - score.n)
        unasked = next(sample for sample in files.samples if not sample.answered)
        assert "not asked: $" in (unasked.error or "")
        before = len(server.requests)
        whole = run_sums(server, folder, results, endpoint={"price": DOLLAR_A_TOKEN}, max_usd=200.0, resume=files.folder)
        assert len(server.requests) - before == 40 - before
    assert (whole.scores[0].coverage, whole.run.n_held) == (1.0, before)


def test_a_bill_that_nobody_can_foresee_has_no_limit() -> None:
    far = Endpoint(id="far", wire="openai", model="no-such-model-9", base_url="https://models.example/v1")
    with pytest.raises(BudgetError, match="'far': no price is known.*results/prices.yaml"):
        check_priced([far])
    check_priced([Endpoint(id="near", wire="openai", model="m", base_url="http://127.0.0.1:1/v1")])


def test_the_worst_case_learns_from_the_longest_answer() -> None:
    endpoint = Endpoint(id="e", wire="openai", model="m", base_url="http://127.0.0.1:1", price=DOLLAR_A_TOKEN)
    asked = Request.user("hello")
    assert worst_case_usd(endpoint, asked) == 4096
    assert worst_case_usd(endpoint, asked, longest=100) == 150
    assert worst_case_usd(endpoint, Request.user("hello", max_tokens=7), longest=100) == 7
    budget = Budget(1000.0)
    assert budget.reserve(endpoint, asked) is None
    assert budget.in_flight == 0


def test_fewer_are_in_flight_after_a_refusal_and_more_after_answers() -> None:
    async def watch() -> list[int]:
        throttle, seen = Throttle(8), []
        sent_s = time.monotonic()
        throttle.slower(sent_s)
        throttle.slower(sent_s)
        seen.append(int(throttle.limit))
        for _ in range(30):
            throttle.faster()
        return [*seen, int(throttle.limit)]

    assert asyncio.run(watch()) == [4, 8]


class TwoAtOnce(LoopbackServer):
    """A server that answers two requests at a time, in 10 ms each, and refuses the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.busy = self.refused = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
            if self.busy >= 2:
                self.refused += 1
                pieces = problem("429 Too Many Requests", "two at once", "Retry-After: 0.02\r\n")
            else:
                self.busy += 1
                await asyncio.sleep(0.01)
                self.busy -= 1
                pieces = sse("fine")
            writer.write(b"".join(pieces))


def test_a_server_that_allows_two_at_once_is_not_hammered() -> None:
    with TwoAtOnce() as server:
        endpoint = Endpoint(id="e", wire="openai", model="m", base_url=f"http://127.0.0.1:{server.port}/v1")
        asker = Asker(endpoint, lambda completion: None, concurrency=32, attempts=12)
        answers = asker.ask_all([Request.user(str(number)) for number in range(200)])
    assert sum(answer.answered for answer in answers) >= 190
    assert asker.slowed > 0
    assert server.refused < 200 * 3
