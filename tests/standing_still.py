"""A pytest plugin that ends a run of pytest-xdist in which nothing happens any more, and names the tests that were running.

pytest-xdist waits for ever where a crashed process had work that it lost count of. ``timeout`` (pytest-timeout) is a signal,
which a call into C may hold up for ever. So a thread of the controlling process watches. Where no test has begun or ended
for ``LIMIT_S``, it names those that are running and kills the processes with all that they have started; pytest prints what
has failed so far, and ends with ``INTERNAL_ERROR``. The stacks of a test that hangs are printed before that
(``faulthandler_timeout``).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

import pytest

from tests.processes import family

LIMIT_S = 25 * 60.0
"""More than ``timeout`` in ``pyproject.toml``: a test that hangs where it can be told so fails by that, alone."""
GO_S = 60.0
"""What pytest may take to print its summary after it has been ended; then it is killed."""


def pytest_configure(config: pytest.Config) -> None:
    """Watches a run on several processes, from the process that hands out the tests."""
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        limit_s = float(os.environ.get("PYTEST_STANDS_STILL_S", LIMIT_S))  # for the test of this module
        config.pluginmanager.register(Watch(limit_s))


class Watch:
    """Watches one run.

    Args:
        limit_s: How long nothing may happen.
    """

    def __init__(self, limit_s: float):
        self._limit_s, self._since = limit_s, time.monotonic()
        self._running: dict[str, float] = {}
        self._ended = threading.Event()
        self._stood_still = False

    def pytest_sessionstart(self) -> None:
        """Begins to watch."""
        self._since = time.monotonic()
        signal.signal(signal.SIGUSR2, _leave)
        threading.Thread(target=self._watch, daemon=True, name="standing-still").start()

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Ends it. pytest prints its summary of an interrupted run; what is returned says that this was no Ctrl-C."""
        self._ended.set()
        if self._stood_still:
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A process has begun a test."""
        self._since = self._running[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """It has ended it."""
        self._since = time.monotonic()
        self._running.pop(nodeid, None)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A process that crashed reports no end: pytest-xdist makes this report in its place."""
        if str(report.when) == "???":
            self.pytest_runtest_logfinish(report.nodeid)

    def _watch(self) -> None:
        while (left_s := self._since + self._limit_s - time.monotonic()) > 0:
            if self._ended.wait(left_s):
                return
        now = time.monotonic()
        names = [f"  {name} ({now - since:.0f} s)" for name, since in list(self._running.items())]
        what = "\n".join(["running:", *names]) if names else "no test is running"
        print(f"\nno test has begun or ended for {self._limit_s:g} s; {what}", file=sys.__stderr__, flush=True)
        self._stood_still = True
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR2)
        for pid in family(os.getpid()) - {os.getpid()}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(GO_S)
        os._exit(pytest.ExitCode.INTERNAL_ERROR)


def _leave(signum: int, frame: FrameType | None) -> NoReturn:
    pytest.exit("the tests stand still")
