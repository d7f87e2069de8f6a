"""A real model server as a process of its own: started on free loopback ports, waited for, stopped by its process id."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.kafka_broker import free_ports

__all__ = ["LOG_TAIL", "ServerStartError", "folder", "free_ports", "post", "running", "wait_until_answered"]

LOG_TAIL = 3000
"""Characters of a server's log shown when it does not start."""

STOP_S = 15.0

_servers: dict[Path, subprocess.Popen[bytes]] = {}
"""The servers that run now, by their log files: who waits for one has to know when it has ended."""


class ServerStartError(RuntimeError):
    """A server did not start; the message has the end of its log."""


@contextlib.contextmanager
def folder(name: str) -> Iterator[Path]:
    """A temporary folder for a server's configuration, log and sockets."""
    path = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def running(command: Sequence[str], directory: Path, env: Mapping[str, str] | None = None) -> Iterator[Path]:
    """Runs a server and its children in a session of their own, and ends them all at the end of the block.

    Args:
        command: What to run.
        directory: Its working folder.
        env: Variables added to this process's.

    Yields:
        The file that the server's output goes to.
    """
    log_file = directory / "server.log"
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    # Ends the server's session when this process ends in any way, kill -9 too: the pipe closes without a line. (No "--"
    # before the group: dash, which is Debian's sh, refuses it.)
    watcher = subprocess.Popen(
        ["sh", "-c", 'read -r _ || kill -9 "-$1"', "sh", str(process.pid)], stdin=subprocess.PIPE, start_new_session=True
    )
    _servers[log_file] = process
    try:
        yield log_file
    finally:
        del _servers[log_file]
        _end(process)
        assert watcher.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            watcher.stdin.write(b"stopped\n")
            watcher.stdin.close()
        watcher.wait()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Asks the server to stop, then ends what is left of its session: workers outlive a front end that was killed."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until_answered(url: str, log_file: Path, timeout_s: float = 300.0) -> None:
    """Asks ``url`` until it answers with 200.

    Raises:
        ServerStartError: It does not in time, or the server has ended.
    """
    deadline = time.monotonic() + timeout_s
    server = _servers.get(log_file)
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:  # our own http://
            if answer.status == 200:
                return
        if server is not None and server.poll() is not None:
            raise ServerStartError(f"{url}: the server ended ({server.returncode})\n{log_file.read_text()[-LOG_TAIL:]}")
        if time.monotonic() > deadline:
            raise ServerStartError(f"{url}: no answer within {timeout_s:g} s\n{log_file.read_text()[-LOG_TAIL:]}")
        time.sleep(0.1)


def post(url: str, log_file: Path, timeout_s: float = 300.0) -> None:
    """Sends a request without a body to a server's management API.

    Raises:
        ServerStartError: It is refused.
    """
    request = urllib.request.Request(url, method="POST")  # our own http://
    try:
        with urllib.request.urlopen(request, timeout=timeout_s):
            return
    except OSError as error:
        reason = error.read().decode(errors="replace") if isinstance(error, urllib.error.HTTPError) else str(error)
        raise ServerStartError(f"{url}: {reason}\n{log_file.read_text()[-LOG_TAIL:]}") from error
