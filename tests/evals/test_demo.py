"""The demo reproduces what others published, verdict by verdict, from the shipped recordings alone."""

import csv
import gzip
import json
from pathlib import Path

import pytest

from evals.measures import measures
from evals.runs import RunFiles
from evals.task_files import TASKS
from serving.endpoints import CATALOGUE, load_endpoints

DATA = Path(__file__).parents[2].parent / "shared" / "data"
RECORDINGS = CATALOGUE.parent / "recordings"
PUBLISHED_GSM8K = {"6b-finetuning": 286, "6b-verification": 515, "175b-finetuning": 458, "175b-verification": 742}
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the originals are not at {DATA}")


def lines(path: Path) -> list[dict[str, object]]:
    opened = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")
    with opened as file:
        return [json.loads(line) for line in file]


@pytest.mark.parametrize(("name", "correct"), PUBLISHED_GSM8K.items())
def test_gsm8k_gives_the_published_accuracies(demo: RunFiles, name: str, correct: int) -> None:
    samples = [sample for sample in demo.samples if sample.endpoint == f"gsm8k-{name}"]
    assert (len(samples), sum(sample.verdict == "correct" for sample in samples)) == (1319, correct)
    (score,) = [score for score in demo.scores if (score.endpoint, score.metric) == (f"gsm8k-{name}", "exact_match")]
    assert score.value == pytest.approx(correct / 1319, abs=1e-12)
    assert (score.n, score.n_failed, score.coverage) == (1319, 0, 1.0)


@needs_data
def test_every_one_of_the_5276_gsm8k_verdicts_is_openais(demo: RunFiles) -> None:
    published = lines(DATA / "gsm8k" / "example_model_solutions.jsonl")
    ours = {(sample.endpoint, sample.doc_id): sample.verdict == "correct" for sample in demo.samples if sample.task == "gsm8k"}
    theirs = {
        (f"gsm8k-{name}", number): row[name.replace("-", "_")]["is_correct"]  # type: ignore[index]
        for number, row in enumerate(published)
        for name in PUBLISHED_GSM8K
    }
    assert len(theirs) == 5276
    assert ours == theirs


@pytest.mark.parametrize(
    ("endpoint", "accuracy", "latency_s", "tokens", "dollars"),
    [("gpt-4-0314", 0.840, 6.70, 215.4, 13.83), ("gpt-4-0613", 0.511, 1.46, 2.9, 1.07)],
)
def test_prime_gives_the_drift_of_gpt_4(
    demo: RunFiles, endpoint: str, accuracy: float, latency_s: float, tokens: float, dollars: float
) -> None:
    (score,) = [score for score in demo.scores if (score.endpoint, score.metric) == (endpoint, "exact_match")]
    (measure,) = [measure for measure in measures(demo) if measure.endpoint == endpoint]
    assert score.value == pytest.approx(accuracy, abs=1e-12)
    assert measure.latency_s_p50 == pytest.approx(latency_s, abs=0.005)
    assert measure.output_tokens_mean == pytest.approx(tokens, abs=0.05)
    assert measure.cost_usd_per_1000 == pytest.approx(dollars, abs=0.005)
    assert measure.n_requests == 1000


def test_unparsed_answers_are_wrong_and_counted(demo: RunFiles) -> None:
    unparsed = {measure.endpoint: measure.unparsed for measure in measures(demo) if measure.task == "prime"}
    assert unparsed == {"gpt-4-0314": 4, "gpt-4-0613": 0, "gpt-3.5-turbo-0301": 0, "gpt-3.5-turbo-0613": 47}
    assert sum(sample.verdict == "unparsed" for sample in demo.samples if sample.endpoint == "gpt-3.5-turbo-0613") == 47


def test_what_the_gsm8k_data_do_not_say_stays_unknown(demo: RunFiles) -> None:
    for measure in measures(demo):
        if measure.task == "gsm8k":
            assert (measure.latency_s_p50, measure.output_tokens_mean, measure.cost_usd_per_1000) == (None, None, None)
    (asked,) = {frozenset(completion.request.stated) for completion in demo.completions if completion.endpoint.startswith("gsm8k")}
    assert asked == frozenset()


def test_the_stated_price_of_gpt_4_is_what_the_recorded_dollars_say(demo: RunFiles) -> None:
    price = load_endpoints()["gpt-4-0613"].price
    assert price is not None and price.input_usd_per_mtok is not None and price.output_usd_per_mtok is not None
    for completion in demo.completions:
        if completion.endpoint == "gpt-4-0613":
            assert completion.usage.output_tokens is not None
            dollars = (30 * price.input_usd_per_mtok + completion.usage.output_tokens * price.output_usd_per_mtok) / 1e6
            assert completion.cost_usd == pytest.approx(dollars, abs=1e-12)


@needs_data
def test_the_shipped_gsm8k_is_the_original() -> None:
    assert (TASKS / "gsm8k" / "test.jsonl").read_bytes() == (DATA / "gsm8k" / "test.jsonl").read_bytes()
    recorded = {
        (line["endpoint"], line["request"]["messages"][0]["content"]): line["text"] for line in lines(RECORDINGS / "gsm8k.jsonl.gz")
    }  # type: ignore[index]
    original = {
        (f"gsm8k-{name}", row["question"]): row[name.replace("-", "_")]["solution"]  # type: ignore[index]
        for row in lines(DATA / "gsm8k" / "example_model_solutions.jsonl")
        for name in PUBLISHED_GSM8K
    }
    assert recorded == original


@needs_data
def test_the_shipped_prime_is_the_original() -> None:
    with (DATA / "llmdrift" / "PRIME_FULL_EVAL.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    recorded = [
        (
            line["endpoint"],
            line["request"]["messages"][0]["content"],  # type: ignore[index]
            line["text"],
            line["latency_s"],
            line["cost_usd"],
            line["usage"]["output_tokens"],  # type: ignore[index]
        )
        for line in lines(RECORDINGS / "llmdrift-prime.jsonl.gz")
    ]
    original = [
        (row["model"].split("/")[1], row["query"], row["answer"], float(row["latency"]), float(row["cost"]), int(row["answer_token"]))
        for row in rows
    ]
    assert sorted(recorded, key=str) == sorted(original, key=str)
    answers = {row["query"]: row["ref_answer"].lower() for row in rows}
    assert {item["question"]: item["answer"] for item in lines(TASKS / "prime" / "test.jsonl")} == answers
