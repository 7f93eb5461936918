"""What would spoil a training is refused by its name before it starts, and what it will take is told."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from model_server import ModelServer, http, problem
from tiny_llama import build_tiny_llama

from serving.endpoints import Endpoint
from trainers.check import check
from trainers.check_command import document
from trainers.cli import app
from trainers.errors import DataError, LeakySplit, RecipeError, TemplateFault
from trainers.recipe import read_recipe


def rows_of(votes: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (votes / "train.jsonl").read_text().splitlines()]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def base_with(base: Path, tmp_path: Path) -> Callable[..., Path]:
    """The tiny base with another chat template, or other settings of its tokenizer."""

    def made(change: Callable[[str], str], **settings: Any) -> Path:
        folder = tmp_path / "changed"
        shutil.copytree(base, folder)
        template = folder / "chat_template.jinja"
        template.write_text(change(template.read_text()))
        config = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(json.dumps({**config, **settings}))
        return folder

    return made


def checked(recipe_file: Path, data: Path, *overrides: str, method: Any = "dpo", endpoint: Endpoint | None = None) -> Any:
    return check(read_recipe(recipe_file, method, data=data, overrides=list(overrides)), data.parent, endpoint=endpoint)


def test_a_sound_recipe_is_told_in_figures(recipe_file: Path, votes: Path):
    found = checked(recipe_file, votes)
    figures = document(found)
    assert (figures["n_train"], figures["n_test"], figures["n_lost"], figures["warnings"]) == (35, 5, {}, [])
    assert figures["n_steps"] == 10 and len(found.lengths) == 70 and 0 < figures["n_trained_tokens"] < figures["n_tokens"]
    assert len(found.examples) == 3 and figures["time_s"] > 0
    first = found.examples[0]
    assert found.tokenizer.decode(first.ids[first.start :]) == "Gladly! To bake bread, start slowly.<|im_end|>"
    # An adapter is small, its optimiser with it; DPO with an adapter needs no second copy of the weights.
    memory = figures["memory_bytes"]
    assert memory["reference"] == 0 < memory["adapter"] < memory["weights"] and memory["optimiser"] == 2 * memory["gradients"]


def test_kto_and_reward_are_checked_as_they_are_trained(recipe_file: Path, votes: Path):
    kto, reward = (document(checked(recipe_file, votes, method=method)) for method in ("kto", "reward"))
    assert kto["n_tokens"] == reward["n_tokens"] == document(checked(recipe_file, votes))["n_tokens"] and kto["n_trained_tokens"] > 0


def test_the_parameters_are_those_of_the_model(recipe_file: Path, votes: Path, base: Path):
    from safetensors.torch import load_file

    n = sum(weight.numel() for weight in load_file(base / "model.safetensors").values())
    figures = document(checked(recipe_file, votes))
    assert figures["n_parameters"] == n + figures["n_trained_parameters"] and figures["memory_bytes"]["weights"] == 4 * n
    plain = recipe_file.with_name("full.yaml")
    plain.write_text("".join(line for line in recipe_file.read_text().splitlines(True) if "lora" not in line and "peft" not in line))
    full = document(checked(plain, votes))
    assert full["memory_bytes"]["reference"] == full["memory_bytes"]["weights"] and full["n_trained_parameters"] == n
    assert full["memory_bytes"]["optimiser"] == 8 * n and full["memory_bytes"]["gradients"] == 4 * n


def test_a_leaky_split_is_refused(recipe_file: Path, votes: Path, tmp_path: Path):
    folder, rows = tmp_path / "leaky", rows_of(votes)
    write_rows(folder / "train.jsonl", rows[:3])
    again = {**rows[1], "prompt": [{"role": "user", "content": "  how do I " + rows[1]["prompt"][0]["content"][9:].upper()}]}
    write_rows(folder / "test.jsonl", [rows[9], again])
    with pytest.raises(LeakySplit, match=r"test\.jsonl: row 2: its prompt is in train.jsonl too, as in 1 of 2 rows"):
        checked(recipe_file, folder)


def test_a_truncated_set_is_refused_unless_allowed(recipe_file: Path, votes: Path, tmp_path: Path):
    folder, (fits, long, *_) = tmp_path / "long", rows_of(votes)
    long["prompt"][0]["content"] *= 60
    write_rows(folder / "train.jsonl", [fits, long])
    with pytest.raises(DataError, match=r"train\.jsonl: row 2: the prompt alone fills max_length \(256 tokens\), as in 1 of 2 rows"):
        checked(recipe_file, folder)
    assert checked(recipe_file, folder, "allow_truncated_rows=true").n_lost == {"train": 1}


def test_a_key_that_nothing_reads_is_refused(recipe_file: Path, votes: Path):
    with pytest.raises(RecipeError, match=r"label_smoothing: the loss sigmoid ignores it; remove it, or use loss_type: \[robust\]"):
        checked(recipe_file, votes, "loss_type=sigmoid", "label_smoothing=0.1")


def test_a_template_without_end_of_turn_is_refused(recipe_file: Path, votes: Path, base_with: Callable[..., Path]):
    base = base_with(lambda text: text.replace("{{ message['content'] + '<|im_end|>' }}{% endgen", "{{ message['content'] }}{% endgen"))
    with pytest.raises(TemplateFault, match="missing EOS: no trained token ends the answer"):
        checked(recipe_file, votes, f"model_name_or_path={base}")


def test_a_double_bos_is_refused(recipe_file: Path, votes: Path, base_with: Callable[..., Path]):
    base = base_with(lambda text: "{{ '<|pad|><|pad|>' }}" + text, bos_token="<|pad|>")
    with pytest.raises(TemplateFault, match="double BOS: a conversation begins with '<|pad|>' twice"):
        checked(recipe_file, votes, f"model_name_or_path={base}")


def test_a_generation_prompt_that_does_not_begin_the_answer_is_refused(recipe_file: Path, votes: Path, base_with: Callable[..., Path]):
    base = base_with(lambda text: text.replace("{{ '<|im_start|>assistant\\n' }}", "{{ '<|im_start|>bot\\n' }}"))
    with pytest.raises(TemplateFault, match="renders the prompt otherwise once an answer follows"):
        checked(recipe_file, votes, f"model_name_or_path={base}")


def test_an_answer_that_the_tokenizer_joins_with_its_prompt_is_told(recipe_file: Path, votes: Path, tmp_path: Path):
    base = build_tiny_llama(tmp_path / "joining", texts=["assistant\n\n\nGladly"] * 9)
    rows = rows_of(votes)
    rows[0]["chosen"][0]["content"] = "\n\nGladly!"
    write_rows(tmp_path / "set" / "train.jsonl", rows)
    (told,) = checked(recipe_file, tmp_path / "set", f"model_name_or_path={base}").warnings
    assert told.startswith("1 of 35 rows begin their answer with what the tokenizer joins")


def test_tokens_behind_the_end_of_turn_are_told(recipe_file: Path, votes: Path, base_with: Callable[..., Path]):
    base = base_with(lambda text: text.replace("{% endgeneration %}", "{% endgeneration %}{{ '\\n' }}"))
    behind, outside = checked(recipe_file, votes, f"model_name_or_path={base}").warnings
    assert behind.startswith("1 trained token(s) after the end of turn ('\\n')") and "outside {% generation %}" in outside


def server(answer: Callable[[str, list[dict[str, str]]], dict[str, Any] | None]) -> ModelServer:
    """Answers what `answer` makes of a request's path and messages, 404 where that is None."""

    def play(body: dict[str, Any]) -> list[bytes]:
        told = answer(up.heads[-1].split(" ")[1], body["messages"])
        return (
            problem("404 Not Found", "no such route")
            if told is None
            else http([json.dumps(told).encode()], content_type="application/json")
        )

    up = ModelServer(play)
    return up


def test_an_engine_that_renders_otherwise_is_refused(recipe_file: Path, votes: Path, base: Path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)

    def vllm(shift: int) -> ModelServer:
        def answer(path: str, messages: list[dict[str, str]]) -> dict[str, Any] | None:
            *ids, last = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
            return {"tokens": [*ids, last + shift]} if path == "/tokenize" else None

        return server(answer)

    def silent(more: int) -> ModelServer:
        def answer(path: str, messages: list[dict[str, str]]) -> dict[str, Any] | None:
            n = len(tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False))
            return {"usage": {"prompt_tokens": n + more}} if path == "/v1/chat/completions" else None

        return server(answer)

    with vllm(0) as same:
        told = checked(recipe_file, votes, endpoint=same.endpoint("same")).served
        assert "token ids of a prompt by /tokenize of 'same': equal" in told
    with vllm(1) as other, pytest.raises(TemplateFault, match="'other' renders the prompt otherwise than training"):
        checked(recipe_file, votes, endpoint=other.endpoint("other"))
    with silent(0) as few:
        assert "only the number of input tokens" in checked(recipe_file, votes, endpoint=few.endpoint("few")).served
    with silent(2) as more, pytest.raises(TemplateFault, match="counts .* input tokens where training has"):
        checked(recipe_file, votes, endpoint=more.endpoint("more"))
    with server(lambda path, messages: None) as mute, pytest.raises(TemplateFault, match="tells neither token ids nor usage"):
        checked(recipe_file, votes, endpoint=mute.endpoint("mute"))


def test_the_command_marks_what_is_trained(recipe_file: Path, votes: Path, tmp_path: Path):
    from typer.testing import CliRunner

    done = CliRunner().invoke(app, ["check", str(recipe_file), "--method", "dpo", "--data", str(votes), "--results", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "«Gladly! To bake bread, start slowly.<|im_end|>»" in done.output and "optimiser" in done.output
    undecided = CliRunner().invoke(app, ["check", str(recipe_file), "--data", str(votes), "--results", str(tmp_path)])
    assert isinstance(undecided.exception, RecipeError) and "add --method sft or dpo or kto or reward" in str(undecided.exception)
