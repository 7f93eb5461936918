"""What is kept is made once, however many ask at the same time, and what went wrong is not kept."""

import threading

import pytest

from arena.views.kept import Kept


def test_whoever_asks_meanwhile_waits_and_nothing_is_made_twice():
    kept: Kept[list[int]] = Kept(4)
    made: list[int] = []

    asked = threading.Event()

    def slow() -> list[int]:
        made.append(1)
        assert asked.wait(30)
        return [7]

    found: list[list[int]] = []
    threads = [threading.Thread(target=lambda: found.append(kept.get("key", slow))) for _ in range(5)]
    for thread in threads:
        thread.start()
    # Another key is not kept waiting.
    assert kept.get("other", lambda: [1]) == [1] and not found
    asked.set()
    for thread in threads:
        thread.join()
    assert made == [1] and found == [[7]] * 5 and all(one is found[0] for one in found)


def test_an_error_is_raised_and_asked_again():
    kept: Kept[int] = Kept(4)
    with pytest.raises(ZeroDivisionError):
        kept.get("key", lambda: 1 // 0)
    assert not kept.has("key") and kept.get("key", lambda: 2) == 2 and kept.has("key")


def test_those_that_were_asked_for_last_stay():
    kept: Kept[str] = Kept(2)
    for key in ("a", "b", "a", "c"):
        kept.get(key, lambda key=key: key)  # type: ignore[misc]
    assert [kept.has(key) for key in ("a", "b", "c")] == [True, False, True]
