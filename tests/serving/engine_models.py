"""The smallest models that every engine loads: a random Llama that writes plain ASCII, as a folder and as a GGUF file.

    folder = build_plain_llama(tmp_path / "plain")         # vLLM, transformers, MLX
    file = write_gguf(folder, tmp_path / "plain.gguf")     # llama.cpp

Plain, because a random model's half characters are shown differently by each server, and because it must not end by itself.
"""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from tiny_llama import TEMPLATE, build_tiny_llama


def build_plain_llama(path: Path, *, seed: int = 0) -> Path:
    """A random Llama (head size 64, which vLLM wants; 2 layers) of which no token but plain text is ever the likeliest."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    build_tiny_llama(path, seed=seed, texts=["one two three, How are you? Gladly, thank you."], hidden=256, layers=2)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    texts = [tokenizer.decode([number]) for number in range(len(tokenizer))]
    hidden = [number for number, text in enumerate(texts) if not (text.isascii() and text.isprintable() and not text.startswith("<|"))]
    with torch.no_grad():
        # A logit of 0 always loses to the best of a hundred random ones. The others are sharpened, so that rounding decides nothing.
        model.lm_head.weight *= 8
        model.lm_head.weight[hidden] = 0
    model.save_pretrained(path)
    return path


def build_adapter(base: Path, path: Path, *, rank: int = 8, seed: int = 1) -> Path:
    """A random LoRA adapter in PEFT's layout, large enough to change what the base says."""
    from safetensors.numpy import save_file

    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    size, head = config["hidden_size"], config["hidden_size"] // config["num_attention_heads"]
    widths = {"q_proj": size, "v_proj": head * config["num_key_value_heads"]}
    draw, weights = np.random.default_rng(seed), {}
    for layer in range(config["num_hidden_layers"]):
        for part, width in widths.items():
            name = f"base_model.model.model.layers.{layer}.self_attn.{part}"
            weights[f"{name}.lora_A.weight"] = draw.normal(0, 0.1, (rank, size)).astype("float32")
            weights[f"{name}.lora_B.weight"] = draw.normal(0, 0.1, (width, rank)).astype("float32")
    path.mkdir(parents=True)
    save_file(weights, path / "adapter_model.safetensors")
    told = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 4 * rank,
        "target_modules": list(widths),
        "bias": "none",
    }
    (path / "adapter_config.json").write_text(json.dumps({**told, "base_model_name_or_path": str(base)}), encoding="utf-8")
    return path


def write_gguf(folder: Path, path: Path) -> Path:
    """The Llama in `folder` (the hub's layout, float32) as GGUF version 3 (github.com/ggml-org/ggml, docs/gguf.md)."""
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    weights = load_file(folder / "model.safetensors")
    tensors = {_tensor_name(name): _turned(name, values, config) for name, values in weights.items()}
    metadata = {**_shape(config), **_vocabulary(folder, config)}
    infos, blobs, offset = b"", b"", 0
    for name, values in tensors.items():
        blob = np.ascontiguousarray(values, dtype="<f4").tobytes()
        # Dimensions are told from the innermost outwards; type 0 is float32.
        infos += _text(name) + struct.pack(f"<I{values.ndim}QIQ", values.ndim, *reversed(values.shape), 0, offset)
        blobs += blob + b"\0" * (-len(blob) % 32)
        offset = len(blobs)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(_text(key) + _value(value) for key, value in metadata.items()) + infos
    path.write_bytes(head + b"\0" * (-len(head) % 32) + blobs)
    return path


def _tensor_name(name: str) -> str:
    fixed = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}
    if name in fixed:
        return fixed[name]
    parts = {
        "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }  # fmt: skip
    layer, _, part = name.removeprefix("model.layers.").removesuffix(".weight").partition(".")
    return f"blk.{layer}.{parts[part]}.weight"


def _turned(name: str, values: Any, config: dict[str, Any]) -> Any:
    """llama.cpp turns neighbouring pairs of a head, the hub's weights its two halves."""
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    count = next((count for part, count in heads.items() if part in name), None)
    if count is None:
        return values
    return values.reshape(count, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)


def _shape(config: dict[str, Any]) -> dict[str, Any]:
    heads = config["num_attention_heads"]
    theta = (config.get("rope_parameters") or {}).get("rope_theta") or config.get("rope_theta") or 10000.0
    return {
        "general.architecture": "llama",
        "general.name": "plain",
        "llama.context_length": config["max_position_embeddings"],
        "llama.embedding_length": config["hidden_size"],
        "llama.block_count": config["num_hidden_layers"],
        "llama.feed_forward_length": config["intermediate_size"],
        "llama.attention.head_count": heads,
        "llama.attention.head_count_kv": config["num_key_value_heads"],
        "llama.attention.layer_norm_rms_epsilon": float(config["rms_norm_eps"]),
        "llama.rope.dimension_count": config["hidden_size"] // heads,
        "llama.rope.freq_base": float(theta),
        "llama.vocab_size": config["vocab_size"],
    }


def _vocabulary(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    raw = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    ids = dict(raw["model"]["vocab"]) | {token["content"]: token["id"] for token in raw["added_tokens"]}
    special = {token["id"] for token in raw["added_tokens"]}
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in raw["model"]["merges"]]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": sorted(ids, key=ids.__getitem__),
        # 1 is an ordinary token, 3 a control token.
        "tokenizer.ggml.token_type": [3 if number in special else 1 for number in range(len(ids))],
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.eos_token_id": config["eos_token_id"],
        "tokenizer.ggml.padding_token_id": config["pad_token_id"],
        "tokenizer.ggml.add_bos_token": False,
        # The tag is transformers' own.
        "tokenizer.chat_template": TEMPLATE.replace("{% generation %}", "").replace("{% endgeneration %}", ""),
    }


def _text(text: str) -> bytes:
    content = text.encode("utf-8")
    return struct.pack("<Q", len(content)) + content


def _value(value: Any) -> bytes:
    """Type and value: 4 uint32, 5 int32, 6 float32, 7 bool, 8 string, 9 array."""
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    kind, pack = (8, _text) if isinstance(value[0], str) else (5, lambda item: struct.pack("<i", item))
    return struct.pack("<IIQ", 9, kind, len(value)) + b"".join(pack(item) for item in value)
