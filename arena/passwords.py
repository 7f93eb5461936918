"""The operator's password, kept as a hash: scrypt (RFC 7914) with its parameters in the string, compared in constant time.

    arena hash-password                 # asks twice, unseen; or takes one line from stdin; prints what arena.yaml takes
    admin: {password_hash: "scrypt$32768$8$3$…$…"}

Parameters are those that OWASP's password storage cheat sheet gives for 32 MiB: N = 2^15, r = 8, p = 3 (a quarter of a second).
"""

import base64
import hashlib
import hmac
import secrets
import sys

from arena.errors import ArenaError
from serving.command import emit, say

SHORTEST = 12
_N, _R, _P = 2**15, 8, 3
_BYTES = 32


def hash_password(password: str) -> str:
    """`scrypt$N$r$p$salt$hash`, salt and hash in URL-safe base64. Raises ArenaError for a password shorter than SHORTEST characters."""
    if len(password) < SHORTEST:
        raise ArenaError(f"the password has {len(password)} characters; take at least {SHORTEST}, a few words in a row for instance")
    salt = secrets.token_bytes(16)
    return "$".join(("scrypt", str(_N), str(_R), str(_P), _text(salt), _text(_scrypt(password, salt, _N, _R, _P, _BYTES))))


def fits(password: str, hashed: str) -> bool:
    """Whether this is the password that was hashed."""
    n, r, p, salt, expected = parse(hashed)
    return hmac.compare_digest(_scrypt(password, salt, n, r, p, len(expected)), expected)


def parse(hashed: str) -> tuple[int, int, int, bytes, bytes]:
    """N, r, p, salt and hash. Raises ValueError, which names the remedy, for anything that hash_password did not make."""
    try:
        kind, *numbers, salt, expected = hashed.split("$")
        n, r, p = (int(number) for number in numbers)
        whole = (n, r, p, _bytes(salt), _bytes(expected))
    except ValueError:
        raise ValueError("not a hash of 'arena hash-password'; run it and copy its line") from None
    if kind != "scrypt" or n < 2**14 or n & (n - 1) or n > 2**20 or not 1 <= r <= 32 or not 1 <= p <= 16 or len(whole[4]) < 16:
        raise ValueError("not a hash of 'arena hash-password'; run it and copy its line")
    return whole


def ask_and_hash() -> None:
    """Make the hash of the operator's password, asked unseen or read from stdin."""
    import getpass

    if sys.stdin.isatty():
        password = getpass.getpass("password: ")
        if getpass.getpass("once more: ") != password:
            raise ArenaError("the two passwords differ: run it again")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    emit(hash_password(password))
    say('put it into results/arena.yaml: admin: {password_hash: "…"}')


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int, length: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=256 * n * r + 2**20, dklen=length)


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
