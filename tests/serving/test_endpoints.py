"""The catalogue loads, every endpoint in it is whole, and what is registered here joins it."""

from pathlib import Path

import pytest

from serving.completion import Usage
from serving.endpoints import CATALOGUE, Endpoint, Price, find_endpoint, load_catalogue, load_endpoints, register, unregister
from serving.errors import DocumentError, UnknownEndpoint
from serving.prices import cost_usd
from serving.recorded import load_recording


@pytest.mark.parametrize("path", sorted(CATALOGUE.glob("*.yaml")), ids=lambda path: path.name)
def test_each_shipped_catalogue_loads_and_its_recordings_answer(path: Path):
    for endpoint in load_catalogue(path):
        if endpoint.recording is not None:
            assert load_recording(endpoint.recording).requests(endpoint.model), endpoint.id


def test_a_registered_endpoint_is_known_until_it_is_unregistered(results: Path):
    endpoint = Endpoint(id="mine (7B)", wire="openai", model="m", base_url="http://127.0.0.1:9/v1", outputs_trainable=True)
    path = register(endpoint, results)
    assert path == results / "endpoints" / "mine (7B).yaml"
    assert find_endpoint("mine (7B)", results) == endpoint
    unregister("mine (7B)", results)
    assert "mine (7B)" not in load_endpoints(results)


def test_an_unknown_endpoint_is_told_with_the_nearest_known(results: Path):
    with pytest.raises(UnknownEndpoint, match=r"no endpoint 'gpt 5'\. Did you mean 'GPT 4'\?"):
        find_endpoint("gpt 5", results)


def test_an_id_used_twice_and_a_typo_in_a_registered_file_are_told(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (results / "endpoints").mkdir()
    (results / "endpoints" / "x.yaml").write_text("id: x\nwire: openai\nmodle: m\nbase_url: http://127.0.0.1:1\n")
    with pytest.raises(DocumentError, match=r"x\.yaml: modle: unknown key\. Did you mean 'model'"):
        load_endpoints(results)
    entry = "{id: twin, wire: openai, model: m, base_url: 'http://127.0.0.1:1'}"
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(f"endpoints:\n- {entry}\n")
    monkeypatch.setattr("serving.endpoints.CATALOGUE", tmp_path)
    with pytest.raises(DocumentError, match="'twin' is used twice"):
        load_endpoints()


def test_a_catalogue_of_ones_own_is_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "mine.yaml").write_text("defaults: {wire: recorded, recording: r.jsonl}\nendpoints:\n- {id: mine, model: m}\n")
    monkeypatch.setenv("BAKEOFF_CATALOGUE", str(tmp_path / "mine.yaml"))
    assert load_endpoints()["mine"].recording == tmp_path / "r.jsonl"


def test_costs_count_cached_input_apart_and_never_guess():
    endpoint = Endpoint(
        id="x", wire="openai", model="m", base_url="http://127.0.0.1:1",
        price=Price(input_usd_per_mtok=10, output_usd_per_mtok=20, cache_read_usd_per_mtok=1),
    )  # fmt: skip
    assert cost_usd(endpoint, Usage(input_tokens=1000, output_tokens=100, cache_read_tokens=400), None) == pytest.approx(
        (600 * 10 + 400 * 1 + 100 * 20) / 1e6
    )
    assert cost_usd(endpoint, Usage(input_tokens=1000), None) is None
    hourly = endpoint.model_copy(update={"price": Price(usd_per_hour=2)})
    assert cost_usd(hourly, Usage(input_tokens=1, output_tokens=1), None) is None


def test_a_public_api_without_a_price_of_its_own_is_priced_by_the_list():
    endpoint = Endpoint(id="x", wire="openai", model="gpt-4o-mini", base_url="https://api.openai.com/v1", data_leaves=True)
    assert cost_usd(endpoint, Usage(input_tokens=1000, output_tokens=500), None) == pytest.approx(0.00045)
    unknown = endpoint.model_copy(update={"model": "no-such-model"})
    assert cost_usd(unknown, Usage(input_tokens=1000, output_tokens=500), None) is None
