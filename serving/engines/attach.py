"""Servers that somebody else runs: TGI, HF Inference Endpoints, Ray Serve, a vLLM on another machine, any URL that speaks OpenAI's dialect.

    serving attach --base-url http://gpu-box:8000 --model llama-3.1-8b --engine vllm --usd-per-hour 2

They are probed, then registered under results/endpoints/ until their file is removed. `--lora NAME=PATH` loads an adapter on a vLLM that
runs (POST /v1/load_lora_adapter, which vLLM allows with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True; `serving up` sets it).
"""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from serving.answer import error_text
from serving.client import Client
from serving.command import say
from serving.completion import Request
from serving.documents import parse_document
from serving.endpoints import Endpoint, load_endpoints, register
from serving.engines import describe_adapter, vllm
from serving.engines.launch import pairs
from serving.errors import EngineFailed, Unreachable, did_you_mean
from serving.prepared import prepare_call
from serving.probe import Probe, look_now

# What is known of each beyond what the probe can see. Ray Serve LLM runs vLLM; HF's Inference Endpoints run TGI, vLLM or llama.cpp.
DIALECTS: dict[str, dict[str, Any]] = {
    "vllm": vllm.DIALECT,
    "ray": vllm.DIALECT,
    "sglang": {"ignore_eos": True, "neutral": {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}},
    # TGI refuses top_p 1; what it leaves out is neutral already.
    "tgi": {},
    "hf": {},
    "llama-server": {"ignore_eos": True, "neutral": {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0}},
}


@dataclass(frozen=True)
class Server:
    """Where a server is and what is known of it. `api_key_env` names the variable that holds the key, never the key."""

    base_url: str
    model: str
    endpoint_id: str | None = None
    engine: str | None = None
    api_key_env: str | None = None
    usd_per_hour: float | None = None


def attach(server: Server, *, results: Path) -> tuple[Endpoint, Probe]:
    """Probe the server and register it.

    Raises Unreachable (nobody there, key refused, no such model), MissingKey, DocumentError, and EngineFailed for an id that is in use.
    """
    if server.engine is not None and server.engine not in DIALECTS:
        hint = did_you_mean(server.engine, list(DIALECTS))
        raise EngineFailed(
            f"no dialect '{server.engine}' is known.{hint} Known: {', '.join(DIALECTS)}; without --engine nothing is assumed"
        )
    endpoint = _describe(server)
    _check_id(endpoint, results)
    probe = look_now(endpoint)
    endpoint = endpoint.model_copy(update={"capabilities": probe.capabilities})
    register(endpoint, results)
    return endpoint, probe


def attach_all(server: Server, loras: list[str], *, results: Path) -> list[Endpoint]:
    """`serving attach`: the server, or with `loras` (NAME=PATH) adapters onto the server that is registered at its address."""
    if loras:
        base = base_at(server.base_url, results)
        return [load_adapter(base, name, Path(path), results=results) for name, path in pairs("--lora", loras).items()]
    endpoint, probe = attach(server, results=results)
    say("probed: " + ", ".join(f"{name} {found}" for name, found in probe.checks.items()))
    return [endpoint]


def load_adapter(base: Endpoint, name: str, path: Path, *, results: Path) -> Endpoint:
    """Load a LoRA adapter on the running vLLM of `base` and register it; `path` is read by the server, so it must exist there.

    Raises EngineFailed when the server refuses it.
    """
    vllm.rank_of(path)
    endpoint = describe_adapter(base, name, path)
    _check_id(endpoint, results)
    body = json.dumps({"lora_name": name, "lora_path": str(path.resolve())}).encode()

    async def post() -> tuple[int, bytes]:
        async with Client() as client:
            exchange = await client.exchange(prepare_call(base, Request(prompt=""), path="/load_lora_adapter", body=body))
            return exchange.status, b"".join(piece for _, piece in exchange.body) or (exchange.failure or "").encode()

    status, said = asyncio.run(post())
    if status != 200:
        remedy = "start it with --lora or --set enable-lora=true" if status == 404 else "see the server's log"
        raise EngineFailed(f"'{base.id}' did not load {path} (HTTP {status}: {_told(said)}); {remedy}")
    register(endpoint, results)
    return endpoint


def base_at(base_url: str, results: Path) -> Endpoint:
    """The registered endpoint of this address that is no adapter. Raises Unreachable with the remedy."""
    url = _normal(base_url)
    found = [one for one in load_endpoints(results).values() if one.base_url == url and one.adapter_of is None]
    if not found:
        raise Unreachable(f"no endpoint is registered at {url}; attach its base model first (--model M without --lora)")
    return found[0]


def _describe(server: Server) -> Endpoint:
    host = urlsplit(server.base_url).hostname or ""
    values: dict[str, Any] = {
        "id": server.endpoint_id or server.model.rstrip("/").rpartition("/")[2],
        "wire": "openai",
        "model": server.model,
        "base_url": _normal(server.base_url),
        "engine": server.engine,
        "api_key_env": server.api_key_env,
        "data_leaves": False if host in ("localhost", "127.0.0.1", "::1") else None,
        "capabilities": DIALECTS.get(server.engine or "", {}),
    }
    if server.usd_per_hour is not None:
        values["price"] = {"usd_per_hour": server.usd_per_hour}
    return parse_document(values, Endpoint, where="the endpoint to attach (--id names it)")


def _normal(base_url: str) -> str:
    """Without a slash at its end, and with the /v1 that every one of these servers has and people leave out."""
    url = base_url.strip().rstrip("/")
    return url if urlsplit(url).path else f"{url}/v1"


def _check_id(endpoint: Endpoint, results: Path) -> None:
    known = load_endpoints(results).get(endpoint.id)
    if known is None or (known.base_url == endpoint.base_url and (results / "endpoints" / f"{endpoint.id}.yaml").is_file()):
        return
    raise EngineFailed(f"'{endpoint.id}' is the id of another endpoint (at {known.base_url}); choose one with --id")


def _told(said: bytes) -> str:
    try:
        return error_text(json.loads(said))
    except ValueError:
        return error_text(said.decode("utf-8", "replace"))
