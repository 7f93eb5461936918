"""A recipe is a YAML in TRL's own keys, nothing renamed: every key is read, or refused with its remedy.

    model_name_or_path: HuggingFaceTB/SmolLM2-135M-Instruct    # a hub id, a folder, or the id of a training of ours
    learning_rate: 1.0e-5                                      # TrainingArguments, SFTConfig or DPOConfig
    use_peft: true                                             # ModelConfig: lora_r, lora_alpha, lora_target_modules, …

Ours are only `dataset` (a folder as `arena export` writes it; `--data` goes before it), `merge` (default true), `allow_truncated_rows` and
`gate` (a section of settings for trainers/gate.py, or false).
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

Method = Literal["sft", "dpo"]
OURS: dict[str, Any] = {"dataset": str, "merge": bool, "allow_truncated_rows": bool, "gate": bool | dict[str, Any]}
# Keys of TRL that would be ignored or would act behind the record's back.
_WHOLE = "a training is run whole; remove the key"
_QUANTISED = "quantised training is not supported yet; use LoRA without it"
_SWITCH = "a switch of other scripts that nothing reads here; remove the key"
_CHOSEN = "the rows are prepared and checked here; remove the key"
_LIGER = "deprecated in TRL; use model_init_kwargs: {use_kernels: true}"
REFUSED = {
    "output_dir": "each training has a folder of its own under results/trainings; remove the key",
    "push_to_hub": "nothing is uploaded; remove the key and push the merged folder yourself",
    "trust_remote_code": "code that comes with a model is not run here; remove the key",
    "lora_task_type": "it follows from the method; remove the key",
    "pad_token": "deprecated in TRL; set it in the tokenizer's own files",
    "parallelism_config": "cannot be written in YAML; configure accelerate instead",
    **dict.fromkeys(("resume_from_checkpoint", "ignore_data_skip", "restore_callback_states_from_checkpoint"), _WHOLE),
    **dict.fromkeys(("load_in_4bit", "load_in_8bit", "bnb_4bit_quant_type", "use_bnb_nested_quant", "bnb_4bit_quant_storage"), _QUANTISED),
    **dict.fromkeys(("do_train", "do_eval", "do_predict"), _SWITCH),
    **dict.fromkeys(("dataset_kwargs", "dataset_text_field", "remove_unused_columns", "label_names"), _CHOSEN),
    **dict.fromkeys(("use_liger_kernel", "liger_kernel_config"), _LIGER),
}
_REFUSED_BY: dict[Method, dict[str, str]] = {
    "sft": {},
    "dpo": {
        "padding_free": "TRL's DPO has it switched off at present; remove the key",
        "label_smoothing_factor": "DPO ignores it; use label_smoothing with loss_type: [robust] for noisy votes",
    },
}
# DPO's losses that read label_smoothing (trl 1.16); the others ignore it without a word.
_SMOOTHED = {"robust", "exo_pair", "aot", "aot_unpaired"}
_LOSSES: dict[Method, tuple[str, ...]] = {
    "sft": ("nll", "dft", "chunked_nll"),
    "dpo": (
        "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard",
        "aot", "aot_unpaired", "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """A recipe as it will be followed: `stated` is what was written (with --set), `training` and `model` are TRL's own objects.

    `resolved` is `stated` with our defaults and the dataset: written as YAML it is a recipe for the same training.

    `training` is a trl.SFTConfig or trl.DPOConfig without output_dir, `model` a trl.ModelConfig.
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


def read_recipe(path: Path, method: Method, *, data: Path | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """Read, override and check a recipe. Raises DocumentError or RecipeError (file, key, value, remedy), NotInstalled without TRL."""
    need_torch()
    import warnings

    # TRL's own default still uses the name that transformers has deprecated.
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.* is deprecated", category=FutureWarning)
    from trl import DPOConfig, ModelConfig, SFTConfig

    overridden = _overrides(overrides)
    stated = {**read_yaml(path), **overridden}
    config_class = {"sft": SFTConfig, "dpo": DPOConfig}[method]
    config_types, model_types = _types(config_class), _types(ModelConfig)
    known = {**config_types, **model_types, **OURS}
    choices = {field.name: field.metadata.get("choices") for owner in (ModelConfig, config_class) for field in dataclasses.fields(owner)}
    refused = REFUSED | _REFUSED_BY[method]
    values = {}
    for key, value in stated.items():
        where = f"--set {key}" if key in overridden else f"{path}: {key}"
        values[key] = _checked(where, str(key), value, known, refused)
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
    _refuse_what_nothing_reads(path, values, defaults | values)
    _refuse_what_the_loss_ignores(path, method, values, training)
    if "token" in (values.get("model_init_kwargs") or {}):
        raise RecipeError(f"{path}: model_init_kwargs: holds a token, which the record would keep; log in with 'hf auth login' instead")
    try:
        config = config_class(output_dir="unused", **training)
        model = ModelConfig(**{key: value for key, value in values.items() if key in model_types})
    except (ValueError, TypeError, ImportError, NotImplementedError) as error:
        raise RecipeError(f"{path}: {' '.join(str(error).split())}") from None
    merge, allow_truncated_rows = values.get("merge", True), values.get("allow_truncated_rows", False)
    resolved = defaults | training | values | {"dataset": str(dataset)}
    return Recipe(path, method, dataset, merge, allow_truncated_rows, values, resolved, config, model)


def _defaults(method: Method) -> dict[str, Any]:
    """What we would rather have than TRL's defaults where the recipe is silent; DPO's is the loss that does not destroy small models."""
    import torch

    chosen: dict[str, Any] = {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1, "seed": 42}
    # Otherwise transformers logs a loss that is no number as 0.
    chosen["logging_nan_inf_filter"] = False
    if method == "dpo":
        chosen |= {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 1.0]}
    if not torch.accelerator.is_available():
        chosen |= {"use_cpu": True, "bf16": False, "gradient_checkpointing": False}
    return chosen


def _types(config: Any) -> dict[str, Any]:
    return {field.name: field.type for field in dataclasses.fields(config) if field.init}


def _checked(where: str, key: str, value: Any, known: Mapping[str, Any], refused: Mapping[str, str]) -> Any:
    from pydantic import TypeAdapter, ValidationError

    if key in refused or (key.startswith("hub_") and key in known):
        raise RecipeError(f"{where}: {refused.get(key, refused['push_to_hub'])}")
    if key not in known:
        near = did_you_mean(key, sorted(set(known) - set(refused)))
        raise RecipeError(f"{where}: unknown key.{near} A recipe takes TRL's own keys, and {', '.join(OURS)}")
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


def _refuse_what_nothing_reads(path: Path, stated: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Raise RecipeError for a key that stands in the recipe and that another key leaves without effect."""
    lora = [key for key in stated if key.startswith("lora_") or key in ("use_rslora", "use_dora")]
    evaluated, saved = values.get("eval_strategy", "no"), values["save_strategy"]
    rules: tuple[tuple[list[str], bool, str], ...] = (
        (lora, values.get("use_peft", False), "use_peft: true"),
        (["merge"], values.get("use_peft", False), "use_peft: true"),
        (["eval_steps"], evaluated == "steps", "eval_strategy: steps"),
        (["eval_delay"], evaluated not in ("no", False), "eval_strategy: steps or epoch"),
        (["save_steps"], saved == "steps", "save_strategy: steps"),
        (["save_total_limit", "save_only_model"], saved != "no", "save_strategy: steps or epoch"),
        (["packing_strategy", "eval_packing"], values.get("packing", False), "packing: true"),
        (["num_train_epochs"], values.get("max_steps", -1) < 0, "no max_steps, which decides alone where it is set"),
        (["ref_model_mixup_alpha", "ref_model_sync_steps"], values.get("sync_ref_model", False), "sync_ref_model: true"),
        (["precompute_ref_batch_size"], values.get("precompute_ref_log_probs", False), "precompute_ref_log_probs: true"),
        (["f_alpha_divergence_coef"], values.get("f_divergence_type") == "alpha_divergence", "f_divergence_type: alpha_divergence"),
    )
    for keys, is_read, needed in rules:
        if not is_read and (unread := next((key for key in keys if key in stated), None)):
            raise RecipeError(f"{path}: {unread}: is read only with {needed}; add that, or remove this key")


def _refuse_what_the_loss_ignores(path: Path, method: Method, values: Mapping[str, Any], training: dict[str, Any]) -> None:
    losses = training.get("loss_type", "nll")
    for loss in [losses] if isinstance(losses, str) else losses:
        if loss not in _LOSSES[method]:
            near = did_you_mean(loss, list(_LOSSES[method]))
            raise RecipeError(f"{path}: loss_type: {method} knows no loss '{loss}'.{near} Losses: {', '.join(_LOSSES[method])}")
    if method != "dpo":
        return
    if "loss_type" in values and "loss_weights" not in values:
        training["loss_weights"] = [1.0] * len(losses)
    if len(training["loss_weights"]) != len(losses):
        count = len(training["loss_weights"])
        raise RecipeError(f"{path}: loss_weights: {count} weights for {len(losses)} losses ({', '.join(losses)}); give one each")
    shown = ", ".join(losses)
    if "label_smoothing" in values and not _SMOOTHED & set(losses):
        raise RecipeError(f"{path}: label_smoothing: the loss {shown} ignores it; remove it, or use loss_type: [robust] for noisy votes")
    if "robust" in losses and not 0.0 <= values.get("label_smoothing", 0.0) < 0.5:
        # At .5 a vote says nothing, beyond it the opposite; TRL only warns and then trains towards the rejected answers.
        raise RecipeError(f"{path}: label_smoothing: the share of wrong votes must be below 0.5 (got {values['label_smoothing']:g})")
    if "beta" in values and set(losses) == {"sft"}:
        raise RecipeError(f"{path}: beta: the loss {shown} ignores it; remove it, or add sigmoid")
    if "discopop_tau" in values and "discopop" not in losses:
        raise RecipeError(f"{path}: discopop_tau: the loss {shown} ignores it; remove it, or use loss_type: [discopop]")
