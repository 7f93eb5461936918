"""A sample on its page: what was asked, answered and read from it, sign by sign."""

import re
from html import unescape
from typing import Any

from dashboards.samples import as_page

ROW: dict[str, Any] = {
    "endpoint": "a", "task": "sums", "doc_id": "3", "filter": None, "status": "ok", "verdict": "wrong", "target": "7", "extracted": "<8>",
    "error": None, "metrics": {"accuracy": 0.0},
    "answer": {
        "request": {"messages": [{"role": "system", "content": "Be *brief*."}, {"role": "user", "content": "3 + 4 = ?"}]},
        "text": "**8** & <b>done</b>, $5\n\n![x](http://e/p.png)",
        "latency_s": 1.5, "ttft_s": 0.25, "cost_usd": 0.0123, "usage": {"input_tokens": 12, "output_tokens": 3}, "retries": 2,
    },
}  # fmt: skip


def texts(html: str) -> list[tuple[str, str]]:
    found = re.findall(r'<p class="note">([^<]*)</p><pre class="written"[^>]*>\n([^<]*)</pre>', html)
    return [(title, unescape(text)) for title, text in found]


def test_every_text_stands_under_its_name_as_it_came():
    assert texts(as_page(ROW)) == [
        ("System", "Be *brief*."),
        ("User", "3 + 4 = ?"),
        ("Answer", ROW["answer"]["text"]),
        ("Right is", "7"),
        ("Read as", "<8>"),
    ]


def test_the_facts_come_first_with_their_units():
    said = re.match(r'<p class="note">([^<]*)</p>', as_page(ROW))
    facts = ["ok", "250 ms to the first token", "1.50 s in all", "12 tokens in", "3 tokens out", "$0.0123", "2 retries", "accuracy 0"]
    assert said and said[1].split(" · ") == facts


def test_an_answer_that_failed_says_so_and_what_it_was():
    failed = {**ROW, "status": "timeout", "answer": None, "error": "nothing came for 60 s <here>", "extracted": None, "metrics": None}
    assert texts(as_page(failed)) == [("Answer", "(nothing came)"), ("Right is", "7"), ("Error", "nothing came for 60 s <here>")]
