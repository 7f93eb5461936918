"""A real, tiny Llama made on the spot: weights, byte-level BPE tokenizer, chat template. No hub, about a second.

    folder = build_tiny_llama(tmp_path / "base", texts=["words it should have tokens for"])
    python tests/tiny_llama.py models/tiny --words results/datasets/votes/train.jsonl       # for the tutorial

The chat template marks what is trained with {% generation %} and trains nothing outside it: a newline after the end-of-turn token there
would take most of a DPO update and none of the text.
"""

import json
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SPECIAL = ("<|pad|>", "<|im_start|>", "<|im_end|>")


def build_tiny_llama(path: Path, *, seed: int = 0, texts: Sequence[str] = (), hidden: int = 64, layers: int = 2) -> Path:
    """Write a random Llama of about 100,000 parameters with its tokenizer into `path`; the same seed and texts give the same weights."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512, special_tokens=list(SPECIAL), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    raw.train_from_iterator([*texts, "user assistant system"], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token=SPECIAL[0], eos_token=SPECIAL[2])
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=layers, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, pad_token_id=0, bos_token_id=None, eos_token_id=2,
        tie_word_embeddings=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.generation_config.pad_token_id = 0
    model.generation_config.eos_token_id = 2
    path.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def words(value: Any) -> Iterator[str]:
    """Every text inside a JSON value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if not key.endswith("_id"):
                yield from words(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from words(inner)


def main() -> None:
    """Write a model whose tokens are made of a dataset's words."""
    parser = ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--words", type=Path, required=True, metavar="JSONL", help="rows whose texts the tokenizer learns from")
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.words.read_text(encoding="utf-8").splitlines()]
    build_tiny_llama(options.folder, texts=[text for row in rows for text in words(row)])


if __name__ == "__main__":
    main()
