"""What models and voters wrote, as the page shows it: it reads as written, and does nothing.

    st.html(as_html(text))                    # an answer or a prompt
    growing = Growing()
    slot.html(growing.html(text))             # an answer that grows: what is finished is not parsed again
    st.html(as_written(text))                 # the same sign by sign, Markdown and all
    st.button("…", help=as_label(text))       # inside Streamlit's own Markdown: labels, tooltips, errors

An answer is Markdown and is parsed here, not by Streamlit: its Markdown turns `$5 and $10` into mathematics, rewrites `:red[…]`,
`:smile:` and `->`, and loads images (a tracking pixel tells somebody who reads). Ours has no raw HTML, no image, no class and no id, and
links lead to http, https and mail alone. The text is stored as it came. The browser's sanitiser (`st.html`) and the page's
Content-Security-Policy (arena/headers.py) are the second and the third lock.
"""

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from html import escape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline, image
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

# What is nested deeper, or longer or has more brackets in one paragraph, is shown as plain text: parsing it could take minutes.
_DEEPEST, _LONGEST, _BRACKETS = 40, 8_000, 100
# A block that grows beyond this is plain until the answer has ended: it would be parsed anew for each word.
_GROWING = 20_000
_LINK = re.compile(r"(?:https?://|mailto:)[^\s]", re.IGNORECASE)
_FORMULAE = ((r"\(", r"\)"), (r"\[", r"\]"), ("$$", "$$"))
# Overrides make letters run backwards, so that a text reads as what it is not; scripts that run from the right need none of them.
_OVERRIDES = dict.fromkeys((0x202D, 0x202E))
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


@lru_cache(maxsize=64)
def as_html(text: str, *, breaks: bool = True) -> str:
    """`text` read as Markdown, as HTML in one <div>: no image, no raw HTML, no script, no attribute that the text could choose but a
    link's address. Without `breaks` a line that ends goes on in the next one, as in a file that was wrapped by hand.
    """
    return _wrapped(_render(_parse(_clean(text)), breaks=breaks))


def as_written(text: str) -> str:
    """`text` as it came, sign by sign and line by line, as HTML: what a model was sent, and what a program read."""
    # A parser drops the line end that opens a <pre>: this one, and none of the text's.
    return f'<pre class="written" dir="auto" tabindex="0">\n{escape(_clean(text), quote=False)}</pre>'


class Growing:
    """An answer that is shown while it grows: blocks that can no longer change are parsed once, so that its cost grows with its length."""

    def __init__(self) -> None:
        self._seen, self._html = "", ""

    def html(self, text: str) -> str:
        """The same as `as_html(text)`, but for a single block of more than 20,000 characters, which is plain text for now."""
        text = _clean(text)
        if not text.startswith(self._seen):
            self._seen = self._html = ""
        rest = text[len(self._seen) :]
        tokens = _parse(rest) if len(rest) <= _GROWING else [_plain(rest)]
        last = max((index for index, token in enumerate(tokens) if token.level == 0 and token.nesting >= 0), default=0)
        # A line that is not complete may yet turn out to be no heading, list or table, and a table is known by its second line.
        if last and (start := tokens[last].map) is not None and rest.count("\n") >= start[0] + 2:
            at = _start_of_line(rest, start[0])
            self._seen, self._html = self._seen + rest[:at], self._html + _render(tokens[:last])
            tokens = tokens[last:]
        return _wrapped(self._html + _render(tokens))


def as_label(text: str) -> str:
    """`text` for Streamlit's Markdown, every sign of it shown as it is written."""
    # Emoji codes, icons and arrows are looked for after escapes were read: a space of no width parts them.
    text = re.sub(r":(?=\S)|[-<>=](?=[-<>=])", "\\g<0>\u200b", _clean(text))
    return _PUNCTUATION.sub(r"\\\1", text).replace("\n", "  \n")


class _Markdown(MarkdownIt):
    def validateLink(self, url: str) -> bool:  # noqa: N802
        return _LINK.match(url) is not None


@cache
def _markdown() -> _Markdown:
    """CommonMark with tables and strikethrough; a line that a model ended is a line."""
    markdown = _Markdown("commonmark", {"html": False, "breaks": True, "maxNesting": _DEEPEST})
    markdown.enable(["table", "strikethrough"])
    # References hide their text; a row of dashes under a line is a rule, not a heading.
    markdown.disable(["reference", "lheading", "html_block", "html_inline"])
    markdown.inline.ruler.before("escape", "formula", _formula)
    markdown.inline.ruler.at("image", _image)
    markdown.core.ruler.before("inline", "long", _long)
    for rule in (_text, _long_text, _code_inline, _fence, _code_block, _table_open, _table_close, _link_open):
        markdown.add_render_rule(rule.__name__.removeprefix("_"), rule)
    for name in ("paragraph_open", "heading_open", "list_item_open", "blockquote_open", "th_open", "td_open"):
        markdown.add_render_rule(name, _in_its_direction)
    return markdown


def _parse(text: str) -> list[Token]:
    tokens = _markdown().parse(text)
    if max((token.level for token in tokens), default=0) < _DEEPEST - 2:
        return tokens
    # The parser leaves out what is nested too deep.
    return [_plain(text)]


def _plain(text: str) -> Token:
    return Token("long_text", "", 0, content=text)


def _render(tokens: Sequence[Token], *, breaks: bool = True) -> str:
    markdown = _markdown()
    return str(markdown.renderer.render(tokens, OptionsDict({**markdown.options, "breaks": breaks}), {}))  # type: ignore[typeddict-item]


def _wrapped(html: str) -> str:
    return f'<div class="answer">{html}</div>'


def _clean(text: str) -> str:
    """Line ends as the parser has them; halves of a character, which cannot be sent, as the sign for that."""
    if not text.isascii():
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").translate(_OVERRIDES)
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")


def _start_of_line(text: str, line: int) -> int:
    at = 0
    for _ in range(line):
        at = text.index("\n", at) + 1
    return at


# Rules: what is read as written


def _formula(state: StateInline, silent: bool) -> bool:
    """`\\(…\\)`, `\\[…\\]` and `$$…$$` stay as they are: no emphasis inside, no backslash lost."""
    for opening, closing in _FORMULAE:
        if state.src.startswith(opening, state.pos):
            end = state.src.find(closing, state.pos + 2, state.posMax)
            end = state.pos + 2 if end < 0 else end + 2
            if not silent:
                _verbatim(state, state.src[state.pos : end])
            state.pos = end
            return True
    return False


def _image(state: StateInline, silent: bool) -> bool:
    """An image is its own source."""
    start = state.pos
    if not image(state, True):
        return False
    if not silent:
        _verbatim(state, state.src[start : state.pos])
    return True


def _verbatim(state: StateInline, text: str) -> None:
    for number, line in enumerate(text.split("\n")):
        if number:
            state.push("softbreak", "br", 0)
        state.push("text", "", 0).content = line


def _long(state: StateCore) -> None:
    for token in state.tokens:
        if token.type == "inline" and (len(token.content) > _LONGEST or token.content.count("[") > _BRACKETS):
            token.type = "long_text"


# Rules: how it is drawn


def _text(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    # Entities were read by now: an override may have come as one.
    return escape(tokens[index].content.translate(_OVERRIDES), quote=False)


def _long_text(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return escape(tokens[index].content, quote=False).replace("\n", "<br>")


def _code_inline(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return f"<code>{escape(tokens[index].content, quote=False)}</code>"


def _fence(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return f'<pre dir="ltr"><code>{escape(tokens[index].content, quote=False)}</code></pre>'


_code_block = _fence


def _table_open(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return '<div class="scroll" tabindex="0"><table>'


def _table_close(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return "</table></div>"


def _link_open(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    address = escape(str(tokens[index].attrs["href"]))
    return f'<a href="{address}" title="{address}" target="_blank" rel="noopener noreferrer nofollow">'


def _in_its_direction(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """Each block runs in the direction of its own first letter, and none reaches into its neighbours."""
    tokens[index].attrs.pop("style", None)
    tokens[index].attrSet("dir", "auto")
    return self.renderToken(tokens, index, options, env)
