"""Personal data are found by their form, and what merely resembles them stays."""

import pytest

from arena.scrub import scrub


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("write to ada.l+x@mail.example.org.", "write to [EMAIL]."),
        ("call +49 (0)30 123-4567", "call [PHONE]"),
        ("call 030 1234567 or 212-555-0187", "call [PHONE] or [PHONE]"),
        ("call +49 30 1234567 now", "call [PHONE] now"),
        ("call (030) 1234-5678", "call [PHONE]"),
        ("+4915112345678", "[PHONE]"),
        ("IBAN DE89 3704 0044 0532 0130 00, please", "IBAN [IBAN], please"),
        ("DE89370400440532013000", "[IBAN]"),
        ("card 4111 1111 1111 1111.", "card [CARD]."),
        ("from 192.168.17.4 and 2001:db8::8a2e:370:7334", "from [IP] and [IP]"),
    ],
)
def test_what_is_personal_is_marked(text: str, marked: str):
    found, counts = scrub(text)
    assert found == marked and sum(counts.values()) == marked.count("[")


@pytest.mark.parametrize(
    "text",
    [
        "DE89 3704 0044 0532 0130 01 fails its checksum",
        "order 4111 1111 1111 1112",
        "version 1.2.3 of 2026-11-24, section 3.1.4.1",
        "3.14159265358979 and 1,000,000",
        "localhost is 127.0.0.1 or ::1",
        "std::vector<int> a::b",
        "at 12:30:45 the score was 10:9",
        "from 1914-1918 and 1939-1945",
        "@decorator and x @ y",
    ],
)
def test_what_only_looks_like_it_stays(text: str):
    assert scrub(text)[0] == text
