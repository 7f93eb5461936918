"""Who may ask now: limits per voter and address, and budgets in dollars, from the sections `limits` and `budgets` of results/arena.yaml.

    admit(store, settings, round_, address="203.0.113.7", secret=secret, endpoint_of=…)   # before anything is stored or asked
    settle(store, settings, round_, endpoint_of=…)                                        # when the answers have ended

Everything is counted in the store, so that all processes on one database share limits and budgets (each may let in one battle more than
is left). A cookie is quickly thrown away: it is the address's limits and the whole arena's budget that bind whoever means it. An address
and a voter are kept as keyed hashes, for two days. Voting is not limited: who votes too fast is the audit's matter.

An answer counts with its own `cost_usd`; where that is unknown, with what was expected of it, and as `unknown_usd` where no price is known;
recordings, failures without a word and machines paid by the hour cost nothing more. Days are those of UTC.
"""

import hmac
import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address

from arena.errors import ArenaError
from arena.rounds import Round, Side
from arena.settings import Settings
from arena.store import Store
from arena.votes import now
from arena.writer import utc
from serving.endpoints import Endpoint
from serving.errors import BakeoffError
from serving.prices import rates

log = logging.getLogger("arena")
EndpointOf = Callable[[str], Endpoint | None]
WINDOWS = {"a minute": timedelta(minutes=1), "an hour": timedelta(hours=1), "a day": timedelta(days=1)}
_KEPT = timedelta(days=2)
# Longer than an answer may take (serving.client.Timeouts): whoever has not ended by then was lost with its process.
_LOST = timedelta(minutes=35)
_CHARACTERS_PER_TOKEN, _USUAL_ANSWER_TOKENS = 4, 1_000
_gate = threading.Lock()


class NotNow(ArenaError):
    """A limit or a budget is used up; says when to come back."""


def admit(store: Store, settings: Settings, round_: Round, *, address: str | None, secret: str, endpoint_of: EndpointOf) -> None:
    """Count the turn that is about to be asked. Raises NotNow when it is one too many; then nothing is kept of it."""
    if not counted(settings):
        return
    voter, place = _hashed(secret, "voter", round_.voter_id), _place(settings, secret, address)
    usd = sum(_expected_usd(settings, round_, side, endpoint_of(side.model)) for side in round_.sides)
    with _gate:
        moment = now()
        _check_rates(store, settings, voter, place, moment)
        _check_budgets(store, settings, voter, place, usd, moment)
        row = [round_.stage, voter, place, utc(moment), usd]
        store.run(("insert_admission", row), ("forget_admissions", [utc(moment - _KEPT)]))


def settle(store: Store, settings: Settings, round_: Round, *, endpoint_of: EndpointOf) -> None:
    """Put what the last turn's answers cost in the place of what was expected."""
    if not counted(settings):
        return
    usd = sum(_cost_usd(settings, round_, side, endpoint_of(side.model)) for side in round_.sides)
    try:
        store.run(("settle_admission", [round_.stage, usd]))
    except BakeoffError:
        # It goes on counting as expected.
        log.exception("what battle %s cost could not be stored", round_.battle_id)


def refused(store: Store, settings: Settings, round_: Round) -> None:
    """What was admitted is not asked after all: it counts as once, and costs nothing."""
    if counted(settings):
        store.run(("settle_admission", [round_.stage, 0.0]))


def counted(settings: Settings) -> bool:
    """Whether anything is limited at all."""
    limits, budgets = settings.limits, settings.budgets
    return any(value is not None for value in (*limits.rates("voter"), *limits.rates("address"), limits.voter_at_once, *budgets.stated()))


def _check_rates(store: Store, settings: Settings, voter: str, place: str | None, moment: datetime) -> None:
    limits = settings.limits
    since = utc(moment - _LOST)
    if limits.voter_at_once is not None and store.rows("admissions_under_way", voter, since)[0][0] >= limits.voter_at_once:
        raise NotNow(f"you have {_times(limits.voter_at_once, 'battle')} under way, as many as one voter may; wait until one has ended")
    for who, key in (("voter", voter), ("address", place)):
        for (window, length), most in zip(WINDOWS.items(), limits.rates(who), strict=True):
            if most is None or key is None:
                continue
            if rows := store.rows("earlier_admission", key, utc(moment - length), most - 1):
                whose = "you have asked" if who == "voter" else "your address has asked"
                until = rows[0][0] + length
                raise NotNow(f"{whose} {_times(most, 'time')} within {window}, as often as one {who} may; {_come_back(until, moment)}")


def _check_budgets(store: Store, settings: Settings, voter: str, place: str | None, usd: float, moment: datetime) -> None:
    budgets = settings.budgets
    if not any(value is not None for value in budgets.stated()):
        return
    midnight = utc(moment).replace(hour=0, minute=0, second=0, microsecond=0)
    everybody, by_voter, by_address = store.rows("spent", voter, place, midnight)[0]
    tomorrow = _come_back(midnight + timedelta(days=1), moment)
    for spent, most, on in (
        (by_voter, budgets.voter_usd_per_day, "on one voter"),
        (by_address, None if place is None else budgets.address_usd_per_day, "on one address"),
        (everybody, budgets.arena_usd_per_day, "on all its voters"),
    ):
        if most is not None and spent + usd > most:
            raise NotNow(f"this arena has spent what it can in a day {on}; {tomorrow}")


def _expected_usd(settings: Settings, round_: Round, side: Side, endpoint: Endpoint | None) -> float:
    if endpoint is None or endpoint.wire == "recorded" or (endpoint.price is not None and endpoint.price.usd_per_hour is not None):
        return 0.0
    if (found := rates(endpoint, None)) is None:
        return settings.budgets.unknown_usd
    characters = sum(len(message.content) for message in round_.turn.request(side).messages or ())
    return found.of(characters / _CHARACTERS_PER_TOKEN, settings.limits.answer_tokens or _USUAL_ANSWER_TOKENS)


def _cost_usd(settings: Settings, round_: Round, side: Side, endpoint: Endpoint | None) -> float:
    if endpoint is None or endpoint.wire == "recorded" or side.completion is None:
        return 0.0
    if side.completion.cost_usd is not None:
        return side.completion.cost_usd
    return _expected_usd(settings, round_, side, endpoint) if side.text else 0.0


def _place(settings: Settings, secret: str, address: str | None) -> str | None:
    """The keyed hash of an address, of its first 64 bits where it has 128: a household has that many addresses, not one."""
    if not address or (settings.budgets.address_usd_per_day is None and not any(settings.limits.rates("address"))):
        return None
    try:
        known = ip_address(address)
    except ValueError:
        return _hashed(secret, "address", address)
    if isinstance(known, IPv6Address):
        known = known.ipv4_mapped or IPv6Address(int(known) >> 64 << 64)
    return _hashed(secret, "address", str(known))


def _hashed(secret: str, kind: str, text: str) -> str:
    return hmac.digest(secret.encode(), f"{kind} {text}".encode(), "sha256").hex()[:32]


def _times(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _come_back(until: datetime, moment: datetime) -> str:
    seconds = max((until - utc(moment)).total_seconds(), 1)
    if seconds < 90:
        return f"come back in {_times(round(seconds), 'second')}"
    wait = _times(round(seconds / 60), "minute") if seconds < 90 * 60 else _times(round(seconds / 3600), "hour")
    return f"come back in {wait}, at {until:%H:%M} UTC"
