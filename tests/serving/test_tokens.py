"""Tokens of servers that do not tell them: counted by the tokenizer that the endpoint names, as the model's own code counts, or unknown."""

import asyncio
import json
from pathlib import Path

import pytest
from model_server import ModelServer, http, sse
from tiny_llama import SPECIAL, TEMPLATE
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from serving.client import Client
from serving.completion import Completion, Message, Request
from serving.endpoints import Capabilities, Endpoint, Price, load_catalogue
from serving.errors import DocumentError
from serving.tokens import count_tokens, count_usage

MUTE = Capabilities(usage=False)
CHAT = Request(messages=(Message(role="system", content="Be brief."), Message(role="user", content="Why is the sky blue?")))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a model has it, without the weights."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(["Why is the sky blue? It is not."], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": SPECIAL[2], "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def ask(endpoint: Endpoint, request: Request) -> Completion:
    async def once() -> Completion:
        async with Client() as client:
            return await client.ask(endpoint, request)

    return asyncio.run(once())


def test_a_silent_servers_tokens_are_those_that_transformers_counts(llama: Path):
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(llama)
    turns = [{"role": turn.role, "content": turn.content} for turn in CHAT.messages or ()]
    expected = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
    with ModelServer(sse("It is ", "not.", usage=None)) as server:
        price = Price(input_usd_per_mtok=1, output_usd_per_mtok=2)
        chat = ask(server.endpoint(capabilities=MUTE, tokenizer=llama, price=price), CHAT)
        text = ask(server.endpoint(capabilities=MUTE, tokenizer=llama / "tokenizer.json"), Request(prompt="Why is"))
    said = len(tokenizer("It is not.", add_special_tokens=False)["input_ids"])
    assert (chat.usage.input_tokens, chat.usage.output_tokens, chat.usage_source) == (len(expected), said, "tokenizer")
    assert chat.cost_usd == pytest.approx((len(expected) + 2 * said) / 1e6)
    assert text.usage.input_tokens == len(tokenizer("Why is")["input_ids"])


def test_what_the_server_says_wins(llama: Path):
    with ModelServer(sse("It is not.", usage=(70, 30))) as server:
        answer = ask(server.endpoint(tokenizer=llama), CHAT)
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage_source) == (70, 30, "server")


def test_thoughts_are_counted_among_the_tokens_and_apart(llama: Path):
    deltas = [{"reasoning_content": "why is the sky"}, {"content": "blue"}]
    lines = [f"data: {json.dumps({'choices': [{'delta': delta, 'finish_reason': None}]})}\n\n".encode() for delta in deltas]
    with ModelServer(http([*lines, b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'])) as server:
        usage = ask(server.endpoint(capabilities=MUTE, tokenizer=llama), CHAT).usage
    assert usage.reasoning_tokens == count_tokens(llama, "why is the sky") > 0
    assert usage.output_tokens == usage.reasoning_tokens + count_tokens(llama, "blue")


def test_a_failed_answer_is_not_counted(llama: Path):
    with ModelServer(http([b'data: {"error": {"message": "out of memory"}}\n\n'])) as server:
        answer = ask(server.endpoint(capabilities=MUTE, tokenizer=llama), CHAT)
    assert answer.usage.output_tokens is None and answer.usage_source is None


def test_a_chat_without_a_template_has_an_unknown_prompt(llama: Path, tmp_path: Path):
    alone = tmp_path / "tokenizer.json"
    alone.write_bytes((llama / "tokenizer.json").read_bytes())
    assert count_usage(alone, CHAT, "blue").input_tokens is None
    (tmp_path / "chat_template.jinja").write_text("{{ raise_exception('no system role') }}")
    assert count_usage(tmp_path, CHAT, "blue").output_tokens == count_tokens(llama, "blue")


@pytest.mark.parametrize(("content", "error"), [(None, "no such file"), ("{}", "tokenizer.json: .*; tokenizer must name")])
def test_an_unreadable_tokenizer_is_an_error_with_a_remedy(content: str | None, error: str, tmp_path: Path):
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(DocumentError, match=error):
        count_tokens(tmp_path, "x")


def test_a_tokenizer_lies_beside_the_file_that_names_it(tmp_path: Path):
    catalogue = tmp_path / "mine.yaml"
    catalogue.write_text("endpoints: [{id: local, wire: openai, model: m, base_url: http://localhost/v1, tokenizer: llama/tokenizer.json}]")
    assert load_catalogue(catalogue)[0].tokenizer == tmp_path / "llama" / "tokenizer.json"
