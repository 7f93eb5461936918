"""Back in the ring: a training that passed its gate is served, proved to be itself, and drawn by the arena more often until it has votes.

with entered("20261123-061500-dpo-tiny", results, Entry()) as news:
    news["endpoint"], news["canary"], news["warmup"]
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from serving.documents import read_yaml, write_text_atomically
from serving.endpoints import Endpoint, find_endpoint
from trainers.errors import GateRefused, TrainersError
from trainers.record import Training, find_training


@dataclass(frozen=True)
class Entry:
    """How it enters: `engine` serves the merged weights, or the adapter is loaded `on` the endpoint of a vLLM that runs its base.

    Its warm-up ends by itself: with `warmup_votes` votes, after `warmup_days` days, or when it leaves.
    """

    engine: str = "transformers"
    on: str | None = None
    warmup_votes: int = 100
    warmup_boost: float = 3.0
    warmup_days: int = 14
    suite: str | None = None
    force: bool = False


def check_gate(training: Training, *, force: bool) -> None:
    """Raises GateRefused unless the training passed, or is forced."""
    if force:
        return
    training_id = training.training_id
    if training.gate is None:
        raise GateRefused(f"'{training_id}' has not been through its gate; 'trainers gate {training_id}' first, or --force")
    if training.gate["verdict"] != "passed":
        raise GateRefused(
            f"'{training_id}' was refused by its gate ({'; '.join(training.gate['reasons'])}); --force enters it all the same"
        )


@contextmanager
def entered(training_id: str, results: Path, entry: Entry) -> Iterator[dict[str, Any]]:
    """Served, checked and in the draw while the `with` lasts (loaded on a vLLM: until its file is removed).

    Raises GateRefused, AdapterInactive when the engine serves the base, CommandFailed, TrainersError.
    """
    from trainers.served import start_serving, stop_serving

    training, folder = find_training(training_id, results)
    check_gate(training, force=entry.force)
    process = None
    if entry.on is not None:
        endpoint = _loaded(training, folder, entry.on, results)
    else:
        training = _merged(training, folder, results)
        more = ("--force",) if entry.force else ()
        process, endpoint = start_serving(folder / str(training.merged), training_id, results=results, engine=entry.engine, more=more)
    try:
        seen = _canary(training, folder, endpoint)
        news = {"training_id": training_id, "endpoint": endpoint.id, "base_url": endpoint.base_url, "canary": seen}
        news["warmup"] = warm_up(
            results, endpoint.id, votes=entry.warmup_votes, boost=entry.warmup_boost, until=_today() + timedelta(entry.warmup_days)
        )
        yield news | _compared(training, endpoint, results, entry.suite)
    finally:
        if process is not None:
            _warmup_file(results, training_id).unlink(missing_ok=True)
            stop_serving(process)


def warm_up(results: Path, endpoint_id: str, *, votes: int, boost: float, until: date) -> str:
    """Have the arena draw this endpoint more often at first, unless results/pairing.yaml warms up all newcomers. Returns what holds then.

    What arena/pairing.py reads, a file for each endpoint; those of endpoints whose time is over are removed.
    """
    path = results / "pairing.yaml"
    stated = read_yaml(path) if path.is_file() else {}
    if "warmup_votes" in stated:
        return f"{path.name}: warmup_votes {stated['warmup_votes']} as it was"
    for old in (results / "warmups").glob("*.yaml"):
        if (over := read_yaml(old).get("until")) is not None and over < _today():
            old.unlink(missing_ok=True)
    write_text_atomically(_warmup_file(results, endpoint_id), f"votes: {votes}\nboost: {boost:g}\nuntil: {until:%Y-%m-%d}\n")
    return f"drawn {boost:g} times as often until it has {votes} votes, at most until {until:%Y-%m-%d}"


def _warmup_file(results: Path, endpoint_id: str) -> Path:
    return results / "warmups" / f"{endpoint_id}.yaml"


def _today() -> date:
    return datetime.now(UTC).date()


def base_run(training: Training, results: Path) -> tuple[str, str, int | None] | None:
    """(run, endpoint, limit) of the newest finished run in which the base was asked: by its training's id or by its weights' name."""
    found = None
    for path in sorted((results / "runs").glob("*/run.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        if run.get("finished_at") is None or "parts" not in run.get("config", {}):
            continue
        for name, endpoint in run["config"].get("endpoints", {}).items():
            parent = training.parent is not None and endpoint.get("training_id") == training.parent
            if parent or endpoint.get("model") in (training.base, str(Path(training.base).resolve())):
                found = path.parent.name, name, run["config"].get("limit")
    return found


def _merged(training: Training, folder: Path, results: Path) -> Training:
    from trainers.served import command

    if training.merged is None:
        command("trainers", "merge", training.training_id, results=results)
        training = find_training(training.training_id, results)[0]
    if not (folder / str(training.merged) / "config.json").is_file():
        raise TrainersError(
            f"{folder / str(training.merged)}: its weights are gone; 'trainers merge {training.training_id}' makes them anew"
        )
    return training


def _loaded(training: Training, folder: Path, on: str, results: Path) -> Endpoint:
    from trainers.served import command

    if training.adapter is None:
        raise TrainersError(f"'{training.training_id}' has no adapter to load on '{on}'; leave --on out to serve its weights")
    server = find_endpoint(on, results)
    lora = f"{training.training_id}={folder / training.adapter}"
    command("serving", "attach", "--base-url", str(server.base_url), "--lora", lora, results=results)
    return find_endpoint(training.training_id, results)


def _canary(training: Training, folder: Path, endpoint: Endpoint) -> str:
    from trainers.canary import check_endpoint
    from trainers.gate import GateSettings
    from trainers.heldout import has_held_out, held_out
    from trainers.merge import CANARIES

    prompts = [[{"role": "user", "content": text}] for text in CANARIES]
    if has_held_out(training):
        prompts += [row["prompt"] for row in held_out(training, GateSettings(n_prompts=20))]
    if training.merged is None:
        raise TrainersError(f"the canary needs merged weights to compare with; 'trainers merge {training.training_id}' first")
    return check_endpoint(
        endpoint, training.base, folder / training.merged, prompts, revision=str(training.recipe.get("model_revision", "main"))
    )


def _compared(training: Training, endpoint: Endpoint, results: Path, suite: str | None) -> dict[str, Any]:
    """The suite of the base's newest run asked of the challenger, and both compared; nothing where the base has no run."""
    from trainers.served import document

    base = base_run(training, results)
    if base is None and suite is None:
        return {"run": None, "comparisons": []}
    limit = () if base is None or base[2] is None else ("--limit", str(base[2]))
    if suite is None:
        assert base is not None
        suite = str(json.loads((results / "runs" / base[0] / "run.json").read_text(encoding="utf-8"))["suite"])
    run = document("evals", "run", suite, "--endpoint", endpoint.id, *limit, results=results)["run_id"]
    if base is None:
        return {"run": run, "comparisons": []}
    found = document("evals", "compare", f"{base[0]}:{base[1]}", f"{run}:{endpoint.id}", results=results)["comparisons"]
    kept = ("task", "metric", "n", "value_a", "value_b", "difference", "lower", "upper")
    return {"run": run, "base_run": base[0], "comparisons": [{key: one[key] for key in kept} for one in found]}
