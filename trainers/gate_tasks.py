"""Whether tasks are solved as well as before: base and tuned model served and asked a suite, by the commands of the rooms that do so.

Both are served from a results folder of their own, so that no arena draws a model that has not passed; the runs are kept with the others.
"""

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.errors import TrainersError
from trainers.record import Training
from trainers.served import document, served

if TYPE_CHECKING:
    from trainers.gate import GateSettings


def task_check(training: Training, folder: Path, settings: "GateSettings", results: Path) -> dict[str, Any]:
    """Each task's paired difference must not be below −task_margin. Raises TrainersError, CommandFailed."""
    from trainers.training import local_weights

    if training.merged is None:
        raise TrainersError(f"the suite needs whole weights to serve; make them with 'trainers merge {training.training_id}'")
    base = local_weights(training.base, str(training.recipe.get("model_revision", "main")))
    before, after = f"base-of-{training.training_id}", training.training_id
    assert settings.suite is not None
    limit = () if settings.limit is None else ("--limit", str(settings.limit))
    # A second verdict may be wanted on what was refused: this room's endpoints are nobody else's.
    more = ("--force",)
    with tempfile.TemporaryDirectory(prefix="bakeoff-gate-") as name:
        room = Path(name)
        for model, endpoint_id in ((base, before), (folder / training.merged, after)):
            # One engine at a time: two may not fit beside each other.
            with served(model, endpoint_id, results=room, engine=settings.engine, more=more):
                document("evals", "run", settings.suite, "--endpoint", endpoint_id, *limit, results=room)
        runs = sorted((room / "runs").iterdir(), key=lambda run: run.stat().st_mtime)
        found = document("evals", "compare", f"{runs[0].name}:{before}", f"{runs[-1].name}:{after}", results=room)["comparisons"]
        for run in runs:
            (results / "runs").mkdir(parents=True, exist_ok=True)
            shutil.move(str(run), results / "runs" / run.name)
    kept = ("task", "metric", "n", "value_a", "value_b", "difference", "lower", "upper")
    tasks = [{key: one[key] for key in kept} for one in found]
    if not tasks:
        raise TrainersError(f"suite '{settings.suite}' left nothing that base and tuned model both answered")
    below = [task for task in tasks if task["difference"] < -settings.task_margin]
    told = "; ".join(f"{task['task']} {task['metric']} {task['value_a']:.3g} → {task['value_b']:.3g}" for task in below or tasks)
    return {
        "passed": not below,
        "told": f"{told} (may fall by {settings.task_margin:g})",
        "suite": settings.suite,
        "margin": settings.task_margin,
        "tasks": tasks,
        "runs": [run.name for run in runs],
    }
