"""Is the harness quick? `evals run` and lm-eval's own API models, the same task from the same server at the same concurrency, in one run.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install -c constraints.txt "lm_eval[api]"      # once
    python benchmarks/harness.py --peer-env /tmp/peers --repeats 3 --json harness.json             # some three minutes

The server answers each chat after a fixed service time, so that what differs is the harness. Wall time is that of the whole command, from
its start to its end; CPU is user + system time of its process. "First request" is the moment the server got it. lm-eval runs as people
run it: `lm_eval --model local-chat-completions --model_args num_concurrent=64 …` with the same YAML task.
"""

import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TASK = """\
task: sums
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["###"], temperature: 0.0, max_gen_toks: 8, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""


class Server(threading.Thread):
    """Answers every chat, streamed or whole, after `service_s`, in a process-wide thread of its own; counts and times what it is asked."""

    def __init__(self, service_s: float) -> None:
        super().__init__(daemon=True)
        self.service_s, self.first_s, self.count, self.most, self.busy = service_s, 0.0, 0, 0, 0
        self.ready = threading.Event()

    def run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]) if b"ontent-" in head else 0
                body = json.loads(await reader.readexactly(length) or b"{}")
                self.first_s = self.first_s or time.time()
                self.count += 1
                self.busy += 1
                self.most = max(self.most, self.busy)
                await asyncio.sleep(self.service_s)
                self.busy -= 1
                writer.write(answer(body))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


def answer(body: dict[str, Any]) -> bytes:
    """The sum that was asked for, in the form that was asked for."""
    text = str(2 * int(body["messages"][-1]["content"].split()[0]))
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    if not body.get("stream"):
        message = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        content, kind = json.dumps({"choices": [message], "usage": usage}).encode(), b"application/json"
    else:
        events: list[Any] = [{"choices": [{"index": 0, "delta": {"content": text}}]}]
        events += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, {"choices": [], "usage": usage}]
        content = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"
        kind = b"text/event-stream"
    return b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (kind, len(content)) + content


def commands(folder: Path, port: int, concurrency: int, peers: Path) -> dict[str, list[str]]:
    """Both tools as a person would call them."""
    bin_folder = Path(sys.executable).parent
    theirs = (
        f"model=m,base_url=http://127.0.0.1:{port}/v1/chat/completions,num_concurrent={concurrency},max_retries=3,tokenized_requests=False"
    )
    return {
        "evals run": [str(bin_folder / "evals"), "run", str(folder / "suite.yaml"), "--results", str(folder / "results"), "--json"],
        "lm_eval": [
            *[str(peers / "lm_eval"), "--model", "local-chat-completions", "--model_args", theirs, "--apply_chat_template"],
            *["--include_path", str(folder), "--tasks", "sums", "--output_path", str(folder / "theirs"), "--log_samples"],
        ],
    }


def measure(name: str, command: list[str], server: Server, requests: int) -> dict[str, float]:
    """One command, whole: seconds and CPU, of which per request what lies between it and a run of no requests is not told apart."""
    server.first_s, server.count, server.most = 0.0, 0, 0
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began, began_s = time.time(), time.perf_counter()
    environment = {
        **os.environ,
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "OPENAI_API_KEY": "none",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    wall_s = time.perf_counter() - began_s
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode or server.count < requests:
        sys.exit(f"{name} failed ({done.returncode}, {server.count} requests): {done.stderr[-2000:]}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": wall_s, "first_request_s": server.first_s - began, "cpu_s": cpu_s, "most_in_flight": server.most}


def write_house(folder: Path, port: int, requests: int, concurrency: int) -> None:
    """The task, the suite and the endpoint."""
    rows = ({"question": f"{number} + {number} =", "answer": str(2 * number)} for number in range(requests))
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "sums.yaml").write_text(TASK.replace("DATA", str(folder / "sums.jsonl")))
    (folder / "suite.yaml").write_text(f"name: sums\ntasks: [sums.yaml]\nendpoints: [paced]\nconcurrency: {concurrency}\n")
    (folder / "results" / "endpoints").mkdir(parents=True, exist_ok=True)
    endpoint = {"id": "paced", "wire": "openai", "model": "m", "base_url": f"http://127.0.0.1:{port}/v1"}
    (folder / "results" / "endpoints" / "paced.yaml").write_text(json.dumps(endpoint))


def main() -> None:
    """Measure in turn, print the table."""
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--service-s", type=float, default=0.1)
    parser.add_argument("--peer-env", type=Path, required=True, help="virtual environment with lm_eval[api]")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    server = Server(options.service_s)
    server.start()
    server.ready.wait(10)
    rounds: dict[str, list[dict[str, float]]] = {}
    for number in range(options.repeats):
        for requests in (options.requests, 1):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                write_house(folder, server.port, requests, options.concurrency)
                for tool, command in commands(folder, server.port, options.concurrency, options.peer_env / "bin").items():
                    found = measure(tool, command, server, requests)
                    rounds.setdefault(f"{tool}/{requests}", []).append(found)
                    sys.stderr.write(f"round {number + 1}: {tool}, {requests} requests: {found}\n")
    if options.json:
        options.json.write_text(json.dumps(rounds, indent=1))
    sys.stdout.write(report(rounds, options.requests, options.concurrency, options.service_s) + "\n")


def report(rounds: dict[str, list[dict[str, float]]], requests: int, concurrency: int, service_s: float) -> str:
    """The medians as Markdown; CPU per request is the difference to a run of one request, so that imports drop out."""

    def median(tool: str, count: int, key: str) -> float:
        return statistics.median(one[key] for one in rounds[f"{tool}/{count}"])

    ideal_s = requests * service_s / concurrency
    lines = [
        f"{requests:,} requests of {service_s:g} s each, {concurrency} at once: {ideal_s:.2f} s if nothing were lost.",
        "",
        "| command | wall | first request after | most in flight | CPU per request beyond the start |",
        "|---|---:|---:|---:|---:|",
    ]
    for tool in ("evals run", "lm_eval"):
        cpu_ms = (median(tool, requests, "cpu_s") - median(tool, 1, "cpu_s")) / (requests - 1) * 1000
        cells = f"{median(tool, requests, 'wall_s'):.2f} s | {median(tool, requests, 'first_request_s'):.2f} s"
        lines.append(f"| `{tool}` | {cells} | {median(tool, requests, 'most_in_flight'):.0f} | {cpu_ms:.2f} ms |")
    ratio = median("evals run", requests, "wall_s") / median("lm_eval", requests, "wall_s")
    return "\n".join([*lines, "", f"Wall time of `evals run` over lm-eval's: {ratio:.2f}. Load average {os.getloadavg()[0]:.1f}."])


if __name__ == "__main__":
    main()
