"""How long to wait before a request is asked again, and when it is not.

Only what the server did not begin to answer is asked again: no connection, 429 (too many requests) and 5xx. The server's own word
(Retry-After, or retry-after-ms as OpenAI sends it) is obeyed up to a minute; without one the wait doubles, with full jitter, so that
clients that failed together do not come back together (Brooker 2015, "Exponential Backoff And Jitter").
"""

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_WAIT_S = 60.0
_FIRST_WAIT_S = 0.5
_LONGEST_BACKOFF_S = 8.0


def worth_retrying(status: int) -> bool:
    """Whether an HTTP status says "later" rather than "never"."""
    return status == 429 or status >= 500


def wait_s(retries: int, headers: Mapping[bytes, bytes] | None = None) -> float:
    """Seconds to wait before the attempt after `retries` earlier ones: what the response's headers ask for, else backoff."""
    asked_s = _asked_s(headers or {})
    if asked_s is not None:
        return min(max(asked_s, 0.0), LONGEST_WAIT_S)
    return random.uniform(0.1, 1.0) * min(_FIRST_WAIT_S * 2.0 ** min(retries, 8), _LONGEST_BACKOFF_S)


def _asked_s(headers: Mapping[bytes, bytes]) -> float | None:
    """Retry-After in seconds: a number of them, or an HTTP date (RFC 9110, 10.2.3); None when it says neither."""
    if (milliseconds := _number(headers.get(b"retry-after-ms", b""))) is not None:
        return milliseconds / 1000
    value = headers.get(b"retry-after", b"")
    if (seconds := _number(value)) is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(value.decode("latin-1"))
    except (ValueError, TypeError, IndexError):
        return None
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()


def _number(value: bytes) -> float | None:
    text = value.strip()
    # No sign, no exponent, no nan: only what the header's grammar knows, and the decimals that some servers send.
    return float(text) if text and len(text) < 12 and text.replace(b".", b"", 1).isdigit() else None
