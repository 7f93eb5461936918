"""What the store keeps of a battle under way, so that its owner's address finds it after a crash, or at another process.

    begin(store, round_)                     before anything is asked
    keep_answer(store, round_, side)         one side has ended while the other goes on
    finish(store, round_)                    all sides have ended; only then can the battle be voted on
    load(store, battle_id)                   the round again; what no answer was kept for is to be asked for again

Rows are only added; of the battle itself `messages` and the two answers move on with its turns until it is voted on
(sql/005_conversations.sql).
"""

import secrets
import time
from datetime import UTC

from arena.errors import ArenaError
from arena.rounds import Round, Side, Turn, after, common_messages
from arena.rows import completion_id, messages_text, to_utc
from arena.settings import MODES, Mode
from arena.store import Store
from arena.votes import Battle, now
from arena.writer import Step
from serving.completion import Completion

_LETTERS = "ab"


def begin(store: Store, round_: Round) -> None:
    """Store a battle (or chat) that starts, with its first prompt."""
    if round_.mode == "direct":
        chat = [round_.battle_id, to_utc(round_.created_at), round_.models[0], round_.voter_id]
        store.run(("insert_chat", chat), _turn_step(round_))
        return
    model_a, model_b = round_.models
    battle = Battle(
        battle_id=round_.battle_id,
        created_at=round_.created_at,
        messages=common_messages(round_.turns),
        model_a=model_a,
        model_b=model_b,
        voter_id=round_.voter_id,
        pairing_policy=round_.pairing_policy,
        pairing_probability=round_.pairing_probability,
        mode=round_.mode,
        parent_battle_id=round_.parent_battle_id,
    )
    store.save_battle(battle, None, _turn_step(round_))


def begin_turn(store: Store, round_: Round) -> None:
    """Store the prompt of the turn that starts. Raises ArenaError when another process was first."""
    store.run(_turn_step(round_))


def keep_answer(store: Store, round_: Round, side: Side) -> None:
    """Store one side's answer as soon as it has ended; the first one that is stored stands."""
    assert side.completion is not None
    store.run(_answer_step(round_, side), completions=[side.completion])


def finish(store: Store, round_: Round) -> None:
    """Store the answers of the last turn and make them those of the battle. Raises ArenaError when they cannot be stored."""
    completions = [side.completion for side in round_.sides if side.completion is not None]
    steps = [_answer_step(round_, side) for side in round_.sides]
    if round_.mode != "direct":
        place = [round_.battle_id, round_.turn.number, round_.turn.attempt]
        steps.append(("finish_turn", [*place, messages_text(common_messages(round_.turns))]))
    store.run(*steps, completions=completions)


def load(store: Store, battle_id: str) -> Round | None:
    """The battle or chat of this id as far as it got; None when there is none. Sides without a completion were not finished."""
    turns = _turns(store, battle_id)
    if (battle := store.battle(battle_id)) is not None:
        models: tuple[str, ...] = (battle.model_a, battle.model_b)
        turns = turns or _only_turn(store, battle)
        mode: Mode = next((mode for mode in MODES if mode == battle.mode), "blind")
        if not turns or battle.voter_id is None:
            return None
        round_ = Round(
            battle_id, battle.voter_id, battle.created_at or now(), turns, mode,
            battle.pairing_policy, battle.pairing_probability, battle.parent_battle_id,
        )  # fmt: skip
    elif chats := store.rows("chat", battle_id):
        _, created_at, model, voter_id = chats[0]
        models = (model,)
        round_ = Round(battle_id, voter_id, created_at.replace(tzinfo=UTC), turns, "direct", "chosen")
    else:
        return None
    _fill(round_, models, {(turn, attempt, side): text for turn, attempt, side, text in store.rows("answers", battle_id)})
    if all(side.completion is not None for side in round_.sides):
        if battle is not None and battle.completions != _ids(round_):
            finish(store, round_)
        round_.turn.ready_at = time.monotonic()
    return round_


def is_current(store: Store, round_: Round) -> bool:
    """Whether the last turn and its answers in memory are those of the store: no other process has gone on with this conversation."""
    rows = store.rows("turns_with_answers", round_.battle_id)
    last = max(((turn, attempt) for turn, attempt, _, _ in rows), default=None)
    known = {(side, key) for turn, attempt, side, key in rows if (turn, attempt) == last and side is not None}
    here = (round_.turn.number, round_.turn.attempt)
    return last is None or (last == here and known == set(zip(_LETTERS, _ids(round_), strict=False)))


def share_token(store: Store, battle_id: str) -> str:
    """The unguessable token under which anybody may read this battle, made when first asked for."""
    store.run(("insert_share", [secrets.token_urlsafe(18), battle_id, to_utc(now())]))
    return str(store.rows("share_of", battle_id)[0][0])


def shared_round(store: Store, token: str) -> Round | None:
    """The battle that was shared under this token."""
    rows = store.rows("shared_battle", token)
    return load(store, rows[0][0]) if rows else None


def _ids(round_: Round) -> tuple[str, ...]:
    return tuple(completion_id(side.completion) for side in round_.sides if side.completion is not None)


def _turn_step(round_: Round) -> Step:
    turn = round_.turn
    return "insert_turn", [round_.battle_id, turn.number, turn.attempt, turn.asked, to_utc(now())]


def _answer_step(round_: Round, side: Side) -> Step:
    assert side.completion is not None
    letter = _LETTERS[round_.sides.index(side)]
    return "insert_answer", [round_.battle_id, round_.turn.number, round_.turn.attempt, letter, completion_id(side.completion)]


def _turns(store: Store, battle_id: str) -> list[Turn]:
    """The turns that were asked, each at its last attempt, still without sides."""
    last: dict[int, Turn] = {}
    for number, attempt, asked in store.rows("turns", battle_id):
        last[number] = Turn(asked, (), number, attempt)
    return list(last.values())


def _only_turn(store: Store, battle: Battle) -> list[Turn]:
    """The turn of a battle that was stored whole: before turns were kept, or by an import."""
    completions = store.completions_of(battle.battle_id)
    if completions is None or not battle.messages:
        return []
    *history, asked = battle.messages
    sides = tuple(Side(completion.endpoint, completion=completion, history=tuple(history)) for completion in completions)
    return [Turn(asked.content, sides)]


def _fill(round_: Round, models: tuple[str, ...], answers: dict[tuple[int, int, str], str]) -> None:
    for before, turn in zip([None, *round_.turns], round_.turns, strict=False):
        if turn.sides:
            continue
        sides = []
        for place, model in enumerate(models):
            text = answers.get((turn.number, turn.attempt, _LETTERS[place]))
            completion = None if text is None else Completion.model_validate_json(text)
            history = () if before is None else after(before.sides[place], before.asked)
            sides.append(Side(model, completion=completion, history=history))
        turn.sides = tuple(sides)
        if turn is not round_.turn and any(side.completion is None for side in sides):
            raise ArenaError(f"battle {round_.battle_id} lacks an answer of turn {turn.number}: start a new one")
