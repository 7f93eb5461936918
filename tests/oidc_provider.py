"""An OpenID Connect provider on loopback, for tests: it signs in whoever `subject` names, at once, and signs its tokens as real ones are.

with OidcProvider() as provider:
    provider.subject = "ada"
    provider.metadata_url        # for login.server_metadata_url
"""

import asyncio
import json
import secrets
import time
from base64 import b64decode
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey
from loopback import LoopbackServer


class OidcProvider(LoopbackServer):
    """Authorisation code flow. `asked` are the parameters of each sign-in; a code is good once, for its client and address."""

    client_id, client_secret = "bakeoff-arena", "s3cret-of-the-arena"

    def __init__(self) -> None:
        super().__init__()
        self.subject = "ada"
        self.asked: list[dict[str, str]] = []
        self._codes: dict[str, dict[str, str]] = {}
        self._key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def metadata_url(self) -> str:
        return f"{self.issuer}/.well-known/openid-configuration"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            request, *lines = head.split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = (await reader.readexactly(int(headers.get("content-length", 0)))).decode()
            target = urlsplit(request.split(" ")[1])
            status, extra, document = self._answer(target.path, _first(target.query), _first(body), headers)
            payload = json.dumps(document).encode()
            writer.write(f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(payload)}\r\n{extra}\r\n".encode())
            writer.write(payload)
            await writer.drain()

    def _answer(self, path: str, query: dict[str, str], form: dict[str, str], headers: dict[str, str]) -> tuple[str, str, Any]:
        if path == "/.well-known/openid-configuration":
            return "200 OK", "", self._metadata()
        if path == "/jwks":
            return "200 OK", "", {"keys": [self._key.as_dict(private=False)]}
        if path == "/authorize" and query.get("client_id") == self.client_id:
            self.asked.append(query)
            code = secrets.token_urlsafe(8)
            self._codes[code] = {**query, "subject": self.subject}
            return "302 Found", f"Location: {query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}\r\n", {}
        if path == "/token":
            return self._token(form, headers)
        return "404 Not Found", "", {"error": "not_found"}

    def _token(self, form: dict[str, str], headers: dict[str, str]) -> tuple[str, str, Any]:
        client, _, secret = b64decode(headers.get("authorization", "").removeprefix("Basic ")).decode().partition(":")
        told = self._codes.pop(form.get("code", ""), None)
        known = (unquote(client), unquote(secret)) == (self.client_id, self.client_secret)
        if told is None or not known or form.get("redirect_uri") != told["redirect_uri"]:
            return "400 Bad Request", "", {"error": "invalid_grant"}
        moment = int(time.time())
        claims = {"iss": self.issuer, "aud": self.client_id, "sub": told["subject"], "iat": moment, "exp": moment + 300}
        claims |= {"nonce": told["nonce"], "name": "Ada Lovelace", "email": "ada@example.org"}
        token = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self._key)
        return "200 OK", "", {"access_token": secrets.token_urlsafe(8), "token_type": "Bearer", "expires_in": 300, "id_token": token}

    def _metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        }


def _first(query: str) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(query).items()}
