"""Garbage is collected as often as it is worth, by whoever comes first, and never forgotten."""

import gc
import sys
import weakref
from pathlib import Path

import pytest
from streamlit.runtime.scriptrunner import script_runner

from arena.garbage import Sparing, collect_sparingly, give_back, set_modules_aside


class Knot:
    """Refers to itself: only a collection takes it away."""

    def __init__(self) -> None:
        self.self = self


def test_a_second_collection_waits_its_turn():
    sparing = Sparing(every_s=3600)
    first = weakref.ref(Knot())
    sparing.collect()
    second = weakref.ref(Knot())
    gc.disable()
    try:
        assert first() is None and sparing.collect(2) == 0 and second() is not None
        assert Sparing(every_s=0).collect() > 0 and second() is None
    finally:
        gc.enable()


def test_streamlit_collects_through_it_and_needs_nothing_else_of_gc(monkeypatch):
    monkeypatch.setattr(script_runner, "gc", gc)
    collect_sparingly()
    assert isinstance(script_runner.gc, Sparing)
    source = Path(script_runner.__file__).read_text(encoding="utf-8")
    assert source.count("gc.") == source.count("gc.collect(")


def test_modules_are_set_aside_once_until_there_are_more():
    gc.unfreeze()
    set_modules_aside()
    count, later = gc.get_freeze_count(), [Knot() for _ in range(1000)]
    set_modules_aside()
    # Of what was set aside some may have gone meanwhile, by other threads.
    assert later and gc.get_freeze_count() <= count
    gc.unfreeze()


def own_mb() -> float:
    return int(Path("/proc/self/smaps_rollup").read_text().split("Anonymous:")[1].split()[0]) / 1000


@pytest.mark.skipif(sys.platform != "linux", reason="where free memory lies is read from Linux's /proc")
def test_memory_that_is_free_goes_back_to_the_system_though_something_lies_between():
    pieces = [bytes(2000) for _ in range(40_000)]
    left = pieces[::1000]
    with_them = own_mb()
    del pieces
    kept = own_mb()
    give_back()
    assert left and kept > with_them - 20 and own_mb() < with_them - 60


def test_it_is_given_back_now_and_then(monkeypatch):
    given: list[int] = []
    monkeypatch.setattr("arena.garbage.give_back", lambda: given.append(1))
    seldom, often = Sparing(every_s=0, give_back_every_s=3600), Sparing(every_s=0, give_back_every_s=0)
    seldom.collect()
    assert not given
    often.collect()
    often.collect()
    assert len(given) == 2
