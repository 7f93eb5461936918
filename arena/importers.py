"""Votes that were cast elsewhere, brought in whole or not at all.

    arena import crowd-comparisons.csv --format llmfao     # with the recorded answers of the 59 models
    arena import votes.csv --format csv                    # model_a, model_b, winner[, voter_id, prompt_id, voted_at]
    arena import judged.jsonl --format judgments           # what a model judged ('evals judge'): kept, not rated
    arena import conv.json --format fastchat               # and the other formats of arena/foreign.py

A label that is not known, a missing column or a model against itself stops the import with file, line, value and remedy. Every vote has
an id made of what it is, so that importing a file again adds nothing. What the file does not say (times, texts) stays unknown.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from arena.errors import VotesFileError
from arena.foreign import from_arena, from_arena55k, from_comparia, from_fastchat, from_openwebui
from arena.judgments import read_judgments
from arena.prompts import recorded_prompts
from arena.vote_files import CSV_WINNERS, csv_lines, moment_of, two_models, winner_of
from arena.votes import Battle, Outcome, Vote, Winner
from serving.completion import Completion, Message, Request
from serving.errors import did_you_mean

if TYPE_CHECKING:
    from arena.store import Record, Store

SHIPPED_VOTES = Path(__file__).parent / "data" / "llmfao-votes.csv.gz"
_LLMFAO_WINNERS: dict[str, Winner] = {"left": "model_a", "right": "model_b", "tie": "tie"}


class VoteRow(NamedTuple):
    """One line of a votes file; None where the file does not say."""

    line: int
    model_a: str
    model_b: str
    winner: Winner
    voter_id: str | None = None
    prompt_id: str | None = None
    voted_at: datetime | None = None

    @property
    def outcome(self) -> Outcome:
        """What a rating needs of it."""
        return Outcome(self.model_a, self.model_b, self.winner)


def read_records(path: Path, format: str) -> list["Record"]:
    """The votes of a file with their battles and, where they are known, the answers: what `Store.save_all` takes. Raises VotesFileError."""
    return list(FORMATS[format](path))


def seed_demo(store: "Store") -> int:
    """Give an empty store the 8,931 shipped votes (LLMFAO, CC BY 4.0); returns how many were added. A store with votes is left alone."""
    return 0 if store.count_votes() else store.save_all(read_records(SHIPPED_VOTES, "llmfao"))


def read_votes(path: Path) -> list[VoteRow]:
    """The votes in a CSV (or .csv.gz) with the columns model_a, model_b, winner and optionally voter_id, prompt_id, voted_at.

    `voted_at` is ISO 8601; without an offset it is UTC. A .jsonl is what models judged (arena/judgments.py). Raises VotesFileError.
    """
    if path.suffix == ".jsonl":
        return [_row_of(number, battle, vote) for number, (battle, _, vote) in enumerate(read_judgments(path), start=1)]
    rows = []
    for line, values in csv_lines(path, ("model_a", "model_b", "winner"), optional=("voter_id", "prompt_id", "voted_at")):
        where = f"{path}:{line}"
        left, right = two_models(where, values, ("model_a", "model_b"))
        moment = moment_of(where, values.get("voted_at", ""))
        winner = winner_of(where, values["winner"], CSV_WINNERS)
        rows.append(VoteRow(line, left, right, winner, values.get("voter_id") or None, values.get("prompt_id") or None, moment))
    return rows


def _from_csv(path: Path) -> Iterator["Record"]:
    from arena.store import Record

    # Two people may well say the same of the same pair: the n-th equal row of a file is a vote of its own, every time the file is read.
    seen: Counter[str] = Counter()
    name = path.name.removesuffix(".gz")
    for row in read_votes(path):
        content = json.dumps([name, *row[1:]], ensure_ascii=False, default=str)
        seen[content] += 1
        vote_id = "csv-" + hashlib.sha256(f"{content} {seen[content]}".encode()).hexdigest()[:28]
        battle = Battle(
            battle_id=vote_id,
            created_at=None,
            messages=(),
            model_a=row.model_a,
            model_b=row.model_b,
            voter_id=row.voter_id,
            prompt_id=row.prompt_id,
            pairing_policy="imported",
        )
        yield Record(battle, None, _vote(vote_id, row.voter_id, row.winner, row.voted_at, f"csv:{name}"))


def _from_llmfao(path: Path) -> Iterator["Record"]:
    """LLMFAO's crowd-comparisons.csv (https://github.com/dustalov/llmfao): each vote with the two answers that were judged."""
    from arena.store import Record
    from serving.endpoints import CATALOGUE, load_catalogue
    from serving.recorded import load_recording

    endpoints = {endpoint.id: endpoint for endpoint in load_catalogue(CATALOGUE / "llmfao.yaml")}
    requests = {prompt.id: Request.user(prompt.text) for prompt in recorded_prompts()}
    answers: dict[tuple[str, str], Completion] = {}

    def answer(where: str, model: str, prompt_id: str) -> Completion:
        if (found := answers.get((model, prompt_id))) is None:
            if model not in endpoints:
                raise VotesFileError(f"{where}: '{model}' is none of LLMFAO's recorded models.{did_you_mean(model, list(endpoints))}")
            if prompt_id not in requests:
                raise VotesFileError(f"{where}: prompt: '{prompt_id}' is none of LLMFAO's prompts ({', '.join(requests)})")
            recording = endpoints[model].recording
            assert recording is not None
            answers[model, prompt_id] = found = load_recording(recording).find(endpoints[model].model, requests[prompt_id])
        return found

    for line, values in csv_lines(path, ("id", "prompt", "worker", "winner", "left", "right")):
        where = f"{path}:{line}"
        winner = winner_of(where, values["winner"], _LLMFAO_WINNERS)
        left, right = two_models(where, values, ("left", "right"))
        prompt_id, voter_id = values["prompt"], f"llmfao-{values['worker']}"
        pair = (answer(where, left, prompt_id), answer(where, right, prompt_id))
        vote_id = f"llmfao-{values['id']}-{values['worker']}"
        battle = Battle(
            battle_id=vote_id,
            created_at=None,
            messages=_messages(requests[prompt_id]),
            model_a=left,
            model_b=right,
            voter_id=voter_id,
            prompt_id=prompt_id,
            pairing_policy="imported",
        )
        yield Record(battle, pair, _vote(vote_id, voter_id, winner, None, "llmfao"))


FORMATS: dict[str, Callable[[Path], Iterator["Record"]]] = {
    "llmfao": _from_llmfao,
    "csv": _from_csv,
    "fastchat": from_fastchat,
    "arena55k": from_arena55k,
    "arena100k": from_arena,
    "arena140k": from_arena,
    "comparia": from_comparia,
    "openwebui": from_openwebui,
    "judgments": lambda path: iter(read_judgments(path)),
}


def _row_of(line: int, battle: Battle, vote: Vote) -> VoteRow:
    return VoteRow(line, battle.model_a, battle.model_b, vote.winner, vote.voter_id, battle.prompt_id, vote.voted_at)


def _vote(vote_id: str, voter_id: str | None, winner: Winner, voted_at: datetime | None, source: str) -> Vote:
    return Vote(vote_id=vote_id, battle_id=vote_id, voter_id=voter_id, winner=winner, voted_at=voted_at, source=source)


def _messages(request: Request) -> tuple[Message, ...]:
    assert request.messages is not None
    return request.messages
