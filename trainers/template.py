"""What the chat template makes of a row: which tokens are trained, whether it is sound, and whether the engine that serves makes the same.

A model learns tokens, not texts: a beginning-of-text token that stands twice, an end-of-turn token that is never trained, or an engine that
renders the conversation otherwise each cost more than a learning rate, and no loss shows it.
"""

import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from serving.endpoints import Endpoint
from trainers.errors import TemplateFault

_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Rendered:
    """One row as tokens: `ids[start:]` are trained (the answer with its end of turn). `cut` of them lie beyond max_length.

    `joined`: the tokenizer made one token of the prompt's end and the answer's beginning, which a model that is asked never sees.
    """

    ids: list[int]
    start: int
    cut: int = 0
    joined: bool = False


def rendered(tokenizer: Any, prompt: list[Any], answer: list[Any], *, max_length: int | None = None) -> Rendered:
    """Tokens of prompt and answer, as TRL makes them. Raises TemplateFault where the prompt's text is not the beginning of theirs."""
    before = _ids(tokenizer, prompt, True) if prompt else []
    whole = _ids(tokenizer, prompt + answer, False)
    joined = whole[: len(before)] != before
    if joined and not tokenizer.decode(whole).startswith(tokenizer.decode(before)):
        place = next((n for n, pair in enumerate(zip(before, whole, strict=False)) if pair[0] != pair[1]), len(whole))
        raise TemplateFault(
            f"the chat template renders the prompt otherwise once an answer follows (token {place}: "
            f"{tokenizer.decode(before[place : place + 4])!r} becomes {tokenizer.decode(whole[place : place + 4])!r}): the answer cannot "
            "be told from the prompt; use a template whose generation prompt begins the answer's turn"
        )
    kept = whole if max_length is None else whole[:max_length]
    return Rendered(kept, min(len(before), len(kept)), len(whole) - len(kept), joined)


def lint(tokenizer: Any, prompt: list[Any], answer: list[Any]) -> list[str]:
    """What is odd about the template but trains. Raises TemplateFault for a double BOS and for an answer without end of turn."""
    row = rendered(tokenizer, prompt, answer)
    bos = tokenizer.bos_token_id
    if bos is not None and bos != tokenizer.eos_token_id and row.ids[:2] == [bos, bos]:
        raise TemplateFault(
            f"double BOS: a conversation begins with {tokenizer.bos_token!r} twice, by the chat template and by the tokenizer; take it out "
            "of the template, or set add_bos_token to false in tokenizer_config.json"
        )
    if bos is not None and bos != tokenizer.eos_token_id and bos in row.ids[1:]:
        raise TemplateFault(f"double BOS: {tokenizer.bos_token!r} stands again inside the conversation; take it out of the chat template")
    ends = [place for place in range(row.start, len(row.ids)) if row.ids[place] in _ending(tokenizer)]
    if not ends:
        raise TemplateFault(
            f"missing EOS: no trained token ends the answer (it ends with {tokenizer.decode(row.ids[-3:])!r}, the tokenizer's eos_token is "
            f"{tokenizer.eos_token!r}): the model would never learn to stop; end the assistant's turn with eos_token in the chat template"
        )
    told = []
    if behind := row.ids[ends[-1] + 1 :]:
        told.append(
            f"{len(behind)} trained token(s) after the end of turn ({tokenizer.decode(behind)!r}): they take most of a preference update "
            "and none of the text; move them to the beginning of the next turn in the chat template"
        )
    marked = _marked(tokenizer, prompt + answer, row)
    outside = [row.ids[place] for place in range(row.start, len(row.ids)) if marked is not None and not marked[place]]
    if outside:
        told.append(
            f"{len(outside)} trained token(s) outside {{% generation %}} ({tokenizer.decode(outside)!r}): with assistant_only_loss they "
            "are not trained, without it they are"
        )
    return told


def compare_with_server(tokenizer: Any, endpoint: Endpoint, prompt: list[Any]) -> str:
    """What was compared with the engine that serves, and that it agreed. Raises TemplateFault where it renders a prompt otherwise.

    vLLM's /tokenize and llama.cpp's /apply-template and /tokenize tell token ids; of other servers the number of input tokens is compared.
    """
    ours = _ids(tokenizer, prompt, True)
    root = (endpoint.base_url or "").rstrip("/").removesuffix("/v1")
    asked = {"model": endpoint.model, "messages": prompt, "add_generation_prompt": True}
    told = _post(endpoint, f"{root}/tokenize", asked)
    theirs, by = (told or {}).get("tokens"), "/tokenize"
    if not _are_ids(theirs) or not theirs:
        text = (_post(endpoint, f"{root}/apply-template", {"messages": prompt}) or {}).get("prompt")
        if isinstance(text, str):
            content = {"content": text, "add_special": True, "parse_special": True}
            theirs, by = (_post(endpoint, f"{root}/tokenize", content) or {}).get("tokens"), "/apply-template and /tokenize"
    if _are_ids(theirs) and theirs:
        if theirs != ours:
            place = next((n for n, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), min(len(ours), len(theirs)))
            raise TemplateFault(
                f"endpoint '{endpoint.id}' renders the prompt otherwise than training ({by}): at token {place} of {len(ours)} training has "
                f"{tokenizer.decode(ours[place : place + 4])!r}, the engine {tokenizer.decode(theirs[place : place + 4])!r}; give both the "
                "same chat template"
            )
        return f"{len(ours)} token ids of a prompt by {by} of '{endpoint.id}': equal"
    body = {"model": endpoint.model, "messages": prompt, "max_tokens": 1}
    answered = _post(endpoint, f"{root}/v1/chat/completions", body) or {}
    number = (answered.get("usage") or {}).get("prompt_tokens")
    if not isinstance(number, int):
        raise TemplateFault(f"endpoint '{endpoint.id}' at {root} tells neither token ids nor usage: nothing could be compared; is it up?")
    if number != len(ours):
        raise TemplateFault(
            f"endpoint '{endpoint.id}' counts {number} input tokens where training has {len(ours)} (usage.prompt_tokens): it renders the "
            "prompt otherwise; give both the same chat template"
        )
    return f"only the number of input tokens ({number}) by usage of '{endpoint.id}': equal (it tells no token ids)"


def _ids(tokenizer: Any, messages: list[Any], opens: bool) -> list[int]:
    return list(tokenizer.apply_chat_template(messages, add_generation_prompt=opens, return_dict=False))


def _ending(tokenizer: Any) -> set[int]:
    return {tokenizer.eos_token_id} - {None}


def _marked(tokenizer: Any, messages: list[Any], row: Rendered) -> list[int] | None:
    """1 for each token inside {% generation %}; None where the template has no such marks."""
    if "{% generation" not in tokenizer.chat_template and "{%- generation" not in tokenizer.chat_template:
        return None
    told = tokenizer.apply_chat_template(messages, return_assistant_tokens_mask=True, return_dict=True)
    mask = list(told["assistant_masks"])
    return mask if len(mask) == len(row.ids) else None


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, int) for item in value)


def _post(endpoint: Endpoint, url: str, body: dict[str, Any]) -> dict[str, Any] | None:
    """The JSON object answered; None where the server has no such route, or none at all."""
    headers = {"Content-Type": "application/json"}
    if endpoint.api_key_env and (key := os.environ.get(endpoint.api_key_env)):
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answered:
            told = json.load(answered)
    except (urllib.error.URLError, OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None
