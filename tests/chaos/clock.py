"""Faults of the wall clock: it jumps by an hour, forwards and backwards, while the job runs."""

from __future__ import annotations

import contextlib
import mmap
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.chaos.stream import NotHereError, Stream

HOUR_S = 3600
LIBRARY = Path(__file__).with_name("clock.c")


def jump(stream: Stream, times: int) -> None:
    """The wall clock of the job's host jumps an hour ahead, and back again, and behind what it was at the start."""
    with wall_clock() as (environ, move):
        stream.job.environ |= environ
        stream.with_one_process(times, lambda time_left: move(-HOUR_S if time_left % 2 else HOUR_S))


@contextlib.contextmanager
def wall_clock() -> Iterator[tuple[dict[str, str], Callable[[int], None]]]:
    """Gives the environment of a process whose wall clock can be moved, and what moves it so many seconds off the true time.

    Raises:
        NotHereError: There is no C compiler, or the system has no ``LD_PRELOAD``.
    """
    compiler = shutil.which("cc")
    if compiler is None or not Path("/proc/self/maps").exists():
        raise NotHereError(
            "the clock is moved by a library for Linux that needs a C compiler: apt-get install gcc libc6-dev"
        )
    with tempfile.TemporaryDirectory(prefix="wall-clock-") as folder:
        library, offset = Path(folder) / "clock.so", Path(folder) / "offset"
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, LIBRARY], check=True)
        offset.write_bytes(bytes(8))
        with offset.open("r+b") as file, mmap.mmap(file.fileno(), 8) as shared:

            def move(seconds: int) -> None:
                shared[:] = struct.pack("q", seconds)

            yield {"LD_PRELOAD": str(library), "WALL_CLOCK_FILE": str(offset)}, move
