"""Read a YAML file into a noun, or say in one line what is wrong with it.

Every room's YAML (endpoints, suites, recipes) comes in through here, so that a typo in any key of any file reads the same:

    serving/catalogue/mine.yaml: endpoints[0].prise: unknown key. Did you mean 'price'? Known keys: api_key_env, base_url, …
"""

import gc
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from serving.errors import DocumentError, did_you_mean


class Noun(BaseModel):
    """A frozen record that refuses keys it does not know: the nouns of DESIGN that cross a boundary."""

    model_config = ConfigDict(frozen=True, extra="forbid")


AnyModel = TypeVar("AnyModel", bound=BaseModel)


@contextmanager
def without_collection() -> Iterator[None]:
    """Read thousands of lines without garbage collection, which looks at all of them again and again and takes longer than the reading.

    For this process as a whole; of several threads the one that found it on switches it on again.
    """
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises DocumentError when the file is missing, is not YAML, or holds no mapping."""
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DocumentError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DocumentError(f"{path}: is a folder; name the YAML file in it") from None
    except UnicodeDecodeError as error:
        raise DocumentError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except yaml.YAMLError as error:
        raise DocumentError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(loaded, dict):
        raise DocumentError(f"{path}: must hold 'key: value' lines, holds {type(loaded).__name__}")
    return loaded


def read_document(path: Path, model: type[AnyModel]) -> AnyModel:
    """The YAML file as `model`. Raises DocumentError (file, key, value, remedy) for the first thing that does not fit."""
    return parse_document(read_yaml(path), model, where=str(path))


def reread_document(path: Path, model: type[AnyModel]) -> AnyModel:
    """As `read_document`, for a file that is asked for again and again: parsed once until it changes. The model must be frozen."""
    document: AnyModel = _parsed(path, model, stamp(path))
    return document


def reread_if_there(path: Path, model: type[AnyModel]) -> AnyModel | None:
    """As `reread_document`; None where there is no file, also when it goes while it is looked at."""
    if not stamp(path):
        return None
    try:
        return reread_document(path, model)
    except DocumentError:
        if stamp(path):
            raise
        return None


def stamp(path: Path) -> tuple[int, ...]:
    """What differs when the file does: inode, size and time; empty when there is no file (which its reader then says)."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=1024)
def _parsed(path: Path, model: type[AnyModel], stamp: tuple[int, ...]) -> AnyModel:
    return read_document(path, model)


def parse_document(values: Any, model: type[AnyModel], *, where: str) -> AnyModel:
    """`values` as `model`; `where` (a file, or file:line) opens the message of the DocumentError."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise DocumentError(f"{where}: {_first_problem(error, model)}") from None


def write_text_atomically(path: Path, text: str) -> None:
    """Write beside the target, then rename: a crash or a full disk leaves the old file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    # An unknown key usually causes the "missing key" beside it, so it is told first.
    problem = min(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    location = list(problem["loc"])
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    if problem["type"] == "extra_forbidden":
        known = _fields_at(model, location[:-1])
        return f"{key}: unknown key.{did_you_mean(str(location[-1]), known)} Known keys: {', '.join(sorted(known))}"
    if problem["type"] == "missing":
        return f"{key}: missing; add this key"
    shown = repr(problem["input"])
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    # Whoever wrote the password where its hash belongs does not want to read it in a log.
    shown = "what is not shown here" if "password" in key else shown
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key}: {message} (got {shown})" if key else message


def _fields_at(model: type[BaseModel], location: list[int | str]) -> list[str]:
    """The keys that are allowed at a place inside `model`, found by walking its annotations."""
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            nested = _models_in(model.model_fields[part].annotation)
            if nested:
                model = nested[0]
    return list(model.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _models_in(argument)]
