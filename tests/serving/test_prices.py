"""What a request costs: equal to sums made by hand and to genai-prices itself, at the request's own minute; unknown stays None."""

import json
import subprocess
import sys
import time
import timeit
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.completion import Usage
from serving.endpoints import Endpoint, Price, load_endpoints
from serving.errors import DocumentError
from serving.overrides import unused
from serving.prices import cost_usd, rates, usd_per_mtok_of_hour

MILLION = Usage(input_tokens=10**6, output_tokens=10**6)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
OPENAI = "https://api.openai.com/v1"


def api(model: str, base_url: str = OPENAI, price: Price | None = None) -> Endpoint:
    return Endpoint(id="x", wire="openai", model=model, base_url=base_url, price=price)


def test_a_dated_price_holds_on_its_own_date():
    # $10 + $40 until 9 June 2025, $2 + $8 from the 10th.
    assert cost_usd(api("o3"), MILLION, datetime(2025, 6, 1, tzinfo=UTC)) == pytest.approx(50)
    assert cost_usd(api("o3"), MILLION, datetime(2025, 6, 9, 23, 59, tzinfo=UTC)) == pytest.approx(50)
    assert cost_usd(api("o3"), MILLION, datetime(2025, 7, 1, tzinfo=UTC)) == pytest.approx(10)
    found = rates(api("o3"), datetime(2025, 7, 1))
    assert found is not None and found.since == "2025-06-10"


def test_cached_input_is_cheaper_and_counted_once():
    # gpt-4o: $2.50 fresh, $1.25 cached, $10 out.
    usage = Usage(input_tokens=10**6, cache_read_tokens=400_000, output_tokens=10**6)
    assert cost_usd(api("gpt-4o"), usage, NOW) == pytest.approx(0.6 * 2.5 + 0.4 * 1.25 + 10)


def test_above_a_tier_every_token_of_the_request_costs_more():
    # gemini-3.1-pro-preview: $2 and $12 up to 200,000 input tokens, then $4 and $18, for all of the request.
    google = api("gemini-3.1-pro-preview", "https://generativelanguage.googleapis.com/v1beta/openai")
    assert cost_usd(google, Usage(input_tokens=200_000, output_tokens=1000), NOW) == pytest.approx(0.2 * 2 + 0.001 * 12)
    assert cost_usd(google, Usage(input_tokens=300_000, output_tokens=1000), NOW) == pytest.approx(0.3 * 4 + 0.001 * 18)


def test_a_price_by_the_hour_of_the_day_changes_at_its_own_minute():
    # deepseek-chat was at half price outside 00:30–16:30 UTC: an hour's grain would bill the second half hour wrongly.
    endpoint = api("deepseek-chat", "https://api.deepseek.com")
    assert cost_usd(endpoint, MILLION, datetime(2025, 5, 1, 0, 29, 59, tzinfo=UTC)) == pytest.approx(0.135 + 0.55)
    assert cost_usd(endpoint, MILLION, datetime(2025, 5, 1, 0, 30, tzinfo=UTC)) == pytest.approx(0.27 + 1.1)


def test_a_machine_by_the_hour_costs_by_the_throughput_that_was_measured():
    assert usd_per_mtok_of_hour(2, 2000) == pytest.approx(0.278, abs=0.0005)
    assert usd_per_mtok_of_hour(2, 2000, 0.2) == pytest.approx(1.39, abs=0.005)
    assert cost_usd(api("m", "http://127.0.0.1:1", Price(usd_per_hour=2)), MILLION, NOW) is None


def test_a_request_fee_and_reasoning_have_prices_of_their_own():
    sonar = api("sonar", "https://api.perplexity.ai")
    assert cost_usd(sonar, Usage(input_tokens=1000, output_tokens=1000), NOW) == pytest.approx(0.002 + 0.012)
    deep = api("sonar-deep-research", "https://api.perplexity.ai")
    usage = Usage(input_tokens=0, output_tokens=10**6, reasoning_tokens=600_000)
    assert cost_usd(deep, usage, NOW) == pytest.approx(0.4 * 8 + 0.6 * 3)


def test_the_routers_suffix_names_the_provider_whose_price_holds():
    router = "https://router.huggingface.co/v1"
    assert cost_usd(api("openai/gpt-oss-120b:groq", router), MILLION, NOW) == pytest.approx(0.15 + 0.75)
    assert cost_usd(api("openai/gpt-oss-120b:novita", router), MILLION, NOW) == pytest.approx(0.05 + 0.25)
    assert cost_usd(api("openai/gpt-oss-120b:nobody", router), MILLION, NOW) is None


def test_a_batch_is_priced_where_its_price_is_known_and_nowhere_else():
    assert cost_usd(api("o3"), MILLION, NOW, batch=True) == pytest.approx(1 + 4)
    assert cost_usd(api("o3"), MILLION, datetime(2026, 1, 1, tzinfo=UTC), batch=True) is None
    assert cost_usd(api("grok-4.7", "https://api.x.ai/v1"), MILLION, NOW, batch=True) is None


def test_what_is_unknown_is_none_and_what_is_free_is_nothing():
    assert cost_usd(api("no-such-model"), MILLION, NOW) is None
    assert cost_usd(api("gpt-4o", "http://127.0.0.1:9/v1"), MILLION, NOW) is None
    assert cost_usd(api("gpt-4o"), Usage(input_tokens=5), NOW) is None
    assert cost_usd(api("text-embedding-3-small"), MILLION, NOW) is None, "a price of the input alone is no price of an answer"
    assert cost_usd(api("mistral-nemo:free", "https://api.mistral.ai/v1"), MILLION, NOW) == 0


MODELS = [
    ("gpt-6.1-sol", OPENAI),
    ("claude-haiku-5-5", "https://api.anthropic.com"),
    ("gemini-3.1-pro-preview", "https://generativelanguage.googleapis.com/v1beta/openai"),
    ("grok-4.7", "https://api.x.ai/v1"),
    ("deepseek-flash", "https://api.deepseek.com"),
    ("sonar-deep-research", "https://api.perplexity.ai"),
    ("openai/gpt-oss-120b", "https://api.groq.com/openai/v1"),
]


@given(
    model=st.sampled_from(MODELS),
    counts=st.tuples(*(st.integers(0, most) for most in (400_000, 400_000, 50_000, 50_000))),
    written=st.integers(0, 400_000),
    at=st.datetimes(datetime(2025, 1, 1), datetime(2026, 12, 31)),
)
@settings(max_examples=300)
def test_every_cost_is_the_lists_own(model: tuple[str, str], counts: tuple[int, int, int, int], written: int, at: datetime):
    from genai_prices import Usage as ListUsage
    from genai_prices import calc_price

    into, cached, out, thought = counts[0], min(counts[:2]), counts[2], min(counts[2:])
    written = min(written, into - cached)
    listed = ListUsage(
        input_tokens=into, output_tokens=out, cache_read_tokens=cached, cache_write_tokens=written, output_reasoning_tokens=thought
    )  # fmt: skip
    wanted = calc_price(listed, model[0], provider_api_url=model[1], genai_request_timestamp=at).total_price
    usage = Usage(
        input_tokens=into, output_tokens=out, cache_read_tokens=cached, cache_write_tokens=written, reasoning_tokens=thought
    )  # fmt: skip
    assert cost_usd(api(*model), usage, at) == pytest.approx(float(wanted), rel=1e-9)


def test_an_address_of_this_machine_is_looked_up_in_no_list():
    asked = """
import sys
from serving.completion import Usage
from serving.endpoints import Endpoint
from serving.prices import cost_usd
for host in ("127.0.0.1:8000", "localhost", "[::1]:8000"):
    endpoint = Endpoint(id="own", wire="openai", model="gpt-4o", base_url=f"http://{host}/v1")
    assert cost_usd(endpoint, Usage(input_tokens=1, output_tokens=1), None) is None
assert "genai_prices" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_cost_takes_microseconds_because_every_request_is_priced():
    endpoint = api("gpt-4o-mini")
    each_s = timeit.repeat(lambda: cost_usd(endpoint, MILLION, NOW), repeat=5, number=1000, timer=time.process_time)
    assert min(each_s) / 1000 < 50e-6


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"input_usd_per_mtok": 1}, "needs both input_usd_per_mtok and output_usd_per_mtok"),
        ({"batch_output_usd_per_mtok": 1}, "needs both batch_input_usd_per_mtok"),
        ({"usd_per_hour": 2, "discount": 0.1}, "either per token"),
        ({"input_usd_per_mtok": 1, "output_usd_per_mtok": 1, "discount": 0.1}, "state what you pay"),
        ({"source": "x"}, "either per token"),
    ],
)
def test_half_a_price_is_refused(values: dict[str, object], told: str):
    with pytest.raises(ValueError, match=told):
        Price.model_validate(values)


@pytest.fixture
def overridden(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.yaml").write_text(
        f"defaults: {{wire: openai, model: gpt-4o, base_url: '{OPENAI}'}}\n"
        "endpoints:\n- {id: plain}\n- {id: committed}\n- {id: stated, price: {input_usd_per_mtok: 1, output_usd_per_mtok: 2}}\n"
        "- {id: ours, model: llama, base_url: 'http://127.0.0.1:9/v1', price: {input_usd_per_mtok: 1, output_usd_per_mtok: 1}}\n"
    )
    monkeypatch.setenv("BAKEOFF_CATALOGUE", str(tmp_path / "mine.yaml"))
    monkeypatch.delenv("BAKEOFF_PRICES", raising=False)
    return results / "prices.yaml"


def test_what_you_pay_wins_over_list_and_catalogue(overridden: Path, results: Path):
    overridden.write_text(
        "models: {gpt-4o: {batch_input_usd_per_mtok: 0.5, batch_output_usd_per_mtok: 2}}\n"
        "endpoints:\n  committed: {discount: 0.2, source: our contract, checked_on: 2026-11-01}\n"
        "  stated: {discount: 0.5}\n  ours: {usd_per_hour: 2.5, accelerators: 1×H100}\n"
    )
    known = load_endpoints(results)
    assert cost_usd(known["plain"], MILLION, NOW) == pytest.approx(2.5 + 10)
    assert cost_usd(known["plain"], MILLION, NOW, batch=True) == pytest.approx(0.5 + 2)
    assert cost_usd(known["committed"], MILLION, NOW) == pytest.approx(0.8 * 12.5)
    cached = Usage(input_tokens=10**6, cache_read_tokens=10**6, output_tokens=0)
    assert cost_usd(known["committed"], cached, NOW) == pytest.approx(0.8 * 1.25)
    found = rates(known["committed"], NOW)
    assert found is not None and found.checked_on == "2026-11-01" and found.source is not None and found.source.endswith("our contract")
    assert cost_usd(known["stated"], MILLION, NOW) == pytest.approx(1.5)
    assert known["ours"].price == Price(usd_per_hour=2.5, accelerators="1×H100")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("endpoints: {plain: {prise: 1}}", r"prices\.yaml: endpoints\.plain: prise: unknown key\."),
        ("endpoints: {gone: {usd_per_hour: -1}}", r"endpoints\.gone: usd_per_hour: .*greater than or equal to 0"),
        ("model: {}", r"prices\.yaml: model: unknown key\. Did you mean 'models'"),
    ],
)  # fmt: skip
def test_a_typo_in_the_overrides_is_told_with_file_and_key(overridden: Path, results: Path, text: str, told: str):
    overridden.write_text(text)
    with pytest.raises(DocumentError, match=told):
        load_endpoints(results)


def test_a_name_nobody_has_is_mentioned_and_no_error(overridden: Path, results: Path):
    overridden.write_text("endpoints: {plian: {usd_per_hour: 1}}")
    known = load_endpoints(results)
    assert unused(known, results) == [f"{overridden}: endpoints.plian: nothing of this name now. Did you mean 'plain'?"]


def test_a_file_named_by_the_environment_must_exist(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BAKEOFF_PRICES", str(tmp_path / "nowhere.yaml"))
    with pytest.raises(DocumentError, match=r"nowhere\.yaml: no such file"):
        load_endpoints(results)


def serving(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", "serving.cli", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    return done


def test_the_command_tells_prices_of_a_day_with_their_source(results: Path):
    asked = ["prices", "--endpoint", "o3", "--on", "2025-06-01", "--results", str(results)]
    row = json.loads(serving(*asked, "--json").stdout.splitlines()[-1])[0]
    assert (row["input_usd_per_mtok"], row["output_usd_per_mtok"]) == (10, 40)
    assert row["source"].startswith("genai-prices ")
    assert "40" in serving(*asked).stdout
    today = json.loads(serving("prices", "--results", str(results), "--json").stdout.splitlines()[-1])
    assert len(today) >= 30 and all("source" in one for one in today)


def test_the_command_says_what_it_does_not_know(results: Path):
    assert "no endpoint 'o33'" in serving("prices", "--endpoint", "o33", "--results", str(results), code=1).stderr
    (results / "endpoints").mkdir()
    (results / "endpoints" / "ours.yaml").write_text("id: ours\nwire: openai\nmodel: m\nbase_url: http://127.0.0.1:9\n")
    row = json.loads(serving("prices", "--endpoint", "ours", "--results", str(results), "--json").stdout)[0]
    assert "input_usd_per_mtok" not in row and "usd_per_hour" not in row
    assert "unknown" in serving("prices", "--endpoint", "ours", "--results", str(results)).stdout
