"""``Keys``: single key presses at the terminal while a job runs. Ctrl-C, Ctrl-Z and their like mean what they always do.

The terminal hands over each key at once and does not print it: ``ICANON`` and ``ECHO`` are off, everything else stays as it
was. A job in the background (``&``, or Ctrl-Z and ``bg``) leaves the terminal alone: it is the shell's then.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import termios
import threading
from collections.abc import Iterator
from typing import Any, TextIO

_AT_ONCE = 256
"""Bytes that are read at a time: more than anybody types in a quarter of a second."""

_LOCAL = 3
"""Where ``termios`` has the local modes in its list."""


class Keys:
    """The keyboard.

    Args:
        stream: Standard input. If it is no terminal it is never read.
    """

    def __init__(self, stream: TextIO | None):
        self._fd = stream.fileno() if stream is not None and not stream.closed and stream.isatty() else None
        self._before: list[Any] | None = None
        self._yielded = True
        self._lock = threading.RLock()  # a signal's handler may interrupt the thread that has it

    @property
    def here(self) -> bool:
        """Whether a key press would be seen now: not in the background, and not where standard input is no terminal."""
        return self._before is not None

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Takes key presses while the block runs."""
        self.take()
        try:
            yield
        finally:
            self.put_back()

    def take(self) -> None:
        """Takes key presses from now on, or as soon as the job is in the foreground."""
        with self._lock:
            self._yielded = False
            self._change()

    def put_back(self) -> None:
        """Makes the terminal what it was, and leaves it alone. May be called by the handler of a signal, and again."""
        with self._lock:
            self._yielded = True
            if self._fd is not None and self._before is not None:
                before, self._before = self._before, None
                if _in_foreground(self._fd):  # else the shell has it, with modes of its own
                    _set(self._fd, before)

    def pressed(self) -> str:
        """Returns the keys that were pressed since the last call; waits for none. Arrows and their like are left out."""
        if self._fd is None or not self._change():
            return ""
        with _held(signal.SIGTTIN), contextlib.suppress(OSError):  # in the background by now: an error, not a stop
            if select.select([self._fd], [], [], 0)[0]:
                typed = os.read(self._fd, _AT_ONCE)
                return "" if b"\x1b" in typed else typed.decode("ascii", "ignore")
        return ""

    def _change(self) -> bool:
        """Switches the terminal, unless that is done; returns whether it is."""
        with self._lock:
            if self._fd is None or self._yielded or not _in_foreground(self._fd):
                return False
            if self._before is None:
                try:
                    before = termios.tcgetattr(self._fd)
                except termios.error:  # it is gone
                    return False
                changed = [*before]
                changed[_LOCAL] &= ~(termios.ICANON | termios.ECHO)
                _set(self._fd, changed)
                self._before = before
            return True


def _in_foreground(fd: int) -> bool:
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:  # a terminal that controls no job
        return True


def _set(fd: int, modes: list[Any]) -> None:
    with _held(signal.SIGTTOU), contextlib.suppress(termios.error):  # it is gone
        termios.tcsetattr(fd, termios.TCSANOW, modes)  # does not wait for a terminal that stands still (Ctrl-S)


@contextlib.contextmanager
def _held(number: signal.Signals) -> Iterator[None]:
    """Holds back a signal that would stop the job."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
