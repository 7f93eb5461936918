"""One number for a list of tasks (BBH's 27): the unweighted mean of its tasks' scores, as its authors report it.

for score in list_means(read_run(folder)): ...          # score.task is the list's name, bbh_cot
"""

import math
from pathlib import Path

from evals.runs import RunFiles, Score


def list_means(files: RunFiles) -> list[Score]:
    """A Score for each list of which two tasks or more were asked, per endpoint and metric.

    Every task counts the same, however many documents it has; the standard error is that of such a mean of independent scores,
    √(Σ se²) / k. `n` and `n_failed` are sums. Where a task has no score the list has none.
    """
    of_task: dict[str, str] = {}
    for name, told in files.run.config.get("tasks", {}).items():
        of_task[name.rpartition(":")[2]] = told["path"]
    members: dict[tuple[str, str, str], list[Score]] = {}
    for score in files.scores:
        path = of_task.get(score.task)
        if path is not None and list(of_task.values()).count(path) > 1:
            members.setdefault((path, score.endpoint, score.metric), []).append(score)
    return [_mean(Path(path).stem, scores) for (path, _, _), scores in members.items() if len(scores) > 1]


def _mean(name: str, scores: list[Score]) -> Score:
    values = [score.value for score in scores if score.value is not None]
    errors = [score.stderr for score in scores if score.stderr is not None]
    whole = len(values) == len(scores)
    return Score(
        run_id=scores[0].run_id,
        endpoint=scores[0].endpoint,
        task=name,
        metric=scores[0].metric,
        value=sum(values) / len(values) if whole else None,
        stderr=math.sqrt(sum(error**2 for error in errors)) / len(errors) if whole and len(errors) == len(scores) else None,
        n=sum(score.n for score in scores),
        n_failed=sum(score.n_failed for score in scores),
        coverage=sum(score.n for score in scores) / (sum(score.n + score.n_failed for score in scores) or 1),
    )
