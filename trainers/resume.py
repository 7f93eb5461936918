"""The same command goes on where it was killed: a training that has not ended is found by what it trains, and continued.

    trainers dpo recipe.yaml --data DIR        # kill -9, then again: from the last checkpoint, to the same final loss

What it trains is a hash over the resolved recipe, the rows, the base's files, the versions and the number of processes: if any differs, a
new training begins. A lock, which ends with its process, keeps two commands out of one folder.
"""

import fcntl
import hashlib
import json
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from trainers.ranks import n_ranks
from trainers.recipe import Recipe
from trainers.record import new_training, versions

STARTED = "started.json"
_LOOKING_S = 0.5


@dataclass
class Claim:
    """A training's folder, held by this process until `release`. `checkpoint` is where to go on from, None from the beginning."""

    training_id: str
    folder: Path
    checkpoint: str | None
    lock: IO[str]

    def release(self) -> None:
        """Give the folder back; a training that has ended is not one to go on with."""
        (self.folder / STARTED).unlink(missing_ok=True)
        self.lock.close()


def claim(recipe: Recipe, base: str, dataset_hash: str, results: Path) -> Claim:
    """The folder of the training that this one continues, else a new one."""
    mark = fingerprint(recipe, base, dataset_hash)
    for path in sorted((results / "trainings").glob(f"*/{STARTED}"), reverse=True):
        if (path.parent / "training.json").exists() or (lock := _locked(path)) is None:
            continue
        try:
            same = json.loads(lock.read())["fingerprint"] == mark
        except (ValueError, KeyError, TypeError):
            same = False
        if same:
            found = last_checkpoint(path.parent)
            return Claim(path.parent.name, path.parent, None if found is None else str(found), lock)
        lock.close()
    training_id, folder = new_training(recipe.method, base, results)
    # Held before anybody can find it: the lock goes with the file, not with its name.
    unseen = folder / f"{STARTED}.new"
    unseen.write_text(json.dumps({"fingerprint": mark}) + "\n", encoding="utf-8")
    lock = _locked(unseen)
    assert lock is not None, "nobody looks for it under this name"
    unseen.rename(folder / STARTED)
    return Claim(training_id, folder, None, lock)


def fingerprint(recipe: Recipe, base: str, dataset_hash: str) -> str:
    """SHA-256 over all that decides what a training does."""
    folder = Path(base)
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]) if folder.is_dir() else []
    weights = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    decides = [recipe.method, dict(recipe.resolved), base, weights, dataset_hash, versions(), n_ranks()]
    return hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of a training; None where there is none."""
    whole = [path for path in (folder / "checkpoints").glob("checkpoint-*") if _is_whole(path)]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _is_whole(checkpoint: Path) -> bool:
    """Whether the process that wrote it was let to end it.

    The main process writes its state last, and in place: whoever is killed there leaves it empty or half. Of several processes another may
    have been at its random state then; one that is absent goes without saying for the trainer, one that is half ends it.
    """
    try:
        json.loads((checkpoint / "trainer_state.json").read_bytes())
    except (OSError, ValueError):
        return False
    return all(zipfile.is_zipfile(path) for path in checkpoint.glob("rng_state*.pth"))


def _locked(path: Path) -> IO[str] | None:
    """The file, open and locked; None where another process holds it for longer than it takes to look whose it is."""
    try:
        file = path.open(encoding="utf-8")
    except FileNotFoundError:
        return None
    limit = time.monotonic() + _LOOKING_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > limit:
                file.close()
                return None
            time.sleep(0.02)
        else:
            return file
