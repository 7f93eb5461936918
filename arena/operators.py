"""Who may open the admin pages: the holder of the password, or a signed-in person whom results/arena.yaml names.

    admin: {password_hash: "scrypt$32768$8$3$…$…"}     # from: arena hash-password
    admin: {emails: [ada@example.org], role: arena-admin, session_minutes: 30}   # through OIDC (st.login); role in the claim `roles`

Whoever is let in gets a token that only this process knows, kept in the session on the server: nothing in an address, a cookie or the page
opens anything, and it ends with the session or after `session_minutes`. Wrong passwords are slowed: per address, the wait doubles from one
second to a quarter of an hour, and a try that comes too early is refused unseen.
"""

import logging
import secrets
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from arena.passwords import fits

if TYPE_CHECKING:
    from arena.settings import Admin

log = logging.getLogger("arena")
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 900.0
_MOST_ADDRESSES = 10_000


class Pass(NamedTuple):
    """Who was let in, and until when (time.monotonic)."""

    who: str
    until: float


_gate = threading.Lock()
_passes: dict[str, Pass] = {}
_wrong: dict[str, tuple[int, float]] = {}  # by address: wrong tries in a row, and when the next is taken


def wait_s(address: str) -> float:
    """Seconds until a password from this address is looked at again."""
    return max(_wrong.get(address, (0, 0.0))[1] - time.monotonic(), 0.0)


def try_password(admin: "Admin", password: str, address: str) -> str | None:
    """A token for the right password, None for a wrong or an early one. One hash at a time: guessing must not eat the machine."""
    with _gate:
        if admin.password_hash is None or wait_s(address) > 0:
            return None
        if not fits(password, admin.password_hash):
            times = _wrong.pop(address, (0, 0.0))[0] + 1
            _wrong[address] = times, time.monotonic() + min(_FIRST_WAIT_S * 2 ** (times - 1), _LONGEST_WAIT_S)
            if len(_wrong) > _MOST_ADDRESSES:
                _wrong.pop(next(iter(_wrong)))
            log.warning("a wrong admin password from %s, the %dth in a row", address, times)
            return None
        _wrong.pop(address, None)
        return _let_in(admin, "operator")


def signed_in(admin: "Admin", person: Mapping[str, Any]) -> str | None:
    """A token for the claims of a signed-in person who is named by a *verified* address or by role; else None."""
    email, roles = str(person.get("email") or "").casefold(), person.get("roles") or ()
    known = email in {name.casefold() for name in admin.emails} and person.get("email_verified") is True
    if known or (admin.role is not None and not isinstance(roles, str) and admin.role in roles):
        with _gate:
            return _let_in(admin, email or str(person.get("sub") or "signed in"))
    return None


def who_holds(token: object) -> str | None:
    """Who was let in with this token, while it lasts."""
    held = _passes.get(token) if isinstance(token, str) else None
    if held is None or held.until < time.monotonic():
        return None
    return held.who


def leave(token: object) -> None:
    """End what this token opens."""
    with _gate:
        _passes.pop(str(token), None)


def _let_in(admin: "Admin", who: str) -> str:
    moment = time.monotonic()
    for old in [token for token, held in _passes.items() if held.until < moment]:
        del _passes[old]
    token = secrets.token_urlsafe(32)
    _passes[token] = Pass(who, moment + admin.session_minutes * 60)
    log.warning("%s opened the admin pages", who)
    return token
