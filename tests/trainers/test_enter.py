"""Who may enter the arena, how it is warmed up, which run of its base it is compared with, and that it leaves when its starter does."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from model_server import ModelServer, sse

from arena.pairing import Policy, WarmUp, choose_pair, read_policy
from arena.votes import Tally
from serving.endpoints import load_endpoints
from serving.engines import Options, up
from serving.errors import EngineFailed
from trainers.enter import base_run, check_gate, warm_up
from trainers.errors import GateRefused
from trainers.record import Training

REFUSED = {"verdict": "refused", "reasons": ["wins: none"]}


def test_only_what_passed_enters_unless_forced(tmp_path: Path, new_record: Callable[..., Training]):
    with pytest.raises(GateRefused, match="has not been through its gate"):
        check_gate(new_record(tmp_path), force=False)
    with pytest.raises(GateRefused, match=r"refused by its gate \(wins: none\)"):
        check_gate(new_record(tmp_path, gate=REFUSED), force=False)
    check_gate(new_record(tmp_path, gate=REFUSED), force=True)
    check_gate(new_record(tmp_path, gate={"verdict": "passed", "reasons": []}), force=False)


def test_a_refused_training_is_not_served_by_serving_up_either(tmp_path: Path, new_record: Callable[..., Training]):
    new_record(tmp_path / "trainings" / "t1", gate=REFUSED)
    merged = tmp_path / "trainings" / "t1" / "merged"
    merged.mkdir()
    (merged / "config.json").write_text("{}")
    with (
        pytest.raises(EngineFailed, match=r"refused this training \(wins: none\); --force"),
        up(merged, results=tmp_path, options=Options()),
    ):
        pass
    assert not list((tmp_path / "endpoints").glob("*.yaml"))


def test_the_arena_draws_a_newcomer_more_often_until_its_warm_up_is_over(tmp_path: Path):
    (tmp_path / "warmups").mkdir()
    (tmp_path / "warmups" / "long-ago.yaml").write_text("votes: 5\nboost: 2\nuntil: 2026-01-31\n")
    (tmp_path / "pairing.yaml").write_text("# ours\nkind: adaptive\n")
    last = datetime.now(UTC).date() + timedelta(days=3)
    assert warm_up(tmp_path, "t1", votes=50, boost=2, until=last).startswith("drawn 2 times as often until it has 50 votes, at most until ")
    assert (tmp_path / "pairing.yaml").read_text() == "# ours\nkind: adaptive\n"
    assert [path.name for path in (tmp_path / "warmups").iterdir()] == ["t1.yaml"]
    assert read_policy(tmp_path) == Policy(kind="adaptive", warmups={"t1": WarmUp(votes=50, boost=2, until=last)})
    assert read_policy(tmp_path, last + timedelta(days=1)) == Policy(kind="adaptive")
    tallies = [Tally("t1", "other", 30, 19, 1), Tally("other", "third", 90, 90, 0)]
    drawn = [choose_pair(["t1", "other", "third"], Random(1), read_policy(tmp_path), tallies=votes) for votes in (tallies[1:], tallies)]
    assert drawn[1] == choose_pair(["t1", "other", "third"], Random(1), Policy(kind="adaptive"), tallies=tallies) != drawn[0]


def test_who_warms_up_all_newcomers_is_not_contradicted(tmp_path: Path):
    (tmp_path / "pairing.yaml").write_text("warmup_votes: 30\n")
    assert "warmup_votes 30 as it was" in warm_up(tmp_path, "t1", votes=9, boost=9, until=date(2030, 1, 1))
    assert not (tmp_path / "warmups").exists()


def test_the_newest_finished_run_of_the_base_is_found(tmp_path: Path, new_record: Callable[..., Training]):
    def run(name: str, finished: str | None, model: str) -> None:
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        config = {"parts": [], "limit": 5, "endpoints": {"served-base": {"id": "served-base", "model": model}}}
        (folder / "run.json").write_text(json.dumps({"run_id": name, "suite": "demo", "finished_at": finished, "config": config}))

    made = new_record(tmp_path / "trainings" / "t1")
    assert base_run(made, tmp_path) is None
    run("20261101-a", "2026-11-01", "some/base")
    run("20261102-b", "2026-11-02", "some/base")
    run("20261103-c", None, "some/base")
    run("20261104-d", "2026-11-04", "other")
    assert base_run(made, tmp_path) == ("20261102-b", "served-base", 5)


def write_other(base: Path, folder: Path) -> Path:
    """Random weights of the base's shape that are not the base's."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

    torch.manual_seed(1)
    LlamaForCausalLM(AutoConfig.from_pretrained(base)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def enter_in_a_process(results: Path, *more: str) -> "subprocess.Popen[str]":
    """`trainers enter t1` as a user runs it, once it says that it is in the arena."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    line = [sys.executable, "-m", "trainers.cli", "enter", "t1", "--results", str(results), *more]
    process = subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = []
    for told in process.stderr:
        said.append(told)
        if told.startswith("in the arena"):
            return process
    raise AssertionError("".join(said))


def processes_on(folder: Path) -> list[int]:
    """Pids of the processes, defunct ones left out, whose command line names something in `folder`."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and os.fsencode(folder) in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            # Ended meanwhile.
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["terminated", "killed"])
def test_no_engine_outlives_what_entered_it(results: Path, base: Path, new_record: Callable[..., Training], number: signal.Signals):
    new_record(results / "trainings" / "t1", base=str(base), n_test=0, gate={"verdict": "passed", "reasons": []})
    write_other(base, results / "trainings" / "t1" / "merged")
    process = enter_in_a_process(results)
    try:
        assert "t1" in load_endpoints(results) and len(processes_on(results)) >= 4
        assert read_policy(results).warmups["t1"].votes == 100
    finally:
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == (0 if number is signal.SIGTERM else -number)
    limit = time.monotonic() + 30
    while processes_on(results):
        assert time.monotonic() < limit, "the engine lives on"
        time.sleep(0.1)
    assert "t1" not in load_endpoints(results)
    # Who was killed leaves it, without an endpoint and until its last day.
    assert ("t1" in read_policy(results).warmups) is (number is signal.SIGKILL)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_an_engine_that_serves_the_base_is_found_out(tmp_path: Path, base: Path):
    from transformers import AutoTokenizer

    from trainers.answers import load, sample
    from trainers.canary import check_endpoint
    from trainers.errors import AdapterInactive

    other = write_other(base, tmp_path / "other")
    prompts = [[{"role": "user", "content": text}] for text in ("How do I bake bread?", "Hello")]

    def answers(folder: Path) -> dict[str, str]:
        said = sample(load(str(folder)), AutoTokenizer.from_pretrained(base), prompts, max_tokens=48, temperature=0, seed=0)
        return {prompt[0]["content"]: answer.text for prompt, answer in zip(prompts, said, strict=True)}

    for folder, honest in ((other, True), (base, False)):
        known = answers(folder)
        with ModelServer(lambda body, known=known: sse(known[body["messages"][-1]["content"]])) as server:
            endpoint = server.endpoint("challenger")
            if honest:
                assert "2 of 2 canary answers" in check_endpoint(endpoint, base, other, prompts)
            else:
                with pytest.raises(AdapterInactive, match="only 0 of 2 .*it serves the base"):
                    check_endpoint(endpoint, base, other, prompts)
