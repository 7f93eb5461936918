"""Which of two is better on the same items, how surely, and what else changed: length, seconds, dollars.

    evals compare 20261124-133246-demo:gpt-4-0314 20261124-133246-demo:gpt-4-0613

Both sides answered the same items, so that each item's difference counts and its difficulty cancels out. The tests are in evals/stats.py,
which items are the same in evals/items.py, the tables in evals/compare_report.py.
"""

from collections.abc import Sequence
from typing import Literal

from evals.items import Item, Matched, Side, has_metric, match
from serving.documents import Noun

Quantity = Literal["output_tokens", "characters", "latency_s", "cost_usd"]
QUANTITIES: tuple[Quantity, ...] = ("output_tokens", "characters", "latency_s", "cost_usd")
ALPHA = 0.05


class Flip(Noun):
    """An item that changed: what was asked, what each side answered, and the verdict (or the metric) of each."""

    doc_id: int
    prompt: str
    target: str
    answer_a: str
    answer_b: str
    verdict_a: str
    verdict_b: str


class Shift(Noun):
    """How a quantity changed over the `n` items for which both sides know it: b − a, with a 95 % interval (paired bootstrap) and its p.

    `q` is p after Benjamini and Hochberg, over all shifts of one command.
    """

    quantity: Quantity
    n: int
    mean_a: float
    mean_b: float
    median_a: float
    median_b: float
    difference: float
    lower: float | None
    upper: float | None
    p: float | None
    q: float | None = None


class Comparison(Noun):
    """b against the baseline a on one task and metric, over the `n` documents that both answered.

    `difference` is b − a with its standard error (by `n_clusters` clusters) and 95 % interval; `test` names where `p` is from; `q` is p
    after Benjamini and Hochberg over all comparisons of one command. `lost` and `gained` count the items that went from 1 to 0 and from 0
    to 1 (None for other metrics), `changed` those whose extracted answer differs. `detectable` is the smallest true difference that this
    many items would show with 80 % power, `items_more` how many more it takes to settle the difference seen (None for a difference of
    zero). `bounds` is the interval of the difference when each failed request may have been anything (None where none failed).
    """

    task: str
    metric: str
    a: str
    b: str
    n: int
    n_clusters: int
    n_failed_a: int
    n_failed_b: int
    value_a: float
    value_b: float
    difference: float
    stderr: float | None
    lower: float | None
    upper: float | None
    test: Literal["mcnemar_exact", "cluster_t", "bootstrap_t"]
    p: float | None
    q: float | None = None
    lost: int | None = None
    gained: int | None = None
    changed: int
    detectable: float | None
    items_more: int | None
    bounds: tuple[float, float] | None = None
    shifts: tuple[Shift, ...] = ()
    flips: tuple[Flip, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def settled(self) -> bool:
        """Whether the two are told apart at a false discovery rate of 5 %."""
        return self.q is not None and self.q <= ALPHA


def compare(pairs: Sequence[tuple[Side, Side]], *, metric: str | None = None, examples: int = 3) -> list[Comparison]:
    """Every pair on every task that both were asked; with `metric`, on every task that has it. Raises NotComparable before all else."""
    asked = [(a, b, task) for a, b in pairs for task in a.tasks if task in b.tasks]
    having = [(a, b, task) for a, b, task in asked if metric is None or has_metric(a, task, metric)]
    matches = [(a, b, match(a, b, task, metric=metric)) for a, b, task in having or asked]
    return adjusted([_compare(a, b, matched, examples) for a, b, matched in matches])


def adjusted(found: list[Comparison]) -> list[Comparison]:
    """The same with q: Benjamini and Hochberg over the metrics, and apart from them over the shifts."""
    q = iter(q_values([one.p for one in found]))
    shift_q = iter(q_values([shift.p for one in found for shift in one.shifts]))
    return [
        one.model_copy(
            update={"q": next(q), "shifts": tuple(shift.model_copy(update={"q": next(shift_q)}) for shift in one.shifts)},
        )
        for one in found
    ]


def q_values(p_values: Sequence[float | None]) -> list[float | None]:
    """Benjamini and Hochberg over the p-values that are known."""
    from evals.stats import benjamini_hochberg

    known = iter(benjamini_hochberg([p for p in p_values if p is not None]))
    return [None if p is None else next(known) for p in p_values]


def _compare(a: Side, b: Side, matched: Matched, examples: int) -> Comparison:
    from evals import stats
    from evals.errors import NotComparable

    both = matched.answered
    if not both.a:
        raise NotComparable(f"task '{matched.task}': no document was answered by both {a.name} and {b.name}")
    x, y = ([item.value or 0.0 for item in items] for items in (both.a, both.b))
    clusters = both.clusters
    binary = set(x) | set(y) <= {0.0, 1.0}
    found = stats.paired_difference(x, y, clusters=clusters) if binary else stats.paired_bootstrap(x, y, clusters=clusters)
    lost, gained = (sum(p > q for p, q in zip(x, y, strict=True)), sum(p < q for p, q in zip(x, y, strict=True)))
    by_item = found.n_clusters == found.n
    p = stats.mcnemar_exact(lost, gained) if binary and by_item else found.p
    # Where no item differs the standard error is 0, which is certain of too much: the interval knows better.
    stderr = found.stderr or (found.upper - found.lower) / (2 * 1.959964)
    needed = stats.items_needed(found.value, stderr, found.n) if found.n_clusters > 1 else None
    failed = len(both.a) < len(matched.a)
    return Comparison(
        task=matched.task,
        metric=matched.metric,
        a=a.name,
        b=b.name,
        n=found.n,
        n_clusters=found.n_clusters,
        n_failed_a=sum(not item.sample.answered for item in matched.a),
        n_failed_b=sum(not item.sample.answered for item in matched.b),
        value_a=sum(x) / len(x),
        value_b=sum(y) / len(y),
        difference=found.value,
        stderr=_known(found.stderr),
        lower=_known(found.lower),
        upper=_known(found.upper),
        test="mcnemar_exact" if binary and by_item else "cluster_t" if binary else "bootstrap_t",
        p=_known(p),
        lost=lost if binary else None,
        gained=gained if binary else None,
        changed=sum(one.sample.extracted != other.sample.extracted for one, other in zip(both.a, both.b, strict=True)),
        detectable=_known(stats.minimum_detectable_effect(stderr)),
        items_more=None if needed is None else max(0, needed - found.n),
        bounds=stats.difference_bounds([i.value for i in matched.a], [i.value for i in matched.b]) if failed and binary else None,
        shifts=tuple(shift for quantity in QUANTITIES if (shift := shift_of(both, quantity))),
        flips=flips(both, examples),
        notes=matched.notes,
    )


def shift_of(both: Matched, quantity: Quantity) -> Shift | None:
    """How `quantity` changed on the items where both sides know it; None where there are none."""
    from statistics import fmean, median

    from evals.stats import paired_bootstrap

    clusters = both.clusters or range(len(both.a))
    known = [
        (before, after, cluster)
        for one, other, cluster in zip(both.a, both.b, clusters, strict=True)
        if (before := getattr(one, quantity)) is not None and (after := getattr(other, quantity)) is not None
    ]
    if not known:
        return None
    x, y, kept = [row[0] for row in known], [row[1] for row in known], [row[2] for row in known]
    found = paired_bootstrap(x, y, clusters=kept)
    return Shift(
        quantity=quantity,
        n=found.n,
        mean_a=fmean(x),
        mean_b=fmean(y),
        median_a=median(x),
        median_b=median(y),
        difference=found.value,
        lower=_known(found.lower),
        upper=_known(found.upper),
        p=_known(found.p),
    )


def flips(both: Matched, examples: int) -> tuple[Flip, ...]:
    """Up to `examples` items that fell and as many that rose, the largest changes first, then in the order of the task."""
    changes = [((other.value or 0.0) - (one.value or 0.0), one, other) for one, other in zip(both.a, both.b, strict=True)]
    fell = sorted((row for row in changes if row[0] < 0), key=lambda row: row[0])
    rose = sorted((row for row in changes if row[0] > 0), key=lambda row: -row[0])
    return tuple(_flip(one, other) for _, one, other in fell[:examples] + rose[:examples])


def _flip(one: Item, other: Item) -> Flip:
    return Flip(
        doc_id=one.sample.doc_id,
        prompt=one.prompt,
        target=str(one.sample.target),
        answer_a=one.text,
        answer_b=other.text,
        verdict_a=one.sample.verdict or f"{one.value:g}",
        verdict_b=other.sample.verdict or f"{other.value:g}",
    )


def _known(value: float) -> float | None:
    """None for what cannot be said of a single cluster (nan), so that JSON holds no nan."""
    return None if value != value else float(value)
