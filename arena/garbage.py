"""Collect garbage as often as it is worth: Streamlit collects all of it after every script run, and a battle has five runs.

    collect_sparingly()        # once, by whoever serves the pages
    set_modules_aside()        # by the pages, as they import

With pandas, pyarrow and the rest imported one collection took .1 s of CPU, three times the script itself: modules are set aside, where the
collector does not look. What is left grows with the open sessions, so that collecting once in some seconds is for all of them. Python's own
collections go on as ever.
"""

import gc
import sys
import threading
import time

EVERY_S = 5.0
_gate = threading.Lock()
_modules = 0  # how many there were when they were last set aside


class Sparing:
    """Stands for the module `gc` where only `collect` is called; collects at most once in `every_s`."""

    def __init__(self, every_s: float = EVERY_S) -> None:
        self.every_s, self.last_s = every_s, 0.0
        self._gate = threading.Lock()

    def collect(self, generation: int = 2) -> int:
        """Collect, unless that was done a moment ago; how many objects were found."""
        if not self._gate.acquire(blocking=False):
            return 0
        try:
            if time.monotonic() - self.last_s < self.every_s:
                return 0
            found = gc.collect(generation)
            self.last_s = time.monotonic()
            return found
        finally:
            self._gate.release()


def collect_sparingly() -> None:
    """From now on a script run of this process collects only if none did for some seconds."""
    from streamlit.runtime.scriptrunner import script_runner

    # There is no setting for it (Streamlit 1.67): the module's own name for `gc` is replaced, and nothing else.
    script_runner.gc = Sparing()  # type: ignore[attr-defined, assignment]


def set_modules_aside() -> None:
    """Keep what was imported so far out of the collector's sight; again whenever there are more modules."""
    global _modules
    if len(sys.modules) != _modules and _gate.acquire(blocking=False):
        try:
            _modules = len(sys.modules)
            gc.collect()
            gc.freeze()
        finally:
            _gate.release()
