"""Ask a judge: both orders of every battle (or one grade for every answer), each answer of the judge kept before it is read.

    judgments, said = judge_contests(endpoint, contests, mode="pairwise", log=path)

What `log` holds already is not asked again, so that a run that was killed goes on where it was. A verdict that changes with the order of
the answers is a tie (Zheng et al. 2023, section 3.4); a text without a verdict leaves its battle without one.
"""

import asyncio
import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path

from evals.errors import JudgeError
from evals.judging.answers import Contest, answer_turns
from evals.judging.judgments import Judgment, Mode, Outcome, Winner
from evals.judging.prompts import MT_BENCH, Sampling, pairwise, single
from evals.judging.verdicts import graded, preferred, said
from serving.client import Client
from serving.completion import Completion, Message, Request
from serving.endpoints import Endpoint

OnProgress = Callable[[int, int], None]
Said = dict[str, Completion]

_SHOWN: dict[str, Winner] = {"A": "model_a", "B": "model_b", "C": "tie"}
_SWAPPED: dict[str, Winner] = {"A": "model_b", "B": "model_a", "C": "tie"}


def requests_of(contest: Contest, mode: Mode, sampling: Sampling) -> tuple[Request, Request]:
    """What the judge is asked about one battle: (a, b) and (b, a), or a grade for a and one for b."""
    a, b = answer_turns(contest.answer_a), answer_turns(contest.answer_b)
    if mode == "single":
        return single(contest.question, a, sampling=sampling), single(contest.question, b, sampling=sampling)
    return pairwise(contest.question, a, b, sampling=sampling), pairwise(contest.question, b, a, sampling=sampling)


def distinct_requests(contests: Iterable[Contest], mode: Mode, sampling: Sampling) -> dict[str, Request]:
    """By request_hash: the same answer is graded once, however many battles it is in."""
    return {request.request_hash: request for contest in contests for request in requests_of(contest, mode, sampling)}


def judge_contests(
    judge: Endpoint,
    contests: Sequence[Contest],
    *,
    mode: Mode,
    log: Path,
    sampling: Sampling = MT_BENCH,
    concurrency: int = 16,
    on_progress: OnProgress | None = None,
) -> tuple[list[Judgment], Said]:
    """The judgments, and what the judge said by request_hash. Raises MissingKey or JudgeError; a failed request raises nothing."""
    wanted, said_before = left_to_ask(judge, contests, mode=mode, log=log, sampling=sampling)
    left = [request for name, request in wanted.items() if name not in said_before]
    fresh = asyncio.run(
        _ask_all(judge, left, log, concurrency, lambda done: on_progress and on_progress(done + len(said_before), len(wanted)))
    )
    answers = said_before | fresh
    return [decide(contest, judge.id, answers, mode=mode, sampling=sampling) for contest in contests], answers


def left_to_ask(
    judge: Endpoint, contests: Sequence[Contest], *, mode: Mode, log: Path, sampling: Sampling = MT_BENCH
) -> tuple[dict[str, Request], Said]:
    """Every request, and what `log` holds of their answers already, by request_hash."""
    wanted = distinct_requests(contests, mode, sampling)
    known = _already(log, judge)
    return wanted, {name: known[name] for name in wanted if name in known}


def decide(contest: Contest, judge: str, answers: Said, *, mode: Mode, sampling: Sampling = MT_BENCH) -> Judgment:
    """One battle's verdict from what the judge said; pure."""
    hashes = tuple(request.request_hash for request in requests_of(contest, mode, sampling))
    first, second = (answers[name] for name in hashes)
    winner: Winner | None
    outcome: Outcome
    verdicts: tuple[str | float | None, str | float | None]
    if not (first.answered and second.answered):
        winner, outcome, verdicts = None, "failed", (None, None)
    elif mode == "single":
        winner, outcome, verdicts = _by_grade(graded(said(first)), graded(said(second)))
    else:
        winner, outcome, verdicts = _by_order(preferred(said(first)), preferred(said(second)))
    identity = "\0".join((judge, *hashes, contest.model_a, contest.model_b, contest.question.prompt_id))
    vote_id = f"judge-{hashlib.sha256(identity.encode()).hexdigest()[:26]}"
    return Judgment(
        vote_id=vote_id,
        battle_id=vote_id,
        voter_id=judge,
        model_a=contest.model_a,
        model_b=contest.model_b,
        winner=winner,
        prompt_id=contest.question.prompt_id,
        voted_at=_when(first, second),
        outcome=outcome,
        verdicts=verdicts,
        source=f"judge:{judge}",
        messages=_messages(contest),
        answer_a=contest.answer_a,
        answer_b=contest.answer_b,
        request_hashes=(hashes[0], hashes[1]),
    )


def _by_order(shown: str | None, swapped: str | None) -> tuple[Winner | None, Outcome, tuple[str | None, str | None]]:
    verdicts = (_SHOWN[shown] if shown else None, _SWAPPED[swapped] if swapped else None)
    if None in verdicts:
        return None, "unparsed", verdicts
    return (verdicts[0], "agreed", verdicts) if verdicts[0] == verdicts[1] else ("tie", "flipped", verdicts)


def _by_grade(a: float | None, b: float | None) -> tuple[Winner | None, Outcome, tuple[float | None, float | None]]:
    if a is None or b is None:
        return None, "unparsed", (a, b)
    return ("tie" if a == b else "model_a" if a > b else "model_b"), "graded", (a, b)


def _when(first: Completion, second: Completion) -> datetime | None:
    known = [one.started_at for one in (first, second) if one.started_at is not None]
    return max(known, default=None)


def _messages(contest: Contest) -> tuple[Message, ...]:
    """The conversation that both answer; where they answered two turns it is the first endpoint's."""
    request = contest.answer_a.request
    return request.messages if request.messages is not None else (Message(role="user", content=request.prompt or ""),)


def _already(log: Path, judge: Endpoint) -> Said:
    """What the judge answered before, by request_hash. A last line that a crash cut is taken out of the file: more lines follow it."""
    if not log.exists():
        return {}
    content = log.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with log.open("r+b") as file:
            file.truncate(len(whole))
    found = {}
    for number, line in enumerate(whole.decode().split("\n"), start=1):
        if not line:
            continue
        try:
            completion = Completion.model_validate_json(line)
        except ValueError as error:
            raise JudgeError(f"{log}:{number}: is no completion ({str(error).splitlines()[0]}); remove the line and resume") from None
        if completion.endpoint != judge.id:
            raise JudgeError(f"{log}:{number}: endpoint: is '{completion.endpoint}', not the judge '{judge.id}'")
        if completion.answered:
            found[completion.request_hash] = completion
    return found


async def _ask_all(judge: Endpoint, requests: Sequence[Request], log: Path, concurrency: int, arrived: Callable[[int], object]) -> Said:
    waiting = iter(requests)
    answers: Said = {}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:

        async def work(client: Client) -> None:
            for request in waiting:
                completion = await client.ask(judge, request)
                file.write(completion.to_line() + "\n")
                file.flush()
                answers[completion.request_hash] = completion
                arrived(len(answers))

        async with Client(speed=math.inf) as client:
            workers = [asyncio.create_task(work(client)) for _ in range(min(concurrency, len(requests)))]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
    return answers
