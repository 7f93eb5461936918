"""The gate: a training is let on when what it made was measured, never because its loss, accuracy or margin look well.

    gate = run_gate("20261123-061500-dpo-tiny", results, GateSettings(checker="regex:^Gladly"))
    gate["verdict"], gate["reasons"]            # passed, [];  refused, ["wins: …"]

A destroyed model has a preference accuracy of 1.0 and the largest margin of all. So the gate asks: do the answers that people chose stay
probable, do sampled answers win against the base's, are there no more broken ones, are the weights to be served really other than the
base's, and (where a suite is named) are tasks solved as well. Limits and formulas: docs/measuring.md.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from serving.documents import Noun, parse_document
from trainers.answers import FAULTS, Answer, Turns
from trainers.errors import DataError, RecipeError, TrainersError
from trainers.paired import Interval, compare, mean_interval, share_interval
from trainers.record import Training, find_training, versions, weights_hash, write_training

if TYPE_CHECKING:
    from trainers.verdicts import Judged

OnStage = Callable[[str, int, int], None]
Check = dict[str, Any]
# A judge that could not be read more often than this has judged nothing.
_UNREADABLE = 0.1


class GateSettings(Noun):
    """The recipe's section `gate:`, and what the command's options change.

    `logprob_margin` is nats a token; `faults_margin` and `task_margin` are shares. `prompts` is a JSONL with `prompt` (and `chosen`,
    `rejected`) instead of the dataset's test rows, of which the first `n_prompts` are asked.
    """

    judge: str | None = None
    checker: str | None = None
    prompts: str | None = None
    n_prompts: int = Field(default=200, ge=2)
    max_tokens: int = Field(default=256, ge=1)
    temperature: float = Field(default=0.7, ge=0)
    seed: int = 0
    batch_size: int = Field(default=16, ge=1)
    logprob_margin: float = Field(default=0.5, ge=0)
    faults_margin: float = Field(default=0.05, ge=0, lt=1)
    suite: str | None = None
    limit: int | None = Field(default=None, ge=1)
    task_margin: float = Field(default=0.05, ge=0, lt=1)
    engine: str = "transformers"


@dataclass
class Measured:
    """What one model did: log-probabilities of chosen answers, answers of its own, and the canaries' log-probabilities."""

    logprobs: list[float]
    answers: list[Answer]
    canaries: Any


def settings_of(section: Any, *, where: str) -> GateSettings | None:
    """The section `gate:` of a recipe; None where it says `gate: false`. Raises RecipeError for what does not fit."""
    if section is False:
        return None
    if section in (None, True):
        return GateSettings()
    settings = parse_document(section, GateSettings, where=f"{where}: gate")
    if settings.judge is not None and settings.checker is not None:
        raise RecipeError(f"{where}: gate: name either a judge or a checker")
    return settings


def run_gate(training_id: str, results: Path, settings: GateSettings, *, on_stage: OnStage | None = None) -> dict[str, Any]:
    """Measure, decide, and keep the decision in training.json, gate.json and gate-answers.jsonl of the training's folder.

    Raises TrainersError when there is nothing to measure on or with: that is no verdict.
    """
    from trainers.gate_files import write_gate
    from trainers.heldout import held_out
    from trainers.verdicts import chosen_of, find_checker

    training, folder = find_training(training_id, results)
    if training.method == "reward":
        raise TrainersError(f"'{training_id}' is a reward model: it writes no answers, so there is nothing to gate")
    rows = held_out(training, settings)
    prompts = [row["prompt"] for row in rows]
    checker_name = settings.checker or ("likeness" if settings.judge is None else None)
    check = None if checker_name is None else find_checker(checker_name)
    if checker_name == "likeness" and not all(chosen_of(row) for row in rows):
        raise DataError(f"{training_id}: not all held-out prompts have a chosen answer to be like; name --judge ENDPOINT or --checker NAME")
    judge = _judge(settings.judge, results)
    pairs = [(row["prompt"], chosen) for row in rows if (chosen := chosen_of(row))]
    base, tuned, adapted = measure_both(training, folder, prompts, pairs, settings, on_stage)
    checks: dict[str, Check] = {"chosen_logprob": _logprob_check(base.logprobs, tuned.logprobs, settings.logprob_margin)}
    if check is not None:
        scores = [[check(row, answer.text) for row, answer in zip(rows, side.answers, strict=True)] for side in (base, tuned)]
        checks["wins"] = _wins_by_scores(scores[0], scores[1], str(checker_name))
        outcomes: list[int | None] = [(after > before) - (after < before) for before, after in zip(*scores, strict=True)]
    else:
        assert judge is not None
        found = _judged(prompts, base, tuned, judge, on_stage)
        outcomes = found.outcomes
        checks["wins"] = _wins_by_judge(found, judge.id)
    checks["faults"] = _faults_check(base.answers, tuned.answers, settings.faults_margin)
    checks["canary"] = _canary_check(base, tuned, adapted)
    if settings.suite is not None:
        from trainers.gate_tasks import task_check

        checks["tasks"] = task_check(training, folder, settings, results)
    gate = _decided(training, settings, checks, len(rows))
    write_gate(folder, gate, prompts, base.answers, tuned.answers, outcomes)
    # Read again: a suite takes its time, and a merge or another command may have written meanwhile.
    write_training(find_training(training_id, results)[0].model_copy(update={"gate": gate}), folder)
    return gate


def measure_both(
    training: Training,
    folder: Path,
    prompts: Sequence[Turns],
    pairs: Sequence[tuple[Turns, Turns]],
    settings: GateSettings,
    on_stage: OnStage | None,
) -> tuple[Measured, Measured, Any | None]:
    """The base, then what will be served (one in memory at a time), and the canaries of base + adapter where both lie there."""
    from transformers import AutoTokenizer

    from trainers.answers import load, mean_logprobs, sample
    from trainers.merge import canary_logprobs

    _check_base(training)
    revision = str(training.recipe.get("model_revision", "main"))
    adapter = folder / training.adapter if training.adapter else None
    merged = folder / training.merged if training.merged else None
    tokenizer = AutoTokenizer.from_pretrained(merged or adapter)
    adapted = None

    def measure(model: Any, name: str) -> Measured:
        def told(what: str) -> Callable[[int, int], None] | None:
            return None if on_stage is None else lambda done, total: on_stage(f"{name}: {what}", done, total)

        logprobs = mean_logprobs(model, tokenizer, pairs, told("chosen answers"))
        answers = sample(
            model, tokenizer, prompts, max_tokens=settings.max_tokens, temperature=settings.temperature, seed=settings.seed,
            batch_size=settings.batch_size, on_progress=told("sampled answers"),
        )  # fmt: skip
        return Measured(logprobs, answers, canary_logprobs(model, tokenizer))

    base = measure(load(training.base, revision=revision), "base")
    if merged is not None and adapter is not None:
        adapted = canary_logprobs(load(training.base, adapter, revision=revision), tokenizer)
    served = load(str(merged)) if merged is not None else load(training.base, adapter, revision=revision)
    return base, measure(served, "tuned"), adapted


def _check_base(training: Training) -> None:
    if Path(training.base).is_dir() and weights_hash(Path(training.base)) != training.base_hash:
        raise TrainersError(
            f"{training.base}: these are not the weights that '{training.training_id}' was trained from; put those back first"
        )


def _judge(name: str | None, results: Path) -> Any:
    """The endpoint; that it answers is seen before the models are asked for minutes."""
    import asyncio

    from serving.client import check_reachable
    from serving.endpoints import find_endpoint

    if name is None:
        return None
    endpoint = find_endpoint(name, results)
    asyncio.run(check_reachable(endpoint))
    return endpoint


def _judged(prompts: Sequence[Turns], base: Measured, tuned: Measured, judge: Any, on_stage: OnStage | None) -> "Judged":
    from trainers.verdicts import Pair, judged

    asked = [Pair(prompt, b.text, t.text) for prompt, b, t in zip(prompts, base.answers, tuned.answers, strict=True)]
    told = None if on_stage is None else lambda done, total: on_stage(f"judged by {judge.id}", done, total)
    return judged(asked, judge, on_progress=told)


def _logprob_check(base: Sequence[float], tuned: Sequence[float], margin: float) -> Check:
    """The lower end of the paired difference lies above −margin."""
    if not base:
        return {"passed": None, "told": "not measured: no held-out row has a chosen answer"}
    change = mean_interval([after - before for before, after in zip(base, tuned, strict=True)])
    passed = change.lower > -margin
    told = f"{_shown(change)} nats a token on {change.n} chosen answers, must stay above −{margin:g}"
    means = {"base": sum(base) / len(base), "tuned": sum(tuned) / len(tuned)}
    return {"passed": passed, "told": told, "margin_nats_per_token": margin, **means, **_figures(change)}


def _wins_by_scores(base: Sequence[float], tuned: Sequence[float], checker: str) -> Check:
    change = compare(base, tuned)
    told = f"by {checker}: {_shown(change)} on {change.n} prompts, must lie above 0"
    means = {"base": sum(base) / len(base), "tuned": sum(tuned) / len(tuned)}
    return {"passed": change.lower > 0, "told": told, "checker": checker, **means, **_figures(change)}


def _wins_by_judge(found: "Judged", judge: str) -> Check:
    outcomes = found.outcomes
    read = [outcome for outcome in outcomes if outcome is not None]
    counts = {"n_wins": read.count(1), "n_losses": read.count(-1), "n_ties": read.count(0), "n_unreadable": len(outcomes) - len(read)}
    change = share_interval(n_gained=counts["n_wins"], n_lost=counts["n_losses"], n=len(read))
    told = f"by {judge}, both orders: wins minus losses {_shown(change)} on {change.n} prompts, must lie above 0"
    passed = change.lower > 0
    if counts["n_unreadable"] > _UNREADABLE * len(outcomes):
        passed, told = False, f"{counts['n_unreadable']} of {len(outcomes)} verdicts of {judge} could not be read ({found.problem})"
    return {"passed": passed, "told": told, "judge": judge, **counts, **_figures(change)}


def _faults_check(base: Sequence[Answer], tuned: Sequence[Answer], margin: float) -> Check:
    """No kind of fault, nor any at all, rises: neither surely (interval above 0) nor by more than the margin."""
    kinds: dict[str, Any] = {}
    risen = []
    for kind in ("any", *FAULTS):
        shares = [[float(bool(one.faults) if kind == "any" else kind in one.faults) for one in side] for side in (base, tuned)]
        change = compare(*shares)
        kinds[kind] = {"base": sum(shares[0]) / len(base), "tuned": sum(shares[1]) / len(tuned), **_figures(change)}
        if change.lower > 0 or change.value > margin:
            risen.append(f"{kind} {kinds[kind]['base']:.0%} → {kinds[kind]['tuned']:.0%} {_shown(change)}")
    told = "; ".join(risen) or f"broken answers {kinds['any']['base']:.0%} → {kinds['any']['tuned']:.0%}"
    return {"passed": not risen, "told": f"{told} (may rise by {margin:.0%}, and not surely)", "margin": margin, "kinds": kinds}


def _canary_check(base: Measured, tuned: Measured, adapted: Any | None) -> Check:
    from trainers.canary import problem, weights_shift

    shift = weights_shift(base.canaries, tuned.canaries, adapted)
    wrong = problem(shift)
    told = wrong or f"log-probabilities of canary prompts move by up to {shift.from_base:.3g}"
    return {"passed": wrong is None, "told": told, "shift": _number(shift.from_base), "merge_error": _number(shift.from_adapter)}


def _decided(training: Training, settings: GateSettings, checks: dict[str, Check], n_prompts: int) -> dict[str, Any]:
    reasons = [f"{name}: {check['told']}" for name, check in checks.items() if check["passed"] is False]
    return {
        "training_id": training.training_id,
        "verdict": "refused" if reasons else "passed",
        "reasons": reasons,
        "not_measured": [name for name, check in checks.items() if check["passed"] is None],
        "n_prompts": n_prompts,
        "checks": checks,
        "settings": settings.model_dump(mode="json"),
        "versions": versions(),
        "gated_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _figures(change: Interval) -> dict[str, Any]:
    ends = {"difference": change.value, "lower": change.lower, "upper": change.upper}
    return {**{name: _number(value) for name, value in ends.items()}, "n": change.n}


def _number(value: float | None) -> float | None:
    """JSON has no nan: what could not be measured is null."""
    return value if value is not None and math.isfinite(value) else None


def _shown(change: Interval) -> str:
    return f"{change.value:+.3g} [{change.lower:+.3g}, {change.upper:+.3g}]"
