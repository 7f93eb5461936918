"""A recipe is a YAML in TRL's own keys, nothing renamed: every key is read, or refused with its remedy.

    model_name_or_path: HuggingFaceTB/SmolLM2-135M-Instruct    # a hub id, a folder, or the id of a training of ours
    learning_rate: 1.0e-5                                      # TrainingArguments, SFTConfig or DPOConfig
    use_peft: true                                             # ModelConfig: lora_r, lora_alpha, lora_target_modules, …

Ours are only `dataset` (a folder as `arena export` writes it; `--data` goes before it), `merge` (default true),
`allow_truncated_rows`, `gate` (a section of settings for trainers/gate.py, or false), and for the methods that sample answers `reward`
(trainers/rewards.py) and what `self-train` samples with (trainers/selftrain.py).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args

from serving.documents import read_yaml
from serving.errors import did_you_mean
from trainers.errors import RecipeError, need_torch
from trainers.gate import settings_of
from trainers.unread import REFUSED, REFUSED_BY, refuse_what_nothing_reads, refuse_what_the_loss_ignores

Method = Literal["sft", "dpo", "kto", "reward", "grpo", "rloo", "self-train"]
# The class of TRL that holds a method's keys.
CONFIGS: dict[Method, str] = {
    "sft": "SFTConfig", "dpo": "DPOConfig", "kto": "KTOConfig", "reward": "RewardConfig", "grpo": "GRPOConfig", "rloo": "RLOOConfig",
    "self-train": "SFTConfig",
}  # fmt: skip
OURS: dict[str, Any] = {"dataset": str, "merge": bool, "allow_truncated_rows": bool, "gate": bool | dict[str, Any]}
# Those of TRL's scripts; they name the parts of a dataset on the hub.
SPLITS: dict[str, Any] = {"dataset_train_split": str, "dataset_test_split": str, "dataset_config": str}
_REWARD: dict[str, Any] = {"reward": list[str] | str}
_OURS_OF: dict[Method, dict[str, Any]] = {
    "grpo": _REWARD,
    "rloo": _REWARD,
    "self-train": {
        **_REWARD, "sampler": str, "samples": int, "rounds": int, "min_reward": float, "temperature": float, "max_completion_length": int
    },
}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """A recipe as it will be followed: `stated` is what was written (with --set), `training` and `model` are TRL's own objects.

    `resolved` is `stated` with our defaults and the dataset: written as YAML it is a recipe for the same training.

    `training` is TRL's config of the method without output_dir, `model` a trl.ModelConfig; `own` are our keys beyond those above.
    """

    path: Path
    method: Method
    dataset: Path
    merge: bool
    allow_truncated_rows: bool
    stated: Mapping[str, Any]
    resolved: Mapping[str, Any]
    training: Any
    model: Any
    own: Mapping[str, Any]


def read_recipe(path: Path, method: Method, *, data: Path | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """Read, override and check a recipe. Raises DocumentError or RecipeError (file, key, value, remedy), NotInstalled without TRL."""
    need_torch()
    import warnings

    # TRL's own default still uses the name that transformers has deprecated.
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.* is deprecated", category=FutureWarning)
    import trl
    from trl import ModelConfig

    overridden = _overrides(overrides)
    stated = {**read_yaml(path), **overridden}
    config_class = getattr(trl, CONFIGS[method])
    config_types, model_types = _types(config_class), _types(ModelConfig)
    ours = OURS | SPLITS | _OURS_OF.get(method, {})
    known = {**config_types, **model_types, **ours}
    choices = {field.name: field.metadata.get("choices") for owner in (ModelConfig, config_class) for field in dataclasses.fields(owner)}
    refused = REFUSED | REFUSED_BY.get(method, {})
    values = {}
    for key, value in stated.items():
        where = f"--set {key}" if key in overridden else f"{path}: {key}"
        values[key] = _checked(where, str(key), value, known, refused, ours)
        allowed = [str(choice) for choice in choices.get(key) or ()]
        if allowed and values[key] is not None and values[key] not in allowed:
            raise RecipeError(f"{where}: must be one of {', '.join(allowed)} (got {value!r})")
    if "model_name_or_path" not in values:
        raise RecipeError(f"{path}: model_name_or_path: missing; name a hub id, a folder, or the id of a training")
    dataset = data or (Path(values["dataset"]) if "dataset" in values else None)
    if dataset is None:
        raise RecipeError(f"{path}: dataset: missing; add it, or give the folder with --data DIR")
    # Its keys are read after the training; what is wrong with them is told before.
    settings_of(values.get("gate"), where=str(path))
    defaults = _defaults(method)
    training = defaults | {key: value for key, value in values.items() if key in config_types}
    refuse_what_nothing_reads(path, values, defaults | values)
    refuse_what_the_loss_ignores(path, method, values, training)
    if "token" in (values.get("model_init_kwargs") or {}):
        raise RecipeError(f"{path}: model_init_kwargs: holds a token, which the record would keep; log in with 'hf auth login' instead")
    try:
        config = config_class(output_dir="unused", **training)
        model = ModelConfig(**{key: value for key, value in values.items() if key in model_types})
    except (ValueError, TypeError, ImportError, NotImplementedError) as error:
        raise RecipeError(f"{path}: {' '.join(str(error).split())}") from None
    merge, allow_truncated_rows = values.get("merge", True), values.get("allow_truncated_rows", False)
    resolved = defaults | training | values | {"dataset": str(dataset)}
    own = {key: values[key] for key in ours if key in values and key not in OURS}
    if method in _OURS_OF and not own.get("reward"):
        raise RecipeError(f"{path}: reward: missing; {method} needs model:ID, judge:ENDPOINT, length:N, regex:PATTERN or exact")
    return Recipe(path, method, dataset, merge, allow_truncated_rows, values, resolved, config, model, own)


def _defaults(method: Method) -> dict[str, Any]:
    """What we would rather have than TRL's defaults where the recipe is silent; DPO's is the loss that does not destroy small models."""
    import torch

    chosen: dict[str, Any] = {"report_to": "none", "disable_tqdm": True, "logging_steps": 1, "seed": 42}
    # One checkpoint, for a training that is killed; it goes once the training is done (trainers/resume.py).
    chosen |= {"save_strategy": "steps", "save_total_limit": 1}
    # Otherwise transformers logs a loss that is no number as 0.
    chosen["logging_nan_inf_filter"] = False
    if method == "dpo":
        chosen |= {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 1.0]}
    if not torch.accelerator.is_available():
        chosen |= {"use_cpu": True, "bf16": False, "gradient_checkpointing": False}
    return chosen


def _types(config: Any) -> dict[str, Any]:
    return {field.name: field.type for field in dataclasses.fields(config) if field.init}


def _checked(where: str, key: str, value: Any, known: Mapping[str, Any], refused: Mapping[str, str], ours: Mapping[str, Any]) -> Any:
    from pydantic import TypeAdapter, ValidationError

    if key in refused or (key.startswith("hub_") and key in known):
        raise RecipeError(f"{where}: {refused.get(key, refused['push_to_hub'])}")
    if key not in known:
        near = did_you_mean(key, sorted(set(known) - set(refused)))
        raise RecipeError(f"{where}: unknown key.{near} A recipe takes TRL's own keys, and {', '.join(ours)}")
    kind = known[key]
    if enumeration := next((part for part in get_args(kind) if isinstance(part, type) and issubclass(part, Enum)), None):
        # YAML 1.1 reads no as false. The text is kept, so that the resolved recipe is YAML again.
        word, words = "no" if value is False else value, [member.value for member in enumeration]
        if word not in words:
            raise RecipeError(f"{where}: must be one of {', '.join(words)} (got {value!r})")
        return word
    if isinstance(value, bool) and not _takes(kind, bool):
        raise RecipeError(f"{where}: must not be {str(value).lower()}; give a number or a text")
    if isinstance(value, str) and _takes_list(kind) and not _takes(kind, str):
        value = [value]
    try:
        # YAML 1.1 reads 5e-7 as text: lax validation makes it the number that was meant.
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise RecipeError(f"{where}: {error.errors()[0]['msg']} (got {value!r})") from None


def _takes_list(kind: Any) -> bool:
    return any(str(part).startswith("list") for part in (kind, *get_args(kind)))


def _takes(kind: Any, wanted: type) -> bool:
    # The arguments of a union are alternatives; those of list[str] are not.
    return kind is wanted or (not str(kind).startswith("list") and wanted in get_args(kind))


def _overrides(assignments: Sequence[str]) -> dict[str, Any]:
    import yaml

    found = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise RecipeError(f"--set {assignment}: write key=value")
        try:
            found[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise RecipeError(f"--set {assignment}: the value is not valid YAML; quote it") from None
    return found
