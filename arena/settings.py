"""How one arena is run: results/arena.yaml, read again before each battle, and without that file the defaults below.

    pace: matched
    modes: [blind]
    limits: {turns: 6, prompt_characters: 4000}

A key that no code reads is refused. Who fights whom is another file's matter: results/pairing.yaml (arena/pairing.py).
"""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from serving.documents import Noun, reread_if_there

Mode = Literal["blind", "side_by_side", "direct"]
Pace = Literal["natural", "matched", "hidden"]
MODES: tuple[Mode, ...] = get_args(Mode)


class Limits(Noun):
    """What one battle may take, and how often one may ask (arena/admission.py; each turn counts, without a number nothing is counted).

    `turns` counts the prompts of a conversation; `answer_tokens` is asked of both endpoints.
    """

    prompt_characters: int = Field(default=8_000, ge=1)
    answer_tokens: int | None = Field(default=None, ge=1)
    turns: int = Field(default=10, ge=1)
    voter_at_once: int | None = Field(default=None, ge=1)
    voter_per_minute: int | None = Field(default=None, ge=1)
    voter_per_hour: int | None = Field(default=None, ge=1)
    voter_per_day: int | None = Field(default=None, ge=1)
    address_per_minute: int | None = Field(default=None, ge=1)
    address_per_hour: int | None = Field(default=None, ge=1)
    address_per_day: int | None = Field(default=None, ge=1)

    def rates(self, who: str) -> tuple[int | None, int | None, int | None]:
        """How often a `voter` or an `address` may ask per minute, hour and day."""
        if who == "voter":
            return self.voter_per_minute, self.voter_per_hour, self.voter_per_day
        return self.address_per_minute, self.address_per_hour, self.address_per_day


class Budgets(Noun):
    """Dollars a day (UTC) that answers may cost. `unknown_usd` is what an answer counts for whose price nobody knows."""

    voter_usd_per_day: float | None = Field(default=None, gt=0)
    address_usd_per_day: float | None = Field(default=None, gt=0)
    arena_usd_per_day: float | None = Field(default=None, gt=0)
    unknown_usd: float = Field(default=0.01, ge=0)

    def stated(self) -> tuple[float | None, float | None, float | None]:
        """Of one voter, of one address, of all."""
        return self.voter_usd_per_day, self.address_usd_per_day, self.arena_usd_per_day


class Moderation(Noun):
    """Who is asked about prompts and answers (arena/moderation.py), and what happens when it cannot be."""

    endpoint: str = Field(min_length=1)
    style: Literal["openai", "judge"]
    prompts: bool = True
    answers: bool = True
    on_error: Literal["allow", "refuse"] = "refuse"


class Login(Noun):
    """Sign in through OpenID Connect (arena/login.py); `provider` is its name on the button, `required` keeps others from voting."""

    server_metadata_url: str
    redirect_uri: str
    client_id_env: str = Field(min_length=1)
    client_secret_env: str = Field(min_length=1)
    required: bool = False
    provider: str = Field(default="your account", min_length=1)
    scope: str | None = None

    @field_validator("server_metadata_url", "redirect_uri")
    @classmethod
    def _is_safe(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")):
            raise ValueError(f"'{url}' is not https:// (http:// only on this machine)")
        return url

    @field_validator("redirect_uri")
    @classmethod
    def _leads_back(cls, url: str) -> str:
        if not urlsplit(url).path.endswith("/oauth2callback"):
            raise ValueError(f"'{url}' must be the arena's own address and end with /oauth2callback")
        return url

    @field_validator("scope")
    @classmethod
    def _names_the_person(cls, scope: str | None) -> str | None:
        if scope is not None and "openid" not in scope.split():
            raise ValueError("the scope must contain openid")
        return scope


class Metrics(Noun):
    """Who may read /metrics: whoever sends the token that the environment variable `token_env` holds, or asks from one of `addresses`."""

    token_env: str | None = Field(default=None, min_length=1)
    addresses: tuple[str, ...] = ()

    @field_validator("addresses")
    @classmethod
    def _are_networks(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        return _networks(addresses)


class Admin(Noun):
    """Who may open /admin (arena/operators.py): the password's holder, verified `emails`, whoever has `role` in the claim `roles`."""

    password_hash: str | None = None
    emails: tuple[str, ...] = ()
    role: str | None = Field(default=None, min_length=1)
    session_minutes: float = Field(default=30, gt=0, le=24 * 60)

    @field_validator("password_hash")
    @classmethod
    def _is_a_hash(cls, hashed: str | None) -> str | None:
        if hashed is not None:
            from arena.passwords import parse

            parse(hashed)
        return hashed

    @model_validator(mode="after")
    def _lets_somebody_in(self) -> "Admin":
        if not (self.password_hash or self.emails or self.role):
            raise ValueError("nobody is let in: state password_hash, emails or role, or leave the section out")
        return self


class Snapshots(Noun):
    """Reading a running arena from elsewhere: `token_env` names the environment variable with the token, at both ends."""

    token_env: str | None = Field(default=None, min_length=1)


class Retention(Noun):
    """How long texts are kept: of any battle for `retention_days` (None: for good), of one never voted on for `abandoned_after_h` hours."""

    retention_days: float | None = Field(default=None, gt=0)
    abandoned_after_h: float | None = Field(default=72, gt=0)


class Settings(Noun):
    """The keys of results/arena.yaml.

    `pace` is how answers come to the screen: as they arrive (natural), both at the speed of the slower one (matched), or at once when both
    have ended (hidden), so that speed does not tell who answers. `slow_notice_s` without a word,
    and the page says that this takes a while. `modes` are the kinds of battle on offer, the first one by default. `terms` is a Markdown
    file beside it, or `default`. `examples` are prompts to choose from by category (shipped ones by default; {} for none).
    `trusted_proxies` are the addresses or networks whose X-Forwarded-For and X-Forwarded-Proto are believed;
    `allowed_hosts` are the names under which the arena may be asked for; they, the proxies and `login` are read when the arena starts.
    """

    pace: Pace = "natural"
    slow_notice_s: float = Field(default=10.0, gt=0)
    modes: tuple[Mode, ...] = Field(default=MODES, min_length=1)
    limits: Limits = Limits()
    budgets: Budgets = Budgets()
    moderation: Moderation | None = None
    login: Login | None = None
    terms: str | None = Field(default=None, min_length=1)
    trusted_proxies: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    examples: dict[str, tuple[str, ...]] | None = None
    metrics: Metrics | None = None
    admin: Admin | None = None
    snapshots: Snapshots = Snapshots()
    retention: Retention = Retention()

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        return _networks(addresses)

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if re.fullmatch(r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?", host) is None:
                raise ValueError(f"'{host}' is no host; write arena.example.org or *.example.org, without scheme and port")
        return hosts


def _networks(addresses: tuple[str, ...]) -> tuple[str, ...]:
    for address in addresses:
        try:
            ip_network(address)
        except ValueError:
            raise ValueError(f"'{address}' is no address or network; write 127.0.0.1 or 10.0.0.0/8") from None
    return addresses


def load_settings(results: Path) -> Settings:
    """The settings of the arena whose results lie here. Raises DocumentError for a file that does not fit."""
    return reread_if_there(results / "arena.yaml", Settings) or Settings()
