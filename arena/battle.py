"""Battles as they happen: answers generated in one process-wide loop, which the pages only look at.

    round_ = arena.start("Why is the sky blue?", voter_id)
    arena.go_on(round_, voter_id, "And at night?")           # once both have answered, until the vote
    arena.vote(round_, voter_id, "tie", token=arena.vote_form(round_, voter_id))

A click kills the Streamlit script that runs, so nothing is generated inside a script: arena/asking.py does that, and every page tails
`Round.sides` (arena/rounds.py). A battle is in the store before anything is asked, and each answer once it is whole: another process takes
up what this one leaves (arena/conversations.py). It can be voted on when both sides have answered (arena/casting.py).
"""

import logging
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from arena import admission, casting, conversations, metrics
from arena.asking import Asking
from arena.decisions import in_force
from arena.errors import ArenaError
from arena.health import Pulse
from arena.ledger import changes
from arena.pairing import UNIFORM, Draw, choose_pair, read_policy
from arena.prompts import recorded_prompts
from arena.rounds import Round, Side, Turn
from arena.settings import Mode, load_settings
from arena.store import Store
from arena.votes import Winner, new_id, now
from serving.completion import Message, Request
from serving.endpoints import CATALOGUE, Endpoint, load_endpoints
from serving.errors import BakeoffError
from serving.recorded import holds

__all__ = ["Arena", "Round", "Side", "contenders", "current", "open_arena"]

log = logging.getLogger("arena")
_KEPT_ROUNDS, _KEPT_VOTED = 2_000, 100


class Arena:
    """Everything the pages of one process share: the store, the endpoints, the rounds under way and the loop they run in."""

    def __init__(self, store: Store, *, results: Path, demo: bool, speed: float, secret: str) -> None:
        self.store, self.results, self.demo, self.speed, self.secret = store, results, demo, speed, secret
        # What the files say; `endpoints` and `policy` are what the operators' decisions make of it.
        self.settings = load_settings(results)
        self._read_endpoints()
        self.endpoints = self.catalogue
        self.prompts = recorded_prompts() if demo else ()
        self.rounds: dict[str, Round] = {}
        self.stated = self.policy = UNIFORM
        self._finding = threading.Lock()
        self.pulse = Pulse()
        self._listed: dict[str, Endpoint] | None = None  # what the ledger was last told
        self._ledger_gate = threading.Lock()
        self._random = random.SystemRandom()
        # Of the files, not of those that may be drawn now: whoever was drawn before he was switched off still answers.
        self.asking = Asking(
            store, speed=speed, pulse=self.pulse, endpoint_of=lambda name: self.catalogue.get(name),
            settings_of=lambda: self.settings, moderator_of=lambda: self.moderator,
        )  # fmt: skip

    def open(self) -> None:
        """Start the loop in which answers are generated."""
        self.asking.open()

    def close(self) -> None:
        """Stop generating; battles under way are taken up again by the next process that is asked for them."""
        self.asking.close()

    def refresh(self) -> None:
        """Read the endpoints and how pairs are drawn again: what was started, trained or changed since counts from now on.

        A file that does not fit is logged and the endpoints stay as they were: a typo must not close the arena to everybody.
        """
        try:
            self.settings = load_settings(self.results)
        except BakeoffError as error:
            log.error("settings not read again: %s", error)
        try:
            self._read_endpoints()
        except BakeoffError as error:
            log.error("endpoints not read again: %s", error)
        try:
            self.stated = read_policy(self.results)
        except BakeoffError as error:
            log.error("pairing policy not read again: %s", error)
        try:
            self.policy, self.endpoints = in_force(self.store, self.stated, self.catalogue)
        except BakeoffError as error:
            log.error("the operators' decisions not read again: %s", error)
        self._keep_ledger()

    def _read_endpoints(self) -> None:
        """What there is but the moderator is a contender."""
        endpoints = load_endpoints(self.results)
        moderation = self.settings.moderation
        self.moderator = endpoints.pop(moderation.endpoint, None) if moderation is not None else None
        self.catalogue = contenders(endpoints, demo=self.demo)

    def live(self) -> list[str]:
        """Ids of the endpoints that can be asked anything (not recordings)."""
        return [name for name, endpoint in self.endpoints.items() if endpoint.wire != "recorded"]

    def recorded_count(self) -> int:
        """How many recorded endpoints answer at least one of the prompts on offer."""
        requests = [Request.user(prompt.text) for prompt in self.prompts]
        return sum(any(holds(endpoint, request) for request in requests) for endpoint in self._recorded())

    def start(
        self,
        prompt: str,
        voter_id: str,
        *,
        mode: Mode = "blind",
        models: Sequence[str] = (),
        parent_battle_id: str | None = None,
        address: str | None = None,
    ) -> Round:
        """Begin a battle on `prompt`, or in `direct` mode a chat; `models` are those that the voter chose (blind: none).

        Raises ArenaError when the prompt is empty or too long, the mode is not on offer, too few endpoints can answer it, or the voter,
        who asks from `address`, has asked too often.
        """
        self.refresh()
        self._check_prompt(prompt)
        if mode not in self.settings.modes:
            raise ArenaError(f"mode '{mode}' is not on offer here; choose {' or '.join(self.settings.modes)}")
        request = Request(messages=(Message(role="user", content=prompt),), max_tokens=self.settings.limits.answer_tokens)
        able = [name for name, endpoint in self.endpoints.items() if holds(endpoint, request)]
        if mode == "blind":
            if len(able) < 2:
                remedy = (
                    "choose one of the recorded prompts" if self.demo else "start another with 'serving up', or set the API keys of two"
                )
                raise ArenaError(f"a battle needs two endpoints that can answer, and {len(able)} can; {remedy}")
            *models, probability = self._draw(able)
        else:
            _check_chosen(mode, models, able, self.endpoints)
            probability = None
        turn = Turn(prompt, tuple(Side(model) for model in models))
        policy = self.policy.kind if mode == "blind" else "chosen"
        round_ = Round(new_id(), voter_id, now(), [turn], mode, policy, probability, parent_battle_id)
        self._admit(round_, address, prompt=prompt)
        conversations.begin(self.store, round_)
        self._forget_old_rounds()
        self.rounds[round_.battle_id] = round_
        metrics.battle_started(mode)
        self.asking.begin(round_)
        return round_

    def go_on(self, round_: Round, voter_id: str, prompt: str, *, address: str | None = None) -> None:
        """Ask both sides for one more turn, each with its own history. Raises ArenaError when this battle cannot go on."""
        self._check_prompt(prompt)
        self._next(round_, voter_id, lambda: round_.next_turn(prompt), self.why_no_turn(round_), address)

    def regenerate(self, round_: Round, voter_id: str, *, address: str | None = None) -> None:
        """Ask the same models for the last turn's answers anew; a vote on them is not rated. Raises ArenaError."""
        self._next(round_, voter_id, round_.same_turn, None, address)

    def stop(self, round_: Round, voter_id: str) -> None:
        """End the answers that are being written; what came stays. Raises ArenaError for anybody but the battle's voter."""
        if round_.voter_id != voter_id:
            raise ArenaError("this battle belongs to another voter; start one of your own")
        self.asking.stop(round_)

    def why_no_turn(self, round_: Round) -> str | None:
        """Why this conversation cannot go on after the turn that is there; None when it can."""
        if len(round_.turns) >= (most := self.settings.limits.turns):
            return f"a conversation has at most {most} turns"
        if not round_.answered:
            return "not every side has answered"
        if gone := [name for name in round_.models if name not in self.catalogue]:
            return "one of the models is no longer here" if round_.mode == "blind" else f"'{gone[0]}' is no longer here"
        if any(self.catalogue[name].wire == "recorded" for name in round_.models):
            return "recorded models answer one prompt only"
        return None

    def find(self, battle_id: str | None, voter_id: str) -> Round | None:
        """The voter's own round, from memory or else from the store; None for anybody else's.

        What a process that ended left unfinished is asked for again, of the same models.
        """
        if not battle_id:
            return None
        if (round_ := self.rounds.get(battle_id)) is None:
            # One page at a time takes a battle up; those whose battle is in memory do not wait for the store.
            with self._finding:
                round_ = self.rounds.get(battle_id) or self._take_up(battle_id, voter_id)
        return round_ if round_ is not None and round_.voter_id == voter_id else None

    def _take_up(self, battle_id: str, voter_id: str) -> Round | None:
        round_ = conversations.load(self.store, battle_id)
        if round_ is None or round_.voter_id != voter_id:
            return None
        self.rounds[battle_id] = round_
        if not round_.ended:
            round_.resumed = True
            self.asking.begin(round_)
        return round_

    def shared(self, token: str) -> Round | None:
        """The finished battle that its voter shared under this token, for anybody to read."""
        round_ = conversations.shared_round(self.store, token)
        return round_ if round_ is not None and self.store.vote_of(round_.battle_id) is not None else None

    def share(self, round_: Round, voter_id: str) -> str:
        """The token under which anybody may read this battle. Raises ArenaError before the vote, and for anybody but its voter."""
        if round_.voter_id != voter_id or self.store.vote_of(round_.battle_id) is None:
            raise ArenaError("only its own voter can share a battle, and after the vote")
        return conversations.share_token(self.store, round_.battle_id)

    def vote_form(self, round_: Round, voter_id: str) -> str:
        """See arena/casting.py."""
        return casting.vote_form(round_, voter_id)

    def vote(self, round_: Round, voter_id: str, winner: Winner, *, token: str) -> bool:
        """Store the vote; False when this battle had one already (the first one stands). Raises ArenaError when it may not be voted on."""
        try:
            return casting.cast(self.store, round_, voter_id, winner, token=token)
        except casting.WentOn:
            self.rounds.pop(round_.battle_id, None)
            raise

    def _check_prompt(self, prompt: str) -> None:
        if not prompt.strip():
            raise ArenaError("the prompt is empty; type a question")
        if len(prompt) > (longest := self.settings.limits.prompt_characters):
            raise ArenaError(f"the prompt has {len(prompt):,} characters; at most {longest:,} are taken")

    def _admit(self, round_: Round, address: str | None, *, prompt: str | None) -> None:
        """Raises ArenaError for whoever has asked too often, and for a prompt that the moderator flags."""
        admission.admit(self.store, self.settings, round_, address=address, secret=self.secret, endpoint_of=self.catalogue.get)
        if prompt is not None:
            try:
                self.asking.check_prompt(prompt)
            except ArenaError:
                admission.refused(self.store, self.settings, round_)
                raise

    def _next(self, round_: Round, voter_id: str, turn: Callable[[], Turn], why_not: str | None, address: str | None) -> None:
        if round_.voter_id != voter_id:
            raise ArenaError("this battle belongs to another voter; start one of your own")
        with round_.gate:
            if not round_.ended:
                raise ArenaError("the answers are still being written: wait, or stop them")
            if round_.mode != "direct" and self.store.vote_of(round_.battle_id) is not None:
                raise ArenaError("the vote ended this battle: start a new one")
            if why_not is not None:
                raise ArenaError(f"this conversation cannot go on: {why_not}")
            before = list(round_.turns)
            fresh = turn()
            round_.turns[fresh.number - 1 :] = [fresh]
            try:
                # What is only asked anew was looked at when it was first asked.
                self._admit(round_, address, prompt=fresh.asked if fresh.attempt == 0 else None)
                conversations.begin_turn(self.store, round_)
            except ArenaError:
                round_.turns[:] = before
                raise
            round_.tokens.clear()
            self.asking.begin(round_)

    def _keep_ledger(self) -> None:
        with self._ledger_gate:
            if self._listed != self.endpoints:
                self.store.add_to_ledger(changes(self.store.ledger(), self.endpoints, now()))
                self._listed = self.endpoints

    def _draw(self, able: list[str]) -> Draw:
        tallies = self.store.vote_counts() if self.policy.counts_votes else ()
        return choose_pair(able, self._random, self.policy, tallies=tallies, dead=self.resting())

    def resting(self) -> set[str]:
        """The endpoints that failed lately and are not drawn for a while."""
        return self.asking.resting()

    def _recorded(self) -> list[Endpoint]:
        return [endpoint for endpoint in self.endpoints.values() if endpoint.wire == "recorded"]

    def _forget_old_rounds(self) -> None:
        # Ended rounds live on in the store; the oldest leave memory first, and those that were voted on long before those that may yet be.
        rounds = list(self.rounds.items())
        voted = [battle_id for battle_id, round_ in rounds if round_.voted]
        ended = [battle_id for battle_id, round_ in rounds if round_.ended]
        for battle_id in voted[:-_KEPT_VOTED] + ended[: max(len(rounds) - _KEPT_ROUNDS, 0)]:
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


def _check_chosen(mode: Mode, models: Sequence[str], able: Sequence[str], endpoints: dict[str, Endpoint]) -> None:
    if len(set(models)) != len(models) or len(models) != (1 if mode == "direct" else 2):
        raise ArenaError("choose one model to chat with" if mode == "direct" else "choose two different models to compare")
    for model in models:
        if model not in endpoints:
            raise ArenaError(f"model '{model}' is no longer here: choose another")
        if model not in able:
            raise ArenaError(f"model '{model}' has no recorded answer to this prompt: choose another model or another prompt")


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
