"""Take a person's data out, and texts that have been kept long enough; say which datasets and trainings they went into before.

    forget(store, "voter-id", results=Path("results"))
    tidy(store, load_settings(results).retention)

What goes of a voter: prompts, answers that no other battle shows, reasons, time of day and dwell time, digests of prompts that nobody else
wrote, the ids of voter and battles. What stays are anonymous votes: which of two models won, on which day. Prompts are personal data
and nothing needs them once the person objects; a vote without prompt, answer, id and hour is not, and taking it away would let anybody
move the leaderboard twice, by voting and by unvoting. So Bradley-Terry ratings stay as they were to the last digit; intervals clustered
by voter or prompt count such a vote as a cluster of its own. A deletion is recorded by its counts, without any text or id.

DuckDB frees the blocks that held the old texts and writes over them in time; no statement, export or snapshot reads them.
"""

import asyncio
import json
import logging
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from arena.errors import ArenaError, UnknownVoter
from arena.settings import Retention, load_settings
from arena.snapshots import folder_of
from arena.votes import new_id, now
from serving.errors import DocumentError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from arena.snapshots import Snapshots
    from arena.store import Store

log = logging.getLogger("arena")
Cause = Literal["voter", "retention", "abandoned"]
# So many battles stand or fall together: a writer that is busy with more would keep votes waiting.
_GROUP = 5_000
_BETWEEN_S = 3600.0


@dataclass(frozen=True)
class Deletion:
    """What was (or, before it is done, would be) deleted: battles and chats, votes among them, answers that nobody else uses.

    `datasets` (names in results/datasets/) hold rows of the voter's votes, and `trainings` were made of these: deleting there is the
    operator's decision.
    """

    cause: Cause
    n_battles: int = 0
    n_votes: int = 0
    n_answers: int = 0
    datasets: dict[str, int] = field(default_factory=dict)
    trainings: tuple[str, ...] = ()
    battle_ids: tuple[str, ...] = field(default=(), repr=False)

    def document(self) -> dict[str, Any]:
        """Without the ids, which are for whoever holds the battles in memory."""
        return {key: value for key, value in asdict(self).items() if key != "battle_ids"}


def forget(store: "Store", voter_id: str, *, results: Path, dry_run: bool = False) -> Deletion:
    """Remove this voter's data from the store. Raises UnknownVoter when nobody of this id was here."""
    battles, votes, chats = (_ids(store, f"{what}_to_forget", voter_id) for what in ("battles", "votes", "chats"))
    if not battles and not votes and not chats and not store.rows("acceptances_of", voter_id):
        raise UnknownVoter(f"nobody with the id '{voter_id}' was here: the id is the voter_id of 'arena export --format votes'")
    datasets, trainings = lineage(results, frozenset(votes))
    n_answers = int(store.rows("answers_to_forget", [*battles, *chats])[0][0])
    deletion = Deletion("voter", len(battles) + len(chats), len(votes), n_answers, datasets, trainings, (*battles, *chats))
    if not dry_run:
        steps = [(name, [voter_id]) for name in ("forget_cast_by", "forget_ballot_voter", "forget_voter_label", "forget_acceptances")]
        _replace(store, battles, [*steps, _record(deletion)], chats=chats, keep_voter=False)
    return deletion


def forget_here(store: "Store", voter_id: str, *, results: Path, rounds: dict[str, Any]) -> Deletion:
    """As `forget`, in the process that holds the battles in memory and the snapshots: for the voter's own button."""
    deletion = forget(store, voter_id, results=results)
    for battle_id in [key for key, round_ in list(rounds.items()) if round_.voter_id == voter_id]:
        rounds.pop(battle_id, None)
    if (folder := folder_of(store)) is not None:
        shutil.rmtree(folder, ignore_errors=True)
    return deletion


def tidy(store: "Store", retention: Retention, *, moment: datetime | None = None) -> list[Deletion]:
    """Remove the texts of battles that are past their time, and of those never voted on, whose voters are forgotten too."""
    moment = (moment or now()).astimezone(UTC).replace(tzinfo=None)
    done = []
    if retention.retention_days is not None:
        done.append(_remove(store, "retention", "past", moment - timedelta(days=retention.retention_days)))
    if retention.abandoned_after_h is not None:
        done.append(_remove(store, "abandoned", "abandoned", moment - timedelta(hours=retention.abandoned_after_h)))
    return done


def _remove(store: "Store", cause: Cause, which: str, before: datetime) -> Deletion:
    battles = _ids(store, f"battles_{which}", before)
    # Nobody votes on a chat: it is kept as long as other texts are.
    chats = _ids(store, "chats_past", before) if which == "past" else []
    n_votes = n_answers = 0
    for start in range(0, len(battles), _GROUP):
        group = battles[start : start + _GROUP]
        part = Deletion(
            cause,
            len(group),
            0 if cause == "abandoned" else int(store.rows("votes_on", group)[0][0]),
            int(store.rows("answers_to_forget", group)[0][0]),
        )
        _replace(store, group, [_record(part)], keep_voter=cause == "retention")
        n_votes, n_answers = n_votes + part.n_votes, n_answers + part.n_answers
    if chats:
        n_chat_answers = int(store.rows("answers_to_forget", chats)[0][0])
        _replace(store, [], [_record(Deletion(cause, len(chats), 0, n_chat_answers))], chats=chats, keep_voter=True)
        n_answers += n_chat_answers
    return Deletion(cause, len(battles) + len(chats), n_votes, n_answers, battle_ids=(*battles, *chats))


def _replace(store: "Store", battles: list[str], more: list[tuple[str, list[Any]]], *, chats: Sequence[str] = (), keep_voter: bool) -> None:
    """Put a battle without texts, under an id of its own, in the place of each; chats go whole.

    Killed in between, the old ones have no vote left and are found again the next time.
    """
    store.write_ballots()
    fresh = [new_id() for _ in battles]
    # The others find their rows by the messages of the old battles.
    steps: list[tuple[str, list[Any]]] = [("forget_answers", [[*battles, *chats]]), ("forget_judged", [store.prompt_keys(battles)])]
    steps += [(name, [battles]) for name in ("forget_ballot_prompts", "forget_prompt_labels")]
    steps += [(name, [[*battles, *chats]]) for name in ("forget_turns", "forget_answer_rows", "forget_shares", "forget_chats")]
    store.run(*steps, ("replace_battles", [battles, fresh, keep_voter]), ("replace_in_votes", [battles, fresh]), *more)
    # DuckDB lets a row go only in a transaction after the one in which nothing referred to it any more.
    store.run(("forget_battles", [battles]))


def _record(deletion: Deletion) -> tuple[str, list[Any]]:
    when = now().replace(tzinfo=None)
    counts = [deletion.n_battles, deletion.n_votes, deletion.n_answers]
    return "insert_deletion", [new_id(), when, deletion.cause, *counts, json.dumps(list(deletion.datasets))]


def _ids(store: "Store", statement: str, *parameters: Any) -> list[str]:
    return [str(key) for (key,) in store.rows(statement, *parameters)]


def lineage(results: Path, vote_ids: frozenset[str]) -> tuple[dict[str, int], tuple[str, ...]]:
    """(rows of these votes by dataset in results/datasets/, ids of the trainings made of those datasets or of such trainings)."""
    datasets: dict[str, int] = {}
    hashes: set[str] = set()
    for audit in sorted((results / "datasets").glob("*/audit.json")):
        n_rows = sum(_rows_of(audit.with_name(name), vote_ids) for name in ("train.jsonl", "test.jsonl"))
        if n_rows:
            datasets[audit.parent.name] = n_rows
            hashes.add(str(_object(audit.read_text(encoding="utf-8")).get("dataset_hash")))
    records = [_object(path.read_text(encoding="utf-8")) for path in sorted((results / "trainings").glob("*/training.json"))]
    tainted: set[str] = {
        str(record["training_id"]) for record in records if record.get("dataset_hash") in hashes and "training_id" in record
    }
    while more := {str(record["training_id"]) for record in records if record.get("parent") in tainted} - tainted:
        tainted |= more
    return datasets, tuple(sorted(tainted))


def _rows_of(path: Path, vote_ids: frozenset[str]) -> int:
    if not path.exists():
        return 0
    with path.open(encoding="utf-8") as lines:
        return sum(_object(line).get("vote_id") in vote_ids for line in lines)


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def tidied(store: "Store", snapshots: "Snapshots", *, results: Path, rounds: dict[str, Any]) -> Iterator[None]:
    """Tidy at once and then every hour, in a thread of its own, while the `with` lasts; `rounds` are the battles held in memory."""
    stop = threading.Event()

    def work() -> None:
        while True:
            try:
                drop(tidy(store, load_settings(results).retention), snapshots, rounds)
            except Exception:
                log.exception("old texts were not removed; tried again in an hour")
            if stop.wait(_BETWEEN_S):
                return

    thread = threading.Thread(target=work, name="arena-tidy", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


def routes(
    store: "Store", snapshots: "Snapshots", accepted: tuple[str, ...], *, results: Path, rounds: dict[str, Any]
) -> "list[BaseRoute]":
    """POST /forget {"voter": id, "dry_run": bool} and POST /tidy {}: what the commands ask for while the arena holds the file."""
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    from arena.snapshots import authorised, refusal

    async def act(request: "Request") -> "Response":
        if not authorised(request.headers, accepted):
            return refusal()
        body = _object((await request.body()).decode("utf-8", "replace"))
        try:
            done = await asyncio.to_thread(run, request.url.path, body)
        except (ArenaError, DocumentError) as error:
            return JSONResponse({"error": str(error)}, 409)
        return JSONResponse({"deletions": [deletion.document() for deletion in done]})

    def run(path: str, body: dict[str, Any]) -> list[Deletion]:
        if path == "/tidy":
            done, dry_run = tidy(store, load_settings(results).retention), False
        else:
            dry_run = body.get("dry_run") is True
            voter = str(body.get("voter"))
            if dry_run:
                done = [forget(store, voter, results=results, dry_run=True)]
            else:
                done = [forget_here(store, voter, results=results, rounds=rounds)]
        if not dry_run:
            drop(done, snapshots, rounds)
        return done

    return [Route("/forget", act, methods=["POST"]), Route("/tidy", act, methods=["POST"])]


def drop(done: list[Deletion], snapshots: "Snapshots", rounds: dict[str, Any]) -> None:
    """Take what was deleted out of memory and remove the snapshots that still hold it."""
    for battle_id in (battle_id for deletion in done for battle_id in deletion.battle_ids):
        rounds.pop(battle_id, None)
    if any(deletion.battle_ids for deletion in done):
        snapshots.forget()
