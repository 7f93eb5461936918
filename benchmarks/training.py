"""Does a training cost more here than with TRL's own command? Tokens a second of `trainers sft` and `dpo` against `trl sft` and `trl dpo`.

    python benchmarks/training.py                              # about three minutes on two cores
    python benchmarks/training.py --rounds 7 --steps 60 --method dpo

Both commands train the same rows from the same weights with the same resolved recipe, each in a process of its own, in turns, the first
alternating. Compared is what TRL's trainer itself tells at the end (`train_runtime`: the loop, without loading), as the median of the
ratios of each round; the losses must agree, or different things were trained. Markdown on stdout.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
_RECIPE = (
    "learning_rate: 1e-4\nper_device_train_batch_size: 8\nmax_length: 256\nsave_strategy: 'no'\nseed: 1\ndataloader_pin_memory: false\n"
)
WORDS = "the sea is wide and bread is good so bake it slowly with care and salt until it sings".split()


def prepare(room: Path, steps: int) -> None:
    """A Llama of some 2 M parameters, 256 preferences of some 100 tokens each, and the recipe."""
    from tiny_llama import build_tiny_llama

    rows = []
    for number in range(256):
        prompt, chosen, rejected = (" ".join(WORDS[(number * 7 + part * 5 + k) % len(WORDS)] for k in range(40)) for part in range(3))
        said = {"prompt": ("user", f"{number}: {prompt}"), "chosen": ("assistant", chosen), "rejected": ("assistant", rejected)}
        rows.append({key: [{"role": role, "content": text}] for key, (role, text) in said.items()})
    build_tiny_llama(room / "base", texts=[" ".join(WORDS)], hidden=192, layers=4)
    (room / "data").mkdir()
    (room / "data" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (room / "recipe.yaml").write_text(f"model_name_or_path: {room / 'base'}\nmax_steps: {steps}\n{_RECIPE}")


def trl_config(room: Path, method: Any) -> Path:
    """Our resolved recipe as a config of TRL's command, over the same rows in the shape that its trainer gets from us."""
    import yaml

    from trainers.data import for_dpo, for_sft, load_rows
    from trainers.recipe import OURS, read_recipe

    recipe = read_recipe(room / "recipe.yaml", method, data=room / "data")
    shaped = {"sft": for_sft, "dpo": for_dpo}[method](load_rows(room / "data", method).train)
    (room / method).mkdir(exist_ok=True)
    (room / method / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in shaped))
    values = {key: value for key, value in recipe.resolved.items() if key not in OURS}
    # TRL's command loads in float32 unless told; ours takes the base's precision, which is the same here.
    values |= {"dataset_name": str(room / method), "output_dir": str(room / f"trl-{method}"), "dtype": "float32"}
    path = room / f"trl-{method}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def run(command: list[str]) -> str:
    """Standard output of a command that must succeed."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return done.stdout


def ours(room: Path, method: str) -> tuple[float, float]:
    """(seconds in the loop, last loss) of `trainers METHOD`."""
    options = ["--data", str(room / "data"), "--results", str(room / "results"), "--json"]
    out = run([sys.executable, "-m", "trainers.cli", method, str(room / "recipe.yaml"), *options])
    metrics = json.loads(out.splitlines()[-1])["metrics"]
    return metrics["train_runtime"], metrics["train_loss_last"]


def theirs(room: Path, method: str) -> tuple[float, float]:
    """The same of `trl METHOD`, read from what it prints."""
    import trl

    script = Path(trl.__file__).parent / "scripts" / f"{method}.py"
    out = run([sys.executable, str(script), "--config", str(room / f"trl-{method}.yaml")])
    losses = re.findall(r"'loss': '?([\d.e+-]+)", out)
    (runtime,) = re.findall(r"'train_runtime': '?([\d.e+-]+)", out)
    return float(runtime), float(losses[-1])


def n_tokens(room: Path, method: str, steps: int) -> int:
    """Tokens of all sequences that so many steps train (of a preference both)."""
    from transformers import AutoTokenizer

    from trainers.data import load_rows, parts

    tokenizer = AutoTokenizer.from_pretrained(room / "base")
    rows = load_rows(room / "data", "dpo").train
    sides = 1 if method == "sft" else 2
    told = [
        len(tokenizer.apply_chat_template(parts(row)[0] + answer, return_dict=False)) for row in rows for answer in parts(row)[1][:sides]
    ]
    return round(sum(told) / len(rows) * 8 * steps)


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--method", choices=["sft", "dpo"], action="append")
    asked = parser.parse_args()
    before = os.getloadavg()[0]
    lines = ["| command | tokens/s here | tokens/s trl | ratio, median (rounds) | last loss, here and trl |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        prepare(room, asked.steps)
        for method in asked.method or ["sft", "dpo"]:
            trl_config(room, method)
            tokens, times, last = n_tokens(room, method, asked.steps), {"here": [], "trl": []}, {}
            for number in range(asked.rounds):
                order = [("here", ours), ("trl", theirs)]
                for name, measure in order if number % 2 == 0 else reversed(order):
                    took, last[name] = measure(room, method)
                    times[name].append(took)
            ratios = [theirs_s / ours_s for ours_s, theirs_s in zip(times["here"], times["trl"], strict=True)]
            speeds = [f"{tokens / statistics.median(times[name]):,.0f}" for name in ("here", "trl")]
            told = f"{statistics.median(ratios):.3f} ({', '.join(f'{ratio:.3f}' for ratio in ratios)})"
            lines.append(f"| {method} | {' | '.join(speeds)} | {told} | {last['here']:.4f}, {last['trl']:.4f} |")
    load = f"load {before:.1f} before, {os.getloadavg()[0]:.1f} after, {os.cpu_count()} cores"
    sys.stdout.write("\n".join([*lines, "", f"{asked.rounds} rounds of {asked.steps} steps; {load}."]) + "\n")


if __name__ == "__main__":
    main()
