"""``--message``: Python's regular expressions, in bounded time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.dead_letter_tools.pattern import MessagePattern
from transforms.errors import ConfigError

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("pattern", "message", "found"),
    [
        ("amount", "the amount is null", True),
        ("^amount", "the amount is null", False),
        (r"\d{2,}$", "expected float32", True),
        ("{e}", "a cat", False),  # to the package regex it would mean: with any number of errors
        ("(?i)AMOUNT", "the amount", True),
    ],
)
def test_it_is_found_as_by_re(pattern: str, message: str, found: bool) -> None:
    assert MessagePattern("message", pattern).is_in(message) is found


def test_one_that_may_match_in_endless_ways_is_ended() -> None:
    slow = MessagePattern("message", "^(a|aa)+$")
    assert slow.is_in("aaa")
    with pytest.raises(ConfigError, match=r"^--message=.*: takes more than 0.25 s for one message"):
        slow.is_in("a" * 60 + "!")
    assert slow.is_in("aaa"), "each message has its own time"


def test_without_the_package_what_may_last_is_refused() -> None:
    pytest.importorskip("regex")
    script = """
import sys
sys.modules["regex"] = None
from pipeline.dead_letter_tools.pattern import MessagePattern
print(MessagePattern("message", "^not JSON|amount").is_in("an amount"))
MessagePattern("message", "(a+)+$")
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "True\n"
    assert "--message=(a+)+$: *, + and {} need the package regex, which bounds the time that they take" in done.stderr
