"""Does a process grow? Memory against battles, held against what is allowed; benchmarks/arena_load.py takes the samples.

    found = growth(samples, after=3000)        # samples: {"battles", "anon_mb", "log_mb", "store_mb": {tag: MB}}, in order
    if found.grows:
        sys.exit(found.told())

Memory is what is the process's own (Anonymous of smaps_rollup): pages of files come and go as the machine pleases. What DuckDB says that
it holds of it (indexes, rows that wait in its log, pages of tables) is what was stored, and grows with it: that is judged apart, by a
bound for each kind, and left out of the rest. Two things hide a trend. DuckDB holds what it has written in memory until its log is 16 MB
long, so that memory goes up and down with the log: where the window has seen it emptied, its length is a term of every fit. And
neighbouring samples are alike: the fit is over means of blocks, its interval widened by what their residuals still have in common.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCKS = 16
MB, KB = 1e6, 1e3
# What may be there at the end of the window beyond what was there at its begin.
LARGEST_RISE = 0.02


@dataclass(frozen=True)
class Growth:
    """What memory did from battle `after` on to `until`. The slope and its 95 % interval are in kB a battle.

    `first_mb` and `last_mb` are means of the first and last tenth of the window, without what the log accounts for (`mb_per_log_mb` of
    memory for each MB of it; None where the log was never emptied). `store_kb` is what DuckDB holds more after a battle, by its tags:
    it is in none of the others.
    """

    after: int
    until: int
    n_samples: int
    slope_kb: float
    slope_kb_lower: float
    slope_kb_upper: float
    first_mb: float
    last_mb: float
    mb_per_log_mb: float | None
    store_kb: dict[str, float]
    allowed_kb: float
    allowed_store_kb: float

    @property
    def rise(self) -> float:
        """By what share of the beginning memory rose over the window."""
        return self.last_mb / self.first_mb - 1

    @property
    def grows(self) -> bool:
        """Whether more than `allowed_kb` a battle cannot be ruled out, and it rose by more than LARGEST_RISE; or the store holds ever more
        of one kind: more than `allowed_store_kb` a battle.
        """
        rises = self.slope_kb_upper >= self.allowed_kb and self.rise >= LARGEST_RISE
        return rises or max(self.store_kb.values(), default=0.0) >= self.allowed_store_kb

    def told(self) -> str:
        """One line."""
        grown = sorted(self.store_kb.items(), key=lambda item: -item[1])
        store = ", ".join(f"{tag} {slope_kb:+.2f}" for tag, slope_kb in grown if abs(slope_kb) >= 0.005)
        log = "" if self.mb_per_log_mb is None else f", the log's {self.mb_per_log_mb:.1f} MB for each of its MB left out"
        return (
            f"{'memory grows' if self.grows else 'no growth'}: from battle {self.after:,} to {self.until:,} "
            f"{self.slope_kb:+.2f} kB a battle (95 % interval {self.slope_kb_lower:+.2f} to {self.slope_kb_upper:+.2f}, "
            f"{self.allowed_kb:g} allowed), {self.first_mb:.1f} MB at its begin, {self.last_mb:.1f} at its end ({self.rise:+.1%})"
            f"{log}; apart, the store's kB a battle ({self.allowed_store_kb:g} of each allowed): {store or 'not told'}"
        )


def growth(samples: Sequence[dict[str, Any]], *, after: int, allowed_kb: float = 1.0, allowed_store_kb: float = 1.5) -> Growth:
    """Fit memory over the samples from battle `after` on. Raises ValueError when there are too few of them for any statement."""
    import numpy as np
    from scipy.stats import t

    kept = [sample for sample in samples if sample["battles"] >= after]
    if len(kept) < (least := 3 * BLOCKS):
        raise ValueError(f"{len(kept)} samples after battle {after:,}, and {least} are needed: soak longer, or warm up for less")
    tags = sorted({tag for sample in kept for tag in sample["store_mb"]})
    store = np.array([[sample["store_mb"].get(tag, 0.0) for tag in tags] for sample in kept], dtype=float)
    table = np.array([[sample["battles"], sample["anon_mb"], sample["log_mb"]] for sample in kept], dtype=float)
    table[:, 1] -= store.sum(axis=1)
    battles, memory, log = _blocks(table).T
    emptied = bool((np.diff(table[:, 2]) < -0.5 * table[:, 2].max()).any()) and table[:, 2].max() > 1
    terms = np.column_stack([np.ones(BLOCKS), battles, *([log] if emptied else [])])
    found, *_ = np.linalg.lstsq(terms, memory, rcond=None)
    held, *_ = np.linalg.lstsq(terms, _blocks(store), rcond=None)
    residuals, left = memory - terms @ found, BLOCKS - terms.shape[1]
    variance = residuals @ residuals / left * np.linalg.inv(terms.T @ terms)[1, 1]
    # Values of an AR(1) series are worth fewer; beside a fitted trend they seem less alike than they are (Kendall 1954).
    alike = float(residuals[1:] @ residuals[:-1] / max(residuals @ residuals, 1e-12))
    alike = min(max(alike + (2 + 4 * alike) / BLOCKS, 0.2), 0.9)
    width = float(t.ppf(0.975, left)) * math.sqrt(variance * (1 + alike) / (1 - alike))
    per_log = float(found[2]) if emptied else None
    net, tenth = table[:, 1] - (per_log or 0.0) * table[:, 2], max(len(table) // 10, 1)
    slope_kb = float(found[1]) * MB / KB
    return Growth(
        after=int(kept[0]["battles"]), until=int(kept[-1]["battles"]), n_samples=len(kept),
        slope_kb=slope_kb, slope_kb_lower=slope_kb - width * MB / KB, slope_kb_upper=slope_kb + width * MB / KB,
        first_mb=float(net[:tenth].mean()), last_mb=float(net[-tenth:].mean()), mb_per_log_mb=per_log,
        store_kb={tag: float(slope) * MB / KB for tag, slope in zip(tags, held[1], strict=True)},
        allowed_kb=allowed_kb, allowed_store_kb=allowed_store_kb,
    )  # fmt: skip


def _blocks(table: "NDArray[Any]") -> "NDArray[Any]":
    """The means of BLOCKS stretches of its rows."""
    import numpy as np

    return np.array([block.mean(axis=0) for block in np.array_split(table, BLOCKS)])
