"""Whole load tools under test: their command line, and where their records say what stream_clients.py says of a bare client.

    command = COMMANDS["aiperf"](url, Size(concurrency=64, requests=192, tokens=100), folder, python)
    requests, span_s = RECORDS["aiperf"](folder)                  # name -> (ttft_s, gaps_s)

A tool's start, its warm-up and its report are its own; the clock of the first request and the CPU count from the start of its command.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

# TTFT and the gaps between content chunks (seconds), by the request's name in the server's record or, without names, by order of sending.
Requests = dict[str, tuple[float, list[float]]]

TOKENIZER = """
import sys
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
raw = Tokenizer(models.BPE())
raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
letters = pre_tokenizers.ByteLevel.alphabet()
raw.train_from_iterator(["the"], trainers.BpeTrainer(special_tokens=["<end>"], initial_alphabet=letters, show_progress=False))
PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>", bos_token="<end>").save_pretrained(sys.argv[1])
"""


@dataclass(frozen=True)
class Size:
    """How much a tool is asked to do."""

    concurrency: int
    requests: int
    tokens: int


def aiperf_command(url: str, size: Size, folder: Path, python: Path) -> list[str]:
    """AIPerf on one worker and one record processor, as suits one core; it needs a tokenizer, which is made here (it has none offline)."""
    tokenizer = folder.parent / "tokenizer"
    if not tokenizer.exists():
        subprocess.run([python, "-c", TOKENIZER, tokenizer], check=True, capture_output=True)
    options = {
        "model": "paced", "endpoint-type": "chat", "url": url, "tokenizer": tokenizer, "ui": "none", "export-level": "records",
        "concurrency": size.concurrency, "request-count": size.requests, "warmup-request-count": size.concurrency,
        "synthetic-input-tokens-mean": 100, "workers-max": 1, "record-processors": 1, "output-artifact-dir": folder,
    }  # fmt: skip
    stated = [text for key, value in options.items() for text in (f"--{key}", str(value))]
    return [str(python.parent / "aiperf"), "profile", "--streaming", "--use-server-token-count", *stated]


def aiperf_records(folder: Path) -> tuple[Requests, float]:
    """What AIPerf wrote of each request after its warm-up, and seconds from the first start to the last end."""
    lines = (folder / "profile_export.jsonl").read_text(encoding="utf-8").splitlines()
    records = [record for record in map(json.loads, lines) if record["metadata"]["benchmark_phase"] == "profiling"]
    requests = {}
    for record in records:
        gaps = record["metrics"].get("inter_chunk_latency", {"value": []})["value"]
        ttft_ms = record["metrics"]["time_to_first_token"]["value"]
        requests[record["metadata"]["x_request_id"]] = (ttft_ms / 1e3, [gap_ms / 1e3 for gap_ms in gaps])
    starts = [record["metadata"]["request_start_ns"] for record in records]
    return requests, (max(record["metadata"]["request_end_ns"] for record in records) - min(starts)) / 1e9


def evals_load_command(url: str, size: Size, folder: Path, python: Path) -> list[str]:
    """`evals load` on one process."""
    options = {
        "base-url": f"{url}/v1", "model": "paced", "concurrency": size.concurrency, "requests": size.requests, "processes": 1,
        "ramp-in": 0, "warmup": size.concurrency, "input-tokens": 100, "output-tokens": size.tokens, "out": folder,
    }  # fmt: skip
    return [str(python), "-m", "evals.cli", "load", *(text for key, value in options.items() for text in (f"--{key}", str(value)))]


def evals_load_records(folder: Path) -> tuple[Requests, float]:
    """The samples after the warm-up, in the order in which they were sent."""
    lines = (folder / "load.jsonl").read_text(encoding="utf-8").splitlines()
    samples = sorted((sample for sample in map(json.loads, lines) if sample["phase"] != "warmup"), key=lambda sample: sample["sent_s"])
    requests = {}
    for number, sample in enumerate(samples):
        times = sample["chunk_times_s"]
        requests[str(number)] = (sample["ttft_s"], [after - before for before, after in zip(times, times[1:], strict=False)])
    return requests, max(sample["sent_s"] + sample["latency_s"] for sample in samples) - samples[0]["sent_s"]


COMMANDS = {"aiperf": aiperf_command, "evals load": evals_load_command}
RECORDS = {"aiperf": aiperf_records, "evals load": evals_load_records}
