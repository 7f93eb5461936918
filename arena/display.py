"""A model's answer as Markdown that Streamlit shows without surprises: sanitised for display only, stored raw.

Models write prices (`$5 and $10` would become mathematics), Streamlit's own directives (`:red[…]`, `:material/…:`) and images (a tracking
pixel tells somebody who reads). Code spans and fences are left alone. The page's Content-Security-Policy is the second lock on images.
"""

import re

# Fenced blocks and code spans, kept verbatim; an unclosed fence runs to the end, as it does while an answer streams.
_FENCE = r"^(?P<fence>`{3,}|~{3,})[^\n]*\n.*?(?:^(?P=fence)[`~]*[ \t]*$|\Z)"
_SPAN = r"(?P<tick>`+)(?!`).+?(?<!`)(?P=tick)(?!`)"
_CODE = re.compile(f"{_FENCE}|{_SPAN}", re.DOTALL | re.MULTILINE)
_IMAGE = re.compile(r"!(?=\[)")
_REFERENCE = re.compile(r"^( {0,3}\[[^\]\n]+\]):", re.MULTILINE)
# A line that a model ended is a line (Markdown alone would join the verses of a poem).
_BREAK = re.compile(r"(?<=[^\s])[ \t]*\n(?=[^\n])")
_DIRECTIVE = re.compile(r":(?=[a-z][a-z0-9_+-]*(?:\[|/|:))")


def for_display(text: str) -> str:
    """`text` with dollars, images, link references and Streamlit directives made inert outside code."""
    parts, at = [], 0
    for code in _CODE.finditer(text):
        parts += [_inert(text[at : code.start()]), code.group(0)]
        at = code.end()
    return "".join([*parts, _inert(text[at:])])


def _inert(text: str) -> str:
    text = re.sub(r"(?<!\\)\$", r"\\$", text)
    text = _IMAGE.sub(r"\\!", text)
    text = _REFERENCE.sub(r"\1\\:", text)
    text = _BREAK.sub("  \n", text)
    return _DIRECTIVE.sub(":\u200b", text)
