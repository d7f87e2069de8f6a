"""A server as a child process: what cannot be run, or ends at once, is told in words."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes import alive
from transforms.child_process import child_server, free_port
from transforms.errors import ContractError


def test_what_can_not_be_run_is_told(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    for command in (str(tmp_path / "text"), str(tmp_path / "nothing")):
        with pytest.raises(ContractError, match="the server can't be run"), child_server([command], 1, "the server"):
            pass


def test_what_ends_at_once_shows_its_last_words() -> None:
    command = ["sh", "-c", "echo no licence; exit 3"]
    with (
        pytest.raises(ContractError, match=r"the server ended \(status 3\):\nno licence"),
        child_server(command, free_port(), "the server"),
    ):
        pass


PARENT = """
import sys, time
from transforms.child_process import child_server, free_port
port = free_port()
serve = f"import socket; s = socket.create_server(('127.0.0.1', {port})); s.accept(); s.accept()"
with child_server([sys.executable, "-S", "-c", serve], port, "the server") as server:
    print(server.pid, flush=True)
    time.sleep(600)
"""


def test_it_ends_when_its_parent_is_killed() -> None:
    """By kill -9, too, after which the parent can do nothing any more."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        server = int(parent.stdout.readline())
        assert alive(server)
        parent.send_signal(signal.SIGKILL)
        parent.wait(30)
    deadline = time.monotonic() + 60
    try:
        while alive(server) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not alive(server)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server, signal.SIGKILL)  # it must not outlive a failed test either
