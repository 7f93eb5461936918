"""A password fits its own hash alone, and a hash that is none is told."""

import subprocess
import sys

import pytest

from arena.errors import ArenaError
from arena.passwords import fits, hash_password, parse


def test_a_password_fits_its_hash_and_no_other():
    hashed = hash_password("correct horse battery")
    assert hashed.startswith("scrypt$32768$8$3$") and "correct" not in hashed
    assert fits("correct horse battery", hashed) and not fits("correct horse batterz", hashed) and not fits("", hashed)
    assert hash_password("correct horse battery") != hashed, "each hash has a salt of its own"


def test_a_short_password_is_refused():
    with pytest.raises(ArenaError, match="has 5 characters; take at least 12"):
        hash_password("short")


@pytest.mark.parametrize(
    "wrong", ["", "secret", "md5$1$2$3$c2FsdA$aGFzaA", "scrypt$2$8$3$c2FsdHNhbHQ$" + "aGFz" * 10, "scrypt$32768$8$3$c2FsdA$aGFz"]
)
def test_what_is_no_hash_or_a_weak_one_is_told(wrong: str):
    with pytest.raises(ValueError, match="arena hash-password"):
        parse(wrong)


def test_the_command_reads_a_line_and_prints_the_hash():
    command = [sys.executable, "-m", "arena.cli", "hash-password"]
    done = subprocess.run(command, input="correct horse battery\n", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and fits("correct horse battery", done.stdout.strip())
    assert "correct" not in done.stdout + done.stderr
