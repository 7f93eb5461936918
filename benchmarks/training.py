"""Does a training cost more here than with TRL's own command? Tokens a second of `trainers sft` and `dpo` against `trl sft` and `trl dpo`.

    python benchmarks/training.py                              # about three minutes on two cores
    python benchmarks/training.py --rounds 7 --steps 60 --method dpo
    python benchmarks/training.py --shape 8b --rounds 1        # on a GPU of 40 GB or more: the shipped LoRA recipes on random weights

Both commands train the same rows from the same weights with the same resolved recipe, each in a process of its own, in turns, the first
alternating. Compared is the time between two steps of the loop, the first steps left out, as the median of the ratios of each round; the
losses must agree, or different things were trained. On a GPU also: the share of its peak that the model's floating-point operations are
(MFU; PaLM's definition, arXiv:2204.02311 appendix B, without what gradient checkpointing computes again), and the peak memory beside
what `trainers check` had said. Markdown on stdout.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
WORDS = "the sea is wide and bread is good so bake it slowly with care and salt until it sings".split()
# Steps at the start that are not timed: kernels are compiled and memory is taken.
WARM = 3
LLAMA_8B = {
    "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "max_position_embeddings": 8192, "rope_theta": 500000.0, "tie_word_embeddings": False,
}  # fmt: skip
# Dense bfloat16 FLOP/s from the vendor's data sheets.
PEAK = {"H100 80GB HBM3": 989.4e12, "H100 PCIe": 756e12, "H200": 989.4e12, "A100": 312e12}


@dataclass(frozen=True)
class Ran:
    """Times at which steps were logged, counted from the first that is timed; the last loss; what our record says besides."""

    at_s: list[float]
    loss: float
    n_tokens: float = 0.0
    peak_bytes: float = 0.0

    @property
    def took_s(self) -> float:
        """Seconds of the timed steps."""
        return self.at_s[-1] - self.at_s[WARM - 1]


def prepare(room: Path, shape: str, method: Any, steps: int) -> Path:
    """Base, rows and recipe of one method below `room`; returns the recipe."""
    from transformers import AutoTokenizer

    if not (room / "base").exists():
        _base(room / "base", shape)
    tokenizer = AutoTokenizer.from_pretrained(room / "base")
    per_step, length = (8, 200) if shape == "tiny" else (8, 2000 if method == "sft" else 1000)
    rows = []
    for number in range(per_step * steps):
        prompt, chosen, rejected = (_text(tokenizer, number * 7 + part * 5, length // 2 - 8) for part in range(3))
        said = {"prompt": ("user", prompt), "chosen": ("assistant", chosen), "rejected": ("assistant", rejected)}
        rows.append({key: [{"role": role, "content": text}] for key, (role, text) in said.items()})
    folder = room / method
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    import yaml

    values: dict[str, Any] = {
        "learning_rate": 1e-4, "per_device_train_batch_size": 8, "max_length": 256, "dataloader_pin_memory": False, "num_train_epochs": 1,
    }  # fmt: skip
    if shape == "8b":
        shipped = ROOT / "trainers" / "recipes" / "llama-3.1-8b" / method / "lora.yaml"
        values = yaml.safe_load(shipped.read_text()) | {"gradient_accumulation_steps": 2, "merge": False}
    values |= {"model_name_or_path": str(room / "base"), "save_strategy": "no", "seed": 1}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values))
    return folder / "recipe.yaml"


def _base(path: Path, shape: str) -> None:
    """A Llama of some 2 M parameters, or random weights in the shape of Llama 3.1 8B; the tokenizer is small in both."""
    from tiny_llama import build_tiny_llama

    build_tiny_llama(path, texts=[" ".join(WORDS)], hidden=192, layers=4)
    if shape == "8b":
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        config = LlamaConfig(**LLAMA_8B, pad_token_id=0, bos_token_id=None, eos_token_id=2)
        with torch.device(torch.accelerator.current_accelerator(check_available=True) or "cpu"):
            model = LlamaForCausalLM._from_config(config, dtype=torch.bfloat16)
        (path / "model.safetensors").unlink()
        model.save_pretrained(path)


def _text(tokenizer: Any, start: int, n_tokens: int) -> str:
    """Words of about so many tokens, from another place for each start."""
    per_word = len(tokenizer(" ".join(WORDS))["input_ids"]) / len(WORDS)
    return f"{start}: " + " ".join(WORDS[(start + k) % len(WORDS)] for k in range(int(n_tokens / per_word) - 4))


def trl_config(recipe_path: Path, method: Any) -> Path:
    """Our resolved recipe as a config of TRL's command, over the same rows in the shape that its trainer gets from us."""
    import yaml

    from trainers.data import for_dpo, for_sft, load_rows
    from trainers.recipe import OURS, read_recipe

    folder = recipe_path.parent
    recipe = read_recipe(recipe_path, method, data=folder / "data")
    shaped = {"sft": for_sft, "dpo": for_dpo}[method](load_rows(folder / "data", method).train)
    (folder / "shaped").mkdir()
    (folder / "shaped" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in shaped))
    values = {key: value for key, value in recipe.resolved.items() if key not in OURS}
    # TRL's command loads in float32 unless told; ours takes what the recipe says, or the same.
    values |= {"dataset_name": str(folder / "shaped"), "output_dir": str(folder / "trl"), "dtype": recipe.model.dtype or "float32"}
    (folder / "trl.yaml").write_text(yaml.safe_dump(values))
    return folder / "trl.yaml"


def _environment() -> dict[str, str]:
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
    return {**os.environ, **quiet, "PYTHONPATH": paths}


def run(command: list[str]) -> list[tuple[float, str]]:
    """Lines of standard output of a command that must succeed, each with the time at which it came."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT, env=_environment())
        assert process.stdout is not None
        lines = [(time.time(), line) for line in process.stdout]
        if process.wait():
            errors.seek(0)
            raise SystemExit(f"{' '.join(command)}\n{errors.read()[-3000:]}")
    return lines


def ours(recipe: Path, method: str) -> Ran:
    """`trainers METHOD`, from the curves that it keeps."""
    results = recipe.parent / "results"
    options = ["--data", str(recipe.parent / "data"), "--results", str(results), "--json"]
    out = run([sys.executable, "-m", "trainers.cli", method, str(recipe), *options])
    record = json.loads(out[-1][1])
    kept = (results / "trainings" / record["training_id"] / "metrics.jsonl").read_text().splitlines()
    steps = [step for step in map(json.loads, kept) if "loss" in step]
    n_tokens = steps[-1]["num_tokens"] - steps[WARM - 1]["num_tokens"]
    peak = record["metrics"].get("peak_memory_bytes", 0.0)
    return Ran([step["at_s"] for step in steps], steps[-1]["loss"], n_tokens, peak)


def theirs(recipe: Path, method: str) -> Ran:
    """`trl METHOD`, from what it prints at each step."""
    import trl

    script = Path(trl.__file__).parent / "scripts" / f"{method}.py"
    out = run([sys.executable, str(script), "--config", str(recipe.parent / "trl.yaml")])
    steps = [(at_s, found[1]) for at_s, line in out if (found := re.search(r"'loss': '?([\d.e+-]+)", line))]
    return Ran([at_s for at_s, _ in steps], float(steps[-1][1]))


def checked(recipe: Path, method: str) -> dict[str, Any]:
    """What `trainers check` says before."""
    options = ["--method", method, "--data", str(recipe.parent / "data"), "--json"]
    out = run([sys.executable, "-m", "trainers.cli", "check", str(recipe), *options])
    figures: dict[str, Any] = json.loads("".join(line for _, line in out))
    return figures


def flops_per_token(method: str, length: float) -> float:
    """Of the 8B shape with a LoRA adapter: forward, and backward through frozen weights; dpo runs the reference forward too.

    Matrix products of the layers and the head at 2 a weight; causal attention at 2·layers·hidden·length, its backward twice that.
    """
    hidden, layers, ffn = LLAMA_8B["hidden_size"], LLAMA_8B["num_hidden_layers"], LLAMA_8B["intermediate_size"]
    kv = hidden * LLAMA_8B["num_key_value_heads"] // LLAMA_8B["num_attention_heads"]
    weights = layers * (2 * hidden * hidden + 2 * hidden * kv + 3 * hidden * ffn) + LLAMA_8B["vocab_size"] * hidden
    forward, attention = 2.0 * weights, 2.0 * layers * hidden * length
    return 2 * forward + 3 * attention + (forward + attention if method == "dpo" else 0)


def gpu_line(method: str, runs: list[Ran], said: dict[str, Any]) -> str:
    """One row of the second table."""
    import torch

    name = torch.cuda.get_device_name()
    peak = next((flops for part, flops in PEAK.items() if part in name), None)
    speed = statistics.median(one.n_tokens / one.took_s for one in runs)
    rate = speed * flops_per_token(method, said["longest_tokens"])
    memory, expected = max(one.peak_bytes for one in runs), sum(said["memory_bytes"].values())
    share = f"{rate / peak:.1%}" if peak else "?"
    spent = statistics.median(one.at_s[-1] - one.at_s[0] for one in runs)
    told = f"{memory / 1e9:.2f} GB | {expected / 1e9:.2f} GB ({expected / memory - 1:+.1%})"
    return f"| {method} | {name} | {speed:,.0f} | {rate / 1e12:,.0f} TFLOP/s, {share} | {told} | {spent:.0f} s, {said['time_s']:.0f} s |"


def main() -> None:
    """Run the rounds and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=["tiny", "8b"], default="tiny")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--method", choices=["sft", "dpo"], action="append")
    asked = parser.parse_args()
    before = os.getloadavg()[0]
    lines = ["| command | tokens/s here | tokens/s trl | ratio, median (rounds) | last loss, here and trl |", "|---|---|---|---|---|"]
    on_gpu = ["| command | device | tokens/s | MFU | peak memory | check said | time, check said |", "|---|---|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        for method in asked.method or ["sft", "dpo"]:
            recipe = prepare(Path(folder), asked.shape, method, asked.steps)
            trl_config(recipe, method)
            said = checked(recipe, method) if asked.shape == "8b" else {}
            runs: dict[str, list[Ran]] = {"here": [], "trl": []}
            for number in range(asked.rounds):
                order = [("here", ours), ("trl", theirs)]
                for name, measure in order if number % 2 == 0 else reversed(order):
                    runs[name].append(measure(recipe, method))
            ratios = [other.took_s / mine.took_s for mine, other in zip(runs["here"], runs["trl"], strict=True)]
            n_tokens = runs["here"][0].n_tokens
            speeds = [f"{n_tokens / statistics.median(one.took_s for one in runs[name]):,.0f}" for name in ("here", "trl")]
            told = f"{statistics.median(ratios):.3f} ({', '.join(f'{ratio:.3f}' for ratio in ratios)})"
            lines.append(f"| {method} | {' | '.join(speeds)} | {told} | {runs['here'][-1].loss:.4f}, {runs['trl'][-1].loss:.4f} |")
            sys.stderr.write(lines[-1] + "\n")
            if said:
                on_gpu.append(gpu_line(method, runs["here"], said))
                parts = ", ".join(f"{part} {size / 1e9:.2f}" for part, size in said["memory_bytes"].items())
                sys.stderr.write(f"{on_gpu[-1]}\ncheck's parts in GB: {parts}\n")
    load = f"load {before:.1f} before, {os.getloadavg()[0]:.1f} after, {os.cpu_count()} cores"
    tables = [*lines, *(["", *on_gpu] if len(on_gpu) > 2 else [])]
    sys.stdout.write("\n".join([*tables, "", f"{asked.rounds} rounds of {asked.steps} steps, the first {WARM} not timed; {load}."]) + "\n")


if __name__ == "__main__":
    main()
