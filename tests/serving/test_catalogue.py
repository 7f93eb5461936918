"""The shipped APIs: each is priced, reachable over TLS with a key from the environment alone, and nothing in it is a key."""

import re
from datetime import UTC, datetime

import pytest

from serving.endpoints import CATALOGUE, load_catalogue, load_endpoints
from serving.prices import rates

PROVIDERS = (
    "openai", "anthropic", "google", "mistral", "deepseek", "xai", "together", "fireworks", "anyscale", "perplexity", "groq", "openrouter",
    "huggingface",
)  # fmt: skip


@pytest.mark.parametrize("provider", PROVIDERS)
def test_each_providers_endpoints_are_priced_and_need_a_key(provider: str, monkeypatch: pytest.MonkeyPatch):
    found = load_catalogue(CATALOGUE / f"{provider}.yaml")
    assert len(found) >= 2
    for endpoint in found:
        assert rates(endpoint, datetime(2026, 11, 20, 12, tzinfo=UTC)) is not None, endpoint.id
        assert endpoint.data_leaves is True and (endpoint.base_url or "").startswith("https://")
        assert endpoint.api_key_env is not None and re.fullmatch(r"[A-Z_]+", endpoint.api_key_env)
        if endpoint.price is not None:
            assert endpoint.price.source and endpoint.price.checked_on, f"{endpoint.id}: an explicit price says who and when"


@pytest.mark.parametrize("provider", ["openai", "anthropic", "google"])
def test_terms_that_forbid_training_on_outputs_are_said(provider: str):
    assert all(endpoint.outputs_trainable is False for endpoint in load_catalogue(CATALOGUE / f"{provider}.yaml"))


def test_no_shipped_api_may_fight_without_its_key(monkeypatch: pytest.MonkeyPatch):
    from arena.battle import contenders

    shipped = load_endpoints()
    for name in {endpoint.api_key_env for endpoint in shipped.values()} - {None}:
        monkeypatch.delenv(str(name), raising=False)
    assert contenders(shipped, demo=False) == {}
    monkeypatch.setenv("PERPLEXITY_API_KEY", "k")
    monkeypatch.setenv("GROQ_API_KEY", "k")
    able = contenders(shipped, demo=False)
    assert able and all(name.startswith("groq-") for name in able), "what cannot chat does not fight"


def test_openai_is_given_the_limit_under_the_name_that_its_reasoning_models_take():
    endpoints = load_endpoints()
    assert {endpoints[name].capabilities.max_tokens_field for name in ("o3", "gpt-4o-mini")} == {"max_completion_tokens"}
