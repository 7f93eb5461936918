"""An arena with two scripted models, and battles in it.

with two(results, ANSWER, ANSWER), arena_in(results) as arena:
    round_ = ended(arena.start("Why?", "v"))
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from model_server import ModelServer, Script, sse

from arena.battle import Arena, Round, open_arena
from arena.database import Location
from arena.store import Store
from serving.endpoints import register

ANSWER = sse("one ", "two ", usage=(5, 2))


@contextmanager
def arena_in(results: Path, database: Location | None = None) -> Iterator[Arena]:
    with (
        Store(database or results / "a.duckdb") as store,
        open_arena(Arena(store, results=results, demo=False, speed=1, secret="s")) as arena,
    ):
        yield arena


@contextmanager
def two(results: Path, first: Script, second: Script) -> Iterator[tuple[ModelServer, ModelServer]]:
    with ModelServer(first) as one, ModelServer(second) as other:
        for name, server in (("one", one), ("two", other)):
            register(server.endpoint(name, price={"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}), results)
        yield one, other


def until(condition: Callable[[], object], patience_s: float = 20) -> None:
    limit = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


def ended(round_: Round) -> Round:
    until(lambda: round_.ended)
    return round_


def text_of(round_: Round, model: str) -> str:
    return next(side.text for side in round_.sides if side.model == model)
