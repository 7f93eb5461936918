"""Tokens counted here, for servers that do not tell them: with the tokenizer that the endpoint names.

    {id: local, wire: openai, …, capabilities: {usage: false}, tokenizer: models/llama/tokenizer.json}

A count of ours may differ from the server's by the end-of-text token and by how pieces join, so a Completion says who counted.
"""

from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from serving.completion import Request, Usage
from serving.errors import DocumentError


def count_tokens(tokenizer: Path, text: str, *, special: bool = False) -> int:
    """Tokens of `text`; `special` adds those that the tokenizer puts around a prompt. Raises DocumentError for an unreadable file."""
    return len(_load(tokenizer).encode(text, add_special_tokens=special).ids)


def count_usage(tokenizer: Path, request: Request, text: str, reasoning: str = "") -> Usage:
    """What one answer cost in tokens, by the tokenizer's count. Raises DocumentError.

    The prompt of a chat is counted through the chat template beside the tokenizer; without one it stays unknown, because the tokens
    that stand around each turn are the template's.
    """
    prompt = _rendered(tokenizer, request)
    thought = count_tokens(tokenizer, reasoning) if reasoning else None
    return Usage(
        input_tokens=None if prompt is None else count_tokens(tokenizer, prompt, special=request.prompt is not None),
        output_tokens=count_tokens(tokenizer, text) + (thought or 0),
        reasoning_tokens=thought,
    )


@lru_cache(maxsize=8)
def _load(path: Path) -> Any:
    from tokenizers import Tokenizer

    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:
        # The package raises bare Exception, for a missing file too.
        reason = "no such file" if not file.is_file() else " ".join(str(error).split())
        raise DocumentError(f"{file}: {reason}; tokenizer must name a tokenizer.json or the folder that holds one") from None


def _rendered(tokenizer: Path, request: Request) -> str | None:
    if request.prompt is not None:
        return request.prompt
    assert request.messages is not None
    template = _template(tokenizer if tokenizer.is_dir() else tokenizer.parent)
    if template is None:
        return None
    from jinja2 import TemplateError

    turns = [{"role": turn.role, "content": turn.content} for turn in request.messages]
    try:
        return str(template.render(messages=turns, add_generation_prompt=True))
    except (TemplateError, TypeError, ValueError):
        # A template that refuses these turns (no system role) or wants more than we know: unknown, not wrong.
        return None


@cache
def _template(folder: Path) -> Any:
    """The chat template in a model's folder, as transformers reads it, or None."""
    import json

    config_path, template_path = folder / "tokenizer_config.json", folder / "chat_template.jinja"
    try:
        config = json.loads(config_path.read_text(encoding="utf-8")) if config_path.is_file() else {}
        source = template_path.read_text(encoding="utf-8") if template_path.is_file() else config.get("chat_template")
    except (OSError, ValueError):
        return None
    if not isinstance(source, str):
        return None
    from jinja2 import TemplateError

    try:
        return _environment(config).from_string(source)
    except TemplateError:
        return None


def _environment(config: dict[str, Any]) -> Any:
    """Jinja as transformers sets it up for chat templates: sandboxed, blocks trimmed, with its two functions and the generation tag."""
    from jinja2 import nodes
    from jinja2.ext import Extension
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """Marks what is trained on; says nothing about the text."""

        tags = {"generation"}

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", Generation])
    for name in ("bos_token", "eos_token"):
        value = config.get(name)
        environment.globals[name] = value.get("content", "") if isinstance(value, dict) else value or ""
    environment.globals["raise_exception"] = _refuse
    return environment


def _refuse(message: str) -> None:
    from jinja2 import TemplateError

    raise TemplateError(message)
