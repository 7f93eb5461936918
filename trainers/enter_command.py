"""`trainers enter`: a training back in the arena, by one command.

trainers enter 20261123-061500-dpo-tiny                       # served until Ctrl-C, which takes it out again
trainers enter 20261123-061500-dpo-tiny --on my-vllm          # its adapter loaded on a vLLM that serves its base
"""

import signal
import threading
from typing import Annotated

import typer

from serving.command import RESULTS, AsJson, Results, emit_json, say


def enter_arena(
    training_id: Annotated[str, typer.Argument(metavar="ID", help="Training id, see 'trainers ls'.")],
    engine: Annotated[str, typer.Option(help="Engine that serves the merged weights: vllm, transformers, mlx.")] = "transformers",
    on: Annotated[str | None, typer.Option(metavar="ENDPOINT", help="Load the adapter on this running vLLM instead.")] = None,
    warmup_votes: Annotated[int, typer.Option(min=1, help="Drawn more often until it has so many votes.")] = 100,
    warmup_boost: Annotated[float, typer.Option(min=1, help="How much more often.")] = 3.0,
    warmup_days: Annotated[int, typer.Option(min=0, help="And no longer than so many days.")] = 14,
    suite: Annotated[str | None, typer.Option(metavar="SUITE", help="Ask this suite; else that of its base's newest run.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Also when its gate refused it, or has not looked.")] = False,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Serve a training that passed its gate, prove that it is itself, and let the arena draw it."""
    from trainers.enter import Entry, check_gate, entered
    from trainers.errors import need_torch
    from trainers.record import find_training

    check_gate(find_training(training_id, results)[0], force=force)
    need_torch()
    over = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda number, frame: over.set())
    entry = Entry(
        engine=engine, on=on, warmup_votes=warmup_votes, warmup_boost=warmup_boost, warmup_days=warmup_days, suite=suite, force=force
    )
    try:
        with entered(training_id, results, entry) as news:
            say(f"{news['endpoint']} at {news['base_url']}: {news['canary']}; {news['warmup']}")
            for one in news["comparisons"]:
                say(f"  {one['task']} {one['metric']}: base {one['value_a']:.3g}, now {one['value_b']:.3g} on {one['n']} items")
            if news["run"] is None:
                say("no run of its base is kept to compare with; --suite SUITE asks one")
            if as_json:
                emit_json(news)
            if on is None:
                say("in the arena from the next battle on; Ctrl-C takes it out")
                while not over.wait(1.0):
                    pass
    except KeyboardInterrupt:
        say("stopped")
    finally:
        signal.signal(signal.SIGTERM, before)
