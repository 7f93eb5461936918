"""Battles as they happen: two blind answers generated in one process-wide loop, which the pages only look at.

A click kills the Streamlit script that runs, so nothing is generated inside a script: `Arena.start` hands the prompt to a loop in a
thread of its own, and every page tails `Round.sides`. A round ends as a Battle in the store; only then, and only if both sides answered,
can it be voted on.
"""

import asyncio
import logging
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from arena.errors import ArenaError
from arena.ledger import changes
from arena.pairing import UNIFORM, Draw, Policy, choose_pair
from arena.prompts import recorded_prompts
from arena.settings import load_settings
from arena.store import Store
from arena.votes import Battle, Vote, Winner, new_id, now
from serving.client import Client
from serving.completion import Completion, Message, Request
from serving.documents import reread_document
from serving.endpoints import CATALOGUE, Endpoint, load_endpoints
from serving.errors import BakeoffError
from serving.recorded import holds

log = logging.getLogger("arena")
_KEPT_ROUNDS = 2_000
# An endpoint that failed is not drawn for this long, doubled with each failure in a row.
_REST_S, _LONGEST_REST_S = 30.0, 1800.0


@dataclass
class Side:
    """One answer as it grows; `completion` is set when it has ended."""

    model: str
    pieces: list[str] = field(default_factory=list)
    completion: Completion | None = None

    @property
    def text(self) -> str:
        """What there is of the answer so far."""
        return self.completion.text if self.completion is not None else "".join(self.pieces)

    @property
    def answered(self) -> bool:
        """Whether there is an answer that can be judged: ended well, and not empty."""
        return self.completion is not None and self.completion.answered and bool(self.completion.text.strip())


@dataclass
class Round:
    """One battle of one voter, from the prompt to the vote."""

    battle_id: str
    voter_id: str
    request: Request
    sides: tuple[Side, Side]
    pairing_probability: float
    created_at: datetime
    pairing_policy: str = "uniform"
    ready_at: float | None = None  # time.monotonic() when both sides had ended and the battle was stored

    @property
    def ended(self) -> bool:
        """Whether both sides have ended, well or not, and the battle is stored."""
        return self.ready_at is not None

    @property
    def votable(self) -> bool:
        """Whether both sides gave an answer that can be judged."""
        return self.ended and all(side.answered for side in self.sides)


class Arena:
    """Everything the pages of one process share: the store, the endpoints, the rounds under way and the loop they run in."""

    def __init__(self, store: Store, *, results: Path, demo: bool, speed: float, secret: str) -> None:
        self.store, self.results, self.demo, self.speed, self.secret = store, results, demo, speed, secret
        self.endpoints = contenders(load_endpoints(results), demo=demo)
        self.prompts = recorded_prompts() if demo else ()
        self.rounds: dict[str, Round] = {}
        self.policy = UNIFORM
        self.settings = load_settings(results)
        self._listed: dict[str, Endpoint] | None = None  # what the ledger was last told
        self._ledger_gate = threading.Lock()
        self._failures: dict[str, tuple[int, float]] = {}  # failures in a row, and time.monotonic() of the last
        self._random = random.SystemRandom()
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="arena-generation", daemon=True)

    def open(self) -> None:
        """Start the loop in which answers are generated."""
        self._thread.start()
        self._started.wait()

    def close(self) -> None:
        """Stop generating; battles under way are given up (they could not be voted on yet)."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def refresh(self) -> None:
        """Read the endpoints and results/pairing.yaml again: what was started, trained or changed since counts from now on.

        A file that does not fit is logged and the endpoints stay as they were: a typo must not close the arena to everybody.
        """
        try:
            self.endpoints = contenders(load_endpoints(self.results), demo=self.demo)
        except BakeoffError as error:
            log.error("endpoints not read again: %s", error)
        try:
            path = self.results / "pairing.yaml"
            self.policy = reread_document(path, Policy) if path.exists() else UNIFORM
        except BakeoffError as error:
            log.error("pairing policy not read again: %s", error)
        try:
            self.settings = load_settings(self.results)
        except BakeoffError as error:
            log.error("settings not read again: %s", error)
        self._keep_ledger()

    def live(self) -> list[str]:
        """Ids of the endpoints that can be asked anything (not recordings)."""
        return [name for name, endpoint in self.endpoints.items() if endpoint.wire != "recorded"]

    def recorded_count(self) -> int:
        """How many recorded endpoints answer at least one of the prompts on offer."""
        requests = [Request.user(prompt.text) for prompt in self.prompts]
        return sum(any(holds(endpoint, request) for request in requests) for endpoint in self._recorded())

    def start(self, prompt: str, voter_id: str) -> Round:
        """Begin a battle on `prompt`. Raises ArenaError when the prompt is empty, too long, or fewer than two endpoints can answer it."""
        if not prompt.strip():
            raise ArenaError("the prompt is empty; type a question")
        self.refresh()
        if len(prompt) > (longest := self.settings.limits.prompt_characters):
            raise ArenaError(f"the prompt has {len(prompt):,} characters; at most {longest:,} are taken")
        request = Request(messages=(Message(role="user", content=prompt),))
        able = [name for name, endpoint in self.endpoints.items() if holds(endpoint, request)]
        if len(able) < 2:
            remedy = "choose one of the recorded prompts" if self.demo else "start another with 'serving up', or set the API keys of two"
            raise ArenaError(f"a battle needs two endpoints that can answer, and {len(able)} can; {remedy}")
        model_a, model_b, probability = self._draw(able)
        round_ = Round(new_id(), voter_id, request, (Side(model_a), Side(model_b)), probability, now(), self.policy.kind)
        self._forget_old_rounds()
        self.rounds[round_.battle_id] = round_
        asyncio.run_coroutine_threadsafe(self._fight(round_), self._loop)
        return round_

    def find(self, battle_id: str | None, voter_id: str) -> Round | None:
        """The voter's own round, from memory or, after a restart, from the store; None for anybody else's."""
        if not battle_id:
            return None
        if (round_ := self.rounds.get(battle_id)) is not None:
            return round_ if round_.voter_id == voter_id else None
        battle = self.store.battle(battle_id)
        if battle is None or battle.voter_id != voter_id:
            return None
        completions = self.store.completions_of(battle_id)
        if completions is None:
            return None
        first, second = completions
        sides = (Side(battle.model_a, completion=first), Side(battle.model_b, completion=second))
        request = Request(messages=battle.messages)
        round_ = Round(battle_id, voter_id, request, sides, battle.pairing_probability or 1.0, battle.created_at or now())
        round_.ready_at = time.monotonic()
        self.rounds[battle_id] = round_
        return round_

    def vote(self, round_: Round, voter_id: str, winner: Winner) -> bool:
        """Store the vote; False when this battle had one already (the first one stands). Raises ArenaError when it may not be voted on."""
        if round_.voter_id != voter_id:
            raise ArenaError("this battle belongs to another voter; start one of your own")
        if not round_.votable or round_.ready_at is None:
            raise ArenaError("this battle cannot be voted on: not both sides have answered")
        return self.store.save_vote(
            Vote(
                vote_id=new_id(),
                battle_id=round_.battle_id,
                voter_id=voter_id,
                winner=winner,
                voted_at=now(),
                dwell_s=time.monotonic() - round_.ready_at,
            )
        )

    def _keep_ledger(self) -> None:
        with self._ledger_gate:
            if self._listed != self.endpoints:
                self.store.add_to_ledger(changes(self.store.ledger(), self.endpoints, now()))
                self._listed = self.endpoints

    def _draw(self, able: list[str]) -> Draw:
        at_work = self.policy.kind == "adaptive" or self.policy.warmup_votes > 0
        tallies = self.store.vote_counts() if at_work else ()
        return choose_pair(able, self._random, self.policy, tallies=tallies, dead=self.resting())

    def resting(self) -> set[str]:
        """The endpoints that failed lately and are not drawn for a while."""
        moment = time.monotonic()
        failures = list(self._failures.items())
        return {model for model, (times, last) in failures if moment - last < min(_REST_S * 2 ** (times - 1), _LONGEST_REST_S)}

    def _recorded(self) -> list[Endpoint]:
        return [endpoint for endpoint in self.endpoints.values() if endpoint.wire == "recorded"]

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        async with Client(speed=self.speed) as self._client:
            self._started.set()
            await self._stop.wait()
            fights = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for fight in fights:
                fight.cancel()
            await asyncio.gather(*fights, return_exceptions=True)

    async def _fight(self, round_: Round) -> None:
        first, second = await asyncio.gather(*(self._answer(side, round_.request) for side in round_.sides))
        battle = Battle(
            battle_id=round_.battle_id,
            created_at=round_.created_at,
            messages=round_.request.messages or (),
            model_a=first.endpoint,
            model_b=second.endpoint,
            voter_id=round_.voter_id,
            pairing_policy=round_.pairing_policy,
            pairing_probability=round_.pairing_probability,
        )
        try:
            await asyncio.to_thread(self.store.save_battle, battle, (first, second))
        except BakeoffError:
            # Without the stored battle a vote could not be kept either: the round stays unvotable and the page says so.
            log.exception("battle %s could not be stored", round_.battle_id)
            for side in round_.sides:
                side.completion = _failed(side.model, round_.request, "the battle could not be stored")
        round_.ready_at = time.monotonic()

    async def _answer(self, side: Side, request: Request) -> Completion:
        endpoint = self.endpoints[side.model]
        try:
            completion = await self._client.ask(endpoint, request, on_text=side.pieces.append)
        except BakeoffError as error:
            completion = _failed(side.model, request, str(error))
        if not completion.answered:
            log.warning("%s failed in a battle: %s %s", side.model, completion.status, completion.error)
            self._failures[side.model] = (self._failures.get(side.model, (0, 0.0))[0] + 1, time.monotonic())
        else:
            self._failures.pop(side.model, None)
        side.completion = completion
        return completion

    def _forget_old_rounds(self) -> None:
        # Ended rounds live on in the store; the oldest leave memory first.
        ended = [battle_id for battle_id, round_ in list(self.rounds.items()) if round_.ended]
        for battle_id in ended[: max(len(self.rounds) - _KEPT_ROUNDS, 0)]:
            self.rounds.pop(battle_id, None)


def contenders(endpoints: dict[str, Endpoint], *, demo: bool) -> dict[str, Endpoint]:
    """The endpoints that may fight: those that chat, without a key or with their key set; shipped recordings only in the demo."""
    able: dict[str, Endpoint] = {}
    for name, endpoint in endpoints.items():
        shipped = endpoint.recording is not None and CATALOGUE.parent in endpoint.recording.parents
        if (shipped and not demo) or not endpoint.capabilities.chat:
            continue
        try:
            endpoint.api_key()
        except BakeoffError:
            continue
        able[name] = endpoint
    return able


def _failed(model: str, request: Request, error: str) -> Completion:
    return Completion(endpoint=model, request=request, status="api_error", error=error)


_current: Arena | None = None


@contextmanager
def open_arena(arena: Arena) -> Iterator[Arena]:
    """Make `arena` the one of this process (see `current`) while the `with` lasts."""
    global _current
    arena.open()
    _current = arena
    try:
        yield arena
    finally:
        _current = None
        arena.close()


def current() -> Arena:
    """The arena of this process. Raises ArenaError when the script was started without one (plain `streamlit run`)."""
    if _current is None:
        raise ArenaError("no arena runs in this process; start it with 'arena up' or 'dashboards up'")
    return _current
