"""The wall clock of a process jumps; what waits, and the monotonic clock, do not notice."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.chaos.clock import HOUR_S, wall_clock
from tests.chaos.stream import NotHereError

_LOOK = """
import queue, sys, threading, time
for _ in sys.stdin:
    began, monotonic = time.time(), time.monotonic()
    time.sleep(0.05)
    try:
        queue.Queue().get(timeout=0.05)
    except queue.Empty:
        pass
    threading.Event().wait(0.05)
    print(began, time.monotonic() - monotonic, flush=True)
"""


def test_only_the_wall_clock_jumps() -> None:
    """An hour ahead, then an hour behind; sleeps and time-outs of Python take as long as they should."""
    try:
        with wall_clock() as (environ, move):
            process = subprocess.Popen(
                [sys.executable, "-c", _LOOK],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | environ,
                text=True,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            times = []
            for offset_s in (0, HOUR_S, -HOUR_S):
                move(offset_s)
                process.stdin.write("\n")
                process.stdin.flush()
                now_s, waited_s = map(float, process.stdout.readline().split())
                times.append(now_s)
                assert 0.15 <= waited_s < 60
            process.stdin.close()
            process.stdout.close()
            assert process.wait() == 0
    except NotHereError as error:
        pytest.skip(str(error))
    assert HOUR_S <= times[1] - times[0] < HOUR_S + 200
    assert 2 * HOUR_S - 200 < times[1] - times[2] <= 2 * HOUR_S
