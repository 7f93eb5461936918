"""A recipe is a YAML in TRL's own keys, nothing renamed: every key is read, or refused with its remedy.

    model_name_or_path: HuggingFaceTB/SmolLM2-135M-Instruct    # a hub id, a folder, or the id of a training of ours
    learning_rate: 1.0e-5                                      # TrainingArguments, SFTConfig or DPOConfig
    use_peft: true                                             # ModelConfig: lora_r, lora_alpha, lora_target_modules, …

Ours are only `dataset` (a folder as `arena export` writes it; `--data` goes before it), `merge` (default true) and `allow_truncated_rows`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from serving.documents import read_yaml
from serving.errors import did_you_mean
from trainers.errors import RecipeError, need_torch

Method = Literal["sft", "dpo"]
OURS: dict[str, type] = {"dataset": str, "merge": bool, "allow_truncated_rows": bool}
# Keys of TRL that would be ignored or would act behind the record's back.
REFUSED = {
    "output_dir": "each training has a folder of its own under results/trainings; remove the key",
    "push_to_hub": "nothing is uploaded; remove the key and push the merged folder yourself",
    "resume_from_checkpoint": "a training is run whole; remove the key",
    "load_in_4bit": "quantised training is not supported yet; use LoRA without it",
    "load_in_8bit": "quantised training is not supported yet; use LoRA without it",
    "lora_task_type": "it follows from the method; remove the key",
}
# DPO's losses that read label_smoothing (trl 1.16); the others ignore it without a word.
_SMOOTHED = {"robust", "exo_pair", "aot", "aot_unpaired"}


@dataclass(frozen=True)
class Recipe:
    """A recipe as it will be followed: `stated` is what was written (with --set), `training` and `model` are TRL's own objects.

    `training` is a trl.SFTConfig or trl.DPOConfig without output_dir, `model` a trl.ModelConfig.
    """

    path: Path
    method: Method
    dataset: Path
    merge: bool
    allow_truncated_rows: bool
    stated: Mapping[str, Any]
    training: Any
    model: Any


def read_recipe(path: Path, method: Method, *, data: Path | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """Read, override and check a recipe. Raises DocumentError or RecipeError (file, key, value, remedy), NotInstalled without TRL."""
    need_torch()
    from trl import DPOConfig, ModelConfig, SFTConfig

    stated = {**read_yaml(path), **_overrides(overrides)}
    config_class = {"sft": SFTConfig, "dpo": DPOConfig}[method]
    config_types, model_types = _types(config_class), _types(ModelConfig)
    known = {**config_types, **model_types, **OURS}
    values = {key: _checked(path, key, value, known) for key, value in stated.items()}
    if "model_name_or_path" not in values:
        raise RecipeError(f"{path}: model_name_or_path: missing; name a hub id, a folder, or the id of a training")
    dataset = data or (Path(values["dataset"]) if "dataset" in values else None)
    if dataset is None:
        raise RecipeError(f"{path}: dataset: missing; add it, or give the folder with --data DIR")
    training = _defaults(method) | {key: value for key, value in values.items() if key in config_types}
    _refuse_what_the_loss_ignores(path, method, values, training)
    try:
        config = config_class(output_dir="unused", **training)
        model = ModelConfig(**{key: value for key, value in values.items() if key in model_types})
    except (ValueError, TypeError) as error:
        raise RecipeError(f"{path}: {' '.join(str(error).split())}") from None
    return Recipe(
        path, method, dataset, values.get("merge", True), values.get("allow_truncated_rows", False), values, config, model
    )  # fmt: skip


def _defaults(method: Method) -> dict[str, Any]:
    """What we would rather have than TRL's defaults where the recipe is silent; DPO's is the loss that does not destroy small models."""
    import torch

    chosen: dict[str, Any] = {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1}
    if method == "dpo":
        chosen |= {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 1.0]}
    if not torch.accelerator.is_available():
        chosen |= {"use_cpu": True, "bf16": False, "gradient_checkpointing": False}
    return chosen


def _types(config: Any) -> dict[str, Any]:
    return {field.name: field.type for field in dataclasses.fields(config) if field.init}


def _checked(path: Path, key: str, value: Any, known: Mapping[str, Any]) -> Any:
    from pydantic import TypeAdapter, ValidationError

    if key in REFUSED or key.startswith("hub_"):
        raise RecipeError(f"{path}: {key}: {REFUSED.get(key, REFUSED['push_to_hub'])}")
    if key not in known:
        raise RecipeError(
            f"{path}: {key}: unknown key.{did_you_mean(key, list(known))} A recipe takes TRL's own keys, and {', '.join(OURS)}"
        )
    kind = known[key]
    if isinstance(value, str) and _takes_list(kind) and not _takes(kind, str):
        value = [value]
    try:
        # YAML 1.1 reads 5e-7 as text: lax validation makes it the number that was meant.
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise RecipeError(f"{path}: {key}: {error.errors()[0]['msg']} (got {value!r})") from None


def _takes_list(kind: Any) -> bool:
    return any(str(part).startswith("list") for part in (kind, *get_args(kind)))


def _takes(kind: Any, wanted: type) -> bool:
    return kind is wanted or wanted in get_args(kind)


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


def _refuse_what_the_loss_ignores(path: Path, method: Method, values: Mapping[str, Any], training: dict[str, Any]) -> None:
    if method != "dpo":
        return
    losses = training["loss_type"]
    if "loss_type" in values and "loss_weights" not in values:
        training["loss_weights"] = [1.0] * len(losses)
    if len(training["loss_weights"]) != len(losses):
        count = len(training["loss_weights"])
        raise RecipeError(f"{path}: loss_weights: {count} weights for {len(losses)} losses ({', '.join(losses)}); give one each")
    if values.get("label_smoothing") and not _SMOOTHED & set(losses):
        raise RecipeError(
            f"{path}: label_smoothing: the loss {', '.join(losses)} ignores it; remove it, or use loss_type: [robust] for noisy votes"
        )
