"""Who votes: an anonymous id in a signed cookie, so that a battle belongs to the browser it was shown in.

The cookie is set by the server on the first page load; the secret lies beside the database and never leaves it.
"""

import os
import secrets
import tempfile
from pathlib import Path

from itsdangerous import BadSignature, URLSafeSerializer
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "bakeoff_voter"
_A_YEAR_S = 365 * 24 * 3600


def load_secret(path: Path) -> str:
    """The signing secret, made on first use; readable by its owner only. An empty file holds none: anybody could sign with that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if known := _secret_in(path):
        return known
    # Whole or not at all, whenever this process ends; and of two that start at once the first one's stands.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_urlsafe(32))
    try:
        os.link(name, path)
    except OSError:
        # Another was there first; or an empty one, or a file system without links.
        if not _secret_in(path):
            os.replace(name, path)
    Path(name).unlink(missing_ok=True)
    return _secret_in(path)


def _secret_in(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""


def voter_of(cookie: str | None, secret: str) -> str | None:
    """The voter id in a cookie's value; None when there is none or its signature is not ours."""
    if not cookie:
        return None
    try:
        return str(_serializer(secret).loads(cookie))
    except BadSignature:
        return None


def new_cookie(secret: str) -> str:
    """The value of a cookie for a voter not seen before."""
    return str(_serializer(secret).dumps(secrets.token_urlsafe(12)))


class VoterCookie:
    """ASGI middleware: a browser that comes without a valid voter cookie gets one with the page."""

    def __init__(self, app: ASGIApp, secret: str) -> None:
        self.app, self.secret = app, secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        cookies = cookie_parser(Headers(scope=scope).get("cookie", ""))
        known = voter_of(cookies.get(COOKIE), self.secret) is not None

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start" and not known:
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html"):
                    attributes = f"Path=/; Max-Age={_A_YEAR_S}; HttpOnly; SameSite=Lax"
                    secure = "; Secure" if scope.get("scheme") == "https" else ""
                    headers.append("set-cookie", f"{COOKIE}={new_cookie(self.secret)}; {attributes}{secure}")
            await send(message)

        await self.app(scope, receive, send_with_cookie)


def _serializer(secret: str) -> URLSafeSerializer:
    return URLSafeSerializer(secret, salt="voter")
