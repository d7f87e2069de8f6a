"""``Relay``: passes on what worker processes write to standard error, so that it does not spoil the live status."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from typing import IO

from transforms.retry import Deadline

LAST_LINES_S = 2.0
"""Seconds for the last lines of processes that have ended. A child of theirs that lives on may hold the pipe for longer."""


class Relay:
    """Passes on the lines of processes. A context manager; at its end the last lines have been passed on.

    Args:
        say: Takes a line, without its end. ``None``: the processes write to this process's standard error themselves.
    """

    def __init__(self, say: Callable[[str], None] | None):
        self._say = say
        self._readers: list[threading.Thread] = []

    @property
    def stderr(self) -> int | None:
        """What ``subprocess.Popen`` takes as ``stderr``."""
        return None if self._say is None else subprocess.PIPE

    def follow(self, process: subprocess.Popen[bytes]) -> None:
        """Passes on what the process writes, until it ends."""
        if self._say is not None and process.stderr is not None:
            reader = threading.Thread(target=_read, args=(process.stderr, self._say), name="relay", daemon=True)
            reader.start()
            self._readers.append(reader)

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        deadline = Deadline(LAST_LINES_S)
        for reader in self._readers:
            reader.join(deadline.left_s)


def _read(stream: IO[bytes], say: Callable[[str], None]) -> None:
    with stream:
        for line in stream:
            say(line.decode("utf-8", "replace").rstrip("\r\n"))
