"""What is judged: the answers of a run with its targets, LLMFAO's recorded answers where people voted, and nobody against himself."""

import csv
import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from model_server import ModelServer, sse

from evals.errors import JudgeError
from evals.judging.answers import Sources, find_contests
from evals.judging.judgments import read_judgments
from evals.runs import RunFiles
from serving.endpoints import register
from serving.recorded import load_recording

Evals = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[2]
RECORDING = ROOT / "serving" / "recordings" / "llmfao.jsonl.gz"
PROMPTS = ROOT / "arena" / "data" / "llmfao-prompts.jsonl"


def longer(body: dict[str, Any]) -> list[bytes]:
    """A judge that votes for length, whatever the order."""
    text = body["messages"][1]["content"]
    first, second = re.findall(r"\[The Start of Assistant [AB]'s Answer\]\n(.*?)\n\[The End of Assistant [AB]", text, re.DOTALL)
    return sse("[[C]]" if len(first) == len(second) else "[[A]]" if len(first) > len(second) else "[[B]]")


@pytest.fixture
def votes(tmp_path: Path) -> Path:
    """The first 300 votes that people cast on LLMFAO's answers, in the columns of a votes file."""
    path = tmp_path / "people.csv"
    winners = {"left": "model_a", "right": "model_b", "tie": "tie"}
    with gzip.open(ROOT / "arena" / "data" / "llmfao-votes.csv.gz", "rt") as source, path.open("w", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(("model_a", "model_b", "winner", "voter_id", "prompt_id"))
        for _, row in zip(range(300), csv.DictReader(source), strict=False):
            writer.writerow((row["left"], row["right"], winners[row["winner"]], row["worker"], row["prompt"]))
    return path


def test_a_judge_is_calibrated_on_the_battles_that_people_voted_on(
    evals: Evals, results: Path, votes: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ModelServer(longer) as server:
        register(server.endpoint("judge"), results)
        options = ("--recording", RECORDING, "--prompts", PROMPTS, "--votes", votes, "--results", results)
        code, out, err = evals("judge", "--judge", "judge", *options, "--json")
        assert code == 0, err
        asked = len(server.requests)
    document = json.loads(out.splitlines()[-1])
    judgments = read_judgments(Path(document["file"]))
    with votes.open() as file:
        battles = {(*sorted((row["model_a"], row["model_b"])), row["prompt_id"]) for row in csv.DictReader(file)}
    recorded = load_recording(RECORDING).by_content
    empty = {
        (model, line.request.messages[0].content)
        for model, lines in recorded.items()
        for (line,) in lines.values()
        if not line.text.strip()
    }
    texts = {str(row["id"]): row["text"] for row in map(json.loads, PROMPTS.read_text().splitlines())}
    left_out = {battle for battle in battles if {(battle[0], texts[battle[2]]), (battle[1], texts[battle[2]])} & empty}
    battles -= left_out
    assert left_out and f"{len(left_out)} of {len(battles) + len(left_out)} battles are left out" in caplog.text
    assert {(*sorted((one.model_a, one.model_b)), one.prompt_id) for one in judgments} == battles
    assert asked == 2 * len(battles) == 2 * document["n_battles"]
    calibration = document["calibration"]
    assert calibration["n_votes"] == 300 > calibration["n_shared_votes"] and calibration["n_shared_battles"] == len(battles)
    # This judge is "the longer answer", so it agrees with people exactly as much as that does.
    assert calibration["judge"] == calibration["longer_answer"] and document["longer_won"]["value"] == 1
    code, out, _ = evals("calibrate", document["judgments_id"], votes, "--results", results)
    assert code == 0 and "judge judge: " in out and "the longer answer: " in out


def test_the_answers_of_a_run_are_judged_with_their_targets(demo: RunFiles, evals: Evals) -> None:
    results = demo.folder.parents[1]
    sources = Sources(runs=(demo.run.run_id,), pairs=("gpt-4-0613,gpt-4-0314",), references=True, limit=5)
    contests = find_contests(sources, results)
    assert [(one.model_a, one.model_b) for one in contests] == [("gpt-4-0613", "gpt-4-0314")] * 5
    sample = next(one for one in demo.samples if f"{one.task}:{one.doc_id}" == contests[0].question.prompt_id)
    assert contests[0].question.reference == (str(sample.target),) and sample.task == "prime"
    with ModelServer(longer) as server:
        register(server.endpoint("judge"), results)
        code, out, err = evals(
            "judge", "--judge", "judge", "--run", demo.run.run_id, "--pairs", "gpt-4-0613,gpt-4-0314", "--references", "--limit", "5",
            "--results", results, "--json",
        )  # fmt: skip
        assert code == 0, err
    assert "[The Start of Reference Answer]" in server.requests[0]["messages"][1]["content"]
    # gpt-4-0314 reasons at length and gpt-4-0613 says yes or no.
    (pair,) = json.loads(out.splitlines()[-1])["pairs"]
    assert (pair["wins_b"], pair["n"]) == (5, 5)


def test_without_pairs_everybody_meets_everybody_on_every_shared_question() -> None:
    contests = find_contests(Sources(recording=RECORDING, prompts=PROMPTS, limit=2000), Path("nowhere"))
    assert len(contests) == 2000 and all(one.model_a != one.model_b for one in contests)
    assert len({(one.question.prompt_id, *sorted((one.model_a, one.model_b))) for one in contests}) == 2000


def test_sources_that_say_nothing_or_too_much_are_refused(tmp_path: Path) -> None:
    for sources in (Sources(), Sources(runs=("a",), recording=RECORDING)):
        with pytest.raises(JudgeError, match="--run RUN, or --recording FILE"):
            find_contests(sources, tmp_path)
    votes = tmp_path / "votes.csv"
    votes.write_text("model_a,model_b,winner,prompt_id\nnobody,no one,tie,8\n")
    with pytest.raises(JudgeError, match="none of its battles has both answers here"):
        find_contests(Sources(recording=RECORDING, prompts=PROMPTS, votes=votes), tmp_path)
