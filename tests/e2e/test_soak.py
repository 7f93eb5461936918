"""Memory of an arena that is voted on and on: what every visitor leaves behind is little, and threads and files are given back."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(1800)
def test_visitors_leave_little_behind(tmp_path: Path):
    """900 visitors of one battle each, judged once Streamlit holds as many closed sessions as it will (128).

    What a battle may leave in the store is what waits in its log until it is written to the file (benchmarks/README.md): some 10 kB. The
    rest still settles by some 20; a page's session has 160.
    """
    found = tmp_path / "soak.json"
    options = ["--phases", "soak", "--soak-battles", "900", "--warm-up", "400", "--per-session", "1", "--allowed-kb", "30"]
    options += ["--allowed-store-kb", "15"]
    command = [sys.executable, str(ROOT / "benchmarks" / "arena_load.py"), *options, "--json", str(found)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1700)
    assert ended.returncode == 0, ended.stderr[-2000:]
    samples = json.loads(found.read_text())["this checkout"]["soak"]["samples"]
    warm = [sample for sample in samples if sample["battles"] >= 400]
    half = len(warm) // 2
    for name in ("threads", "files"):
        assert max(sample[name] for sample in warm[half:]) <= max(sample[name] for sample in warm[:half]) + 16, name
