"""Endpoints: what can be asked, where, at which price and under which terms. `serving ls` lists them.

Not "models": the same weights on vLLM and behind an API are two endpoints. They come from three places, later ones winning:
the catalogue shipped here (serving/catalogue/*.yaml), the files of endpoints started or trained here
(results/endpoints/*.yaml), and any catalogue file named by `BAKEOFF_CATALOGUE`. What you pay instead of the list price is
in results/prices.yaml (serving/overrides.py).
"""

import os
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from serving.documents import Noun, parse_document, read_yaml, reread_if_there, stamp, write_text_atomically
from serving.errors import DocumentError, MissingKey, UnknownEndpoint, did_you_mean

HERE = Path(__file__).parent
CATALOGUE = HERE / "catalogue"

# An id is also a file name (results/endpoints/<id>.yaml) and a column value: anything a person can type but path and control characters.
EndpointId = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f/\\.][^\x00-\x1f\x7f/\\]{0,99}$")]


class Price(Noun):
    """What an endpoint costs: per token (dollars per million) or per hour of the machine, never both.

    Cached input, batch prices and `discount` (committed: .2 is 20 % off all that is not stated here) may also stand alone: the rest is then
    the list's (serving/prices.py).
    """

    input_usd_per_mtok: float | None = Field(default=None, ge=0)
    output_usd_per_mtok: float | None = Field(default=None, ge=0)
    cache_read_usd_per_mtok: float | None = Field(default=None, ge=0)
    batch_input_usd_per_mtok: float | None = Field(default=None, ge=0)
    batch_output_usd_per_mtok: float | None = Field(default=None, ge=0)
    discount: float | None = Field(default=None, ge=0, lt=1)
    usd_per_hour: float | None = Field(default=None, ge=0)
    accelerators: str | None = None
    checked_on: date | None = None
    source: str | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "Price":
        for kind in ("", "batch_"):
            into, out = getattr(self, f"{kind}input_usd_per_mtok"), getattr(self, f"{kind}output_usd_per_mtok")
            if (into is None) != (out is None):
                raise ValueError(f"a price per token needs both {kind}input_usd_per_mtok and {kind}output_usd_per_mtok")
        tokens = (self.input_usd_per_mtok, self.batch_input_usd_per_mtok, self.cache_read_usd_per_mtok, self.discount)
        if any(part is not None for part in tokens) == (self.usd_per_hour is not None):
            raise ValueError("a price is either per token (input_usd_per_mtok and output_usd_per_mtok, or a discount) or usd_per_hour")
        if self.input_usd_per_mtok is not None and self.discount is not None:
            raise ValueError("discount is taken off list prices; where input_usd_per_mtok is stated, state what you pay")
        return self


class Capabilities(Noun):
    """What the endpoint's server can do beyond answering; checked by a probe where it matters, never assumed.

    `usage`: token counts come with a streamed answer (where false they are not asked for). `streaming: false`: answers come whole.
    `max_tokens_field` is the name that chats give the limit (OpenAI's reasoning models refuse max_tokens).
    `logprobs`: echoed log-probabilities were checked against a known sum (serving/probe.py). `done`: streams end in `[DONE]`.
    `stop`: stop sequences end answers (where false the client cuts them).
    `ignore_eos`: that key of `extra` makes answers as long as max_tokens. `neutral`: sampling parameters sent unless a request states
    others, because the server would fill in its own.
    """

    chat: bool = True
    completions: bool = False
    usage: bool = True
    logprobs: bool = False
    streaming: bool = True
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    done: bool = False
    stop: bool = True
    ignore_eos: bool = False
    neutral: Mapping[str, int | float] = {}


class Endpoint(Noun):
    """Something that answers requests. `recording` (a completions.jsonl[.gz]) replaces `base_url` on the recorded wire.

    `tokenizer` (a tokenizer.json or the folder that holds it) counts the tokens of a server that does not tell them. `adapter_of` is the
    endpoint of the base model on the same server.
    """

    id: EndpointId
    wire: Literal["openai", "anthropic", "recorded"]
    model: str
    base_url: str | None = None
    recording: Path | None = None
    api_key_env: str | None = None
    tokenizer: Path | None = None
    engine: str | None = None
    organization: str | None = None
    price: Price | None = None
    open_weights: bool | None = None
    license: str | None = None
    data_leaves: bool | None = None
    outputs_trainable: bool | None = None
    capabilities: Capabilities = Capabilities()
    training_id: str | None = None
    adapter_of: EndpointId | None = None

    @model_validator(mode="after")
    def _has_an_address(self) -> "Endpoint":
        if self.wire == "recorded" and self.recording is None:
            raise ValueError("an endpoint with wire: recorded needs recording: FILE")
        if self.wire != "recorded" and not (self.base_url or "").startswith(("http://", "https://")):
            raise ValueError(f"an endpoint with wire: {self.wire} needs base_url: http(s)://…")
        return self

    def api_key(self) -> str | None:
        """The key from the environment, or None where no key is needed. Raises MissingKey when it is named but not set."""
        if self.api_key_env is None:
            return None
        if not (key := os.environ.get(self.api_key_env, "").strip()):
            raise MissingKey(f"endpoint '{self.id}' needs an API key: set the environment variable {self.api_key_env}")
        return key


class Catalogue(Noun):
    """A YAML file of endpoints; `defaults` holds keys that all of them share unless they say otherwise."""

    defaults: dict[str, Any] = {}
    endpoints: tuple[Endpoint, ...]


def load_endpoints(results: Path | None = None) -> dict[str, Endpoint]:
    """Every known endpoint by id. Raises DocumentError for the first file that does not fit, or for an id used twice in the catalogue."""
    found: dict[str, Endpoint] = {}
    for path in sorted(CATALOGUE.glob("*.yaml")):
        for endpoint in load_catalogue(path):
            if endpoint.id in found:
                raise DocumentError(f"{path}: endpoint id '{endpoint.id}' is used twice; ids must be unique")
            found[endpoint.id] = endpoint
    if results is not None:
        for path in sorted((results / "endpoints").glob("*.yaml")):
            # An engine's goes with it, whoever reads meanwhile.
            if (stated := reread_if_there(path, Endpoint)) is not None:
                found[stated.id] = _anchor(stated, path)
    if extra := os.environ.get("BAKEOFF_CATALOGUE"):
        found |= {endpoint.id: endpoint for endpoint in load_catalogue(Path(extra))}
    from serving.overrides import with_overrides

    return with_overrides(found, results)


def load_catalogue(path: Path) -> tuple[Endpoint, ...]:
    """The endpoints of one catalogue file; recordings are relative to the file. Parsed once until the file changes."""
    return _catalogue(path, stamp(path))


@lru_cache(maxsize=256)
def _catalogue(path: Path, stamp: tuple[int, ...]) -> tuple[Endpoint, ...]:
    content = read_yaml(path)
    defaults, entries = content.get("defaults") or {}, content.get("endpoints")
    if isinstance(defaults, dict) and isinstance(entries, list):
        content["endpoints"] = [{**defaults, **entry} if isinstance(entry, dict) else entry for entry in entries]
    endpoints = parse_document(content, Catalogue, where=str(path)).endpoints
    return tuple(_anchor(endpoint, path) for endpoint in endpoints)


def find_endpoint(endpoint_id: str, results: Path | None = None) -> Endpoint:
    """The endpoint of this id. Raises UnknownEndpoint with the nearest known id."""
    return pick(load_endpoints(results), endpoint_id)


def pick(known: dict[str, Endpoint], endpoint_id: str) -> Endpoint:
    """`known[endpoint_id]`, or UnknownEndpoint with the nearest known id."""
    if endpoint_id not in known:
        raise UnknownEndpoint(
            f"no endpoint '{endpoint_id}'.{did_you_mean(endpoint_id, list(known))} 'serving ls' lists the {len(known)} known ones"
        )
    return known[endpoint_id]


def register(endpoint: Endpoint, results: Path) -> Path:
    """Write results/endpoints/<id>.yaml, so that every room knows the endpoint; returns the file."""
    import yaml

    path = results / "endpoints" / f"{endpoint.id}.yaml"
    values = endpoint.model_dump(mode="json", exclude_defaults=True)
    write_text_atomically(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    return path


def unregister(endpoint_id: str, results: Path) -> None:
    """Remove results/endpoints/<id>.yaml; nothing happens when there is none."""
    (results / "endpoints" / f"{endpoint_id}.yaml").unlink(missing_ok=True)


def _anchor(endpoint: Endpoint, path: Path) -> Endpoint:
    """Files that an endpoint names are relative to the YAML file that names them."""
    files = {"recording": endpoint.recording, "tokenizer": endpoint.tokenizer}
    moved = {name: (path.parent / file).resolve() for name, file in files.items() if file is not None and not file.is_absolute()}
    return endpoint.model_copy(update=moved) if moved else endpoint
