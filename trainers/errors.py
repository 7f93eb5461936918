"""What can go wrong on the way from votes to weights.

    BakeoffError
    └── TrainersError
        ├── NotInstalled      torch, trl or peft are not here
        ├── RecipeError       a key that is unknown, of the wrong type, or that the chosen loss would ignore
        ├── DataError         rows that cannot be trained on: names file, line and remedy
        │   └── LeakySplit    a prompt that is in train.jsonl and in test.jsonl
        ├── TemplateFault     a chat template that trains the wrong tokens, or that the serving engine does not share
        ├── UnknownTraining   no training of that id
        ├── AdapterInactive   an adapter that changes nothing, a merge that lost it, an engine that serves the base
        ├── GateRefused       a training that its gate refused is not let on
        └── CommandFailed     another room's command ended with an error

Each message is one line and names the remedy.
"""

from serving.errors import BakeoffError


class TrainersError(BakeoffError):
    """Root of what `trainers` raises."""


class NotInstalled(TrainersError):
    """The training extra is not installed."""


class RecipeError(TrainersError):
    """A recipe that cannot be followed to the letter."""


class DataError(TrainersError):
    """Rows that cannot be trained on."""


class LeakySplit(DataError):
    """What is tested was trained."""


class TemplateFault(TrainersError):
    """The chat template makes the wrong tokens of a conversation."""


class UnknownTraining(TrainersError):
    """No training has this id."""


class AdapterInactive(TrainersError):
    """The adapter changes no logit, the merged weights do not do what base and adapter do, or the base is served."""


class GateRefused(TrainersError):
    """The gate refused this training, or has not looked at it."""


class CommandFailed(TrainersError):
    """A command that was run for a training failed; its own last words are kept."""


def need_torch() -> None:
    """Raises NotInstalled in one line instead of an ImportError from deep below."""
    from importlib.util import find_spec

    if missing := [name for name in ("torch", "trl", "peft") if find_spec(name) is None]:
        raise NotInstalled(f"trainers need {', '.join(missing)}: pip install -e '.[train]' -c constraints.txt (or: make train)")


def need_bitsandbytes() -> None:
    """Raises NotInstalled where a recipe asks for quantised weights and nothing here can quantise."""
    from importlib.util import find_spec

    if find_spec("bitsandbytes") is None:
        raise NotInstalled("load_in_4bit and load_in_8bit need bitsandbytes: pip install -e '.[train,qlora]' -c constraints.txt")
