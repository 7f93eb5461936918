"""KTO, reward model, GRPO, RLOO and self-training, for real on a tiny model: each moves what it should move."""

import json
from pathlib import Path
from typing import Any

import pytest
from model_server import ModelServer, sse

from serving.endpoints import register
from trainers.data import for_kto
from trainers.errors import DataError, RecipeError, TrainersError
from trainers.grpo import grpo, rloo
from trainers.kto import kto, weigh
from trainers.recipe import Method, Recipe, read_recipe
from trainers.record import Training, find_training
from trainers.reward import load_scorer, reward, scores
from trainers.rewards import grade_in, read_rewards
from trainers.selftrain import keep_best, self_train
from trainers.sft import sft

# Deprecations inside trl, peft and transformers that only their next releases can mend.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def rows_of(votes: Path, name: str = "train.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (votes / name).read_text().splitlines()]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


QUICK = "per_device_train_batch_size: 8\nseed: 1\n"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, base: Path, votes: Path) -> tuple[Path, str]:
    """(results, id of a model that answers gladly about half of the time)."""
    room = tmp_path_factory.mktemp("methods")
    rows = rows_of(votes)
    both = [{"prompt": row["prompt"], "completion": row[side]} for row in rows for side in ("chosen", "rejected")]
    (room / "both").mkdir()
    write_rows(room / "both" / "train.jsonl", both)
    recipe = room / "sft.yaml"
    recipe.write_text(f"model_name_or_path: {base}\nlearning_rate: 5e-3\nnum_train_epochs: 6\nmax_length: 256\n{QUICK}")
    return room / "results", sft(read_recipe(recipe, "sft", data=room / "both"), room / "results").training_id


def recipe_of(tmp_path: Path, method: Method, model: object, data: Path, text: str) -> Recipe:
    path = tmp_path / f"{method}.yaml"
    path.write_text(f"model_name_or_path: {model}\n{QUICK}{text}")
    return read_recipe(path, method, data=data)


def test_kto_makes_good_answers_likelier_than_bad_ones(house: tuple[Path, str], votes: Path, tmp_path: Path):
    results, model = house
    text = "learning_rate: 1e-3\nnum_train_epochs: 3\nmax_length: 256\nuse_peft: true\nlora_target_modules: all-linear\nmerge: false\n"
    metrics = kto(recipe_of(tmp_path, "kto", model, votes, text), results).metrics
    assert metrics["n_good"] == metrics["n_bad"] == 35 and metrics["trained_rows"] == 70
    assert metrics["eval_rewards/chosen"] > metrics["eval_rewards/rejected"] + 0.1
    assert metrics["eval_logps/chosen"] - metrics["eval_logps/rejected"] > 1 + (
        metrics["eval_logps/chosen_before"] - metrics["eval_logps/rejected_before"]
    )


def test_kto_weighs_the_rarer_side_up_and_refuses_one_side_alone(base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    rows = [{"prompt": [], "completion": [], "label": number < 3} for number in range(12)]
    recipe = recipe_of(tmp_path, "kto", base, tmp_path, "")
    assert weigh(recipe, rows) == {"n_good": 3, "n_bad": 9, "desirable_weight": 3.0, "undesirable_weight": 1.0}
    assert recipe.training.desirable_weight == 3.0 and not caplog.records
    assert weigh(recipe_of(tmp_path, "kto", base, tmp_path, "desirable_weight: 1.0\n"), rows)["desirable_weight"] == 1.0
    assert "ratio 0.33, outside 1 to 1.33; set desirable_weight: 3" in caplog.text
    with pytest.raises(DataError, match="all 3 answers are good: kto learns from the difference"):
        weigh(recipe, rows[:3])


def test_rows_of_an_export_for_kto_are_read_as_they_are(votes: Path, tmp_path: Path):
    from trainers.data import load_rows

    row = rows_of(votes)[0]
    write_rows(tmp_path / "train.jsonl", [{"prompt": row["prompt"], "completion": row["chosen"], "label": True, "vote_id": "v"}])
    assert for_kto(load_rows(tmp_path, "kto").train) == [{"prompt": row["prompt"], "completion": row["chosen"], "label": True}]
    write_rows(tmp_path / "train.jsonl", [{"prompt": row["prompt"], "completion": row["chosen"], "label": "yes"}])
    with pytest.raises(DataError, match=r"train\.jsonl:1: label: must be true \(a good answer\) or false \(got 'yes'\)"):
        load_rows(tmp_path, "kto")
    together = for_kto(load_rows(votes, "kto").train, seed=3)
    assert len(together) == 70 and sum(one["prompt"] == other["prompt"] for one, other in zip(together, together[1:], strict=False)) < 10


@pytest.fixture(scope="module")
def scorer(house: tuple[Path, str], votes: Path, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A reward model of the votes, LoRA."""
    results, model = house
    text = "learning_rate: 2e-3\nnum_train_epochs: 4\nmax_length: 256\nuse_peft: true\nlora_target_modules: all-linear\n"
    return reward(recipe_of(tmp_path_factory.mktemp("reward"), "reward", model, votes, text), results)


def test_a_reward_model_ranks_held_out_answers_and_scores_from_its_folder(house: tuple[Path, str], scorer: Training, votes: Path):
    from transformers import AutoTokenizer

    metrics = scorer.metrics
    assert metrics["eval_accuracy"] == 1.0 and metrics["eval_margin"] > max(1.0, 3 * abs(metrics["eval_margin_before"]))
    assert metrics["adapter_shift"] > 0.1 and metrics["merge_error"] < 1e-3
    folder = house[0] / "trainings" / scorer.training_id / "merged"
    rows = rows_of(votes, "test.jsonl")
    model, tokenizer = load_scorer(folder), AutoTokenizer.from_pretrained(folder)
    good, bad = (scores(model, tokenizer, [row["prompt"] + row[side] for row in rows], batch=2) for side in ("chosen", "rejected"))
    assert all(one > other for one, other in zip(good, bad, strict=True))
    # TRL's own figure over the same rows: what is saved scores as what was trained.
    margin = sum(one - other for one, other in zip(good, bad, strict=True)) / len(rows)
    assert margin == pytest.approx(metrics["eval_margin"], rel=1e-2)


SAMPLED = (
    "learning_rate: 2e-3\nnum_generations: 8\nmax_completion_length: 16\nmax_steps: 10\nuse_peft: true\n"
    "lora_target_modules: all-linear\nmerge: false\nper_device_eval_batch_size: 8\n"
)


@pytest.mark.slow
def test_grpo_raises_the_reward_of_unseen_prompts(house: tuple[Path, str], scorer: Training, votes: Path, tmp_path: Path):
    results, model = house
    recipe = recipe_of(tmp_path, "grpo", model, votes, f"{SAMPLED}reward: model:{scorer.training_id}\ngradient_accumulation_steps: 2\n")
    metrics = grpo(recipe, results).metrics
    assert metrics["eval_reward"] > metrics["eval_reward_before"] + 0.5
    assert metrics["trained_rows"] == 35


@pytest.mark.slow
def test_rloo_raises_the_rate_of_what_a_checker_finds(house: tuple[Path, str], votes: Path, tmp_path: Path):
    results, model = house
    kept = SAMPLED.replace("2e-3", "1e-3").replace("max_steps: 10", "max_steps: 60")
    text = "reward: 'regex:^Gladly'\nbeta: 0.0\ngradient_accumulation_steps: 2\nnormalize_advantages: true\nlr_scheduler_type: constant\n"
    recipe = recipe_of(tmp_path, "rloo", model, votes, kept + text)
    metrics = rloo(recipe, results).metrics
    assert metrics["eval_rewards/regex/mean"] > metrics["eval_rewards/regex/mean_before"] + 0.2, metrics


def test_a_judge_rewards_and_an_answer_that_it_does_not_grade_is_left_out(house: tuple[Path, str], tmp_path: Path):
    def grade(body: dict[str, Any]) -> list[Any]:
        asked = body["messages"][-1]["content"]
        return sse("9/10" if "Gladly" in asked else "I cannot say." if "odd" in asked else "1")

    with ModelServer(grade) as server:
        register(server.endpoint("strict"), tmp_path)
        (judge,) = read_rewards(tmp_path / "r.yaml", "judge:strict", tmp_path)
        assert callable(judge)
        prompts = [[{"role": "user", "content": "How do I bake pie?"}]] * 3
        said = [[{"role": "assistant", "content": text}] for text in ("Gladly!", "odd", "No.")]
        assert judge(prompts, said) == [pytest.approx(8 / 9), None, 0.0]
        with pytest.raises(TrainersError, match="judge 'strict' graded none of 1 answers: no grade in 'I cannot say.'"):
            judge(prompts[:1], said[1:2])
    assert [grade_in(text) for text in ("Grade: 7.", "10", "score of 0", "100", "none")] == [pytest.approx(6 / 9), 1.0, None, None, None]


def test_rewards_are_read_or_refused(tmp_path: Path, base: Path):
    path = tmp_path / "r.yaml"
    length, exact = read_rewards(path, ["length:10", "exact"], tmp_path)
    assert callable(length) and callable(exact)
    assert length([], ["", "short", "x" * 15, "x" * 30]) == [0.0, 1.0, 0.5, 0.0]
    assert exact([], ["Four ", "five", "x"], answer=["four", "six", ""]) == [1.0, 0.0, None]
    for spec, told in [
        ("politeness", "write model:ID, judge:ENDPOINT"),
        ("length:many", "length:N needs a number of characters"),
        ("regex:(", "is no regular expression"),
        (f"model:{base}", r"is no reward model \(LlamaForCausalLM\); make one: trainers reward"),
    ]:
        with pytest.raises(RecipeError, match=told):
            read_rewards(path, spec, tmp_path)
    with pytest.raises(RecipeError, match="reward: missing; grpo needs model:ID"):
        recipe_of(tmp_path, "grpo", base, tmp_path, "")


@pytest.mark.slow
def test_self_training_raises_the_rate_of_what_is_wanted(house: tuple[Path, str], votes: Path, tmp_path: Path):
    results, model = house
    text = (
        "learning_rate: 2e-3\nnum_train_epochs: 3\nmax_length: 256\nreward: 'regex:^Gladly'\nsamples: 4\nrounds: 2\nmin_reward: 1.0\n"
        "max_completion_length: 24\n"
    )
    last = self_train(recipe_of(tmp_path, "self-train", model, votes, text), results)
    assert last.parent is not None
    first, _ = find_training(last.parent, results)
    assert first.parent == model and first.metrics["eval_reward_before"] < 0.9
    assert first.metrics["kept_reward"] == 1.0 > first.metrics["sampled_reward"] > 0.1
    assert last.metrics["sampled_reward"] > first.metrics["sampled_reward"] + 0.1 and last.metrics["eval_reward"] >= 0.8
    account = {key: first.metrics[key] for key in ("n_kept", "n_below", "n_unscored", "n_all_alike")}
    assert sum(account.values()) == first.metrics["n_prompts"] == 35 and first.n_train == first.metrics["n_kept"]
    rows = [json.loads(line) for line in (Path(first.dataset) / "train.jsonl").read_text().splitlines()]
    assert all(row["completion"][0]["content"].startswith("Gladly") for row in rows)


def test_self_training_takes_answers_from_an_endpoint(house: tuple[Path, str], votes: Path, tmp_path: Path):
    results, model = house
    text = (
        "learning_rate: 1e-3\nmax_steps: 2\nmax_length: 256\nreward: 'length:40'\nsamples: 2\nsampler: teacher\n"
        "use_peft: true\nlora_target_modules: all-linear\nmerge: false\n"
    )
    with ModelServer(lambda body: sse("Yes." if body["seed"] else "Yes, and " * 9)) as server:
        register(server.endpoint("teacher"), results)
        done = self_train(recipe_of(tmp_path, "self-train", model, votes, text), results)
    rows = [json.loads(line) for line in (Path(done.dataset) / "train.jsonl").read_text().splitlines()]
    assert len(rows) == 35 and {row["completion"][0]["content"] for row in rows} == {"Yes."}
    assert {request["temperature"] for request in server.requests} == {1.0} and len(server.requests) == 70


def test_of_answers_that_are_all_alike_none_is_best():
    prompts = [{"prompt": [{"role": "user", "content": text}], "answer": ""} for text in "abc"]
    (length,) = read_rewards(Path("r.yaml"), "length:4", Path())
    kept, account = keep_best(prompts, [["good", "much too long"], ["one", "two"], []], [length], None)
    assert [row["completion"][0]["content"] for row in kept] == ["good"]
    assert (account["n_kept"], account["n_all_alike"], account["n_unscored"], account["n_below"]) == (1, 1, 1, 0)


def test_a_reward_model_cannot_be_trained_to_answer(house: tuple[Path, str], scorer: Training, votes: Path, tmp_path: Path):
    with pytest.raises(TrainersError, match="is a reward model, which cannot answer"):
        sft(recipe_of(tmp_path, "sft", scorer.training_id, votes, ""), house[0])
