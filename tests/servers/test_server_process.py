"""No server outlives the tests: not those that end in order, and not those that are killed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes import ended
from tests.servers.server_process import ServerStartError, running, wait_until_answered

# A server with a child, in a process that can be killed: prints both process ids.
_LAUNCHER = """
import sys, time
from pathlib import Path
from tests.servers.server_process import running
with running(["sh", "-c", "sleep 600 & echo $$ $!; wait"], Path(sys.argv[1])) as log_file:
    while not log_file.read_text().endswith("\\n"):
        time.sleep(0.01)
    print(log_file.read_text(), flush=True)
    {then}
"""


@pytest.mark.parametrize("then", ["pass", "time.sleep(600)"])
def test_a_server_and_its_children_end_with_the_tests(tmp_path: Path, then: str) -> None:
    """In order, and by kill -9."""
    command = [sys.executable, "-c", _LAUNCHER.replace("{then}", then), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None
        pids = [int(pid) for pid in launcher.stdout.readline().split()]
        assert len(pids) == 2
        if then != "pass":
            launcher.kill()
        launcher.wait(30)
        assert ended(pids)


def test_the_servers_log_is_kept_while_it_runs(tmp_path: Path) -> None:
    with running(["sh", "-c", "echo started; sleep 600"], tmp_path) as log_file:
        while "started" not in log_file.read_text():
            time.sleep(0.01)


def test_who_waits_for_a_server_that_has_ended_is_told_at_once(tmp_path: Path) -> None:
    ended = r"the server ended \(3\)\nno memory left"
    with (
        running(["sh", "-c", "echo no memory left; exit 3"], tmp_path) as log_file,
        pytest.raises(ServerStartError, match=ended),
    ):
        wait_until_answered("http://127.0.0.1:9/", log_file)
