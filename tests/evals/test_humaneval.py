"""From an answer's text to the program that is run: a continuation, a whole function, a fenced block among words."""

import pytest

from evals.errors import TaskError
from evals.sandbox import allowing_code
from evals.tasks.humaneval import outcomes, program, score

DOC = {
    "prompt": 'import math\n\ndef twice(x):\n    return x + x\n\ndef four(x):\n    """Four times x."""\n',
    "entry_point": "four",
    "test": "def check(candidate):\n    assert candidate(3) == 12\n",
}


@pytest.mark.parametrize(
    "text",
    [
        "    return 4 * x",
        "    return twice(twice(x))\n",
        "```python\ndef four(x):\n    return twice(twice(x))\n```",
        "Mind:\n\n```\nassert twice\n```\n\n```python\nfrom operator import mul\n\ndef four(x):\n    return mul(4, x)\n```\nEnjoy!",
        "```python\n    return 4 * x\n```",
        "```python\ndef four(x):\n    return 4 * x",
        "def four(x):\n    return 4 * x",
    ],
)
def test_a_right_answer_passes_however_it_is_written(text: str) -> None:
    with allowing_code(True):
        assert outcomes([[text]], [DOC]) == [["passed"]]


def test_a_wrong_one_fails_and_says_how() -> None:
    with allowing_code(True):
        ((wrong, nothing, broken),) = outcomes([["    return 5 * x", "", "    return (x"]], [DOC])
    assert wrong == nothing == "failed: AssertionError:"
    assert broken.startswith("failed: SyntaxError")


def test_several_answers_share_a_score() -> None:
    assert score(DOC, [["passed", "timed out", "passed", "failed: x"]]) == {"pass@1": 0.5}
    assert score(DOC, ["passed"]) == {"pass@1": 1.0}


def test_no_answer_is_run_unasked() -> None:
    assert program(DOC, "    return 1").endswith("check(four)\n")
    with pytest.raises(TaskError, match="--allow-code"):
        outcomes([["    return 4 * x"]], [DOC])
