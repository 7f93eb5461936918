"""How exact is the stopwatch? Our client and its peers against one server that knows when it really wrote each token.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install "httpx==0.28.*" aiohttp openai uvloop aiperf      # once
    python benchmarks/load_accuracy.py --peer-env /tmp/peers --json accuracy.json                             # about half an hour
    python benchmarks/load_accuracy.py --clients ours --concurrency 256 --repeats 1                           # half a minute

One core for the server (tests/paced_server.py), one for the client, rounds interleaved, medians over rounds. A TTFT error is what the
client measured minus what the server's own record says of that same request (from the kernel's receipt of its last byte to the write of the
first token); a gap error is |gap the client saw - gap the server wrote| of the same two chunks. CPU is user + system time of the client per
token, parsing included. On a machine that others use too, --priority (as root) gives server and clients the first right to their cores, so
that what is measured is the client and not the neighbours.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from one_cell import CLIENTS, OWN, ClientFailed, Figures, Setup, one_token, streams  # noqa: E402
from whole_tools import COMMANDS  # noqa: E402

RATE = "one token"
TITLES = {
    "ours": "**`Client.exchange`**", "evals load": "**`evals load`**", "aiohttp": "aiohttp", "httpx": "httpx",
    "openai": "openai AsyncOpenAI", "aiperf": "AIPerf", "floor": "(bare asyncio.Protocol)",
}  # fmt: skip
HEADS = {
    "streams": "| client | TTFT error p50 | p99 | chunk-gap error p99 | requests/s | CPU per token | of it kernel | server late p99 |",
    "rate": "| client | one-token requests/s | with parsing | CPU per request | server's share of its core | start to first request |",
    "ratios": "| client | TTFT error p50 | p99 | chunk-gap error p99 | CPU per token | one-token rate |",
}
PACKAGES = {"aiohttp": "aiohttp", "httpx": "httpx", "openai": "openai", "aiperf": "aiperf"}

# client -> workload (a number of streams, or RATE) -> figures
Table = dict[str, dict[str, Figures]]


def main() -> None:
    """Measure, then print the tables."""
    options = read_options()
    peers = options.peer_env / "bin" / "python" if options.peer_env else Path(sys.executable)
    setup = Setup(peers=peers, server_core=options.cores[0], client_core=options.cores[1], rounds=options.rounds, priority=options.priority)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.strftime("%Y-%m-%d %H:%M")
    versions, missing = versions_of(options.clients, setup)
    rounds, failed = measure([client for client in options.clients if client not in missing], options, setup)
    missing |= failed
    medians: Table = {
        client: {work: {key: statistics.median(one[key] for one in many) for key in many[0]} for work, many in found.items()}
        for client, found in rounds.items()
    }
    conditions = f"{began}, {options.repeats} rounds, {'highest' if options.priority else 'ordinary'} priority, {machine()}"
    sys.stdout.write("\n".join(report(medians, options, versions, missing, conditions)) + "\n")
    if options.json:
        told = {"conditions": conditions, "versions": versions, "medians": medians, "rounds": rounds, "missing": missing}
        options.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def read_options() -> Namespace:
    parser = ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", nargs="+", choices=CLIENTS, default=list(CLIENTS), metavar="NAME", help=", ".join(CLIENTS))
    parser.add_argument("--concurrency", nargs="*", type=int, default=[1, 64, 256], metavar="C", help="streams at once")
    parser.add_argument("--repeats", type=int, default=3, help="interleaved rounds, of which the medians are told")
    parser.add_argument("--rounds", type=int, default=3, help="answers each stream asks for in a round")
    parser.add_argument("--peer-env", type=Path, help="virtual environment with the peers (default: this interpreter's)")
    parser.add_argument("--cores", nargs=2, type=int, default=[0, 1], metavar=("SERVER", "CLIENT"))
    parser.add_argument("--priority", action="store_true", help="server and clients go before everybody else (root)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every round's figures there")
    return parser.parse_args()


def measure(clients: list[str], options: Namespace, setup: Setup) -> tuple[dict[str, dict[str, list[Figures]]], dict[str, str]]:
    """Every round's figures, and why a client has none (or no more)."""
    found: dict[str, dict[str, list[Figures]]] = {}
    failed: dict[str, str] = {}
    for turn in range(options.repeats):
        for work in [*map(str, options.concurrency), RATE]:
            for client in clients:
                if client in failed:
                    continue
                try:
                    figures = one_token(client, setup) if work == RATE else streams(client, int(work), setup)
                except ClientFailed as error:
                    failed[client] = f"at {work}: {error}"
                    sys.stderr.write(f"{client} failed {failed[client]}\n")
                    continue
                found.setdefault(client, {}).setdefault(work, []).append(figures)
                short = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
                sys.stderr.write(f"round {turn + 1} of {options.repeats}: {client} at {work}: {short}\n")
    return found, failed


def versions_of(clients: list[str], setup: Setup) -> tuple[dict[str, str], dict[str, str]]:
    """The version of each peer, and why the others are left out."""
    versions, missing = {}, {}
    for client in clients:
        if client in OWN:
            continue
        command = [setup.peers, "-c", f"from importlib.metadata import version; print(version('{PACKAGES[client]}'))"]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except OSError as error:
            missing[client] = f"no interpreter at {setup.peers}: {error.strerror}"
            continue
        if done.returncode:
            missing[client] = f"{PACKAGES[client]} is not installed in the environment of {setup.peers}; see --peer-env"
        else:
            versions[client] = done.stdout.strip()
    return versions, missing


def machine() -> str:
    """The processor and the kernel, as far as they say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = "unknown processor"
    return (
        f"{os.cpu_count()} cores of {processor}, {os.uname().sysname} {os.uname().release.split('-')[0]}, Python {sys.version.split()[0]}"
    )


def report(medians: Table, options: Namespace, versions: dict[str, str], missing: dict[str, str], conditions: str) -> list[str]:
    """The tables in Markdown."""
    shown = [client for client in options.clients if client in medians]
    lines: list[str] = []
    for count in map(str, options.concurrency):
        ideal = int(count) / 1.04
        title = f"{count} streams × 100 tokens at 100 tokens/s (true TTFT 50 ms; {ideal:.3g} requests/s would be ideal)"
        lines += [title, "", *_head("streams")]
        for client in shown:
            if one := medians[client].get(count):
                errors = [ms(one[key]) for key in ("ttft_error_p50_ms", "ttft_error_p99_ms", "gap_error_p99_ms")]
                cpu = f"{one['cpu_us_per_token']:.0f} µs | {one['kernel_us_per_token']:.0f} µs"
                cost = f"{one['requests_per_s']:.3g} | {cpu} | {ms(one['server_late_p99_ms'])}"
                lines.append(f"| {_title(client, versions)} | {' | '.join(errors)} | {cost} |")
        lines.append("")
    lines += ["One token, at once, 64 connections", "", *_head("rate")]
    for client in shown:
        one = medians[client].get(RATE)
        first_s = [found["first_request_s"] for found in medians[client].values() if "first_request_s" in found]
        if one:
            cost = f"{one['cpu_us_per_request']:,.0f} µs | {one['server_cpu_share']:.0%}"
            rates = f"{one['sent_per_s']:,.0f} | {one['requests_per_s']:,.0f}"
            lines.append(f"| {_title(client, versions)} | {rates} | {cost} | {_median(first_s):.2f} s |")
    lines.append("")
    if any(client in COMMANDS for client in shown):
        lines += ["CPU per request of a whole tool includes its start, its warm-up and its report.", ""]
    lines += [*ratios(medians, shown, options.concurrency, versions), "", f"Measured {conditions}."]
    averages = [one["load_average"] for found in medians.values() for one in found.values()]
    lines.append(f"Load average during the rounds: {min(averages, default=0):.1f} to {max(averages, default=0):.1f}.")
    return lines + [f"Left out: {client}, {reason}." for client, reason in missing.items()]


def ratios(medians: Table, shown: list[str], concurrency: list[int], versions: dict[str, str]) -> list[str]:
    """Every client's figures as multiples of ours."""
    if "ours" not in shown or not concurrency:
        return []
    most = str(max(concurrency))
    keys = ("ttft_error_p50_ms", "ttft_error_p99_ms", "gap_error_p99_ms", "cpu_us_per_token")
    lines = [f"Multiples of ours at {most} streams", "", *_head("ratios")]
    for client in shown:
        one, our = medians[client].get(most), medians["ours"].get(most)
        rate, our_rate = medians[client].get(RATE), medians["ours"].get(RATE)
        if one and our and rate and our_rate:
            cells = [f"{one[key] / our[key]:,.3g}×" for key in keys] + [f"{rate['sent_per_s'] / our_rate['sent_per_s']:.2g}×"]
            lines.append(f"| {_title(client, versions)} | {' | '.join(cells)} |")
    return lines


def ms(value: float) -> str:
    """Milliseconds to three digits, thousands without decimals."""
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def _title(client: str, versions: dict[str, str]) -> str:
    return f"{TITLES[client]} {versions.get(client, '')}".strip()


def _head(table: str) -> list[str]:
    return [HEADS[table], "|---" * (HEADS[table].count("|") - 1) + "|"]


def _median(values: list[float]) -> float:
    return statistics.median(values) if values else float("nan")


if __name__ == "__main__":
    main()
