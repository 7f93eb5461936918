"""Both ways along the chain voter -> votes -> dataset -> training -> endpoint -> battles, so that a deletion request can be answered.

    trail = trace("voter-17", results)       # or the id of a vote, a training, an endpoint, a battle, or a dataset's folder
    trail["trainings"], trail["endpoints"]

Votes are read through `arena export --format votes`, datasets by the `vote_id` of their rows, everything else from its record. A dataset
whose rows were changed since is listed with `changed: true`: what was trained on is then known only by its hash.
"""

import csv
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from serving.endpoints import load_endpoints
from trainers.data import dataset_hash
from trainers.errors import CommandFailed, UnknownTraining
from trainers.record import Training, read_training, training_folders
from trainers.sources import hash_elsewhere, is_elsewhere

Vote = dict[str, str]


def trace(name: str, results: Path) -> dict[str, Any]:
    """Everything that hangs together with `name`. Raises UnknownTraining when nothing here has that id."""
    votes = _votes(results)
    trainings = {folder.name: read_training(folder) for folder in training_folders(results)}
    datasets = _datasets(results, trainings.values())
    folder = next((one for one in datasets if name in (one, Path(one).name)), None)
    endpoints = {one.id: one.training_id for one in load_endpoints(results).values() if one.training_id}
    # An endpoint that no longer runs bore its training's id, unless it was named otherwise.
    endpoints |= {training_id: training_id for training_id in trainings}
    from_votes = [vote for vote in votes if name in (vote["voter_id"], vote["vote_id"])]
    fights = [vote for vote in votes if vote["battle_id"] == name]
    if from_votes:
        return _forwards(name, from_votes, votes, datasets, trainings, endpoints)
    if folder is not None:
        made = [one.training_id for one in trainings.values() if one.dataset == folder]
        return _told(name, _votes_in(datasets[folder], votes), {folder: datasets[folder]}, made, trainings, endpoints, votes)
    if name in endpoints or fights:
        fought = {side for vote in fights for side in (vote["model_a"], vote["model_b"])}
        own = [endpoints[name]] if name in endpoints else [endpoints[side] for side in sorted(fought) if side in endpoints]
        if own:
            return _backwards(name, own, votes, datasets, trainings, endpoints)
        if fights:
            return _forwards(name, fights, votes, datasets, trainings, endpoints)
    raise UnknownTraining(f"nothing here is called '{name}': give a voter, vote, training, endpoint, battle or dataset folder")


def _forwards(name: str, own: list[Vote], votes: list[Vote], datasets: Any, trainings: Any, endpoints: Any) -> dict[str, Any]:
    ids = {vote["vote_id"] for vote in own}
    held = {folder: rows for folder, rows in datasets.items() if ids & rows}
    first = {one.training_id for one in trainings.values() if one.dataset in held}
    return _told(name, own, held, _descendants(first, trainings), trainings, endpoints, votes)


def _backwards(name: str, own: list[str], votes: list[Vote], datasets: Any, trainings: Any, endpoints: Any) -> dict[str, Any]:
    chain: list[str] = []
    following = list(own)
    while following:
        one = following.pop(0)
        if one not in chain and one in trainings:
            chain.append(one)
            following += [trainings[one].parent] if trainings[one].parent else []
    held = {folder: rows for folder, rows in datasets.items() if any(trainings[one].dataset == folder for one in chain)}
    cast = _votes_in(set().union(*held.values()) if held else set(), votes)
    return _told(name, cast, held, chain, trainings, endpoints, votes)


def _descendants(first: Iterable[str], trainings: dict[str, Training]) -> list[str]:
    """These trainings, and those that started from them."""
    found = set(first)
    while more := {one.training_id for one in trainings.values() if one.parent in found} - found:
        found |= more
    return sorted(found)


def _told(
    name: str, own: list[Vote], held: dict[str, set[str]], made: list[str], trainings: Any, endpoints: dict[str, str], votes: list[Vote]
) -> dict[str, Any]:
    served = sorted(one for one, training_id in endpoints.items() if training_id in made)
    battles = sorted({vote["battle_id"] for vote in votes if {vote["model_a"], vote["model_b"]} & set(served)})
    ids = {vote["vote_id"] for vote in own}
    return {
        "id": name,
        "voters": sorted({vote["voter_id"] for vote in own if vote["voter_id"]}),
        "votes": sorted(ids),
        "datasets": [
            {"folder": folder, "n_rows": len(rows), "n_votes": len(rows & ids), "changed": _changed(folder, made, trainings)}
            for folder, rows in sorted(held.items())
        ],
        "trainings": [_training(trainings[one]) for one in made if one in trainings],
        "endpoints": served,
        "battles": battles,
    }


def _training(one: Training) -> dict[str, Any]:
    verdict = None if one.gate is None else one.gate["verdict"]
    return {
        **one.model_dump(mode="json", include={"training_id", "method", "base", "base_hash", "parent", "dataset", "dataset_hash"}),
        "n_train": one.n_train,
        "n_test": one.n_test,
        "gate": verdict,
    }


def _changed(folder: str, made: list[str], trainings: dict[str, Training]) -> bool:
    hashes = {trainings[one].dataset_hash for one in made if one in trainings and trainings[one].dataset == folder}
    if not hashes:
        return False
    if is_elsewhere(Path(folder)):
        return hashes != {hash_elsewhere(Path(folder))} and hash_elsewhere(Path(folder)) is not None
    return (Path(folder) / "train.jsonl").is_file() and hashes != {dataset_hash(Path(folder))}


def _votes_in(rows: set[str], votes: list[Vote]) -> list[Vote]:
    """The votes of a dataset's rows; one that was deleted since is still named by its id."""
    known = {vote["vote_id"]: vote for vote in votes}
    gone = {"voter_id": "", "battle_id": "", "model_a": "", "model_b": ""}
    return [known.get(one, {"vote_id": one, **gone}) for one in sorted(rows)]


def _datasets(results: Path, trainings: Iterable[Training]) -> dict[str, set[str]]:
    """Vote ids by dataset folder: of those in results/datasets and of those that were trained on, wherever they lie."""
    folders = {one.dataset for one in trainings} | {str(path.parent) for path in (results / "datasets").glob("*/train.jsonl")}
    found = {}
    for folder in folders:
        ids: set[str] = set()
        for path in (Path(folder) / "train.jsonl", Path(folder) / "test.jsonl"):
            if path.is_file():
                with path.open(encoding="utf-8") as lines:
                    ids |= {str(row["vote_id"]) for line in lines if line.strip() and "vote_id" in (row := json.loads(line))}
        found[folder] = ids
    return found


def _votes(results: Path) -> list[Vote]:
    """Every vote the arena keeps; none where there is no arena."""
    from trainers.served import command

    with tempfile.TemporaryDirectory(prefix="bakeoff-lineage-") as room:
        path = Path(room) / "votes.csv"
        try:
            command("arena", "export", "--format", "votes", "--out", str(path), results=results)
        except CommandFailed:
            if (results / "arena.duckdb").exists():
                raise
            return []
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
