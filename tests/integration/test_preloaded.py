"""A forked command is what a started one is: see ``preloaded.py``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration import preloaded
from tests.integration.preloaded import Forked, forks, start
from tests.integration.process import START_S, wait_until
from tests.processes import alive

pytestmark = pytest.mark.timeout(600)

LOOKS = textwrap.dedent("""
    import faulthandler, json, logging, os, signal, sys, threading, warnings
    numbers = [n for n in signal.valid_signals() if n not in (signal.SIGKILL, signal.SIGSTOP)]
    handlers = {int(n): str(getattr(signal.getsignal(n), "__name__", signal.getsignal(n))) for n in numbers}
    files = sorted(os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
                   if os.path.exists(f"/proc/self/fd/{n}") and not os.readlink(f"/proc/self/fd/{n}").startswith("/proc"))
    print(json.dumps({
        "arguments": sys.argv[1:], "name": __name__, "main": sys.modules["__main__"].__dict__ is globals(),
        "folder": os.getcwd(), "files": files, "environ": dict(os.environ),
        "session": os.getsid(0) == os.getpid(), "group": os.getpgid(0) == os.getpid(),
        "handlers": handlers, "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "wakes": signal.set_wakeup_fd(-1), "threads": [thread.name for thread in threading.enumerate()],
        "levels": [logging.getLogger().level, len(logging.getLogger().handlers)], "faults": faulthandler.is_enabled(),
        "buffered": [sys.stdout.line_buffering, sys.stderr.line_buffering, sys.stdout.encoding],
        "filters": len(warnings.filters), "beam": "apache_beam" in sys.modules,
    }))
    sys.exit(5)
""")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that says what it finds. Both ways look for it in the repository's folder, as for the program."""
    name = f"looks_{os.getpid()}"
    path = preloaded.ROOT / "tests" / "integration" / f"{name}.py"
    path.write_text(LOOKS)
    monkeypatch.chdir(preloaded.ROOT)
    yield f"tests.integration.{name}"
    path.unlink()


def run(module: str, *arguments: str, folder: Path, status: int) -> tuple[str, str]:
    out, err = folder / "out", folder / "err"
    with out.open("wb") as to, err.open("wb") as errors:
        process = start(module, arguments, to, errors, {"TEST_NAME": "of the tests"})
    assert process.wait(START_S) == status, err.read_text()
    return out.read_text(), err.read_text()


def test_it_finds_what_a_started_one_finds(module: str, tmp_path: Path) -> None:
    found: dict[bool, dict[str, Any]] = {}
    for forked in (True, False):
        with forks(forked):
            out, _ = run(module, "--one=1", "two", folder=tmp_path, status=5)
        found[forked] = json.loads(out)
    assert found[True].pop("beam")
    assert not found[False].pop("beam"), "the other one is started anew"
    assert found[True].pop("filters") >= found[False].pop("filters"), "libraries add their own"
    assert found[True] == found[False]
    assert found[True]["environ"]["TEST_NAME"] == "of the tests"


@pytest.mark.parametrize(("flags", "status"), [(["--help"], 0), (["--no_such_flag=1", "--runner=DirectRunner"], 2)])
def test_it_prints_what_a_started_one_prints(flags: list[str], status: int, tmp_path: Path) -> None:
    printed = []
    for forked in (True, False):
        with forks(forked):
            printed.append(run("pipeline", *flags, folder=tmp_path, status=status))
    assert printed[0] == printed[1]
    assert any(printed[0])


def test_its_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends it, also while others run."""
    monkeypatch.chdir(preloaded.ROOT)
    waits = ["--bootstrap_servers=127.0.0.1:9", "--input_topic=in", "--output_topic=out", "--model=grpc://127.0.0.1:9/m"]
    with forks(True), (tmp_path / "out").open("wb") as out:
        first, second = (start("pipeline", [*waits, "--wait_for_start_s=3600"], out, out) for _ in range(2))
        assert isinstance(first, Forked)
        with pytest.raises(subprocess.TimeoutExpired):
            first.wait(0.01)
        assert (first.poll(), second.poll()) == (None, None)
        first.kill()
        assert first.wait(START_S) == -signal.SIGKILL
        assert (first.poll(), first.returncode, second.poll()) == (-9, -9, None)
        os.kill(second.pid, signal.SIGKILL)
        wait_until(lambda: second.poll() is not None, "the second one's end", START_S)
        second.terminate()  # nobody's process is sent a signal


def test_what_its_environment_says_is_started_anew(tmp_path: Path) -> None:
    with forks(True), (tmp_path / "out").open("wb") as out:
        process = start("pipeline", ["--help"], out, out, {"TEST_NAME": "", "PYTHONASYNCIODEBUG": "1"})
    assert isinstance(process, subprocess.Popen)
    assert process.wait(START_S) == 0


def test_real_starts_are_one_variable_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REAL_STARTS", "1")
    with forks(True), (tmp_path / "out").open("wb") as out:
        process = start("pipeline", ["--help"], out, out)
    assert isinstance(process, subprocess.Popen)
    assert process.wait(START_S) == 0


def test_the_one_that_forks_ends_with_its_parent() -> None:
    """Even by ``kill -9``: its connection ends."""
    code = (
        "import time; from tests.integration.preloaded import Preloaded; print(Preloaded().pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=preloaded.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    wait_until(lambda: not alive(pid), "end of the one that forks", START_S)
