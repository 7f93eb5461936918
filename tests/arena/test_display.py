"""What a hostile or careless answer may not do to the page, and that it reads as it was written."""

import re
import time
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.display import Growing, as_html, as_label, as_written

TAGS = {
    *("div", "p", "br", "hr", "em", "strong", "s", "code", "pre", "a", "ul", "ol", "li", "blockquote"),
    *("table", "thead", "tbody", "tr", "th", "td", "h1", "h2", "h3", "h4", "h5", "h6"),
}
LINK = ["href", "title", "target", "rel"]
# What Markdown, HTML and Streamlit give a meaning to, and words between it.
SIGNS = r"""
` `` ``` ~~~ * ** _ ~~ $ $$ \ \( \) \[ \] [ ] ( ) ![ ]( <b> </b> <script> <img\tsrc=http://e/p> <style> --> <!-- & &lt; &#x202e; # > -
1. | :- --- ::: :red[ :material/delete: :smile: -> http://e/p.png javascript:alert(1) data:text/html,x word [r]: [^1]: ===
""".split()
LETTERS = ["\u202e", "\u202d", "\u200b", "\ud83d", "\U0001f600", "ש", "م", "\0", "\x1b", " ", "  \n", "\n", "\n\n", "    ", "\t", "\r\n"]
HOSTILE = st.lists(st.sampled_from([*SIGNS, *LETTERS]), max_size=40).map("".join)


class Read(HTMLParser):
    """The text of a piece of HTML, its addresses, and every tag with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags = "", []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.text += "\n" if tag == "br" else ""

    def handle_data(self, data: str) -> None:
        self.text += data


def words(text: str) -> str:
    return "".join(character for character in text if character.isalnum())


@pytest.mark.parametrize(
    "answer",
    [
        "It costs $5 and $10, or $5$.",
        "![pixel](http://evil.example/p.png)",
        "![x][r] and [x][r]\n[r]: http://evil.example/p.png",
        "before ![a *b*](http://evil.example/p.png) after",
        ":red[alarm] :material/delete: :+1: :smile: :streamlit: a -> b <- c -- d",
        r"The roots \(x_1*x_2*x_3\) and \[ \frac{a}{b} \\ c \] and $$a_1 * b * c$$",
        r"half open \(x and \[y and $$z",
        "<b>bold</b> <script>alert(1)</script> <img src=x onerror=alert(1)> <style>*{display:none}</style> <!-- gone -->",
        "[a](javascript:alert(1)) [b](data:text/html,x) [c](/?battle=1) [d](vbscript:x) [e](#top) [f](//evil.example)",
        "a footnote[^1]\n[^1]: its text",
        "line one\nline two",
        "title: x\n=======",
        "10:30, a:b, 3 < 4 & 5 > 2, snake_case_name, 2*3*4",
        "\u200bzero\u200dwidth\u2060 and שלום and مرحبا",
    ],
)
def test_prose_reads_as_it_was_written(answer: str):
    seen = Read(as_html(answer))
    # What Markdown itself means by two asterisks is no surprise.
    assert seen.text.replace("\n\n", "\n").strip() == answer.replace("2*3*4", "234")
    assert not {tag for tag, _ in seen.tags} - {"div", "p", "br", "em"}


def test_a_file_that_was_wrapped_by_hand_runs_on():
    assert "<br" in as_html("one\ntwo") and "<br" not in as_html("one\ntwo", breaks=False)


def test_markdown_means_what_it_means():
    html = as_html(
        "# H\n\n*e* **s** ~~d~~ `c <b>`\n\n- a\n- b\n\n1. x\n\n> q\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n---\n\n```py\nx = 1 < 2\n```"
    )
    tags = [tag for tag, _ in Read(html).tags]
    assert tags == (
        ["div", "h1", "p", "em", "strong", "s", "code", "ul", "li", "li", "ol", "li", "blockquote", "p"]
        + ["div", "table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td", "hr", "pre", "code"]
    )
    assert "<code>c &lt;b&gt;</code>" in html and "x = 1 &lt; 2\n" in html


def test_a_link_says_nothing_of_its_reader():
    for _, attributes in [tag for tag in Read(as_html('[x](http://ok.example/"onclick=alert(1) "title")')).tags if tag[0] == "a"]:
        assert list(attributes) == LINK
    [(_, attributes)] = [tag for tag in Read(as_html("[x](https://ok.example/a?b=1&c=2)")).tags if tag[0] == "a"]
    assert list(attributes) == LINK and attributes["href"] == "https://ok.example/a?b=1&c=2"
    assert attributes["rel"] == "noopener noreferrer nofollow" and attributes["target"] == "_blank"


def test_a_code_span_that_ends_in_another_paragraph_hides_no_image():
    assert "<code>" not in as_html("`a\n\n![x](http://evil.example/p.png)\n\nb`")


@pytest.mark.parametrize(
    "answer", ["```python\nprint('$half open", "~~~\n<b>half</b>", "````\n```\nnested\n```\n````", "    indented $5 <b>"]
)
def test_code_is_kept_to_the_letter(answer: str):
    inside = re.sub(r"^(?:`+\w*|~+)\n|\n````$|^    ", "", answer)
    seen = Read(as_html(answer))
    assert seen.text.strip("\n") == inside and [tag for tag, _ in seen.tags] == ["div", "pre", "code"]


@given(HOSTILE)
def test_nothing_but_known_tags_and_links_to_the_web(answer: str):
    for tag, attributes in Read(as_html(answer)).tags:
        assert tag in TAGS
        if tag == "a":
            assert list(attributes) == LINK and re.match(r"(?i)https?://|mailto:", attributes["href"] or "")
        else:
            assert set(attributes) <= {"dir", "class", "start"} and attributes.get("class", "answer") in ("answer", "scroll")


@given(HOSTILE)
def test_no_word_is_lost_and_no_direction_turned(answer: str):
    text = Read(as_html(answer)).text
    assert not {"\u202e", "\u202d"} & set(text)
    known = re.sub(r"&lt;|&#x202e;", "", answer)
    # A list's number, a table's bars and a code block's language are drawn, not written.
    for word in re.findall(r"word|alert|red|material|smile|onerror|script|style|src", known):
        assert text.count(word) >= 1 or re.search(r"[`~]{3}", known), word


@given(st.text(max_size=200))
def test_letters_of_any_script_come_through(answer: str):
    plain = re.sub(r"[^\w\s]|_", " ", answer)
    plain = re.sub(r"^\s*\d+", "", plain, flags=re.MULTILINE).replace("\0", "")
    assert words(Read(as_html(plain)).text) == words(plain)


@given(HOSTILE, st.integers(1, 12))
def test_an_answer_that_grows_is_at_its_end_what_it_is_at_once(answer: str, step: int):
    growing = Growing()
    seen = [growing.html(answer[:end]) for end in [*range(0, len(answer), step), len(answer)]]
    assert seen[-1] == as_html(answer)


def test_a_growing_answer_parses_only_what_may_still_change():
    paragraphs = [f"Paragraph {number} with **words** in it.\n\n" for number in range(2000)]
    growing, answer = Growing(), ""
    started = time.process_time()
    for paragraph in paragraphs:
        answer += paragraph
        shown = growing.html(answer)
    assert shown == as_html(answer)
    assert time.process_time() - started < 10  # parsed anew each time it takes minutes


@pytest.mark.parametrize(
    "piece",
    [
        "[",
        "![",
        "](",
        "[a](",
        "`",
        "*a **a ",
        "> ",
        "\\(",
        "<a ",
        "&#",
        "~~a",
        "- a\n",
        "|",
        "> - ",
        "$$",
        "[\n",
        "```\n",
        "_a_",
        "  - x\n",
    ],
)
def test_no_answer_of_200_kb_holds_the_page_up(piece: str):
    paragraph = piece * (7_900 // len(piece))
    answer = "\n\n".join([piece * (140_000 // len(piece)), *[paragraph] * 8])
    started = time.process_time()
    html = as_html(answer)
    assert time.process_time() - started < 15 and len(html) > 30


def test_what_is_nested_too_deep_is_shown_as_plain_text():
    assert "the end" in Read(as_html("> " * 500 + "the end")).text
    assert "the end" in Read(as_html("\n".join("  " * depth + "- x" for depth in range(200)) + " the end")).text


@pytest.mark.parametrize("text", ["$5 *a* _b_ `c` [d](http://e) ![f](http://g) <b>", "plain words 10:30", "a\\b"])
def test_a_label_shows_every_sign(text: str):
    label = as_label(text)
    assert re.sub(r"\\(.)", r"\1", label).replace("\u200b", "") == text
    assert not re.search(r"(?<!\\)[$*_`\[\]<>!]", label.replace("\\\\", ""))


@pytest.mark.parametrize(
    "text", ["", "\n\nfirst line", "<script>1</script> **b** $5 :red[x] &amp; ![i](https://x.y/z.png)", "a\r\nb\rc", "```\nhalf"]
)
def test_what_is_shown_as_written_has_every_sign_of_it(text: str):
    shown = re.fullmatch(r'<pre class="written" dir="auto" tabindex="0">\n([^<>]*)</pre>', as_written(text))
    assert shown and unescape(shown[1]) == text.replace("\r\n", "\n").replace("\r", "\n")


def test_what_is_shown_as_written_runs_no_text_backwards():
    assert "\u202e" not in as_written("gpj.\u202eexe") and "\ufffd" in as_written("half \ud800")
