"""Keys of TRL that a recipe may not hold, because nothing would read them or they would act behind the record's back, each with its remedy.

A key that is taken and then ignored is worse than one that is refused: `label_smoothing` beside the sigmoid loss looks like robust DPO and
is not. `trainers/recipe.py` asks here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving.errors import did_you_mean
from trainers.errors import RecipeError

_WHOLE = "the same command goes on from the last checkpoint by itself; remove the key"
_SWITCH = "a switch of other scripts that nothing reads here; remove the key"
_CHOSEN = "the rows are prepared and checked here; remove the key"
_LIGER = "deprecated in TRL; use model_init_kwargs: {use_kernels: true}"
_SMOOTHING = "{} ignores it; remove the key"
REFUSED = {
    "output_dir": "each training has a folder of its own under results/trainings; remove the key",
    "push_to_hub": "nothing is uploaded; remove the key and push the merged folder yourself",
    "trust_remote_code": "code that comes with a model is not run here; remove the key",
    "lora_task_type": "it follows from the method; remove the key",
    "pad_token": "deprecated in TRL; set it in the tokenizer's own files",
    "parallelism_config": "cannot be written in YAML; configure accelerate instead",
    **dict.fromkeys(("resume_from_checkpoint", "ignore_data_skip", "restore_callback_states_from_checkpoint"), _WHOLE),
    **dict.fromkeys(("do_train", "do_eval", "do_predict"), _SWITCH),
    **dict.fromkeys(("dataset_kwargs", "dataset_text_field", "remove_unused_columns", "label_names"), _CHOSEN),
    **dict.fromkeys(("use_liger_kernel", "liger_kernel_config"), _LIGER),
}
_SAMPLING = {
    "label_smoothing_factor": _SMOOTHING.format("a reward knows no labels and"),
    "log_completions_hub_repo": "nothing is uploaded; remove the key",
    "use_transformers_paged": "deprecated in TRL; use use_transformers_continuous_batching",
    "vllm_importance_sampling_cap": "deprecated in TRL; use vllm_importance_sampling_clip_max",
    "max_tool_calling_iterations": "rows with tools are not read yet; remove the key",
}
REFUSED_BY: dict[str, dict[str, str]] = {
    "dpo": {
        "padding_free": "TRL's DPO has it switched off at present; remove the key",
        "label_smoothing_factor": "DPO ignores it; use label_smoothing with loss_type: [robust] for noisy votes",
    },
    "kto": {"label_smoothing_factor": _SMOOTHING.format("KTO")},
    "reward": {
        "label_smoothing_factor": _SMOOTHING.format("the reward model's loss"),
        **dict.fromkeys(
            ("load_in_4bit", "load_in_8bit"), "the head that scores cannot be trained beside quantised weights; use LoRA without it"
        ),
    },
    "grpo": _SAMPLING,
    "rloo": _SAMPLING,
}
# DPO's losses that read label_smoothing (trl 1.16); the others ignore it without a word.
_SMOOTHED = {"robust", "exo_pair", "aot", "aot_unpaired"}
LOSSES: dict[str, tuple[str, ...]] = {
    "sft": ("nll", "dft", "chunked_nll"),
    "dpo": (
        "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard",
        "aot", "aot_unpaired", "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm",
    ),
    "kto": ("kto", "apo_zero_unpaired"),
    "grpo": ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"),
}  # fmt: skip
LOSSES["self-train"] = LOSSES["sft"]


def refuse_what_nothing_reads(path: Path, stated: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Raise RecipeError for a key that stands in the recipe and that another key leaves without effect."""
    lora = [key for key in stated if key.startswith("lora_") or key in ("use_rslora", "use_dora")]
    quantised = ["bnb_4bit_quant_type", "use_bnb_nested_quant", "bnb_4bit_quant_storage"]
    samples_with_vllm = bool(values.get("use_vllm", False))
    evaluated, saved = values.get("eval_strategy", "no"), values["save_strategy"]
    rules: tuple[tuple[list[str], bool, str], ...] = (
        (lora, values.get("use_peft", False), "use_peft: true"),
        (["merge"], values.get("use_peft", False), "use_peft: true"),
        ([key for key in ("load_in_4bit", "load_in_8bit") if values.get(key)], values.get("use_peft", False), "use_peft: true (QLoRA)"),
        (quantised, values.get("load_in_4bit", False), "load_in_4bit: true"),
        ([key for key in stated if key.startswith("vllm_")], samples_with_vllm, "use_vllm: true"),
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


def refuse_what_the_loss_ignores(path: Path, method: str, values: Mapping[str, Any], training: dict[str, Any]) -> None:
    """Raise RecipeError for a loss that the method does not know, and for a key that the chosen losses do not read."""
    if method not in LOSSES:
        return
    losses = training.get("loss_type", LOSSES[method][0])
    for loss in [losses] if isinstance(losses, str) else losses:
        if loss not in LOSSES[method]:
            near = did_you_mean(loss, list(LOSSES[method]))
            raise RecipeError(f"{path}: loss_type: {method} knows no loss '{loss}'.{near} Losses: {', '.join(LOSSES[method])}")
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
