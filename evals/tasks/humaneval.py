"""HumanEval's programs: the answer's code and the problem's test, run in the sandbox; humaneval*.yaml name these.

    "```python\\ndef add(x, y): …```"  ->  prompt + that + test + "check(add)"  ->  "passed"

Source: openai/human-eval; Chen et al. 2021, arXiv 2107.03374. As there, an answer may continue the function; it may also give it
whole, in a fenced block, as chat models do.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

_FENCED = re.compile(r"```[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)


def prompt(doc: dict[str, Any]) -> str:
    """What a chat model is asked."""
    return (
        "Complete this Python function. Answer with one fenced block that holds the whole function and the imports it needs.\n\n"
        f"```python\n{doc['prompt'].rstrip()}\n```"
    )


def program(doc: dict[str, Any], text: str) -> str:
    """The program whose end without an exception means that the answer passes.

    A whole function goes after the prompt too: some prompts define functions that it calls.
    """
    whole = re.compile(rf"^(?:async )?def {re.escape(doc['entry_point'])}\b", re.MULTILINE)
    blocks = _FENCED.findall(text)
    code = next((block for block in blocks if whole.search(block)), max(blocks, key=len, default=text))
    joined = "\n\n" if whole.search(code) else ""
    return f"{doc['prompt']}{joined}{code}\n{doc['test']}\ncheck({doc['entry_point']})\n"


def outcomes(responses: Iterable[Sequence[str]], docs: Iterable[dict[str, Any]]) -> list[list[str]]:
    """lm-eval's custom filter: "passed", "timed out" or "failed: …" for each document's responses."""
    from evals.sandbox import run_programs

    programs = [[program(doc, text) for text in of_one] for of_one, doc in zip(responses, docs, strict=True)]
    ran = iter(run_programs([one for of_one in programs for one in of_one]))
    return [[next(ran).says for _ in of_one] for of_one in programs]


def score(doc: dict[str, Any], results: Sequence[Sequence[str] | str]) -> dict[str, float]:
    """The share of a document's answers that pass."""
    said = [results[0]] if isinstance(results[0], str) else list(results[0])
    return {"pass@1": sum(one == "passed" for one in said) / len(said)}
