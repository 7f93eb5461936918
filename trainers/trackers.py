"""Where the curves go beside metrics.jsonl: `report_to: trackio` (tensorboard, wandb, mlflow, …), transformers' own integrations.

Each needs its package in this environment. What is missing or does not import is told before any weight is loaded, not after the data.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from serving.errors import did_you_mean
from trainers.errors import NotInstalled, RecipeError
from trainers.recipe import Recipe

# Where the package is not called as the integration is.
_PACKAGES = {"comet_ml": "comet-ml", "azure_ml": "azureml-mlflow", "flyte": "flytekit"}


def check_trackers(recipe: Recipe) -> None:
    """Raises RecipeError for a name that transformers does not know, NotInstalled with what to install."""
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    for name in recipe.training.report_to or []:
        where = f"{recipe.path}: report_to: {name}"
        if name == "none":
            continue
        if name not in INTEGRATION_TO_CALLBACK:
            near = did_you_mean(name, sorted(INTEGRATION_TO_CALLBACK))
            raise RecipeError(f"{where}: no such tracker.{near} Known: {', '.join(sorted(INTEGRATION_TO_CALLBACK))}")
        try:
            INTEGRATION_TO_CALLBACK[name]()
        except (ImportError, RuntimeError, AssertionError) as error:
            reason = " ".join(str(error).split())[:160]
            remedy = f"pip install {_PACKAGES.get(name, name)} into this environment, or leave the key out"
            raise NotInstalled(f"{where} cannot be used: {remedy} ({reason})") from None


def place(trainer: Any, folder: Path) -> None:
    """TensorBoard's files into the training's folder: its default lies among the checkpoints, which go when the training is done."""
    from transformers.integrations import TensorBoardCallback

    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TensorBoardCallback) and callback.logging_dir is None:
            callback.logging_dir = str(folder / "tensorboard")


@contextmanager
def kept_from_stdout() -> Iterator[None]:
    """What trackers print while the `with` lasts goes to stderr: stdout is for the result. Trackio would print at the very end, too."""
    with redirect_stdout(sys.stderr):
        try:
            yield
        finally:
            if (trackio := sys.modules.get("trackio")) is not None:
                # Raised where no run is open.
                with suppress(RuntimeError):
                    trackio.finish()
