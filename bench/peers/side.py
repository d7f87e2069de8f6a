"""One run of a side: its process, from its start until it is ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.peers.programs import Program, Task
from bench.setting import BenchmarkError
from tests.kafka_broker import ROOT

_STOP_S = 60.0
_SHOWN = 3000


class Side:
    """A side that runs.

    Args:
        name: The side's.
        process: Its process.
        output: Where its standard output and error go.
    """

    def __init__(self, name: str, process: subprocess.Popen[bytes], output: str):
        self._name, self._process, self._output = name, process, output

    def poll(self) -> int | None:
        """The process's status, once it has ended."""
        return self._process.poll()

    def must_run(self, deadline: float = float("inf")) -> None:
        """Raises ``BenchmarkError`` if it has ended, or ``deadline``, a monotonic time, has passed."""
        if self.poll() is None and time.monotonic() < deadline:
            return
        ended = "did nothing in time" if self.poll() is None else f"ended with status {self.poll()}"
        text = Path(self._output).read_text(encoding="utf-8", errors="replace")
        raise BenchmarkError(f"{self._name} {ended}:\n{text[-_SHOWN:]}")

    def end(self) -> None:
        """Ends it: by SIGTERM, and after a minute by SIGKILL, with what it has started."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@contextlib.contextmanager
def running(program: Program, task: Task) -> Iterator[Side]:
    """Runs a side during the block, in a process group of its own."""
    command, variables = program.command(task)
    with tempfile.NamedTemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **variables},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        side = Side(program.name, process, output.name)
        try:
            yield side
        finally:
            side.end()
