"""Personal data taken out of texts before they are trained on: e-mail addresses, phone and card numbers, IBANs, IP addresses.

    scrub("write to ada@example.org")        # ('write to [EMAIL]', {'email': 1})

What has a checksum is checked (cards by Luhn, IBANs by ISO 7064 mod 97), so that order numbers stay. A rule sees forms, not meaning: names
and street addresses are not found, and a number that merely looks like a phone's may go.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable


def _luhn(number: str) -> bool:
    digits = [int(character) for character in number if character.isdigit()][::-1]
    total = sum(digits[0::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return 13 <= len(digits) <= 19 and total % 10 == 0 and len(set(digits)) > 1


def _iban(text: str) -> bool:
    plain = re.sub(r"\s", "", text)
    turned = plain[4:] + plain[:4]
    return 15 <= len(plain) <= 34 and int("".join(str(int(character, 36)) for character in turned)) % 97 == 1


def _address(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    # 3.1.4.1 is a section and a::b a name in C++; loopback and the unspecified address belong to nobody and are in half of all code.
    return len(text) > 7 and any(character.isdigit() for character in text) and not address.is_loopback and not address.is_unspecified


def _phone(text: str) -> bool:
    return 9 <= sum(character.isdigit() for character in text) <= (15 if text[0] == "+" else 12)


# In the order in which they are looked for: what is longer and checked goes first.
_RULES: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("email", re.compile(r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}"), lambda text: True),
    ("iban", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"), _iban),
    ("card", re.compile(r"(?<![\d.+])\d(?:[ -]?\d){12,18}(?!\d|\.\d)"), _luhn),
    ("ip", re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4})(?![\w:]|\.\d)"), _address),
    ("phone", re.compile(r"(?<![\w+])\+\d{1,3}(?:[ .-]?\(?\d{1,12}\)?){1,6}(?!\w)"), _phone),
    ("phone", re.compile(r"(?<![\w.+-])\(?0\d{1,5}\)?(?:[ /-]\d{2,8}){1,4}(?![\w-]|\.\d)"), _phone),
    ("phone", re.compile(r"(?<![\w.+-])\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?![\w-]|\.\d)"), _phone),
)


def scrub(text: str) -> tuple[str, Counter[str]]:
    """(the text with a mark in each place, how many of each kind were found)."""
    found: Counter[str] = Counter()
    if not any(character.isdigit() for character in text) and "@" not in text and "::" not in text:
        return text, found
    for kind, pattern, holds in _RULES:

        def mark(match: re.Match[str], kind: str = kind, holds: Callable[[str], bool] = holds) -> str:
            if not holds(match.group()):
                return match.group()
            found[kind] += 1
            return f"[{kind.upper()}]"

        text = pattern.sub(mark, text)
    return text, found
