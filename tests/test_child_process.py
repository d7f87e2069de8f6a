"""A server as a child process: what cannot be run, or ends at once, is told in words."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import alive, ended
from transforms.child_process import child_server, free_port, has_other_addresses, others_reach
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
from transforms.child_process import child_server, free_port, has_other_addresses, others_reach
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
    try:
        assert ended([server])
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server, signal.SIGKILL)  # it must not outlive a failed test either


@pytest.mark.parametrize(("host", "seen"), [("0.0.0.0", True), ("127.0.0.1", False)])
def test_a_server_that_others_reach_is_known(host: str, seen: bool) -> None:
    with socket.create_server((host, 0)) as server:
        assert others_reach(server.getsockname()[1]) is seen


FIB_TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 127.0.0.0
        /8 host LOCAL
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 127.255.255.255
        /32 link BROADCAST
"""
OTHER = """     |-- 192.0.2.7
        /32 host LOCAL
"""
LOOPBACK_6 = "00000000000000000000000000000001 01 80 10 80       lo\n"
OTHER_6 = "20010db8000000000000000000000007 02 40 00 80     eth0\n"


@pytest.mark.parametrize(
    ("v4", "v6", "other"),
    [
        (FIB_TRIE, LOOPBACK_6, False),
        (FIB_TRIE, None, False),
        (FIB_TRIE + OTHER, LOOPBACK_6, True),
        (FIB_TRIE, LOOPBACK_6 + OTHER_6, True),
        (None, None, True),
    ],
    ids=["loopback", "no IPv6", "IPv4", "IPv6", "not Linux"],
)
def test_whether_there_are_others_to_reach_it(tmp_path: Path, v4: str | None, v6: str | None, other: bool) -> None:
    for name, text in (("fib_trie", v4), ("if_inet6", v6)):
        if text is not None:
            (tmp_path / name).write_text(text)
    assert has_other_addresses(tmp_path) is other
