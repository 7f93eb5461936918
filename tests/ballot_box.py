"""Battles and votes for tests of the store, in this process and in those that the tests start."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from arena.importers import seed_demo
from arena.store import Store
from arena.votes import Battle, Vote, new_id, now
from serving.completion import Completion, Request

ASKED = Request.user("Why?")
PAIR = (Completion(endpoint="left", request=ASKED, text="l" * 400), Completion(endpoint="right", request=ASKED, text="r"))


def fought(store: Store, voter: str = "ada") -> Vote:
    """A battle that is in the store, and a vote on it that is not yet."""
    battle = Battle(battle_id=new_id(), created_at=now(), messages=ASKED.messages, model_a="left", model_b="right", voter_id=voter)
    store.save_battle(battle, PAIR)
    return Vote(vote_id=new_id(), battle_id=battle.battle_id, voter_id=voter, winner="model_a", voted_at=now())


def demo_votes(path: Path) -> Path:
    """Put a store of the shipped 8,931 votes there; they are imported once for all tests of a process, which takes two seconds."""
    return Path(shutil.copy(_demo(), path))


@cache
def _demo() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="bakeoff-demo-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with Store(folder / "arena.duckdb") as store:
        seed_demo(store)
    return folder / "arena.duckdb"
