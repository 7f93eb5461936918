"""Which answers a judge compares: those of runs, or of a recording; battles that people voted on, or every pair on every question.

A Contest is two endpoints' answers to the same question. Answers that failed or are empty cannot be judged and make none.
"""

import csv
import json
import logging
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from evals.errors import JudgeError
from evals.judging.prompts import Question
from evals.runs import find_run, read_run
from serving.completion import Completion
from serving.documents import Noun
from serving.errors import did_you_mean
from serving.recorded import load_recording

log = logging.getLogger(__name__)

Turns = tuple[str, ...]


class Contest(NamedTuple):
    """Two answers to one question; `model_a` and `model_b` are endpoint ids."""

    question: Question
    model_a: str
    model_b: str
    answer_a: Completion
    answer_b: Completion


class Sources(Noun):
    """Where the answers are and which of them are compared, as the command's options say it.

    `prompts` (JSONL: id, text) names the questions of a recording and leaves the others out; `votes` (CSV) chooses the battles that people
    voted on; `pairs` are "A,B"; without either all pairs. `references`: show the judge the targets of a run's samples.
    """

    runs: tuple[str, ...] = ()
    recording: Path | None = None
    prompts: Path | None = None
    votes: Path | None = None
    pairs: tuple[str, ...] = ()
    references: bool = False
    limit: int | None = None


class Answers(NamedTuple):
    """Every answer that can be judged, by question and endpoint."""

    questions: dict[Turns, Question]
    by_question: dict[Turns, dict[str, Completion]]

    @property
    def endpoints(self) -> list[str]:
        """Who answered anything, in the order of the source."""
        return list(dict.fromkeys(endpoint for answers in self.by_question.values() for endpoint in answers))


def find_contests(sources: Sources, results: Path) -> list[Contest]:
    """What is to be judged, in the order of the questions. Raises JudgeError when there is nothing, or when names do not fit."""
    if bool(sources.runs) == (sources.recording is not None):
        raise JudgeError("say whose answers to judge: --run RUN, or --recording FILE")
    if sources.references and not sources.runs:
        raise JudgeError("--references shows the judge the targets of a run's samples: it needs --run")
    answers = of_runs(sources, results) if sources.runs else of_recording(sources)
    if sources.votes is not None:
        contests = _voted(answers, sources.votes)
    else:
        contests = _every(answers, _pairs(sources.pairs, answers.endpoints))
    if not contests:
        raise JudgeError(
            f"no question was answered by two of the endpoints ({', '.join(answers.endpoints[:8]) or 'none'}): nothing to judge"
        )
    return contests[: sources.limit]


def of_runs(sources: Sources, results: Path) -> Answers:
    """The answers of the runs' samples; a question is named `<task>:<doc_id>`."""
    answers = Answers({}, {})
    for name in sources.runs:
        files = read_run(find_run(name, results))
        completions = {(one.endpoint, one.request_hash): one for one in files.completions}
        seen = set()
        for sample in files.samples:
            completion = completions.get((sample.endpoint, sample.request_hash))
            key = (sample.endpoint, sample.task, sample.doc_id)
            if completion is None or key in seen:
                continue
            seen.add(key)
            reference = _reference(sample.target) if sources.references else None
            _add(answers, completion, sample.endpoint, f"{sample.task}:{sample.doc_id}", reference, where=f"run {name}")
    return answers


def of_recording(sources: Sources) -> Answers:
    """The answers of a completions.jsonl[.gz]; without `prompts` a question is named by its place among the questions."""
    assert sources.recording is not None
    recording = load_recording(sources.recording)
    names = None if sources.prompts is None else _prompt_names(sources.prompts)
    places: dict[Turns, str] = {}
    answers = Answers({}, {})
    for model in recording.models:
        for request in recording.requests(model):
            turns = user_turns(request.messages, request.prompt)
            prompt_id = places.setdefault(turns, str(len(places))) if names is None else names.get(turns[0] if len(turns) == 1 else "")
            if prompt_id is not None:
                completion = recording.find(model, request)
                _add(answers, completion, model, prompt_id, None, where=str(sources.recording))
    return answers


def user_turns(messages: Sequence[Any] | None, prompt: str | None) -> Turns:
    """What the user said, turn by turn; a text prompt is one turn."""
    return (prompt or "",) if messages is None else tuple(message.content for message in messages if message.role == "user")


def answer_turns(completion: Completion) -> Turns:
    """The texts of the assistant, turn by turn: what it said before stands in the request's messages."""
    messages = completion.request.messages or ()
    return (*(message.content for message in messages if message.role == "assistant"), completion.text)


def _add(answers: Answers, completion: Completion, endpoint: str, prompt_id: str, reference: Turns | None, *, where: str) -> None:
    turns = user_turns(completion.request.messages, completion.request.prompt)
    if not completion.answered or not completion.text.strip() or len(answer_turns(completion)) != len(turns):
        return
    answers.questions.setdefault(turns, Question(prompt_id, turns, reference))
    others = answers.by_question.setdefault(turns, {})
    if (known := others.get(endpoint)) is not None and known.text != completion.text:
        if known.request_hash == completion.request_hash and known.started_at == completion.started_at:
            return
        raise JudgeError(f"{where}: '{endpoint}' answered prompt '{prompt_id}' before, otherwise; name one of the runs")
    others[endpoint] = completion


def _reference(target: Any) -> Turns | None:
    if target is None or target == "":
        return None
    return tuple(map(str, target)) if isinstance(target, list) else (str(target),)


def _every(answers: Answers, pairs: Iterable[tuple[str, str]]) -> list[Contest]:
    pairs = list(pairs)
    return [
        Contest(answers.questions[turns], a, b, found[a], found[b])
        for turns, found in answers.by_question.items()
        for a, b in pairs
        if a in found and b in found
    ]


def _pairs(stated: Sequence[str], endpoints: Sequence[str]) -> list[tuple[str, str]]:
    if not stated:
        return list(combinations(endpoints, 2))
    found = []
    for text in stated:
        names = [name.strip() for name in text.split(",")]
        if len(names) != 2 or names[0] == names[1]:
            raise JudgeError(f"--pairs {text}: name two endpoints, like --pairs our-llama,gpt-4o-mini")
        for name in names:
            if name not in endpoints:
                raise JudgeError(f"--pairs {text}: '{name}' answered nothing here.{did_you_mean(name, list(endpoints))}")
        found.append((names[0], names[1]))
    return found


def _voted(answers: Answers, path: Path) -> list[Contest]:
    """The distinct battles of a votes file (its prompt_id names the question), those with both answers."""
    by_id = {question.prompt_id: turns for turns, question in answers.questions.items()}
    contests: dict[tuple[str, str, str], Contest] = {}
    missing: set[tuple[str, str, str]] = set()
    for vote in read_human_votes(path):
        if vote.prompt_id is None:
            raise JudgeError(f"{path}:{vote.line}: prompt_id: is empty; without it nobody knows which answers were compared")
        found = answers.by_question.get(by_id.get(vote.prompt_id, ()), {})
        a, b = vote.model_a, vote.model_b
        battle = (min(a, b), max(a, b), vote.prompt_id)
        if a in found and b in found:
            contests.setdefault(battle, Contest(answers.questions[by_id[vote.prompt_id]], a, b, found[a], found[b]))
        else:
            missing.add(battle)
    if not contests:
        raise JudgeError(
            f"{path}: none of its battles has both answers here; are prompt_id and the models named alike? (--prompts names them)"
        )
    if missing:
        log.warning(
            "%s: %d of %d battles are left out: an answer is not here, failed or is empty", path, len(missing), len(missing) + len(contests)
        )
    return list(contests.values())


class HumanVote(NamedTuple):
    """One line of a votes file; `winner` is model_a, model_b, tie or both_bad."""

    line: int
    model_a: str
    model_b: str
    winner: str
    voter_id: str | None
    prompt_id: str | None


def read_human_votes(path: Path) -> list[HumanVote]:
    """A CSV with model_a, model_b, winner and optionally voter_id, prompt_id. Raises JudgeError with file, line and value."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if missing := [name for name in ("model_a", "model_b", "winner") if name not in (reader.fieldnames or [])]:
                raise JudgeError(f"{path}:1: no column '{missing[0]}'; a votes file has model_a, model_b, winner[, voter_id, prompt_id]")
            found = []
            for row in reader:
                where = f"{path}:{reader.line_num}"
                if None in row or None in row.values():
                    raise JudgeError(f"{where}: not as many values as the header; is a quote or a comma missing?")
                if row["winner"] not in ("model_a", "model_b", "tie", "both_bad"):
                    raise JudgeError(f"{where}: winner: unknown label '{row['winner']}'; use model_a, model_b, tie or both_bad")
                voter, prompt = row.get("voter_id") or None, row.get("prompt_id") or None
                found.append(HumanVote(reader.line_num, row["model_a"], row["model_b"], row["winner"], voter, prompt))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise JudgeError(f"{path}: cannot be read as a CSV of votes: {error}") from None
    return found


def _prompt_names(path: Path) -> dict[str, str]:
    """text -> id of a JSONL of prompts."""
    names = {}
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            values = json.loads(line)
            if not isinstance(values, dict) or "id" not in values or not isinstance(values.get("text"), str):
                raise JudgeError(f"{path}:{number}: a prompt has an id and a text")
            names[values["text"]] = str(values["id"])
    except (OSError, ValueError) as error:
        raise JudgeError(f"{path}: cannot be read as a JSONL of prompts: {error}") from None
    return names
