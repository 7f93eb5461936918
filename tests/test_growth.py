"""The soak's own judgement: it tells a leak from a sawtooth, and says nothing of too few samples."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def growth(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import growth

    return growth


def soaked(leak_kb: float, seed: int = 7, *, battles: int = 8_000, indexed_kb: float = 0.0) -> list[dict[str, Any]]:
    """A process that is warm with 250 MB and leaks so much a battle: its log is emptied at 16 MB, it trembles by some MB, two spikes.

    Its indexes grow by `indexed_kb` a battle beside that.
    """
    chance = np.random.default_rng(seed)
    tremble, samples = 0.0, []
    for battle in range(0, battles, 8):
        tremble = 0.9 * tremble + chance.normal(0, 0.6)
        log_mb = (battle * 4.3e-3) % 16
        spike = 30.0 if battle in (4_000, 6_400) else 0.0
        store_mb = {"ART_INDEX": 3 + indexed_kb * battle / 1e3, "IN_MEMORY_TABLE": 1.5 * log_mb}
        anon_mb = 170 + 80 * min(battle / 2_000, 1) + 2.2 * log_mb + tremble + spike + leak_kb * battle / 1e3
        samples.append({"battles": battle, "anon_mb": anon_mb + sum(store_mb.values()), "log_mb": log_mb, "store_mb": store_mb})
    return samples


def test_what_goes_up_and_down_with_the_log_is_no_growth(growth):
    found = growth.growth(soaked(0.0), after=3_000)
    assert not found.grows and found.told().startswith("no growth")
    assert found.slope_kb_upper < 1 and abs(found.rise) < 0.02
    assert found.mb_per_log_mb == pytest.approx(2.2, abs=0.3)
    assert found.first_mb == pytest.approx(250, abs=5)


@pytest.mark.parametrize("leak_kb", [2.0, 10.0])
def test_a_leak_is_found_with_its_size(growth, leak_kb: float):
    found = growth.growth(soaked(leak_kb), after=3_000)
    assert found.grows and found.told().startswith("memory grows")
    assert found.slope_kb == pytest.approx(leak_kb, abs=0.6)
    assert found.rise == pytest.approx(leak_kb * 4_500 / 1e3 / 255, abs=0.02)


def test_what_the_store_grows_by_is_told_apart_and_hides_no_leak(growth):
    found = growth.growth(soaked(0.0, indexed_kb=1.4), after=3_000)
    assert not found.grows and found.store_kb == pytest.approx({"ART_INDEX": 1.4, "IN_MEMORY_TABLE": 0.0}, abs=1e-6)
    assert found.told().endswith("apart, the store's kB a battle (1.5 of each allowed): ART_INDEX +1.40")
    assert growth.growth(soaked(2.0, indexed_kb=1.4), after=3_000).slope_kb == pytest.approx(2.0, abs=0.6)


def test_a_store_that_keeps_too_much_grows_though_the_rest_does_not(growth):
    found = growth.growth(soaked(0.0, indexed_kb=1.6), after=3_000)
    assert found.grows and abs(found.slope_kb) < 1 and found.told().startswith("memory grows")


def test_where_the_store_tells_nothing_all_of_it_is_the_process(growth):
    samples = [{**sample, "store_mb": {}} for sample in soaked(0.0, indexed_kb=2.6)]
    found = growth.growth(samples, after=3_000)
    assert found.slope_kb == pytest.approx(2.6, abs=0.6) and "not told" in found.told()


def test_the_interval_holds_the_truth_about_as_often_as_it_says(growth):
    found = [growth.growth(soaked(2.0, seed, battles=6_000), after=2_000) for seed in range(40)]
    assert sum(one.slope_kb_lower < 2 < one.slope_kb_upper for one in found) >= 35


def test_rows_that_wait_in_a_log_that_is_never_emptied_count_as_growth(growth):
    found = growth.growth(soaked(0.0, battles=3_500), after=2_000)
    assert found.mb_per_log_mb is None and found.slope_kb == pytest.approx(2.2 * 4.3, abs=2)
    assert found.grows and not growth.growth(soaked(0.0, battles=3_500), after=2_000, allowed_kb=15, allowed_store_kb=15).grows


def test_too_few_samples_are_no_statement(growth):
    with pytest.raises(ValueError, match="samples after battle 7,900"):
        growth.growth(soaked(0.0), after=7_900)
