"""Garbage is collected as often as it is worth, by whoever comes first, and never forgotten."""

import gc
import weakref
from pathlib import Path

from streamlit.runtime.scriptrunner import script_runner

from arena.garbage import Sparing, collect_sparingly, set_modules_aside


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
