"""Questions of benchmarks kept out of training data: a prompt that shares 13 words in a row with one is left out (as GPT-3's authors did).

    known = benchmark_grams()          # asks `evals texts`
    known.hit("… a robe takes 2 bolts of blue fiber and half that much white fiber …")     # 'gsm8k'

Words are compared in lower case without punctuation, by 64-bit hashes. Only prompts are looked at, every turn of them: that is where a
benchmark's question would stand.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from arena.errors import ExportRefused

N_WORDS = 13
_BITS = 25
_WORD = re.compile(r"\w+")
_FACTORS = np.array([pow(0x9E3779B97F4A7C15, power, 2**64) for power in range(1, N_WORDS + 1)], dtype=np.uint64)


class Grams:
    """The runs of 13 words in some texts, each with the task that it is from; `n_texts` counts texts by task."""

    def __init__(self, texts: Iterable[tuple[str, str]]) -> None:
        self.n_texts: dict[str, int] = {}
        found = []
        for task, text in texts:
            self.n_texts[task] = self.n_texts.get(task, 0) + 1
            found.append((list(self.n_texts).index(task), _grams(text)))
        hashes = np.concatenate([grams for _, grams in found] or [np.zeros(0, dtype=np.uint64)])
        tasks = np.repeat(np.array([task for task, _ in found], dtype=np.int16), [len(grams) for _, grams in found])
        self._hashes, first = np.unique(hashes, return_index=True)
        self._tasks = tasks[first]
        # Almost no run of words is in it: one look at a table tells, without a search.
        self._table = np.zeros(1 << _BITS, dtype=bool)
        self._table[self._hashes >> np.uint64(64 - _BITS)] = True
        self.hit = lru_cache(maxsize=4096)(self._hit)

    def _hit(self, text: str) -> str | None:
        """The task that the text shares 13 words in a row with; None when it shares none."""
        grams = _grams(text)
        grams = grams[self._table[grams >> np.uint64(64 - _BITS)]]
        if not len(grams):
            return None
        places = np.minimum(np.searchsorted(self._hashes, grams), len(self._hashes) - 1)
        same = np.flatnonzero(self._hashes[places] == grams)
        return list(self.n_texts)[self._tasks[places[same[0]]]] if len(same) else None


def benchmark_grams() -> Grams:
    """Those of the tasks that ship with `evals`, by its own command `evals texts`. Raises ExportRefused when it fails."""
    command = [sys.executable, "-m", "evals.cli", "texts"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stdout is not None and process.stderr is not None
        grams = Grams((line["task"], line["text"]) for line in map(json.loads, process.stdout))
        told = process.stderr.read().strip()
    if process.returncode or not grams.n_texts:
        last = told.splitlines()[-1] if told else "nothing"
        raise ExportRefused(f"'evals texts' failed ({last}): mend it, or --no-decontaminate to leave benchmarks' questions in")
    return grams


def _grams(text: str) -> npt.NDArray[np.uint64]:
    words = _WORD.findall(text.lower())
    if len(words) < N_WORDS:
        return np.zeros(0, dtype=np.uint64)
    # Python's own hash of a text differs from process to process, but not within one. Sums and products are modulo 2^64.
    grams = np.convolve(np.array(list(map(hash, words)), dtype=np.int64).view(np.uint64), _FACTORS, "valid")
    # The upper bits are what the table asks: mix the lower ones in.
    return (grams ^ (grams >> np.uint64(31))) * np.uint64(0x94D049BB133111EB)
