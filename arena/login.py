"""Sign in through an OpenID Connect provider, by Streamlit's own `st.login`: `login` in results/arena.yaml, read when the arena starts.

    login:
      server_metadata_url: https://id.example.org/.well-known/openid-configuration
      redirect_uri: https://arena.example.org/oauth2callback
      client_id_env: ARENA_CLIENT_ID
      client_secret_env: ARENA_CLIENT_SECRET
      required: true

The keys are in the environment, and go to Streamlit in memory. A voter who is signed in is known by a keyed hash of issuer and subject: the
same on every device, and nobody's name. Streamlit keeps what the provider said in a signed cookie of the voter's browser, not here.
"""

import hmac
import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from arena.errors import ArenaError

if TYPE_CHECKING:
    from arena.settings import Settings


def streamlit_secrets(settings: "Settings", secret: str) -> dict[str, Any]:
    """What `streamlit.App(secrets=…)` takes; empty without a login. Raises ArenaError for a key that is not set, or without Authlib."""
    login = settings.login
    if login is None:
        return {}
    if find_spec("authlib") is None:
        raise ArenaError("login in arena.yaml needs Authlib: pip install 'bakeoff[login]'")
    # Who administers by e-mail must be asked for it; else the subject is enough.
    scope = login.scope or ("openid email" if settings.admin is not None and settings.admin.emails else "openid")
    return {
        "auth": {
            "redirect_uri": login.redirect_uri,
            "cookie_secret": _keyed(secret, "login cookie"),
            "client_id": _value(login.client_id_env, "client_id_env"),
            "client_secret": _value(login.client_secret_env, "client_secret_env"),
            "server_metadata_url": login.server_metadata_url,
            "client_kwargs": {"scope": scope},
        }
    }


def voter_of_claims(claims: Mapping[str, Any], secret: str) -> str | None:
    """The voter id of a person whom the provider named; None for nobody, and for claims that name nobody."""
    issuer, subject = claims.get("iss"), claims.get("sub")
    if claims.get("is_logged_in") is not True or not isinstance(issuer, str) or not isinstance(subject, str) or not issuer or not subject:
        return None
    return f"login-{_keyed(secret, f'voter {len(issuer)} {issuer} {subject}')[:24]}"


def _keyed(secret: str, text: str) -> str:
    return hmac.digest(secret.encode(), text.encode(), "sha256").hex()


def _value(name: str, key: str) -> str:
    if value := os.environ.get(name, "").strip():
        return value
    raise ArenaError(f"arena.yaml: login.{key}: the environment variable {name} is not set: export {name}=…")
