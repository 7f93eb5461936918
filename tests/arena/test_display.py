"""What a hostile or careless answer may not do to the page, and what it may keep."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.display import for_display


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("It costs $5 and $10.", r"It costs \$5 and \$10."),
        (r"Already \$5", r"Already \$5"),
        ("![pixel](http://evil.example/p.png)", r"\![pixel](http://evil.example/p.png)"),
        ("![x][r]\n\n[r]: http://evil.example/p.png", "\\![x][r]\n\n[r]\\: http://evil.example/p.png"),
        (":red[alarm] :material/delete: :+1:", ":\u200bred[alarm] :\u200bmaterial/delete: :+1:"),
        ("time 10:30, ratio a:b", "time 10:30, ratio a:b"),
        ("line one\nline two", "line one  \nline two"),
        ("para one\n\npara two", "para one\n\npara two"),
    ],
)
def test_what_streamlit_would_rewrite_is_made_inert(answer: str, shown: str):
    assert for_display(answer) == shown


@pytest.mark.parametrize(
    "code",
    ["`cost = $5`", "```sh\necho $HOME\n![x](y)\n```", "~~~\n:red[x]\n~~~", "``a ` $b``", "```python\nprint('$still streaming"],
)
def test_code_is_left_alone(code: str):
    assert for_display(code) == code


def test_text_around_code_is_not():
    assert for_display("$1 `$2` $3") == r"\$1 `$2` \$3"


@given(st.text(alphabet="$`!\\[]():~ab\n ", max_size=60))
def test_no_live_dollar_or_image_outside_code(answer: str):
    shown = for_display(answer)
    if "`" not in answer and "~~~" not in answer:
        assert not any(character == "$" and shown[index - 1 : index] != "\\" for index, character in enumerate(shown))
        assert "![" not in shown.replace("\\![", "")
