"""A run of tests that stands still ends, and names what was running."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kafka_broker import ROOT
from tests.processes import ended
from tests.standing_still import LIMIT_S

HANGS = """
import os, subprocess, time

def test_fails():
    assert not "said so"

def test_hangs():
    with open(os.environ["PIDS"], "w") as pids:
        pids.write(f"{os.getpid()} {subprocess.Popen(['sleep', '600']).pid}")
    time.sleep(600)
"""
CRASHES = """
import os, time

def test_crashes():
    os._exit(1)

def test_hangs():
    time.sleep(600)
"""


def run(folder: Path, code: str, limit_s: float, dist: str = "loadscope") -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(code)
    (folder / "pytest.ini").touch()
    environ = {**os.environ, "PYTEST_STANDS_STILL_S": f"{limit_s}", "PIDS": f"{folder / 'pids'}", "PYTHONPATH": f"{ROOT}"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.standing_still",
        "--numprocesses=2",
        f"--dist={dist}",
        "test_it.py",
    ]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=600)


def test_it_ends_with_all_processes_and_what_had_failed(tmp_path: Path) -> None:
    done = run(tmp_path, HANGS, limit_s=10)
    assert done.returncode == pytest.ExitCode.INTERNAL_ERROR, done.stdout + done.stderr
    assert re.search(r"no test has begun or ended for 10 s; running:\n  test_it.py::test_hangs \(\d+ s\)\n", done.stderr)
    assert "FAILED test_it.py::test_fails" in done.stdout
    assert "the tests stand still" in done.stdout
    assert ended(int(pid) for pid in (tmp_path / "pids").read_text().split())


def test_a_test_whose_process_crashed_does_not_count_as_running(tmp_path: Path) -> None:
    """pytest-xdist gives it to another process where whole files go to one (``loadscope``), so not that here."""
    done = run(tmp_path, CRASHES, limit_s=10, dist="load")
    assert done.returncode == pytest.ExitCode.INTERNAL_ERROR, done.stdout + done.stderr
    assert re.search(r"running:\n  test_it.py::test_hangs \(\d+ s\)\n$", done.stderr), done.stderr
    assert "FAILED test_it.py::test_crashes" in done.stdout


def test_the_limits_come_one_after_the_other(pytestconfig: pytest.Config) -> None:
    """First the stacks of a test that hangs, then its failure, then the end of a run in which that did not help."""
    assert 0 < float(pytestconfig.getini("faulthandler_timeout")) < float(pytestconfig.getini("timeout")) < LIMIT_S
