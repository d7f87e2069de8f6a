"""A real model server's process: started in a session of its own, waited for, and ended with what it has started."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

# Below Linux's range of ports for outgoing connections, as in tests/kafka_broker.py.
PORTS = range(20000, 32000)
LOG_TAIL_LINES = 40
STOP_S = 20


class ServerStartError(RuntimeError):
    """The server did not start; the message shows the end of its log."""


def free_ports(count: int) -> list[int]:
    """Returns different ports of 127.0.0.1 that nobody listens on."""
    found: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise ServerStartError(f"no {count} free ports between {PORTS.start} and {PORTS.stop}")


@contextlib.contextmanager
def running(
    command: Sequence[str],
    folder: Path,
    ready: Callable[[], bool],
    env: Mapping[str, str] | None = None,
    timeout_s: float = 120,
) -> Iterator[int]:
    """Runs a server until the ``with`` block ends; yields its process id once ``ready`` says so.

    Args:
        command: The program and its arguments.
        folder: Where it runs, and where its log (``server.log``) goes.
        ready: Whether it answers; asked every 100 ms. An ``OSError`` means not yet.
        env: Added to this process's environment.
        timeout_s: How long it may take to be ready.

    Raises:
        ServerStartError: It ended, or was not ready in time.
    """
    log_file = folder / "server.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # so that its group is all it has started, and Ctrl-C is for us
        )
    # Ends the server when this process ends in any way, kill -9 too: the pipe closes without a line.
    watcher = subprocess.Popen(
        ["sh", "-c", 'read -r _ || kill -9 -- "-$1"', "sh", str(process.pid)], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        _wait(process, ready, time.monotonic() + timeout_s, log_file)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        with contextlib.suppress(ProcessLookupError):  # nobody of the group is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        watcher.communicate(b"\n")  # a line: the watcher has nothing left to do


def _wait(process: subprocess.Popen[bytes], ready: Callable[[], bool], deadline: float, log_file: Path) -> None:
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerStartError(f"it ended with status {process.returncode}:\n{_tail(log_file)}")
        with contextlib.suppress(OSError):
            if ready():
                return
        time.sleep(0.1)
    raise ServerStartError(f"it was not ready in time:\n{_tail(log_file)}")


def _tail(log_file: Path) -> str:
    return "\n".join(log_file.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
