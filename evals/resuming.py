"""What a run need not ask: the answers that it, or an earlier run of the very same endpoint, has already.

    evals run nightly --resume 20261123-054512-nightly        the same run goes on; what was answered is not asked again
    evals run nightly --cache                                 a new run takes what earlier runs were answered to the same requests

There is no store of its own: runs are the cache. An answer belongs to a request by endpoint identity (address, model, dialect: everything
about it but its price), prompt, template and parameters, so that no model is ever given another's score.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evals.errors import CannotResume
from evals.runs import Run, read_run_record, run_folders
from serving.completion import Completion
from serving.documents import parse_document
from serving.endpoints import Endpoint

# What may differ between a run and its resumption: how fast it is asked and what it may cost, not what is asked.
_PACE = ("concurrency", "max_usd", "attempts", "reused_from")
# What an endpoint answers does not depend on what it costs or may be used for.
_TERMS = {"price", "license", "open_weights", "data_leaves", "outputs_trainable", "organization", "api_key_env", "training_id"}


def check_same(run: Run, config: dict[str, Any], seed: int) -> None:
    """Raises CannotResume, naming the first difference, unless `run` was asked exactly this."""
    ours, theirs = ({**one, "seed": number} for one, number in ((json.loads(json.dumps(config)), seed), (run.config, run.seed)))
    for key in dict.fromkeys([*ours, *theirs]):
        if key not in _PACE and ours.get(key) != theirs.get(key):
            was, now = _first_difference(theirs.get(key), ours.get(key))
            raise CannotResume(
                f"run {run.run_id} was asked with {key}: {was}, now it is {now}; a resumed run must stay the same: start a new one"
            )


def answers_in(folder: Path, *, mend: bool = False) -> list[Completion]:
    """Every completion of a run, finished or not. A last line that a crash cut is left out, and with `mend` removed from the file."""
    path = folder / "completions.jsonl"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    whole = content[: content.rfind(b"\n") + 1]
    if mend and len(whole) < len(content):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    return list(_parsed(path, whole))


def earlier_answers(endpoint: Endpoint, results: Path) -> list[Completion]:
    """What earlier runs were answered by an endpoint of the same identity, newest run first."""
    wanted = identity(endpoint.model_dump(mode="json", exclude_defaults=True))
    found: list[Completion] = []
    for folder in reversed(run_folders(results)):
        if not (folder / "completions.jsonl").is_file():
            continue
        asked = read_run_record(folder).config.get("endpoints", {})
        same = {name for name, values in asked.items() if identity(values) == wanted}
        if same:
            answers = (completion for completion in answers_in(folder) if completion.endpoint in same and completion.answered)
            found += [completion.model_copy(update={"endpoint": endpoint.id}) for completion in answers]
    return found


def identity(endpoint: dict[str, Any]) -> dict[str, Any]:
    """Everything that decides what an endpoint answers, under whatever id it goes."""
    return {key: value for key, value in endpoint.items() if key not in _TERMS and key != "id"}


def _parsed(path: Path, content: bytes) -> Iterator[Completion]:
    for number, line in enumerate(content.decode("utf-8", "replace").split("\n"), start=1):
        if not line:
            continue
        try:
            yield Completion.model_validate_json(line)
        except ValueError:
            try:
                values = json.loads(line)
            except ValueError as error:
                raise CannotResume(f"{path}:{number}: not JSON: {error}; mend or remove that line") from None
            yield parse_document(values, Completion, where=f"{path}:{number}")


def _first_difference(was: Any, now: Any) -> tuple[str, str]:
    """The innermost pair that differs, each shortened for one line."""
    while isinstance(was, dict) and isinstance(now, dict):
        key = next(key for key in dict.fromkeys([*was, *now]) if was.get(key) != now.get(key))
        was, now = was.get(key), now.get(key)
        if not (isinstance(was, dict) and isinstance(now, dict)):
            return f"{key}={was!r}"[:120], f"{key}={now!r}"[:120]
    return repr(was)[:120], repr(now)[:120]
