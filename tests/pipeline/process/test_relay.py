"""The lines of worker processes go where they break no drawing; none is lost at the end."""

from __future__ import annotations

import subprocess
import sys

from pipeline.process.relay import Relay

SCRIPT = "import os; os.write(2, b'one\\r\\ntwo \\xff\\nlast, without an end')"


def start(relay: Relay) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-S", "-E", "-c", SCRIPT], stderr=relay.stderr)
    relay.follow(process)
    return process


def test_every_line_is_said_also_the_last_one() -> None:
    said: list[str] = []
    with Relay(said.append) as relay:
        start(relay).wait(20)
    assert said == ["one", "two \N{REPLACEMENT CHARACTER}", "last, without an end"]


def test_without_a_drawing_they_have_our_standard_error() -> None:
    with Relay(None) as relay:
        assert relay.stderr is None
