"""Votes as other arenas keep them: FastChat's logs, LMArena's data sets, ComparIA's votes, Open WebUI's feedback.

    arena import 2023-06-30-conv.json --format fastchat          # FastChat's log, or its cleaned battles
    arena import train.csv --format arena55k                     # also arena100k and arena140k (Parquet, JSON lines)
    arena import comparia-votes.parquet --format comparia
    arena import feedback-history-export.json --format openwebui

Each function reads one format and refuses, with file and line, a label it does not know, a model against itself, a row that is not what
the format says. Answers are kept where both sides had one turn; of longer conversations only what the person wrote: the two sides saw
different histories, which one battle cannot hold. Sighted votes (the names were shown) come in as unrated.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from arena.errors import VotesFileError
from arena.vote_files import moment_of, rows_of, two_models, winner_of
from arena.votes import Battle, Vote, Winner
from serving.completion import Completion, Message, Request

if TYPE_CHECKING:
    from arena.store import Record

log = logging.getLogger("arena")

_FASTCHAT_VOTES: dict[str, Winner] = {"leftvote": "model_a", "rightvote": "model_b", "tievote": "tie", "bothbad_vote": "both_bad"}
# What FastChat's log holds beside votes on a pair.
_FASTCHAT_OTHERS = {"chat", "upvote", "downvote", "flag", "share", "load_demo"}
_ARENA_WINNERS: dict[str, Winner] = {
    "model_a": "model_a", "model_b": "model_b", "tie": "tie", "tie (bothbad)": "both_bad", "both_bad": "both_bad",
}  # fmt: skip
_Turn = tuple[str, str]


class _Found(NamedTuple):
    """What a row says; `identity` is the row's own id where it has one, else all that tells it from other rows."""

    identity: Any
    models: tuple[str, str]
    winner: Winner
    voter: Any = None
    voted_at: datetime | None = None
    turns: tuple[list[_Turn], list[_Turn]] = ([], [])
    prompt_id: str | None = None
    blind: bool = True


def from_fastchat(path: Path) -> Iterator["Record"]:
    """FastChat's conversation log (one JSON object a line), or the cleaned battles made of it (model_a, model_b, winner, judge, tstamp).

    Of the address in `ip` only a hash is kept, as the voter's id.
    """
    return _records("fastchat", path, _fastchat_row, rows_of(path))


def from_arena55k(path: Path) -> Iterator["Record"]:
    """LMArena's 55k (train.csv of the Kaggle competition): one of winner_model_a, winner_model_b, winner_tie is 1."""
    columns = ("id", "model_a", "model_b", "winner_model_a", "winner_model_b", "winner_tie")
    return _records("arena55k", path, _arena55k_row, rows_of(path, columns))


def from_arena(path: Path) -> Iterator["Record"]:
    """LMArena's 100k and 140k (arena-human-preference-…): model_a, model_b, winner, conversation_a, conversation_b."""
    return _records("arena", path, _arena_row, rows_of(path, ("model_a", "model_b", "winner")))


def from_comparia(path: Path) -> Iterator["Record"]:
    """compar:IA's votes: model_a_name, model_b_name, and chosen_model_name or both_equal."""
    return _records("comparia", path, _comparia_row, rows_of(path, ("model_a_name", "model_b_name")))


def from_openwebui(path: Path) -> Iterator["Record"]:
    """Open WebUI's feedback export: a thumb on one answer beside others is a vote on each of those pairs; a thumb on a lone answer is not.

    Which answer stood on the left is not recorded: sides are tossed by a hash of the entry's id, the same every time.
    """
    entries = rows_of(path, ("id", "type", "data"))
    return _records("openwebui", path, _openwebui_rows, entries)


def _records(
    format: str, path: Path, read: Callable[[str, dict[str, Any]], list[_Found]], rows: Iterator[tuple[str, dict[str, Any]]]
) -> Iterator["Record"]:
    from arena.store import Record

    seen: Counter[str] = Counter()
    left_out = 0
    for where, row in rows:
        found = read(where, row)
        left_out += not found
        for one in found:
            # The n-th equal row is a vote of its own, every time the file is read.
            content = json.dumps([one.identity, one.models, one.winner], ensure_ascii=False, default=str)
            seen[content] += 1
            vote_id = f"{format}-{_digest(f'{content} {seen[content]}')[:28]}"
            voter_id = None if one.voter in (None, "") else f"{format}-{one.voter}"
            messages, pair = _texts(one)
            battle = Battle(
                battle_id=vote_id,
                created_at=None,
                messages=messages,
                model_a=one.models[0],
                model_b=one.models[1],
                voter_id=voter_id,
                prompt_id=one.prompt_id,
                pairing_policy="imported",
                mode="blind" if one.blind else "sighted",
            )
            vote = Vote(
                vote_id=vote_id,
                battle_id=vote_id,
                voter_id=voter_id,
                winner=one.winner,
                voted_at=one.voted_at,
                rated=one.blind,
                source=format,
                unrated_reason=None if one.blind else "names shown",
            )
            yield Record(battle, pair, vote)
    if left_out:
        log.warning("%s: %d entries are no votes on a pair of answers and were left out", path, left_out)


def _fastchat_row(where: str, row: dict[str, Any]) -> list[_Found]:
    if "winner" in row:
        return _arena_row(where, row)
    kind = row.get("type")
    if kind in _FASTCHAT_OTHERS:
        return []
    winner = winner_of(where, kind, _FASTCHAT_VOTES, "type")
    states, named = row.get("states") or [], row.get("models") or []
    if not (_is_pair(states, dict) and _is_pair(named, str)):
        raise VotesFileError(f"{where}: a {kind} needs two 'models' and two 'states'; repair or remove the line")
    # In a blind battle `models` is what the page showed (nothing, or "Model A"); who answered stands in the states.
    blind = all(not name or name.startswith(("Model A", "Model B", "### Model")) for name in named)
    values = {f"states[{i}].model_name": states[i].get("model_name") if blind else named[i] for i in (0, 1)}
    models = two_models(where, values, ("states[0].model_name", "states[1].model_name"))
    turns = tuple(_turns(where, "states", _fastchat_messages(where, state)) for state in states)
    ip = row.get("ip")
    return [
        _Found(
            identity=[row.get("tstamp"), [state.get("conv_id") for state in states]],
            models=models,
            winner=winner,
            voter=_digest(str(ip))[:16] if ip else None,
            voted_at=moment_of(where, row.get("tstamp"), "tstamp"),
            turns=(turns[0], turns[1]),
            blind=blind,
        )
    ]


def _fastchat_messages(where: str, state: dict[str, Any]) -> list[dict[str, Any]]:
    messages = state.get("messages") or []
    if not all(isinstance(item, list) and len(item) == 2 for item in messages):
        raise VotesFileError(f"{where}: states: 'messages' must be pairs of speaker and text; repair or remove the line")
    spoken = messages[state.get("offset") or 0 :]
    return [{"role": ("user", "assistant")[number % 2], "content": text} for number, (_, text) in enumerate(spoken)]


def _arena55k_row(where: str, row: dict[str, Any]) -> list[_Found]:
    columns: tuple[tuple[str, Winner], ...] = (("winner_model_a", "model_a"), ("winner_model_b", "model_b"), ("winner_tie", "tie"))
    if any(str(row[column]) not in ("0", "1") for column, _ in columns) or sum(str(row[column]) == "1" for column, _ in columns) != 1:
        told = ", ".join(f"{column} {row[column]}" for column, _ in columns)
        raise VotesFileError(f"{where}: exactly one of the three must be 1 and the others 0, found {told}; repair or remove the line")
    winner = next(winner for column, winner in columns if str(row[column]) == "1")
    models = two_models(where, row, ("model_a", "model_b"))
    asked = _listed(where, row, "prompt")
    sides = [_listed(where, row, column) for column in ("response_a", "response_b")]
    turns = [[turn for pair in zip(asked, said, strict=False) for turn in zip(("user", "assistant"), pair, strict=True)] for said in sides]
    return [_Found(identity=row["id"], models=models, winner=winner, turns=(turns[0], turns[1]))]


def _arena_row(where: str, row: dict[str, Any]) -> list[_Found]:
    models = two_models(where, row, ("model_a", "model_b"))
    winner = winner_of(where, row["winner"], _ARENA_WINNERS)
    turns = [_turns(where, column, _parsed(where, row, column)) for column in ("conversation_a", "conversation_b")]
    column = "tstamp" if "tstamp" in row else "timestamp"
    key = row.get("id") or row.get("question_id")
    return [
        _Found(
            identity=key or [row.get(name) for name in ("judge", "tstamp", "turn")],
            models=models,
            winner=winner,
            # A session is one person's: nothing closer to a voter is published for the 140k.
            voter=row.get("judge") or row.get("judge_hash") or row.get("evaluation_session_id"),
            voted_at=moment_of(where, row.get(column), column),
            turns=(turns[0], turns[1]),
            blind=str(row.get("anony", True)).lower() != "false",
        )
    ]


def _comparia_row(where: str, row: dict[str, Any]) -> list[_Found]:
    models = two_models(where, row, ("model_a_name", "model_b_name"))
    chosen, equal = row.get("chosen_model_name") or None, str(row.get("both_equal")).lower() in ("true", "1", "1.0")
    if equal and chosen is not None:
        raise VotesFileError(f"{where}: both_equal and chosen_model_name '{chosen}' contradict each other; repair or remove the line")
    labels: dict[str, Winner] = {models[0]: "model_a", models[1]: "model_b"}
    winner: Winner = "tie" if equal else winner_of(where, chosen, labels, "chosen_model_name")
    turns = [_turns(where, column, _parsed(where, row, column)) for column in ("conversation_a", "conversation_b")]
    return [
        _Found(
            identity=row.get("id") or [row.get("conversation_pair_id"), row.get("timestamp")],
            models=models,
            winner=winner,
            voter=row.get("visitor_id") or row.get("session_hash"),
            voted_at=moment_of(where, row.get("timestamp"), "timestamp"),
            turns=(turns[0], turns[1]),
        )
    ]


def _openwebui_rows(where: str, row: dict[str, Any]) -> list[_Found]:
    data, meta = row["data"] or {}, row.get("meta") or {}
    if not isinstance(data, dict) or not isinstance(meta, dict):
        raise VotesFileError(f"{where}: data and meta must be objects; repair or remove the entry")
    rating, siblings = data.get("rating"), data.get("sibling_model_ids") or []
    if rating is None or not siblings:
        return []
    if str(rating) not in ("1", "-1"):
        raise VotesFileError(f"{where}: data.rating: '{rating}' is no thumb; use 1 or -1, or remove the entry")
    if not isinstance(siblings, list):
        raise VotesFileError(f"{where}: data.sibling_model_ids: must be a list of models; repair or remove the entry")
    found = []
    for sibling in siblings:
        values = {"data.model_id": data.get("model_id"), "data.sibling_model_ids": sibling}
        models = two_models(where, values, ("data.model_id", "data.sibling_model_ids"))
        turns = _snapshot_turns(row, str(meta.get("message_id")), sibling)
        mirrored = int(_digest(f"{row['id']} {sibling}"), 16) % 2 == 1
        won: Winner = "model_a" if (str(rating) == "1") != mirrored else "model_b"
        found.append(
            _Found(
                identity=row["id"],
                models=(models[1], models[0]) if mirrored else models,
                winner=won,
                voter=row.get("user_id"),
                voted_at=moment_of(where, row.get("updated_at") or row.get("created_at"), "updated_at"),
                turns=(turns[1], turns[0]) if mirrored else turns,
            )
        )
    return found


def _snapshot_turns(row: dict[str, Any], message_id: str, sibling: str) -> tuple[list[_Turn], list[_Turn]]:
    """The two answers to an opening question, from the chat that Open WebUI keeps with the feedback; nothing where it is not all there."""
    try:
        messages = row["snapshot"]["chat"]["chat"]["history"]["messages"]
        rated = messages[message_id]
        asked = messages[rated["parentId"]]
        other = next(messages[key] for key in asked["childrenIds"] if messages[key].get("model") == sibling)
        if asked.get("parentId") is not None:
            return [], []
        sides = [[("user", asked["content"]), ("assistant", message["content"])] for message in (rated, other)]
    except (KeyError, TypeError, AttributeError, StopIteration):
        return [], []
    return (sides[0], sides[1]) if all(isinstance(text, str) for side in sides for _, text in side) else ([], [])


def _texts(found: _Found) -> tuple[tuple[Message, ...], tuple[Completion, Completion] | None]:
    """What the person wrote and, of a conversation of one turn, the two answers."""
    asked = tuple(Message(role="user", content=text) for role, text in found.turns[0] if role == "user")
    if any([role for role, _ in side] != ["user", "assistant"] for side in found.turns) or found.turns[0][0] != found.turns[1][0]:
        return asked, None
    answer = partial(Completion, request=Request(messages=asked))
    left, right = (answer(endpoint=model, text=side[1][1]) for model, side in zip(found.models, found.turns, strict=True))
    return asked, (left, right)


def _turns(where: str, column: str, conversation: Any) -> list[_Turn]:
    """The turns of a conversation in OpenAI's form; [] where there is none, or one that holds more than text."""
    turns = []
    for message in conversation or []:
        if not isinstance(message, dict) or "role" not in message:
            raise VotesFileError(f"{where}: {column}: a turn must have role and content; repair or remove the line")
        content = message.get("content")
        if isinstance(content, list):
            if any(not isinstance(part, dict) or part.get("type") != "text" for part in content):
                return []
            content = "".join(part.get("text") or "" for part in content)
        if content is None:
            return []
        turns.append((str(message["role"]), str(content)))
    return turns


def _parsed(where: str, row: dict[str, Any], column: str) -> Any:
    value = row.get(column)
    if not isinstance(value, str) or not value.strip():
        return value or []
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise VotesFileError(f"{where}: {column}: not JSON: {error.msg}; repair or remove the line") from None


def _listed(where: str, row: dict[str, Any], column: str) -> list[str]:
    """A list of texts; the 55k writes one as JSON, with null for an answer that never came."""
    value = _parsed(where, row, column)
    if not isinstance(value, list):
        raise VotesFileError(f"{where}: {column}: must be a list of texts; repair or remove the line")
    return [] if any(not isinstance(item, str) for item in value) else value


def _is_pair(value: Any, kind: type) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(item, kind) for item in value)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
