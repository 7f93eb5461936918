"""Where answers are written: one loop in a thread of its own, whatever the pages do.

    asking = Asking(store, speed=1.0, endpoint_of=endpoints.get, settings_of=lambda: settings)
    asking.open()
    asking.begin(round_)                     # returns at once; the round's sides grow
    asking.stop(round_)                      # what came stays

A turn has ended when all its sides have, well or not, and their answers are in the store.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime

from arena import admission, conversations, metrics, moderation
from arena.health import Pulse
from arena.rounds import STOPPED, Round, Side
from arena.settings import Settings
from arena.store import Store
from arena.votes import now
from serving.client import Client
from serving.completion import Completion, Request
from serving.endpoints import Endpoint
from serving.errors import BakeoffError

log = logging.getLogger("arena")
# An endpoint that failed is not drawn for this long, doubled with each failure in a row.
_REST_S, _LONGEST_REST_S = 30.0, 1800.0
# Two answers that end within this time are stored by one write; the first of others is kept while the second is still being written.
_TOGETHER_S = 1.0


class Asking:
    """The loop, its client, and what it knows of endpoints that failed. `endpoint_of` and its like are asked anew for each answer."""

    def __init__(
        self,
        store: Store,
        *,
        speed: float,
        pulse: Pulse,
        endpoint_of: Callable[[str], Endpoint | None],
        settings_of: Callable[[], Settings],
        moderator_of: Callable[[], Endpoint | None],
    ) -> None:
        self.store, self.speed, self.pulse = store, speed, pulse
        self._endpoint_of, self._settings_of, self._moderator_of = endpoint_of, settings_of, moderator_of
        self._failures: dict[str, tuple[int, float]] = {}  # failures in a row, and time.monotonic() of the last
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="arena-generation", daemon=True)

    def open(self) -> None:
        """Start the loop."""
        self._thread.start()
        self._started.wait()

    def close(self) -> None:
        """End the loop; what was being written is given up, unstored."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def stop(self, round_: Round) -> None:
        """End the answers of the last turn that are still being written."""
        sides = round_.sides

        def cut() -> None:
            for side in sides:
                side.stopping = True
                if side.asking is not None:
                    side.asking.cancel()

        self._loop.call_soon_threadsafe(cut)

    def resting(self) -> set[str]:
        """The endpoints that failed lately and are not drawn for a while."""
        moment = time.monotonic()
        failures = list(self._failures.items())
        return {model for model, (times, last) in failures if moment - last < min(_REST_S * 2 ** (times - 1), _LONGEST_REST_S)}

    def begin(self, round_: Round) -> None:
        """Ask the sides of the last turn that have no answer yet."""
        asyncio.run_coroutine_threadsafe(self._fight(round_), self._loop)

    def check_prompt(self, prompt: str) -> None:
        """Wait for the moderator's word, if there is one to ask. Raises ArenaError for a prompt that may not be asked."""
        if (rule := self._settings_of().moderation) is not None and rule.prompts:
            check = moderation.check_prompt(rule, self._moderator_of(), prompt, self._client)
            asyncio.run_coroutine_threadsafe(check, self._loop).result()

    async def _fight(self, round_: Round) -> None:
        turn = round_.turn
        answers = {asyncio.create_task(self._answer(round_, side)): side for side in turn.sides if side.completion is None}
        if answers:
            ended, writing = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
            if writing:
                _, writing = await asyncio.wait(writing, timeout=_TOGETHER_S)
            if writing:
                for answer in ended:
                    await self._keep(round_, answers[answer])
            await asyncio.gather(*answers)
        try:
            await asyncio.to_thread(conversations.finish, self.store, round_)
        except BakeoffError:
            # Without the stored battle a vote could not be kept either: the round stays unvotable and the page says so.
            log.exception("battle %s could not be stored", round_.battle_id)
            for side in turn.sides:
                side.end(_failed(side.model, turn.request(side), "the battle could not be stored"))
        if admission.counted(settings := self._settings_of()):
            await asyncio.to_thread(admission.settle, self.store, settings, round_, endpoint_of=self._endpoint_of)
        # Counted before it is seen to have ended: who waits for that reads the count.
        if round_.mode != "direct":
            metrics.battle_ended(voided=not all(side.answered for side in turn.sides))
        turn.ready_at = time.monotonic()

    async def _answer(self, round_: Round, side: Side) -> None:
        request = round_.turn.request(side, self._settings_of().limits.answer_tokens)
        side.asked_at, started_at = time.monotonic(), now()
        try:
            side.asking = asyncio.ensure_future(self._ask(side, request))
            if side.stopping:
                side.asking.cancel()
            completion = await side.asking
        except asyncio.CancelledError:
            if not side.stopping:
                raise
            completion = _stopped(side, request, started_at)
        if (rule := self._settings_of().moderation) is not None and rule.answers:
            completion = await moderation.checked_answer(rule, self._moderator_of(), completion, self._client)
        side.end(completion)

    async def _keep(self, round_: Round, side: Side) -> None:
        try:
            await asyncio.to_thread(conversations.keep_answer, self.store, round_, side)
        except BakeoffError:
            log.exception("an answer of battle %s could not be stored before the battle's end", round_.battle_id)

    async def _ask(self, side: Side, request: Request) -> Completion:
        endpoint = self._endpoint_of(side.model)
        if endpoint is None:
            return _failed(side.model, request, "this endpoint is no longer here")
        try:
            completion = await self._client.ask(endpoint, request, on_text=side.hear)
        except BakeoffError as error:
            completion = _failed(side.model, request, str(error))
        if not completion.answered:
            log.warning("%s failed in a battle: %s %s", side.model, completion.status, completion.error)
            self._failures[side.model] = (self._failures.get(side.model, (0, 0.0))[0] + 1, time.monotonic())
        else:
            self._failures.pop(side.model, None)
        metrics.completion_ended(completion, recorded=endpoint.wire == "recorded")
        return completion

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        async with Client(speed=self.speed) as self._client:
            beat = asyncio.create_task(self.pulse.beat())
            self._started.set()
            await self._stop.wait()
            beat.cancel()
            fights = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for fight in fights:
                fight.cancel()
            await asyncio.gather(*fights, return_exceptions=True)


def _stopped(side: Side, request: Request, started_at: datetime) -> Completion:
    return Completion(
        endpoint=side.model,
        request=request,
        text=side.text,
        finish_reason=STOPPED,
        started_at=started_at,
        ttft_s=None if side.first_at is None else side.first_at - side.asked_at,
        latency_s=time.monotonic() - side.asked_at,
        status="truncated",
    )


def _failed(model: str, request: Request, error: str) -> Completion:
    return Completion(endpoint=model, request=request, status="api_error", error=error)
